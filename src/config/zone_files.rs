//! The master files that zones name, from disk: bounded, remembered for the watch, kept for quotes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sources::Sources;
use crate::regular;

/// Of all zone files of a configuration together: half a gigabyte of memory while they are read.
const MOST_BYTES: u64 = 256 << 20;

/// Of all zone files of a configuration together: a record takes up to a kilobyte of memory.
const MOST_RECORDS: usize = 2_000_000;

/// Reads master files.
#[derive(Debug)]
pub(super) struct ZoneFiles {
    /// Every file that was asked for, there or not.
    pub(super) paths: Vec<PathBuf>,
    pub(super) sources: Sources,
    bytes_left: u64,
    pub(super) records_left: usize,
}

impl ZoneFiles {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            paths: Vec::new(),
            sources,
            bytes_left: MOST_BYTES,
            records_left: MOST_RECORDS,
        }
    }

    /// The bytes of a file; an error says why not.
    pub(super) fn open(&mut self, path: &Path) -> Result<Arc<[u8]>, String> {
        self.paths.push(path.to_owned());
        let opened = regular::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|error| error.to_string())?;
        self.left_after(length)?;
        let mut bytes = Vec::new();
        // It may have grown.
        file.take(self.bytes_left + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes_left = self.left_after(length)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.sources.insert_master(path.into(), bytes.clone());
        Ok(bytes)
    }

    fn left_after(&self, length: u64) -> Result<u64, String> {
        self.bytes_left.checked_sub(length).ok_or_else(|| {
            let most = MOST_BYTES >> 20;
            format!("the zone files of a configuration have more than {most} MiB")
        })
    }
}
