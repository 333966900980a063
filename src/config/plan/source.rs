//! Places in configuration files, and files that they name.

use std::path::PathBuf;
use std::sync::Arc;

/// A place in a configuration file, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAt {
    /// The file.
    pub file: Arc<std::path::Path>,
    /// Its line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

/// A file that the configuration names, resolved against the file that names it.
#[derive(Clone, Debug)]
pub struct FileRef {
    /// Where it is.
    pub path: PathBuf,
    /// Where it is named.
    pub at: SourceAt,
}

impl PartialEq for FileRef {
    /// The place of the mention does not matter: moving a line changes nothing.
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}
