//! `meridian check` and `meridian schema`.

use clap::Args;

use super::{Config, Done, Failed};
use crate::config;
use crate::edge::{Source, load_materials};

/// Validates the configuration without binding anything
///
/// Every problem is printed at once as `file:line:column: message`, with the source line. Warnings
/// do not fail unless --strict is given.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: Config,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(super) fn run(self) -> Done {
        let loaded = Source::paths(self.config.paths)
            .load()
            .map_err(|problems| Failed(problems.to_string()))?;
        let materials = load_materials(&loaded, None)
            .map_err(|problems| Failed(loaded.problems(problems).to_string()))?;
        let warnings = [loaded.warnings.clone(), materials.warnings].concat();
        let count = warnings.len();
        if count > 0 {
            eprintln!("{}", loaded.problems(warnings).as_warnings());
        }
        if self.strict && count > 0 {
            return Err(Failed(format!(
                "{count} warning(s), and --strict was given"
            )));
        }
        let plan = &loaded.plan;
        say!(
            "ok: {} region(s), {} service(s), {} zone(s), {count} warning(s)",
            plan.regions.len(),
            plan.services.len(),
            plan.zones.len()
        );
        Ok(())
    }
}

/// Prints the JSON Schema of the YAML files, for editors
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Done {
        say!("{:#}", config::schema());
        Ok(())
    }
}
