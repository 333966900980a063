//! What steering promises, as tables in the words of the contract, and as properties.
//!
//! A [`scene`] is three regions around the world and one service; the tables say who is down, who
//! asks, and who is then tried in which order.

mod ability;
mod any_world;
mod chances;
mod constraints;
mod freshness;
mod lasting;
mod policies;
mod properties;
mod scene;
mod writes;
