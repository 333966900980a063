//! Who has applied what: positions in regions' logs, vectors of them, and the tokens that clients carry.
//!
//! Pure but for the count of what cannot be read and for waking who waits: knows nothing of HTTP, and takes
//! `now` where an expiry matters. Correctness rests on one rule: what is known of a region is never more
//! than the region has applied, so stale knowledge makes a read slow, never wrong.

mod applied;
mod asking;
mod course;
mod doubt;
mod elsewhere;
mod ended;
mod fit;
#[cfg(test)]
mod fixtures;
mod fork;
mod handed;
mod judge;
mod lag;
mod marks;
mod mint;
mod newcomers;
mod push;
mod rejected;
mod report;
mod seal;
mod sequence;
mod session;
mod sift;
mod taken_back;
mod token;
mod vector;
mod visit;
mod wait;
mod waiters;
mod words;

pub use applied::{Applied, Membership, Standing};
pub use asking::{ASK_EVERY, ASK_SELDOM, Asking, Old, Probed, pause_when_woken};
pub use course::{Course, Leg, Next, Others, ask_any_mark};
pub use elsewhere::Elsewhere;
pub use fork::Forks;
pub use judge::{Asked, Judged};
pub use lag::{Denied, Lag, RegionLag};
pub use mint::{Minted, Outcome, Said, mint};
pub use push::Pushed;
pub use rejected::{Reason, Source, reject};
pub use report::{Report, Reported};
pub use seal::{Keyring, SealError, random_key};
pub use sequence::{NotASequence, Sequence};
pub use session::{Glance, Recalled, Sessions};
pub use sift::Sifted;
pub use taken_back::Carriers;
pub use token::{Flaw, Pin, Token, TokenError};
pub use vector::{
    Entry, NotAPosition, Position, RegionName, Vector, parse_entry, parse_position, parse_vector,
};
pub use visit::{Lifetimes, Mark, Now, Reissue, SessionIds, Visit};
pub use wait::{Turn, Wait};
pub use words::Words;
