//! Parses the command line and calls the subcommand.
fn main() {}
