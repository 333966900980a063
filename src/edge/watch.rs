//! Watches the files of the configuration: the kernel's word, debounced, with a poll as safety net.
//!
//! Folders are watched rather than files, so that renames and symlink swaps are seen. Whatever the
//! kernel says, only a change of what the files hold counts. It is not asked about each write: a log in
//! the same folder would wake the edge for every line. A file that was written is told of once it is closed.
//!
//! Whatever asks the file system does so on a thread that may wait, because one that hangs does not answer.

mod folders;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::control::{Control, Kind, Trouble};
use crate::regular;
use folders::folders_of;

/// Editors write in several steps; the last one counts.
const SETTLE: Duration = Duration::from_millis(100);

/// What has not settled by then is looked at all the same.
const MOST_SETTLE: Duration = Duration::from_secs(1);

/// The safety net, for file systems that do not tell.
const POLL: Duration = Duration::from_secs(5);

/// How long a look may take. What takes longer is a file system that hangs; it is looked at again when it answers.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// A file over this is known by its size and its times, since each look would read all of it.
const READ_WHOLE: u64 = 4 << 20;

/// Room for what the kernel tells at once, bytes.
const TOLD: usize = 4 << 10;

/// Watches files and folders.
pub(super) struct Watch {
    folders: Option<Folders>,
    stirred: mpsc::Receiver<()>,
    watched: Arc<Vec<PathBuf>>,
    /// What they held when they were last loaded; none: that was not done.
    seen: Option<Held>,
    /// One that somebody gave up on, and that may hang still: there is never more than one.
    looking: Option<JoinHandle<Look>>,
    /// When the last load began, in ms since 1970.
    load_began_ms: u64,
    control: Control,
}

/// A hash of what each file or folder holds, and of the names in it.
type Held = BTreeMap<PathBuf, u64>;

/// What the file system says of files and folders.
pub(super) struct Look {
    paths: Arc<Vec<PathBuf>>,
    seen: Held,
    /// Those whose changes are changes of theirs.
    folders: BTreeSet<PathBuf>,
}

/// What is held by what may have changed while it was read: something else than whatever is seen later.
const UNKNOWN: u64 = 0;

impl Look {
    pub(super) fn at(paths: Arc<Vec<PathBuf>>) -> Self {
        Self {
            seen: paths
                .iter()
                .map(|path| (path.clone(), fingerprint(path)))
                .collect(),
            folders: paths.iter().flat_map(|path| folders_of(path)).collect(),
            paths,
        }
    }

    /// The same right behind a load that began at this time, in ms since 1970.
    pub(super) fn behind_load(paths: Arc<Vec<PathBuf>>, began_ms: u64) -> Self {
        let mut look = Self::at(paths);
        for (path, held) in &mut look.seen {
            if was_written_since(path, began_ms) {
                *held = UNKNOWN;
            }
        }
        look
    }

    /// What was looked at before counts as it was then.
    pub(super) fn after(mut self, before: Self) -> Self {
        for (path, held) in before.seen {
            self.seen.entry(path).and_modify(|now| *now = held);
        }
        self
    }
}

/// The folders that the kernel tells of.
struct Folders {
    watches: Watches,
    by_path: BTreeMap<PathBuf, WatchDescriptor>,
}

impl Folders {
    /// None yet, and the way to say that something in one stirs.
    fn new(stir: mpsc::Sender<()>) -> io::Result<Self> {
        let told = Inotify::init()?.into_event_stream([0; TOLD])?;
        let watches = told.watches();
        tokio::spawn(pass_on(told, stir));
        Ok(Self {
            watches,
            by_path: BTreeMap::new(),
        })
    }

    /// Watches these from now on.
    fn follow(&mut self, folders: &BTreeSet<PathBuf>) {
        for (_, gone) in self
            .by_path
            .extract_if(.., |folder, _| !folders.contains(folder))
        {
            // It may have been deleted, which ends the watch as well.
            let _ = self.watches.remove(gone);
        }
        for folder in folders {
            self.add(folder);
        }
    }

    fn add(&mut self, folder: &Path) {
        let renamed = WatchMask::MOVED_FROM | WatchMask::MOVED_TO;
        let changed = WatchMask::CREATE | WatchMask::DELETE | WatchMask::CLOSE_WRITE;
        let mask = renamed | changed | WatchMask::ATTRIB | WatchMask::ONLYDIR;
        match self.watches.add(folder, mask) {
            Ok(descriptor) => {
                self.by_path.insert(folder.to_owned(), descriptor);
            }
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "not watched; polled");
            }
        }
    }
}

