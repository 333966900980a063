//! Parses the command line and calls the subcommand.

use std::process::ExitCode;

use clap::Parser;
use meridian::cli::Cli;
use mimalloc::MiMalloc;

/// A proxied request allocates some hundred times.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
