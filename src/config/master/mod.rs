//! RFC 1035 §5 master files → records with their places, and everything that is wrong with them.
//!
//! Pure: whoever calls gives the bytes of a file for its path. What the records mean together is
//! `compile::zone::check`'s to judge. `entry` reads a line, `generate` writes the lines of
//! `$GENERATE`, this file goes from line to line and into the files that `$INCLUDE` names.

mod entry;
mod generate;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::{Name, RData};

use super::plan::{SourceAt, ZoneRecord};
use super::problem::{Problem, Problems, Sources, bounded};
use super::rdata::{Entries, Newline, Spot, Wrong};
use crate::units::Ttl;
use entry::{Include, Line};
use generate::{Generate, MOST_GENERATED};
use state::{Context, Times};

/// How deep files may include each other: nobody needs three, and a chain must end.
const DEEPEST_INCLUDE: usize = 16;

/// How many `$INCLUDE` a zone may have in all: files that include each other many times over are
/// few bytes and endless work.
const MOST_INCLUDES: usize = 1_000;

const TOO_MANY_RECORDS: &str = "there are too many records in this configuration's zone files";

/// Gives the bytes of a file, or says why not.
pub(super) type Open<'a> = dyn FnMut(&Path) -> Result<Arc<[u8]>, String> + 'a;

/// A record and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Lower case and absolute.
    pub(super) owner: Name,
    pub(super) ttl: Ttl,
    pub(super) data: RData,
    pub(super) at: SourceAt,
}

/// What a zone's files hold.
#[derive(Debug, Default)]
pub(super) struct Master {
    pub(super) records: Vec<Record>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Whether there was an SOA, readable or not, or may have been.
    pub(super) met_soa: bool,
}

/// Reads a file and what it includes. At most `most_records` are taken.
pub(super) fn read(
    file: &Arc<Path>,
    origin: &Name,
    most_records: usize,
    open: &mut Open<'_>,
) -> Result<Master, String> {
    let text = open(file)?;
    let mut reader = Reader {
        open,
        most_records,
        times: Times::default(),
        includes: 0,
        generated: 0,
        signed: None,
        master: Master::default(),
    };
    reader.file(&text, &mut Context::new(file, origin));
    Ok(reader.finish())
}

/// Reads a master file that no disk has, and that can include nothing but itself.
pub fn read_master(origin: &Name, text: &[u8]) -> Result<Vec<ZoneRecord>, Problems> {
    let file: Arc<Path> = Path::new("master").into();
    let text: Arc<[u8]> = text.into();
    let mut sources = Sources::default();
    sources.insert_master(file.clone(), text.clone());
    let mut open = |path: &Path| {
        let is_known = *path == *file;
        is_known
            .then(|| text.clone())
            .ok_or_else(|| "not here".to_owned())
    };
    let master = match read(&file, origin, usize::MAX, &mut open) {
        Ok(master) => master,
        Err(why) => Master {
            problems: vec![Problem::new(None, why)],
            ..Master::default()
        },
    };
    if !master.problems.is_empty() {
        return Err(Problems::new(master.problems, sources));
    }
    let plain = |record: Record| ZoneRecord {
        owner: record.owner,
        ttl: record.ttl,
        data: record.data,
    };
    Ok(master.records.into_iter().map(plain).collect())
}

struct Reader<'a, 'o> {
    open: &'a mut Open<'o>,
    most_records: usize,
    times: Times,
    includes: usize,
    /// How many lines `$GENERATE` stood for.
    generated: usize,
    /// The first record that a signer made.
    signed: Option<SourceAt>,
    master: Master,
}

