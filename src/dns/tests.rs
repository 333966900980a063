//! Exchanges by topic: a message, and the response as text.

mod cookies;
mod exchange;
mod messages;
mod options;
mod sizes;
mod steered;
mod zones;
