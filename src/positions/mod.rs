//! Who has applied what: positions in regions' logs, vectors of them, and the tokens that clients carry.
//!
//! Pure but for the count of what cannot be read and for waking who waits: knows nothing of HTTP, and takes `now` where an expiry matters. Correctness rests on one
//! rule: what is known of a region is never more than the region has applied, so stale knowledge
//! makes a read slow, never wrong.

mod applied;
mod lag;
mod marks;
mod rejected;
mod seal;
mod token;
mod vector;
mod wait;
mod waiters;

pub use applied::{Applied, Report, Reported, Standing};
pub use lag::{Lag, RegionLag};
pub use rejected::{Reason, Source, reject};
pub use seal::{Keyring, SealError, random_key};
pub use token::{Pin, Token, TokenError};
pub use vector::{NotAPosition, Position, RegionName, Vector, parse_position, parse_vector};
pub use wait::{Turn, Wait};
