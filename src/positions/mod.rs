//! Who has applied what: positions in regions' logs, vectors of them, and the tokens that clients carry.
//!
//! Pure: knows nothing of HTTP, and takes `now` where an expiry matters. Correctness rests on one
//! rule: what is known of a region is never more than the region has applied, so stale knowledge
//! makes a read slow, never wrong.

mod applied;
mod fit;
mod fork;
mod judge;
mod marks;
mod mint;
mod seal;
mod session;
mod sift;
mod token;
mod vector;
mod visit;

pub use applied::{Applied, Membership, Report, Reported, Standing};
pub use fork::Forks;
pub use judge::{Judged, judge};
pub use mint::{Minted, Outcome, Said, mint};
pub use seal::{Keyring, SealError, random_key};
pub use session::{Glance, Recalled, Sessions};
pub use sift::Sifted;
pub use token::{Pin, Token, TokenError};
pub use vector::{
    Entry, NotAPosition, Position, RegionName, Vector, parse_entry, parse_position, parse_vector,
};
pub use visit::{Lifetimes, Mark, Now, Reissue, Visit};
