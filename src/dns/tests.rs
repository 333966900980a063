//! Exchanges by topic: a message, and the response as text.

mod cookies;
mod cuts;
pub(super) mod exchange;
mod found_ahead;
mod messages;
mod options;
mod signed;
mod sizes;
mod steered;
mod zones;
