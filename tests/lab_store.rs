//! The lab's regions as a store that takes writes everywhere: what they agree on in the end, after what.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Lab, admin, meridian, wait_until};

const VIRGINIA: &str = "us-east-1";
const IRELAND: &str = "eu-west-1";
const TOKYO: &str = "ap-northeast-1";
const ALL: [&str; 3] = [VIRGINIA, IRELAND, TOKYO];

/// Without clients of its own, whose writes would count.
fn lab() -> Lab {
    Lab::start_with(&["--no-sample"])
}

fn part_all(lab: &Lab) {
    for (one, other) in [(VIRGINIA, IRELAND), (VIRGINIA, TOKYO), (IRELAND, TOKYO)] {
        lab.command(&format!("partition {one} {other}"));
    }
}

#[track_caller]
fn write(lab: &Lab, region: &str, method: &str, path: &str, body: &str) -> Answer {
    let mut arguments = vec!["-X", method];
    if !body.is_empty() {
        arguments.extend(["-d", body]);
    }
    let answer = lab.at(region, path, &arguments);
    assert!([200, 201].contains(&answer.status), "{}", answer.head);
    assert!(!answer.header("meridian-committed").is_empty());
    answer
}

fn read(lab: &Lab, region: &str, path: &str) -> Value {
    serde_json::from_str(&lab.at(region, path, &[]).body).unwrap()
}

/// Waits until every region says this of a path.
#[track_caller]
fn all_say(lab: &Lab, path: &str, key: &str, expected: &Value) {
    for region in ALL {
        let agrees = wait_until(|| read(lab, region, path)[key] == *expected);
        assert!(
            agrees,
            "{region}: {} is not {expected}",
            read(lab, region, path)
        );
    }
}

fn applied(lab: &Lab, region: &str) -> String {
    lab.at(region, "/health", &[])
        .header("meridian-applied")
        .to_owned()
}