impl Reader<'_, '_> {
    fn file(&mut self, text: &[u8], context: &mut Context<'_>) {
        for entry in Entries::new(text, Newline::Ends) {
            if self.master.records.len() >= self.most_records {
                let at = entry.map_or_else(|wrong| wrong.at, |entry| entry.words.at());
                self.problem(context, Wrong::new(at, TOO_MANY_RECORDS));
                return;
            }
            // What cannot be told apart may be the SOA.
            self.times.met_soa |= entry.is_err();
            match entry.and_then(|entry| entry::read(entry, context, &mut self.times)) {
                Ok(line) => self.take(line, context),
                Err(wrong) => self.problem(context, wrong),
            }
        }
    }

    fn take(&mut self, line: Line, context: &mut Context<'_>) {
        match line {
            Line::Nothing => {}
            Line::Record { record, guessed } => {
                if guessed {
                    let message = "there is no TTL and no $TTL: the SOA's minimum is taken (RFC 1035 §3.3.13)";
                    let warning = Problem::new(Some(record.at.clone()), message.to_owned());
                    self.master.warnings.push(warning);
                }
                self.master.records.push(record);
            }
            Line::MadeBySigner(at) => {
                self.signed.get_or_insert_with(|| context.place(at));
            }
            Line::Include(include) => {
                let at = include.at;
                if let Err(message) = self.include(include, context) {
                    self.problem(context, Wrong::new(at, message));
                }
            }
            Line::Generate(generate) => {
                // As with `$INCLUDE`, the owner of the record before stays what it was.
                let owner = context.owner.clone();
                if let Err(message) = self.generate(&generate, context) {
                    self.problem(context, Wrong::new(generate.at, message));
                }
                context.owner = owner;
            }
        }
    }

    /// The first line that is wrong ends it: the others are most probably wrong alike.
    fn generate(&mut self, generate: &Generate, context: &mut Context<'_>) -> Result<(), String> {
        self.generated = self.generated.saturating_add(generate.count());
        if self.generated > MOST_GENERATED {
            let most = MOST_GENERATED;
            return Err(format!(
                "more than {most} records of a zone are of `$GENERATE`"
            ));
        }
        if self.master.records.len() + generate.count() > self.most_records {
            return Err(TOO_MANY_RECORDS.to_owned());
        }
        for line in generate.lines() {
            let line = line?;
            let read = entry::read_generated(&line, context, &mut self.times);
            let read = read.map_err(|why| {
                let shown = String::from_utf8_lossy(&line);
                format!("the line `{}`: {why}", shown.trim_end())
            })?;
            self.take(read.at(generate.at, context), context);
        }
        Ok(())
    }

    /// RFC 1035 §5.1: an included file has an origin of its own and leaves that of this one alone.
    /// So it is with the owner; `$TTL` is the whole zone's.
    fn include(&mut self, include: Include, context: &Context<'_>) -> Result<(), String> {
        self.includes += 1;
        let file = &include.file;
        if context.depth() >= DEEPEST_INCLUDE {
            return Err(format!(
                "files include each other deeper than {DEEPEST_INCLUDE} levels"
            ));
        }
        if self.includes > MOST_INCLUDES {
            return Err(format!("more than {MOST_INCLUDES} inclusions in a zone"));
        }
        if context.is_open(file) {
            return Err(format!("{} includes itself", file.display()));
        }
        let text = (self.open)(file).map_err(|why| format!("{}: {why}", file.display()))?;
        self.file(&text, &mut context.within(file, include.origin));
        Ok(())
    }

    fn problem(&mut self, context: &Context<'_>, wrong: Wrong) {
        let problem = Problem::new(Some(context.place(wrong.at)), wrong.message);
        self.master.problems.push(problem);
    }

    fn finish(mut self) -> Master {
        if let Some(at) = self.signed {
            let message =
                "RRSIG, NSEC, NSEC3 and NSEC3PARAM are left out: Meridian signs by itself";
            let warning = Problem::new(Some(at), message.to_owned());
            self.master.warnings.push(warning);
        }
        self.master.met_soa = self.times.met_soa;
        self.master.problems = bounded(self.master.problems);
        self.master.warnings = bounded(self.master.warnings);
        self.master
    }
}
