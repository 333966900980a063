//! `zones.NAME.file`: a master file's records become the zone's.

use std::path::Path;
use std::sync::Arc;

use super::draft::{Draft, Record, Written};
use crate::config::compile::{Compiling, file};
use crate::config::master;

/// What the file says itself.
const IN_THE_FILE: [&str; 2] = ["soa", "nameservers"];

/// Reads the zone's master file, if it names one.
pub(super) fn read(draft: &mut Draft<'_>, compiling: &mut Compiling<'_>) {
    let Some(named) = file(&draft.entry.node, "file") else {
        return;
    };
    let entries = draft.entry.node.entries().iter();
    for entry in entries.filter(|entry| IN_THE_FILE.contains(&&*entry.key)) {
        let message = format!("`{}` stands in the zone's file: remove it here", entry.key);
        compiling.problem(&entry.at, message);
    }
    let path: Arc<Path> = named.path.into();
    let most_records = compiling.files.records_left;
    let files = &mut *compiling.files;
    let read = master::read(&path, &draft.origin, most_records, &mut |path| {
        files.open(path)
    });
    draft.file = Some(path.clone());
    match read {
        Ok(read) => take(draft, read, compiling),
        Err(why) => {
            draft.soa_is_unread = true;
            compiling.problem(&named.at, format!("{}: {why}", path.display()));
        }
    }
}

fn take(draft: &mut Draft<'_>, read: master::Master, compiling: &mut Compiling<'_>) {
    draft.soa_is_unread = read.met_soa && !read.problems.is_empty();
    compiling.problems.extend(read.problems);
    compiling.warnings.extend(read.warnings);
    compiling.files.records_left -= read.records.len().min(compiling.files.records_left);
    for record in read.records {
        if !draft.origin.zone_of(&record.owner) {
            let message = format!("{} lies outside the zone and is left out", record.owner);
            compiling.warning(&record.at, message);
            continue;
        }
        draft.push(Record {
            owner: record.owner,
            ttl: record.ttl,
            data: record.data,
            at: record.at,
            written: Written::InFile,
        });
    }
}