/// Stirs whenever the kernel tells of something, until nobody listens.
async fn pass_on(mut told: EventStream<[u8; TOLD]>, stir: mpsc::Sender<()>) {
    loop {
        tokio::select! {
            event = told.next() => match event {
                // Full means that somebody is awake already.
                Some(Ok(_)) => drop(stir.try_send(())),
                Some(Err(_)) | None => return,
            },
            () = stir.closed() => return,
        }
    }
}

impl Watch {
    /// Begins to watch what was looked at when it was loaded; what is to be told of it is told to `control`.
    pub(super) fn new(look: Look, control: Control) -> Self {
        let (stir, stirred) = mpsc::channel(1);
        // It may have changed since.
        let _ = stir.try_send(());
        let folders = Folders::new(stir).inspect_err(
            |error| tracing::warn!(%error, "files cannot be watched; they are polled"),
        );
        let mut watch = Self {
            folders: folders.ok(),
            stirred,
            watched: Arc::default(),
            seen: Some(look.seen.clone()),
            looking: None,
            load_began_ms: 0,
            control,
        };
        watch.follow(look);
        watch
    }

    /// Watches what was looked at from now on. What was watched before counts as it was before the load, during which it may
    /// have changed.
    pub(super) fn follow(&mut self, look: Look) {
        if let Some(folders) = &mut self.folders {
            folders.follow(&look.folders);
        }
        self.watched = look.paths;
        if let Some(before) = &mut self.seen {
            let new = look.seen.into_iter();
            *before = new
                .map(|(path, held)| {
                    let held = before.get(&path).copied().unwrap_or(held);
                    (path, held)
                })
                .collect();
        }
    }

    /// What the files hold has not been loaded: whatever it is, it is a change.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// What the files hold from now on is what is about to be loaded: a later change is one. Whether they can be read.
    pub(super) async fn about_to_load(&mut self) -> bool {
        self.load_began_ms = clock::unix_ms();
        let look = self.look(self.watched.clone()).await;
        self.seen = look.map(|look| look.seen);
        self.seen.is_some()
    }

    /// What the file system says of what was loaded; nothing, if it does not answer, which is told.
    pub(super) async fn look_behind_load(&mut self, paths: Arc<Vec<PathBuf>>) -> Option<Look> {
        let began_ms = self.load_began_ms;
        self.look_by(move || Look::behind_load(paths, began_ms))
            .await
    }

    async fn look(&mut self, paths: Arc<Vec<PathBuf>>) -> Option<Look> {
        self.look_by(move || Look::at(paths)).await
    }

    async fn look_by(&mut self, look: impl FnOnce() -> Look + Send + 'static) -> Option<Look> {
        let look = self.look_within(look).await;
        let trouble = look.is_none().then(|| {
            let seconds = LOOK_WITHIN.as_secs();
            format!(
                "files of the configuration cannot be read: the file system has not answered for {seconds} s; changes are not seen until it does"
            )
        });
        let troubles = self.control.troubles();
        if troubles.note(Trouble::FilesUnread, trouble.clone()) {
            match trouble {
                Some(message) => self.control.warn(Kind::Reload, message).await,
                None => {
                    let message = "files of the configuration can be read again".to_owned();
                    self.control.tell(Kind::Reload, message).await;
                }
            }
        }
        look
    }

    async fn look_within(&mut self, look: impl FnOnce() -> Look + Send + 'static) -> Option<Look> {
        let deadline = Instant::now() + LOOK_WITHIN;
        if let Some(earlier) = &mut self.looking {
            // It may have begun before what it is now asked about.
            let _ = timeout_at(deadline, earlier).await.ok()?;
            self.looking = None;
        }
        let looking = tokio::task::spawn_blocking(look);
        let look = timeout_at(deadline, self.looking.insert(looking))
            .await
            .ok()?;
        self.looking = None;
        look.ok()
    }

