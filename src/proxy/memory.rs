//! Whether the process holds as much memory as it may: then new requests are shed, before the system ends the process.
//!
//! What slow clients hold is bounded for each of them, and so is how many there are; both together may be more than
//! the machine has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::context::Context;
use crate::control::Kind;

/// How often it is measured.
const EVERY: Duration = Duration::from_millis(100);

/// The share of what there is that may be held, if nothing is configured. Hundredths.
const USUAL: u64 = 80;

/// The share of what may be held, below which nothing is shed any more. Hundredths.
const RELIEF: u64 = 95;

/// Bytes that mimalloc takes a page for that holds nothing else.
const OF_A_PAGE: usize = 1 << 20;

/// Where Linux tells of the process and of control groups.
const ROOT: &str = "/";

/// Whether as much is held as may be.
#[derive(Debug, Default)]
pub(super) struct Memory(AtomicBool);

impl Memory {
    /// Whether new requests are shed.
    pub(super) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Measures the process for as long as the runtime runs.
pub(super) async fn watch(context: Arc<Context>) {
    let there_is = available(Path::new(ROOT));
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        give_back();
        let limits = context.live.load().snapshot.plan.listen.limits;
        let most = most(limits.memory, there_is);
        // Where nothing is too much nothing is measured.
        let held = (most > 0).then(|| held(Path::new(ROOT)));
        let held = held.flatten().unwrap_or(0);
        let was_full = context.memory.is_full();
        let is_full = is_full(was_full, held, most);
        context.memory.0.store(is_full, Ordering::Relaxed);
        if is_full && !was_full {
            let message = format!(
                "{} MiB of memory are held, over listen.limits.memory of {} MiB: new requests are shed",
                held >> 20,
                most >> 20
            );
            context.control.warn(Kind::State, message).await;
        } else if was_full && !is_full {
            let message = "memory is below listen.limits.memory again: no request is shed for it";
            context.control.tell(Kind::State, message.to_owned()).await;
        }
    }
}

/// Has the allocator return to the system what has been free for a second.
///
/// mimalloc does so only while it gives back whole pages, of which it takes none as long as nothing but small requests come: what
/// a burst left behind would count as held, and the requests that are shed for it are small. A block of a page of its own, which
/// nobody writes to, is one.
fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(OF_A_PAGE)));
}

/// Bytes that may be held, as configured or of what there is; 0: any number.
fn most(configured: Option<u64>, there_is: Option<u64>) -> u64 {
    let usual = || there_is.map(|bytes| bytes / 100 * USUAL);
    configured.or_else(usual).unwrap_or(0)
}

/// Whether that is too much; 0: nothing is.
fn is_full(was_full: bool, held: u64, most: u64) -> bool {
    let relief = most / 100 * RELIEF;
    most > 0 && held > if was_full { relief } else { most }
}

/// Bytes that the process holds for itself: what could be read again from files does not count (`RssAnon` of proc(5)).
fn held(root: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(root.join("proc/self/status")).ok()?;
    kib(&status, "RssAnon:")
}

/// Bytes that there are for the process: those of the machine, or of a control group that it is in.
fn available(root: &Path) -> Option<u64> {
    let machine = std::fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|text| kib(&text, "MemTotal:"));
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|group| of_group(root, group));
    limits.chain(machine).min()
}

/// The limits of a group, of a line of `/proc/self/cgroup`, and of those that it is in. Of cgroups(7) in both versions; in a
/// container the path may be that outside, and the group's own files at the top.
fn of_group(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (folder, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers
            .split(',')
            .any(|controller| controller == "memory") =>
        {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let path = PathBuf::from(path.trim_start_matches('/'));
    let texts = path.ancestors().map(|group| {
        let file = root.join(folder).join(group).join(file);
        std::fs::read_to_string(file).unwrap_or_default()
    });
    // `max` is no number: no limit.
    texts.filter_map(|text| text.trim().parse().ok()).collect()
}

/// The bytes of a line that tells kB, as the kernel calls 1,024 bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_four_fifths_of_what_there_is_may_be_held() {
        assert_eq!(most(None, Some(1_000)), 800);
        assert_eq!(most(Some(7), Some(1_000)), 7);
        assert_eq!(most(Some(0), Some(1_000)), 0, "said to be no limit");
        assert_eq!(most(None, None), 0, "nobody knows what there is");
    }

    #[test]
    fn what_is_over_the_limit_is_full_until_a_twentieth_of_it_is_free() {
        for (was_full, held, expected) in [
            (false, 1_000, false),
            (false, 1_001, true),
            (true, 951, true),
            (true, 950, false),
        ] {
            assert_eq!(is_full(was_full, held, 1_000), expected, "{held}");
        }
        assert!(!is_full(true, u64::MAX, 0), "0 is no limit");
    }

    /// A system of these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 7 kB\n");

    #[test]
    fn the_least_limit_of_the_machine_and_of_control_groups_counts() {
        let v2 = |own: &'static str, above: &'static str| {
            [
                MACHINE,
                ("proc/self/cgroup", "0::/system.slice/meridian.service\n"),
                (
                    "sys/fs/cgroup/system.slice/meridian.service/memory.max",
                    own,
                ),
                ("sys/fs/cgroup/system.slice/memory.max", above),
            ]
        };
        let least = |files: &[(&str, &str)]| available(system(files).path());
        assert_eq!(least(&[MACHINE]), Some(2_048 << 10));
        assert_eq!(least(&v2("max\n", "max\n")), Some(2_048 << 10));
        assert_eq!(least(&v2("700000\n", "max\n")), Some(700_000));
        assert_eq!(least(&v2("700000\n", "600000\n")), Some(600_000));
        let v1 = [
            MACHINE,
            (
                "proc/self/cgroup",
                "5:devices:/a\n4:cpu,memory:/of/host\n0::/\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "500000\n"),
        ];
        assert_eq!(least(&v1), Some(500_000));
        assert_eq!(least(&[]), None);
    }

    #[test]
    fn what_this_process_holds_is_known() {
        let before = held(Path::new(ROOT)).unwrap();
        let more = vec![1_u8; 64 << 20];
        let after = held(Path::new(ROOT)).unwrap();
        assert!(after > before + (32 << 20), "{before} {after}");
        drop(more);
    }
}
