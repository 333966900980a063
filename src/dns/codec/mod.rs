//! The wire: queries read strictly, responses written in place. Knows no zone and no region.

pub(super) mod code;
mod compress;
pub(super) mod cookie;
mod cursor;
pub(super) mod edns;
pub(super) mod name;
pub(super) mod query;
pub(super) mod reply;
mod subnet;
pub(super) mod tsig;

pub(super) use compress::Compressor;
pub(super) use edns::{IDLE, OWN_UDP_SIZE};
