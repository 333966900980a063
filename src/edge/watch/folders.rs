//! The folders in which a change of a path shows.

use std::path::{Path, PathBuf};

/// Links on the way to a file that are watched: as many as Linux follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The folder of a path, those of the links on the way to it, and that of what they lead to: a swapped link shows in the
/// second, a rewritten file in the last.
pub(super) fn folders_of(path: &Path) -> Vec<PathBuf> {
    let own = if path.is_dir() {
        path.to_owned()
    } else {
        parent(path)
    };
    let mut folders = vec![own];
    let mut reached = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some((link, target)) = link_of(&reached) else {
            break;
        };
        folders.push(parent(&link));
        reached = target;
    }
    if !reached.is_dir() {
        folders.push(parent(&reached));
    }
    folders
}

/// The last link on the way to a path, and where the path leads by it.
fn link_of(path: &Path) -> Option<(PathBuf, PathBuf)> {
    path.ancestors().find_map(|link| {
        let target = std::fs::read_link(link).ok()?;
        let rest = path.strip_prefix(link).ok()?;
        let reached = parent(link).join(target);
        let reached = match rest.as_os_str().is_empty() {
            true => reached,
            false => reached.join(rest),
        };
        Some((link.to_owned(), reached))
    })
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_link_on_the_way_to_a_file_or_to_a_folder_is_watched_where_it_is_swapped() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("releases/one/zones")).unwrap();
        std::fs::create_dir(at("zones")).unwrap();
        std::os::unix::fs::symlink("releases/one", at("current")).unwrap();
        std::os::unix::fs::symlink(at("current/zones"), at("zones/live")).unwrap();
        let of = |path: &Path| BTreeSet::from_iter(folders_of(path));
        let file = at("zones/live/a.zone");
        let links = [at("zones/live"), at("zones"), root.path().to_owned()];
        let real = at("releases/one/zones");
        assert_eq!(of(&file), links.iter().cloned().chain([real]).collect());
        assert_eq!(of(&at("zones/live")), links.into());
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert_eq!(of(&at("loop")), [root.path().to_owned()].into());
    }
}
