//! The audit log: what somebody did by the admin API, or was refused, a line of JSON each in `state_dir`.
//!
//! A line is on the disk before its answer is sent. The file is bounded: a full one takes the place of the
//! one before, so that at most two are kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// A file is full at this many bytes: some ten thousand lines.
const MOST_BYTES: u64 = 4 << 20;

/// Refusals for want of the right to, which anybody can cause, in a minute; the others are counted.
const MOST_STRANGERS: u32 = 20;

/// A minute.
const MINUTE_MS: u64 = 60_000;

/// The audit log of one `state_dir`.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    most_bytes: u64,
    open: Mutex<Option<File>>,
}

impl Audit {
    /// That of a folder. It is opened when there is something to write.
    pub fn of(folder: &Path) -> Self {
        Self {
            path: folder.join("audit.jsonl"),
            most_bytes: MOST_BYTES,
            open: Mutex::default(),
        }
    }

    /// Writes a line; it is on the disk when this returns. A file that was moved away is made anew.
    pub fn write(&self, line: &Value) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.append(open.take(), format!("{line}\n").as_bytes());
        *open = Some(written?);
        Ok(())
    }

    fn append(&self, open: Option<File>, line: &[u8]) -> io::Result<File> {
        let length = match std::fs::metadata(&self.path) {
            Ok(known) => Some(known.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut file = match (open, length) {
            (Some(file), Some(length)) if length < self.most_bytes => file,
            (None, Some(length)) if length < self.most_bytes => self.create()?,
            (_, None) => self.create()?,
            (_, Some(_)) => {
                std::fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
                self.create()?
            }
        };
        file.write_all(line)?;
        file.sync_data()?;
        Ok(file)
    }

    fn create(&self) -> io::Result<File> {
        let is_new = !self.path.exists();
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        if let Some(folder) = self.path.parent().filter(|_| is_new) {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }
}

/// How many refusals of strangers are logged: a flood of them must not keep the disk busy, nor push out what
/// operators did.
#[derive(Debug, Default)]
pub struct Strangers {
    minute: u64,
    logged: u32,
    left_out: u64,
}

impl Strangers {
    /// Whether one more is logged, and how many were left out before it.
    pub fn admit(&mut self, now_ms: u64) -> Option<u64> {
        let minute = now_ms / MINUTE_MS;
        if minute != self.minute {
            (self.minute, self.logged) = (minute, 0);
        }
        if self.logged == MOST_STRANGERS {
            self.left_out += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_are_added_to_what_an_earlier_process_wrote() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..3 {
            Audit::of(folder.path())
                .write(&json!({ "number": number }))
                .unwrap();
        }
        let expected = [
            json!({ "number": 0 }),
            json!({ "number": 1 }),
            json!({ "number": 2 }),
        ];
        assert_eq!(lines(&folder.path().join("audit.jsonl")), expected);
    }

    #[test]
    fn a_full_file_is_set_aside_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut audit = Audit::of(folder.path());
        audit.most_bytes = 100;
        for number in 0..50 {
            audit.write(&json!({ "number": number })).unwrap();
        }
        let kept = std::fs::read_dir(folder.path()).unwrap().count();
        let (before, now) = (
            folder.path().join("audit.jsonl.1"),
            folder.path().join("audit.jsonl"),
        );
        let numbers = [lines(&before), lines(&now)].concat();
        assert_eq!((kept, numbers.last()), (2, Some(&json!({ "number": 49 }))));
        assert!(std::fs::metadata(before).unwrap().len() < 100 + 16);
        assert!(
            numbers.len() > 7,
            "nothing is lost between the two: {numbers:?}"
        );
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (file, aside) = (
            folder.path().join("audit.jsonl"),
            folder.path().join("aside"),
        );
        let audit = Audit::of(folder.path());
        audit.write(&json!(1)).unwrap();
        std::fs::rename(&file, aside).unwrap();
        audit.write(&json!(2)).unwrap();
        assert_eq!(lines(&file), [json!(2)]);
    }

    #[test]
    fn strangers_fill_no_more_than_their_part_and_are_counted() {
        let mut strangers = Strangers::default();
        let logged = (0..1_000).filter(|_| strangers.admit(5).is_some()).count();
        assert_eq!(logged, 20);
        assert_eq!(strangers.admit(MINUTE_MS), Some(980));
        assert_eq!(strangers.admit(MINUTE_MS), Some(0));
    }
}
