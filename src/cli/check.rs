//! `meridian check` and `meridian schema`.

use std::path::PathBuf;

use clap::Args;

use super::{Config, Done, Failed, complain};
use crate::clock;
use crate::config;
use crate::config::plan::Plan;
use crate::edge::{Materials, MissingKeys, Source, load_materials};

/// Validates the configuration without binding anything
///
/// Every problem is printed at once as `file:line:column: message`, with the source line. Warnings
/// do not fail unless --strict is given.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: Config,
    /// The same as --config
    #[arg(value_name = "PATH", conflicts_with = "paths")]
    named: Vec<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print the DS records that the parents of signed zones need, and nothing else
    ///
    /// One line for each key-signing key that is not deleted, those of a roll-over to come included:
    /// `OWNER IN DS TAG ALGORITHM 2 DIGEST`.
    #[arg(long)]
    ds: bool,
}

impl Check {
    pub(super) fn run(mut self) -> Done {
        if !self.named.is_empty() {
            self.config.paths.clone_from(&self.named);
        }
        let loaded = Source::paths(self.config.paths.clone())
            .load()
            .map_err(|problems| Failed(format!("{problems}{}", self.config.hint(""))))?;
        let materials = load_materials(&loaded, None, MissingKeys::Leave)
            .map_err(|problems| Failed(loaded.problems(problems).to_string()))?;
        let warnings = [loaded.warnings.clone(), materials.warnings.clone()].concat();
        let count = warnings.len();
        if count > 0 {
            complain(&loaded.problems(warnings).as_warnings().to_string());
        }
        if self.strict && count > 0 {
            return Err(Failed(format!(
                "{count} warning(s), and --strict was given"
            )));
        }
        let plan = &loaded.plan;
        if self.ds {
            return print_ds(plan, &materials);
        }
        say!(
            "ok: {} region(s), {} service(s), {} zone(s), {count} warning(s)",
            plan.regions.len(),
            plan.services.len(),
            plan.zones.len()
        );
        Ok(())
    }
}

/// RFC 4034 §5.3, the digest SHA-256 in capital hexadecimal.
fn print_ds(plan: &Plan, materials: &Materials) -> Done {
    let now = clock::unix_secs();
    let signed = plan.zones.iter().zip(materials.zone_keys.iter());
    let signed = signed.filter_map(|(zone, keys)| Some((zone, keys.as_ref()?)));
    let (mut keyless, mut without) = (Vec::new(), Vec::new());
    let mut count = 0;
    for (zone, keys) in signed {
        count += 1;
        let mut for_parent = keys.for_parent(now).peekable();
        if keys.keys.is_empty() {
            keyless.push(zone.origin.to_ascii());
        } else if for_parent.peek().is_none() {
            without.push(format!(
                "{} has no key-signing key, or only deleted ones: there is no DS to give",
                zone.origin.to_ascii()
            ));
        }
        for key in for_parent {
            say!("{}", key.ds_record(&zone.origin));
        }
    }
    if count == 0 {
        return Err(Failed("no zone is signed: none has `dnssec`".to_owned()));
    }
    if !keyless.is_empty() {
        let keyless = keyless.join(", ");
        without.push(format!(
            "no key yet for {keyless}: `meridian serve` makes it when it first starts"
        ));
    }
    if without.is_empty() {
        Ok(())
    } else {
        Err(Failed(without.join("\n")))
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