#[test]
fn a_partition_that_heals_leaves_all_regions_alike_with_both_sides_versions() {
    let lab = lab();
    part_all(&lab);
    for region in ALL {
        write(&lab, region, "PUT", "/kv/own-of-each", region);
        write(
            &lab,
            region,
            "PUT",
            &format!("/kv/only-in-{region}"),
            region,
        );
    }
    for region in ALL {
        assert_eq!(read(&lab, region, "/kv/own-of-each")["value"], region);
    }
    lab.command("heal");
    for region in ALL {
        all_say(
            &lab,
            &format!("/kv/only-in-{region}"),
            "value",
            &json!(region),
        );
    }
    all_say(&lab, "/kv/own-of-each", "siblings", &json!(3));
    // The last written is shown, by clocks that are right here.
    all_say(&lab, "/kv/own-of-each", "value", &json!(TOKYO));
    let shown = read(&lab, VIRGINIA, "/kv/own-of-each?siblings");
    let of = |key: &str| -> Vec<String> {
        let siblings = shown["siblings"].as_array().unwrap();
        siblings
            .iter()
            .map(|one| one[key].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("value"), [TOKYO, IRELAND, VIRGINIA], "the winner first");
    assert_eq!(of("written_by"), of("value"));
}

#[test]
fn a_write_that_names_the_versions_it_has_seen_merges_them() {
    let lab = lab();
    lab.command(&format!("partition {VIRGINIA} {IRELAND}"));
    write(&lab, VIRGINIA, "PUT", "/kv/cart", "milk");
    let before = lab.at(VIRGINIA, "/kv/cart?siblings", &[]);
    write(&lab, IRELAND, "PUT", "/kv/cart", "bread");
    lab.command("heal");
    all_say(&lab, "/kv/cart", "siblings", &json!(2));

    let both = lab.at(VIRGINIA, "/kv/cart?siblings", &[]);
    let named = |seen: &Answer| format!("Lab-Seen: {}", seen.header("lab-seen"));
    let put = |value: &str, seen: &str| {
        let arguments = ["-X", "PUT", "-d", value, "-H", seen];
        lab.at(VIRGINIA, "/kv/cart", &arguments)
    };
    // Whoever has seen the first alone does not replace the second.
    assert_eq!(put("milk and eggs", &named(&before)).status, 200);
    all_say(&lab, "/kv/cart", "siblings", &json!(2));
    assert_eq!(put("milk and bread", &named(&both)).status, 200);
    let beside = read(&lab, VIRGINIA, "/kv/cart?siblings");
    let values: Vec<_> = beside["siblings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["value"])
        .collect();
    assert_eq!(values, ["milk and bread", "milk and eggs"]);
    let all = lab.at(VIRGINIA, "/kv/cart?siblings", &[]);
    assert_eq!(put("milk, bread and eggs", &named(&all)).status, 200);
    all_say(&lab, "/kv/cart", "value", &json!("milk, bread and eggs"));
    all_say(&lab, "/kv/cart", "siblings", &Value::Null);

    let unknown = put("from the future", &format!("Lab-Seen: {VIRGINIA}=99"));
    assert_eq!(unknown.status, 409, "{}", unknown.body);
    let nonsense = put("nonsense", "Lab-Seen: nonsense");
    assert_eq!(nonsense.status, 400, "{}", nonsense.body);
}

#[test]
fn counts_made_apart_add_up() {
    let lab = lab();
    part_all(&lab);
    for (region, by) in [(VIRGINIA, "5"), (IRELAND, "-2"), (TOKYO, "")] {
        write(&lab, region, "POST", "/counters/visits", by);
        write(&lab, region, "POST", "/counters/visits", by);
    }
    assert_eq!(read(&lab, VIRGINIA, "/counters/visits")["value"], 10);
    lab.command("heal");
    all_say(&lab, "/counters/visits", "value", &json!(8));
    let refused = lab.at(VIRGINIA, "/counters/visits", &["-d", "many"]);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(lab.at(VIRGINIA, "/counters/none", &[]).status, 404);
}

#[test]
fn an_addition_to_a_set_wins_over_a_removal_made_at_the_same_time() {
    let lab = lab();
    for member in ["both", "removed"] {
        write(&lab, VIRGINIA, "PUT", &format!("/sets/tags/{member}"), "");
    }
    all_say(&lab, "/sets/tags", "members", &json!(["both", "removed"]));
    part_all(&lab);
    write(&lab, IRELAND, "DELETE", "/sets/tags/both", "");
    write(&lab, IRELAND, "DELETE", "/sets/tags/removed", "");
    write(&lab, TOKYO, "PUT", "/sets/tags/both", "");
    assert_eq!(read(&lab, IRELAND, "/sets/tags")["members"], json!([]));
    lab.command("heal");
    all_say(&lab, "/sets/tags", "members", &json!(["both"]));
    let twice = lab.at(VIRGINIA, "/sets/tags/removed", &["-X", "DELETE"]);
    assert_eq!(twice.status, 404, "{}", twice.body);
}

#[test]
fn a_slow_clock_loses_no_write_that_has_seen_the_other_and_a_fast_one_wins_conflicts() {
    let lab = lab();
    lab.command(&format!("skew {VIRGINIA} +10m"));
    lab.command(&format!("skew {IRELAND} -10m"));
    write(&lab, VIRGINIA, "PUT", "/kv/page", "first");
    all_say(&lab, "/kv/page", "value", &json!("first"));
    write(&lab, IRELAND, "PUT", "/kv/page", "second");
    all_say(&lab, "/kv/page", "value", &json!("second"));

    part_all(&lab);
    write(
        &lab,
        VIRGINIA,
        "PUT",
        "/kv/other",
        "earlier, by a fast clock",
    );
    write(&lab, TOKYO, "PUT", "/kv/other", "later, by a right one");
    lab.command("heal");
    all_say(&lab, "/kv/other", "siblings", &json!(2));
    all_say(
        &lab,
        "/kv/other",
        "value",
        &json!("earlier, by a fast clock"),
    );
    let state = lab.command("state");
    assert!(
        state.contains("(clock +600000ms)") && state.contains("(clock -600000ms)"),
        "{state}"
    );
}

#[test]
fn a_region_restored_from_a_backup_announces_its_new_epoch_and_loses_what_nobody_else_has() {
    let lab = lab();
    write(&lab, VIRGINIA, "PUT", "/kv/kept", "1");
    all_say(&lab, "/kv/kept", "value", &json!("1"));
    let said = lab.command(&format!("backup {VIRGINIA}"));
    assert!(said.contains("us-east-1=1"), "{said}");
    write(&lab, VIRGINIA, "PUT", "/kv/passed-on", "2");
    all_say(&lab, "/kv/passed-on", "value", &json!("2"));
    part_all(&lab);
    write(&lab, VIRGINIA, "PUT", "/kv/lost", "3");
    let said = lab.command(&format!("rewind {VIRGINIA}"));
    assert!(said.contains("us-east-1=1:0@0:1"), "{said}");
    assert_eq!(applied(&lab, VIRGINIA), "us-east-1=1:0@0:1");
    assert_eq!(lab.at(VIRGINIA, "/kv/passed-on", &[]).status, 404);
    let require = ["-H", "Meridian-Require: us-east-1=1"];
    assert_eq!(lab.at(VIRGINIA, "/kv/kept", &require).status, 200);
    let require = ["-H", "Meridian-Require: us-east-1=3"];
    assert_eq!(lab.at(VIRGINIA, "/kv/kept", &require).status, 409);

    lab.command("heal");
    all_say(&lab, "/kv/passed-on", "value", &json!("2"));
    for region in ALL {
        assert_eq!(lab.at(region, "/kv/lost", &[]).status, 404, "{region}");
    }
    let after = write(&lab, VIRGINIA, "PUT", "/kv/after", "4");
    assert_eq!(after.header("meridian-committed"), "1:1");
    all_say(&lab, "/kv/after", "epoch", &json!(1));
    for region in ALL {
        let says = || applied(&lab, region).contains("us-east-1=1:1@0:2");
        assert!(wait_until(says), "{region}: {}", applied(&lab, region));
    }
    assert!(lab.command("state").contains("us-east-1=1:1@0:2"));
}

#[test]
fn a_region_that_silently_runs_backwards_gives_positions_out_twice_and_the_edge_notices() {
    let lab = lab();
    lab.command(&format!("backup {VIRGINIA}"));
    for value in ["1", "2"] {
        write(&lab, VIRGINIA, "PUT", "/kv/key", value);
    }
    all_say(&lab, "/kv/key", "value", &json!("2"));
    let events = || {
        let url = format!("http://{}", lab.address("admin"));
        let mut command = meridian();
        let said = support::run(command.args(["events", "--admin", &url])).stdout;
        String::from_utf8(said).unwrap()
    };
    // The edge must have seen the positions that are taken back.
    let seen = || {
        let (_, status) = admin(lab.address("admin"), "GET", "/api/v1/status", "");
        status["regions"][0]["services"][0]["applied"][VIRGINIA] == "2"
    };
    assert!(wait_until(seen));
    lab.command(&format!("rewind {VIRGINIA} --silently"));
    let again = write(&lab, VIRGINIA, "PUT", "/kv/other", "3");
    assert_eq!(again.header("meridian-committed"), "1", "given out before");
    assert!(
        wait_until(|| events().contains("backwards")),
        "{}",
        events()
    );
    assert_eq!(lab.at(IRELAND, "/kv/other", &[]).status, 404);
}

#[test]
fn a_write_that_a_crash_took_is_told_as_lost_once_and_a_durable_one_is_not() {
    let lab = lab();
    part_all(&lab);
    let home = format!("Lab-Home: {VIRGINIA}");
    let put = |key: &str| {
        let path = format!("/kv/{key}");
        let answer = lab.curl(&path, &["-X", "PUT", "-d", "1", "-H", &home]);
        assert_eq!(answer.status, 201, "{answer:?}");
        format!("Meridian-Token: {}", answer.header("meridian-token"))
    };
    let kept = put("kept");
    assert!(lab.command(&format!("crash {VIRGINIA}")).contains("lost 0"));
    let read = lab.curl("/kv/kept", &["-H", &kept]);
    assert_eq!(read.status, 200, "{read:?}");
    assert_ne!(read.header("meridian-consistency"), "lost");

    lab.command(&format!("flush {VIRGINIA} 1h"));
    let token = put("lost");
    let said = lab.command(&format!("crash {VIRGINIA}"));
    assert!(said.contains("lost 1 acknowledged"), "{said}");
    assert!(said.contains("us-east-1=1:0@0:1"), "{said}");
    let read = || lab.curl("/kv/lost", &["-H", &token]);
    let mut told = read();
    let is_told = || {
        // It is told once, by the first answer too if the edge knows of the crash by then.
        if told.header("meridian-consistency") != "lost" {
            told = read();
        }
        told.header("meridian-consistency") == "lost"
    };
    assert!(wait_until(is_told), "{told:?}");
    assert_eq!(told.status, 404);
    let token = format!("Meridian-Token: {}", told.header("meridian-token"));
    let again = lab.curl("/kv/lost", &["-H", &token]);
    assert_ne!(again.header("meridian-consistency"), "lost", "{again:?}");
    assert!(lab.command("state").contains("(crashes 2, lost 1)"));
}

#[test]
fn one_link_lags_and_the_others_do_not() {
    let lab = lab();
    for region in ALL {
        lab.command(&format!("lag {region} 0s"));
    }
    lab.command(&format!("lag {VIRGINIA} {TOKYO} 1h"));
    write(&lab, VIRGINIA, "PUT", "/kv/west", "1");
    write(&lab, IRELAND, "PUT", "/kv/mid", "2");
    let has = |region: &str, key: &str| lab.at(region, &format!("/kv/{key}"), &[]).status == 200;
    assert!(wait_until(|| has(IRELAND, "west")
        && has(TOKYO, "mid")
        && has(VIRGINIA, "mid")));
    assert!(!has(TOKYO, "west"));
    assert!(lab.command("state").contains("(3600000ms from us-east-1)"));
    lab.command(&format!("lag {VIRGINIA} {TOKYO} 0s"));
    assert!(wait_until(|| has(TOKYO, "west")));
}

#[test]
fn commands_that_are_none_are_refused_with_what_would_be_right() {
    let lab = lab();
    let control = lab.control().to_string();
    let check = |words: &str, code: i32, hint: &str| {
        let mut command = meridian();
        command
            .arg("lab")
            .args(words.split(' '))
            .args(["--control", &control]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        assert!(said.contains(hint), "{words}: {said}");
    };
    check("lag us-east-1 soon", 2, "250ms");
    check("lag us-east-1 eu-west-1 soon", 2, "250ms");
    check("lag us-east-1", 2, "LAG");
    check("lag us-east-1 us-east-1 1s", 1, "two regions");
    check("lag us-east-1 mars 1s", 1, "eu-west-1");
    check("skew us-east-1 fast", 2, "250ms");
    check("skew us-east-1 -2h", 1, "3600s");
    check("rewind us-east-1", 1, "meridian lab backup us-east-1");
    check("backup mars", 1, "eu-west-1");
    check("crash mars", 1, "eu-west-1");
    check("flush us-east-1 soon", 2, "250ms");
    check("flush us-east-1 2h", 1, "3600s");
}

fn stale_reads(lab: &Lab) -> Value {
    let (status, told) = admin(lab.address("admin"), "GET", "/api/v1/lab", "");
    assert_eq!(status, 200, "{told}");
    told["stale_reads"].clone()
}

#[test]
fn the_dashboard_s_numbers_tell_what_a_lag_costs_without_the_edge_and_not_with_it() {
    let lab = Lab::start();
    for region in ALL {
        lab.command(&format!("lag {region} 2s"));
    }
    let counts = |side: &str, what: &str| stale_reads(&lab)[side][what].as_u64().unwrap();
    assert!(wait_until(
        || counts("naive", "stale") >= 4 && counts("meridian", "reads") >= 4
    ));
    assert_eq!(counts("meridian", "stale"), 0, "{}", stale_reads(&lab));
    assert_eq!(counts("meridian", "failed"), 0, "{}", stale_reads(&lab));
    for file in ["/", "/dashboard/lab.js"] {
        assert_eq!(
            admin(lab.address("admin"), "GET", file, "").0,
            200,
            "{file}"
        );
    }
}

#[test]
fn there_are_no_numbers_without_the_sample() {
    let lab = lab();
    let (status, told) = admin(lab.address("admin"), "GET", "/api/v1/lab", "");
    assert_eq!(
        (status, &told["error"]),
        (404, &json!("this edge runs in no lab"))
    );
}
