//! Regular files: the only ones whose reading ends. A pipe or a device in their place might hold up its reader for ever.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file to read it; an error if it is a pipe, a device or a folder. That there is none is said where nothing has the
/// name: a link to nothing was put there by somebody, and what it should lead to may come back.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Before it is opened: that is what a pipe holds up.
    let metadata = std::fs::metadata(path).map_err(|error| match std::fs::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => {
            io::Error::other(format!("a link to {}, where nothing is", target.display()))
        }
        _ => error,
    })?;
    if metadata.is_file() {
        File::open(path)
    } else {
        Err(io::Error::other("not a file"))
    }
}

/// All that a file holds.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open(path)?, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [&*pipe, folder.path(), Path::new("/dev/zero")] {
            assert_eq!(read(path).unwrap_err().to_string(), "not a file");
        }
        let (link, loose) = (folder.path().join("link"), folder.path().join("gone"));
        std::os::unix::fs::symlink(&loose, &link).unwrap();
        let error = read(&link).unwrap_err();
        let expected = format!("a link to {}, where nothing is", loose.display());
        assert_eq!(error.to_string(), expected);
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(read(&loose).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(folder.path().join("file"), "text").unwrap();
        assert_eq!(read(&folder.path().join("file")).unwrap(), b"text");
    }
}
