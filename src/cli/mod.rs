//! The command line: one file a subcommand. Exit status 0 done, 1 failed, 2 bad usage.

/// Prints a text as `format!` makes it, or returns why it could not.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say(&format!($($text)*))? };
}

mod check;
mod client;
mod completions;
mod drain;
mod events;
mod explain;
mod explained;
mod fault;
mod force;
mod foreseen;
mod healthcheck;
mod lab;
mod logs;
mod metrics;
mod refusal;
mod reload;
mod said;
mod serve;
mod status;
mod successor;
mod undo;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::geo::Database;
use crate::terminal;

/// Brings every user to the right region.
///
/// An authoritative DNS server that answers by geography and latency, a health checker, and an HTTPS
/// reverse proxy with session affinity and read-your-writes, in one program. Try `meridian lab`:
/// three regions on this machine, with nothing to prepare.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, long_version = long_version(), max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn long_version() -> &'static str {
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        format!(
            "{}\ngeography: {}",
            env!("CARGO_PKG_VERSION"),
            Database::built_in().info()
        )
    });
    &TEXT
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Lab(lab::Lab),
    Check(check::Check),
    Explain(explain::Explain),
    Status(status::Status),
    Drain(drain::Drain),
    Undrain(drain::Undrain),
    Force(force::Force),
    Unforce(force::Unforce),
    Reload(reload::Reload),
    Events(events::Events),
    Metrics(metrics::Metrics),
    Healthcheck(healthcheck::Healthcheck),
    Schema(check::Schema),
    Completions(completions::Completions),
}

impl Cli {
    /// Runs the subcommand; what went wrong goes to stderr.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(command) => command.run(),
            Command::Lab(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Drain(command) => command.run(),
            Command::Undrain(command) => command.run(),
            Command::Force(command) => command.run(),
            Command::Unforce(command) => command.run(),
            Command::Reload(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Metrics(command) => command.run(),
            Command::Healthcheck(command) => command.run(),
            Command::Schema(command) => command.run(),
            Command::Completions(command) => command.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failed(message)) => {
                // Not a log line: whoever ran the command reads this.
                complain(&message);
                ExitCode::FAILURE
            }
        }
    }
}

impl Cli {
    /// Ends as clap ends on a value that is none, with the usage of a subcommand.
    fn bad_value(path: &[&str], message: &str) -> ! {
        let mut command = Self::command();
        command.build(); // Subcommands learn what they are called in full.
        let named = path.iter().fold(&command, |command, name| {
            command.find_subcommand(name).unwrap_or(command)
        });
        let kind = ErrorKind::ValueValidation;
        named.clone().error(kind, message).exit()
    }
}

/// What a subcommand failed of, as stderr shows it.
#[derive(Debug)]
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(format!("error: {error}"))
    }
}

type Done = Result<(), Failed>;

/// Tells whoever ran a command of what is wrong. Nobody may listen any more.
fn complain(text: &str) {
    let text = terminal::escaped(text.trim_end());
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints what was asked for, as lines. Whoever reads may have enough at any time (`| head`): that ends
/// the program as it ends others, without a word.
fn say(text: &str) -> Done {
    let mut stdout = std::io::stdout().lock();
    let text = terminal::escaped(text.trim_end());
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Config {
    /// A YAML file, or a folder of them (repeatable)
    #[arg(long = "config", value_name = "PATH", default_value = "config/")]
    paths: Vec<PathBuf>,
}

impl Config {
    /// Whether nothing was said and nothing is at the usual place.
    fn is_nowhere(&self) -> bool {
        match self.paths.as_slice() {
            [only] => only.as_os_str() == "config/" && !only.exists(),
            _ => false,
        }
    }

    /// What to try where there is none.
    fn hint(&self, otherwise: &str) -> String {
        if self.is_nowhere() {
            format!("\n--config PATH says where the configuration is{otherwise}")
        } else {
            String::new()
        }
    }
}

/// How to reach a running edge.
#[derive(Debug, Args)]
struct Running {
    /// The running edge's admin API
    #[arg(
        long,
        value_name = "URL",
        env = "MERIDIAN_ADMIN",
        default_value = "http://127.0.0.1:9090"
    )]
    admin: client::AdminUrl,
    #[command(flatten)]
    credentials: Credentials,
}

/// What a running edge asks for, and whether it is the right one.
#[derive(Clone, Debug, Args)]
struct Credentials {
    /// The bearer token, for calls that change something and where seeing needs one too
    #[arg(
        long = "admin-token",
        value_name = "TOKEN",
        env = "MERIDIAN_ADMIN_TOKEN",
        hide_env_values = true
    )]
    admin_token: Option<String>,
    /// The roots of an https admin's certificate, PEM; default: the public ones
    #[arg(long = "admin-ca", value_name = "PATH", env = "MERIDIAN_ADMIN_CA")]
    admin_ca: Option<PathBuf>,
}

/// A runtime for a command that does one thing.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
