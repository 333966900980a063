//! `meridian completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Done};

/// Prints a completion script for a shell
///
/// For bash: `meridian completions bash > /etc/bash_completion.d/meridian`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Done {
        clap_complete::generate(
            self.shell,
            &mut Cli::command(),
            "meridian",
            &mut std::io::stdout(),
        );
        Ok(())
    }
}