    /// Returns when what the files hold has changed and settled.
    pub(super) async fn changed(&mut self) {
        loop {
            // Either wakes; the sender lives as long as the kernel tells, and without it there is the poll.
            if let Ok(Some(())) = tokio::time::timeout(POLL, self.stirred.recv()).await {
                let settling = async {
                    while tokio::time::timeout(SETTLE, self.stirred.recv())
                        .await
                        .is_ok_and(|stir| stir.is_some())
                    {}
                };
                // Somebody else's file in the folder may never settle.
                let _ = tokio::time::timeout(MOST_SETTLE, settling).await;
            }
            let look = self.look(self.watched.clone()).await;
            if let Some(look) = look.filter(|look| Some(&look.seen) != self.seen.as_ref()) {
                self.seen = Some(look.seen);
                return;
            }
            if self.folders.is_none() {
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

const YAML: [&str; 2] = ["yaml", "yml"];

/// The halves of a DNSSEC key.
const KEY: [&str; 2] = ["key", "private"];

/// A hash of name and content; a folder stands for the YAML files and the keys in it.
fn fingerprint(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    if path.is_dir() {
        let mut files: Vec<PathBuf> = files_in(path, &[YAML, KEY].concat()).collect();
        files.sort();
        for file in files {
            hash_file(&file, &mut hasher);
        }
    } else {
        hash_file(path, &mut hasher);
    }
    hasher.finish()
}

/// The files of a folder that are read and end so.
fn files_in(folder: &Path, extensions: &[&str]) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let files = files.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|file| {
        let name = file.file_name().unwrap_or_default();
        let extension = file.extension().unwrap_or_default();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        !is_hidden && extensions.iter().any(|known| extension == *known)
    })
}

/// Whether a file was, or one of a folder, or is gone. Keys do not count: a load may make them.
fn was_written_since(path: &Path, began_ms: u64) -> bool {
    if path.is_dir() {
        return files_in(path, &YAML).any(|file| was_written_since(&file, began_ms));
    }
    let is_new = |file: io::Result<Metadata>| {
        file.map_or(true, |file| {
            let ms = file.ctime() * 1_000 + file.ctime_nsec() / 1_000_000;
            u64::try_from(ms).is_ok_and(|written_ms| written_ms > began_ms)
        })
    };
    is_new(std::fs::metadata(path)) || is_new(std::fs::symlink_metadata(path))
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    let metadata = std::fs::metadata(path).ok();
    let large = metadata.filter(|metadata| metadata.len() > READ_WHOLE);
    match large {
        Some(file) => (file.ino(), file.len(), file.mtime(), file.mtime_nsec()).hash(hasher),
        None => regular::read(path).ok().hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::time::{interval, sleep};

    use super::*;

    fn nobody() -> Control {
        Control::new().0
    }

    fn watch<const N: usize>(paths: [PathBuf; N]) -> Watch {
        Watch::new(Look::at(Arc::new(paths.to_vec())), nobody())
    }

    /// A file that has changed, and how to say that something in its folder stirs.
    fn changed_file(folder: &Path) -> (Watch, mpsc::Sender<()>) {
        let file = folder.join("edge.yaml");
        std::fs::write(&file, "before").unwrap();
        let mut watch = watch([file.clone()]);
        let (stir, stirred) = mpsc::channel(1);
        (watch.folders, watch.stirred) = (None, stirred);
        std::fs::write(&file, "after").unwrap();
        (watch, stir)
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_counts_a_tenth_of_a_second_after_the_last_stir() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, stir) = changed_file(folder.path());
        let began = Instant::now();
        let editor = async {
            for _ in 0..3 {
                stir.send(()).await.unwrap();
                sleep(Duration::from_millis(60)).await;
            }
            sleep(POLL).await;
        };
        tokio::select! {
            () = watch.changed() => {}
            () = editor => panic!("the change was not seen"),
        }
        assert_eq!(began.elapsed().as_millis(), 2 * 60 + 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_never_settles_is_looked_at_after_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, stir) = changed_file(folder.path());
        let began = Instant::now();
        let restless = async {
            let mut writes = interval(Duration::from_millis(50));
            while began.elapsed() < POLL {
                writes.tick().await;
                // Full: nobody has looked since.
                let _ = stir.try_send(());
            }
        };
        tokio::select! {
            () = watch.changed() => {}
            () = restless => panic!("the change was not seen"),
        }
        assert_eq!(began.elapsed().as_millis(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_nobody_tells_of_is_found_by_the_poll() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.yaml");
        std::fs::write(&file, "before").unwrap();
        let mut watch = watch([file.clone()]);
        watch.folders = None;
        let none = tokio::time::timeout(POLL * 4, watch.changed()).await;
        assert!(none.is_err(), "nothing has changed");
        std::fs::write(&file, "after").unwrap();
        let soon = tokio::time::timeout(POLL * 4, watch.changed()).await;
        assert!(soon.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_during_a_load_that_names_other_files_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let [edge, zone] = ["edge.yaml", "a.zone"].map(|name| folder.path().join(name));
        for file in [&edge, &zone] {
            std::fs::write(file, "before").unwrap();
        }
        let mut watch = watch([edge.clone()]);
        watch.folders = None;
        assert!(watch.about_to_load().await);
        std::fs::write(&edge, "mended while it was loaded").unwrap();
        let look = watch.look_behind_load(Arc::new(vec![edge, zone])).await;
        let look = look.unwrap();
        watch.follow(look);
        let soon = tokio::time::timeout(POLL * 4, watch.changed()).await;
        assert!(soon.is_ok());
        let none = tokio::time::timeout(POLL * 4, watch.changed()).await;
        assert!(none.is_err(), "the other file is as it was");
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_while_an_edge_was_started_is_a_change_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.yaml");
        std::fs::write(&file, "before").unwrap();
        let paths = Arc::new(vec![file.clone()]);
        let mut edited_later = watch([file.clone()]);
        std::fs::write(&file, "after").unwrap();
        let written_ms = u64::try_from(std::fs::metadata(&file).unwrap().ctime()).unwrap() * 1_000;
        // Whether what was loaded is what was there before it was written, or behind: nobody can tell.
        let edited_early = Watch::new(Look::behind_load(paths.clone(), written_ms - 1), nobody());
        let untouched = Look::behind_load(paths, written_ms + 2_000);
        let gone = Arc::new(vec![folder.path().join("gone.zone")]);
        let gone = Watch::new(Look::behind_load(gone, written_ms + 2_000), nobody());
        // What was looked at before it was loaded needs no times.
        let before = Look::at(Arc::new(vec![file.clone()]));
        let early = Look::behind_load(Arc::new(vec![file.clone()]), written_ms - 1);
        let known = Watch::new(early.after(before), nobody());
        let untouched = Watch::new(untouched, nobody());
        for (mut watch, is_changed) in [
            (edited_early, true),
            (gone, true),
            (untouched, false),
            (known, false),
        ] {
            let soon = tokio::time::timeout(POLL / 2, watch.changed()).await;
            assert_eq!(soon.is_ok(), is_changed);
            assert!(
                tokio::time::timeout(POLL * 4, watch.changed())
                    .await
                    .is_err()
            );
        }
        assert!(
            tokio::time::timeout(POLL / 2, edited_later.changed())
                .await
                .is_ok()
        );
    }

    #[test]
    fn a_large_file_is_known_by_its_size_and_its_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.zone");
        let write = |length: u64, seconds: u64| {
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(length).unwrap();
            let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
            fingerprint(&path)
        };
        assert_eq!(write(READ_WHOLE, 1), write(READ_WHOLE, 2));
        assert_ne!(write(READ_WHOLE + 1, 1), write(READ_WHOLE + 1, 2));
        assert_ne!(write(READ_WHOLE + 1, 1), write(READ_WHOLE + 2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_write_beside_it_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("edge.yaml"), "same").unwrap();
        let mut watch = watch([folder.path().to_owned()]);
        watch.folders = None;
        std::fs::write(folder.path().join("access.log"), "a line").unwrap();
        std::fs::write(folder.path().join(".hidden.yaml"), "hidden").unwrap();
        let none = tokio::time::timeout(POLL * 4, watch.changed()).await;
        assert!(none.is_err());
    }

    #[tokio::test]
    async fn the_kernel_tells_of_files_that_are_closed_and_of_no_single_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = std::fs::File::create(folder.path().join("access.log")).unwrap();
        let mut told = Inotify::init()
            .unwrap()
            .into_event_stream([0; TOLD])
            .unwrap();
        let mut folders = Folders {
            watches: told.watches(),
            by_path: BTreeMap::new(),
        };
        folders.follow(&BTreeSet::from([folder.path().to_owned()]));
        for _ in 0..10 {
            log.write_all(b"a line\n").unwrap();
        }
        std::fs::write(folder.path().join("edge.yaml"), "written").unwrap();
        std::fs::rename(
            folder.path().join("edge.yaml"),
            folder.path().join("moved.yaml"),
        )
        .unwrap();
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "moved.yaml") {
            names.push(told.next().await.unwrap().unwrap().name.unwrap());
        }
        // Created, closed, and moved from there to here.
        assert_eq!(names, ["edge.yaml", "edge.yaml", "edge.yaml", "moved.yaml"]);
    }
}
