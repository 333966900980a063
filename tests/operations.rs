//! Every command of `meridian` in `docs/operations.md`, as an operator would type it: one after the other, against a lab.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use support::{Lab, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What stands for something of the reader's, and what that is here.
const OF_THE_READER: [(&str, &str); 5] = [
    ("REGION", "us-east-1"),
    ("NAME", "www.lab.example"),
    ("ADDRESS", "203.178.141.1"),
    ("--service api", "--service www"),
    ("/etc/meridian", "CONFIG"),
];

/// The commands of the page's blocks that are about an edge, in their order.
fn commands() -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/operations.md")).unwrap();
    let typed = page.lines().filter_map(|line| line.strip_prefix("$ "));
    typed
        .filter(|typed| typed.starts_with("meridian "))
        .map(|typed| {
            let fill = |typed: String, (word, here): (&str, &str)| typed.replace(word, here);
            OF_THE_READER.into_iter().fold(typed.to_owned(), fill)
        })
        .collect()
}

#[test]
fn what_the_page_of_operations_tells_to_type_works_as_it_stands() {
    let lab = Lab::start();
    let admin = lab.address("admin").to_string();
    let folder = tempfile::tempdir().unwrap();
    symlink(
        env!("CARGO_BIN_EXE_meridian"),
        folder.path().join("meridian"),
    )
    .unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", folder.path().display());
    let config = Path::new(ROOT).join("config/minimal.yaml");
    let commands = commands();
    let of = |word: &str| commands.iter().filter(|typed| typed.contains(word)).count();
    assert!(
        of("meridian ") >= 20 && of("meridian metrics") >= 4,
        "{commands:?}"
    );
    for typed in commands {
        let typed = typed
            .replace("127.0.0.1:5303", &admin)
            .replace("127.0.0.1:9090", &admin)
            .replace("CONFIG", config.to_str().unwrap());
        // What finds nothing says so with its status; what is looked through must be there.
        let script = format!("{typed}\nexit ${{PIPESTATUS[0]}}");
        run(Command::new("bash")
            .args(["-c", &script])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("MERIDIAN_ADMIN", format!("http://{admin}")));
    }
    // They were done, and not only taken.
    let events = support::meridian()
        .args(["events", "--admin", &format!("http://{admin}")])
        .output();
    let told = String::from_utf8(events.unwrap().stdout).unwrap();
    for event in [
        ": new disks",
        "region eu-west-1 is drained over 10m",
        "region eu-west-1 is forced down until ",
        ": wrong answers, healthy probe",
        "region eu-west-1 is left to its probes again",
    ] {
        assert!(told.contains(event), "{event}\n{told}");
    }
}
