//! Parses.
fn main() {}
