//! Parses the command line and calls the subcommand.

use std::process::ExitCode;

use clap::Parser;
use meridian::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
