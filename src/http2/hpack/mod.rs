//! Header compression (RFC 7541): what a peer writes of its fields is read by [`Decoder`], what it is told is written by
//! [`write_request`] or [`write_status`], and [`write_field`].
//!
//! What is written refers to the static table alone, and is not in Huffman's code, as HAProxy does it: fields that repeat
//! cost their bytes again, and a connection remembers nothing of them.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;

pub(super) use decoder::Decoder;
pub(super) use encoder::{write_field, write_no_table, write_request, write_status};
#[cfg(test)]
pub(super) use table::Name;
pub(super) use table::{Field, Pseudo};
