//! The audit log: what somebody did by the admin API, or was refused, a line of JSON each in `state_dir`.
//!
//! A line is on the disk before its answer is sent. The file is bounded: a full one takes the place of the
//! one before, so that at most two are kept. It is opened for each line: whatever else moves it away, truncates or
//! replaces it, the next line is in the file that has its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::disk::{Turns, Written};

/// A file is full at this many bytes: some ten thousand lines.
const MOST_BYTES: u64 = 4 << 20;

/// The audit log of one `state_dir`.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    most_bytes: u64,
    turns: Turns,
}

impl Audit {
    /// That of a folder.
    pub fn of(folder: &Path) -> Self {
        Self {
            path: folder.join("audit.jsonl"),
            most_bytes: MOST_BYTES,
            turns: Turns::default(),
        }
    }

    /// Adds a line; it is on the disk when this returns, or after an error nothing of it is. Unless the disk hangs: then it
    /// may be there later.
    pub(crate) async fn add(self: Arc<Self>, line: Value) -> Written {
        let audit = self.clone();
        self.turns.write(move || audit.write(&line)).await
    }

    fn write(&self, line: &Value) -> io::Result<()> {
        let mut file = self.open()?;
        let mut length = file.metadata()?.len();
        if length >= self.most_bytes {
            std::fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
            file = self.open()?;
            length = 0;
        }
        let line = format!("{}{line}\n", end_of_torn_line(&file, length)?);
        let written = file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line on a full disk would take the next one with it.
            file.set_len(length)?;
        }
        written
    }

    /// The file that has the name now. To be read too, since then a pipe in its place holds nobody up.
    fn open(&self) -> io::Result<File> {
        let is_new = !self.path.exists();
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if let Some(folder) = self.path.parent().filter(|_| is_new) {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }
}

/// What ends the line that the power, or another program, has cut off.
fn end_of_torn_line(file: &File, length: u64) -> io::Result<&'static str> {
    let Some(last) = length.checked_sub(1) else {
        return Ok("");
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(if byte == *b"\n" { "" } else { "\n" })
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

    /// As logrotate's `create` does, which makes the new file itself.
    #[test]
    fn lines_go_to_the_file_that_another_program_has_put_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (file, aside) = (
            folder.path().join("audit.jsonl"),
            folder.path().join("audit.jsonl.2"),
        );
        let audit = Audit::of(folder.path());
        audit.write(&json!(1)).unwrap();
        std::fs::rename(&file, &aside).unwrap();
        File::create(&file).unwrap();
        audit.write(&json!(2)).unwrap();
        assert_eq!(
            (lines(&aside), lines(&file)),
            (vec![json!(1)], vec![json!(2)])
        );
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_take_the_next_one_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        std::fs::write(&file, "1\n{\"at\":").unwrap();
        Audit::of(folder.path()).write(&json!(2)).unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "1\n{\"at\":\n2\n");
    }

    #[test]
    fn what_is_no_file_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::of(folder.path());
        std::fs::create_dir(&path).unwrap();
        audit.write(&json!(1)).unwrap_err();
        std::fs::remove_dir(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = audit.write(&json!(1)).unwrap_err();
        assert_eq!(error.to_string(), "it is no file");
    }
}
