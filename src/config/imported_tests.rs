//! What a file of measured round trips may be, and what is told of one that may not.

use super::*;
use crate::config::load_text;

fn plan() -> Plan {
    plan_with("geo: { asn_database: asn.mmdb }")
}

fn plan_with(geo: &str) -> Plan {
    let yaml = "regions: { us-east-1: { addresses: [192.0.2.1] }, eu-west-1: { addresses: [192.0.2.2] }, ap-northeast-1: { addresses: [192.0.2.3] } }
services: { www: { hosts: [www.example.com] } }";
    let yaml = format!("{yaml}\n{geo}\n");
    load_text("edge.yaml", &yaml, &|_| None).unwrap().plan
}

fn import(text: &str) -> (Result<Vec<String>, Vec<String>>, Vec<String>) {
    import_by(&plan(), text)
}

fn import_by(plan: &Plan, text: &str) -> (Result<Vec<String>, Vec<String>>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("measured");
    std::fs::write(&path, text).unwrap();
    let at = SourceAt {
        file: Path::new("edge.yaml").into(),
        line: 1,
        column: 1,
    };
    let told = |problems: Vec<Problem>| {
        let told = problems.into_iter().map(|problem| {
            let at = problem.at.unwrap();
            format!("{}:{}: {}", at.line, at.column, problem.message)
        });
        told.collect::<Vec<_>>()
    };
    let mut warnings = Vec::new();
    let rows = read_imports(&[FileRef { path, at }], plan, &whereabouts, &mut warnings);
    let rows = rows.map(|rows| {
        let shown = rows.into_iter().map(|row| {
            let Measurement { ms, samples, .. } = row.measurement;
            format!("{} {} {ms} {samples:?}", row.network, row.region)
        });
        shown.collect()
    });
    (rows.map_err(told), told(warnings))
}

/// Tokyo, for Japan and one prefix.
fn whereabouts(network: Network) -> Option<Whereabouts> {
    let tokyo = crate::earth::GeoPoint::new(35.65, 139.74).unwrap();
    let is_there = ["JP", "203.178.141.0/24"].contains(&&*network.to_string());
    is_there.then(|| Whereabouts::new(tokyo, None))
}

#[test]
fn what_is_quicker_than_light_from_where_the_network_is_is_warned_of() {
    let (rows, warnings) = import(
        "network,region,ms\n203.178.141.0/24,us-east-1,1\nJP,us-east-1,5\nJP,ap-northeast-1,5\nNL,us-east-1,1\n",
    );
    let counted = [
        "203.178.141.0/24 us-east-1 1 None",
        "JP ap-northeast-1 5 None",
        "NL us-east-1 1 None",
    ];
    assert_eq!(rows.unwrap(), counted);
    let begins = [
        "3:4: 5 ms from JP to us-east-1 is quicker than light from where",
        "2:18: 1 ms from 203.178.141.0/24 to us-east-1 is quicker than light from where",
    ];
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, begins) in warnings.iter().zip(begins) {
        assert!(warning.starts_with(begins), "{warning}");
    }
    assert!(warnings[0].ends_with("left out") && warnings[1].contains("it counts all the same"));
}

#[test]
fn the_mark_that_spreadsheets_begin_a_file_with_is_no_part_of_it() {
    let csv = "\u{feff}network,region,ms\nNL,eu-west-1,20\n";
    let json = "\u{feff}[{ \"network\": \"NL\", \"region\": \"eu-west-1\", \"ms\": 20 }]";
    for text in [csv, json] {
        assert_eq!(
            import(text),
            (Ok(vec!["NL eu-west-1 20 None".to_owned()]), vec![])
        );
    }
}

#[test]
fn of_rows_of_one_network_and_region_the_first_counts_and_the_others_are_warned_of() {
    let (rows, warnings) =
        import("network,region,ms\nNL,eu-west-1,20\nNL,us-east-1,90\nNL,eu-west-1,30\n");
    assert_eq!(
        rows.unwrap(),
        ["NL eu-west-1 20 None", "NL us-east-1 90 None"]
    );
    assert_eq!(
        warnings,
        ["4:4: line 2 has NL to eu-west-1 already: this one is left out"]
    );
}

#[test]
fn rows_of_several_files_are_judged_together() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "regions: { a: { location: [38.95, -77.45] }, b: { location: [35.62, 139.78] } }
services: { www: { hosts: [www.example.com] } }";
    let loaded = load_text("edge.yaml", yaml, &|_| None).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let file = Path::new("edge.yaml").into();
        let at = SourceAt {
            file,
            line: 1,
            column: 1,
        };
        FileRef { path, at }
    };
    let files = [
        file(
            "to-a.csv",
            "network,region,ms\n192.0.2.0/24,a,5\nJP,a,200\n",
        ),
        file(
            "to-b.csv",
            "network,region,ms\n192.0.2.0/24,b,5\n\nJP,a,90\nJP,b,20\n",
        ),
    ];
    let mut warnings = Vec::new();
    let rows = read_imports(&files, &loaded.plan, &|_| None, &mut warnings).unwrap();
    let kept: Vec<_> = rows
        .iter()
        .map(|row| (row.network.to_string(), &*row.region, row.measurement.ms))
        .collect();
    assert_eq!(
        kept,
        [("JP".to_owned(), "a", 200.0), ("JP".to_owned(), "b", 20.0)]
    );
    let told = loaded.problems(warnings).to_string();
    let first = folder.path().join("to-a.csv");
    let twice = format!("line 3 of {} has JP to a already", first.display());
    assert!(told.contains(&twice), "{told}");
    assert!(told.contains("\n 4 | JP,a,90\n"), "{told}");
    assert!(
        told.contains("192.0.2.0/24 cannot be so near to all these regions"),
        "{told}"
    );
    assert!(told.contains("\n 2 | 192.0.2.0/24,a,5\n"), "{told}");
}

#[test]
fn csv_and_json_say_the_same() {
    let csv = "# measured in March\nregion, network, ms, samples, note\neu-west-1,203.0.113.0/24,23.5,41,x\n\n\"us-east-1\",AS64500,80,,\neu-west-1,JP,220\n";
    let json = r#"[
  { "network": "203.0.113.0/24", "region": "eu-west-1", "ms": 23.5, "samples": 41 },
  { "network": "AS64500", "region": "us-east-1", "ms": 80 },
  { "network": "JP", "region": "eu-west-1", "ms": 220 }
]"#;
    let expected: Vec<String> = [
        "203.0.113.0/24 eu-west-1 23.5 Some(41)",
        "AS64500 us-east-1 80 None",
        "JP eu-west-1 220 None",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(import(csv), (Ok(expected.clone()), vec![]));
    assert_eq!(import(json), (Ok(expected), vec![]));
    for empty in ["[]", "network,region,ms\n"] {
        assert_eq!(import(empty), (Ok(vec![]), vec![]));
    }
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let told = import(text).0.unwrap_err();
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_column() {
    // As whoever empties a file first to write it anew leaves it for a moment.
    for emptied in ["", "\n# measured today\n"] {
        refused(
            emptied,
            &["1:1: the first line names the columns, and there is none"],
        );
    }
    refused("network,region,ms,MS\n", &["1:1: two columns are `ms`"]);
    refused(
        "network,region,ms\n::ffff:203.0.113.0/120,eu-west-1,20\n",
        &["2:1: `::ffff:203.0.113.0/120` is IPv4 written as IPv6"],
    );
    refused(
        "region,ms\n",
        &["1:1: the first line names the columns, and there is no `network`"],
    );
    refused(
        "network,region,ms\n10.0.0.1/8,eu-west-1,20\nJP,eu-west-1, fast\nXX,eu-west-1,1\nJP,,3\nJP,eu-west-1,0\nJP,eu-west-1,1,2\n",
        &[
            "2:1: `10.0.0.1/8` is not a network",
            "3:15: `fast` is no round trip",
            "4:1: `XX` is no country",
            "5:1: `region` is missing",
            "6:14: `0` is no round trip",
            "7:1: 4 columns, and the head names 3",
        ],
    );
    refused(
        "[\n  { \"network\": \"JP\", \"region\": \"eu-west-1\", \"ms\": -1 },\n  7 ]",
        &["2:51: `-1` is no round trip", "3:3: an object is expected"],
    );
}

#[test]
fn what_is_wrong_in_json_is_told_where_it_is_and_as_what_it_is() {
    refused(
        "[\n  {\n    \"network\": \"JP\",\n    \"region\": \"eu-west-1\",\n    \"ms\": \"soon\"\n  }\n]",
        &["5:11: `soon` is no round trip"],
    );
    refused(
        "[{\"network\": \"JP\", \"note\": \"é\", \"region\": \"eu-west-1\", \"ms\": null},\n{\"network\": [\"JP\"], \"ms\": 1},\n{\"ms\": 1, \"ms\": 2},\n{\"ms\": 1}]",
        &[
            "1:62: `ms` is neither a text nor a number",
            "2:13: `network` is neither a text nor a number",
            "3:17: `ms` is there twice",
            "4:1: `network` is missing",
        ],
    );
    for (text, place) in [
        ("[ { \"network\": ", "1:15: "),
        ("[\n{\"network\": \"JP\"}\n", "2:1"),
        ("{\"network\": \"JP\"}", "1:1: "),
        ("[] and more", "1:4: "),
        ("[{\"é\": oops}]", "1:8: "),
        ("[\n  # measured in March\n]", "2:3: "),
    ] {
        let told = import(text).0.unwrap_err().concat();
        assert!(told.starts_with(place), "{told}");
        assert!(told.contains("this is no JSON list of objects: "), "{told}");
    }
}

#[test]
fn a_file_of_64_mib_is_read_and_a_longer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("measured");
    let read = |bytes: u64| {
        std::fs::File::create(&path)
            .unwrap()
            .set_len(bytes)
            .unwrap();
        open(&path).map(|(text, _)| text.len())
    };
    assert_eq!(read(MOST_BYTES), Ok(64 << 20));
    assert_eq!(
        read(MOST_BYTES + 1),
        Err("it has more than 64 MiB".to_owned())
    );
}

#[test]
fn a_million_rows_are_read_and_one_more_refused() {
    let mut text = "network,region,ms\n".to_owned();
    for number in 0..MOST_ROWS {
        text.push_str(&format!("AS{number},eu-west-1,9\n"));
    }
    let rows = import(&text).0.unwrap();
    assert_eq!(rows.len(), 1_000_000);
    text.push_str("AS1,eu-west-1,9\n");
    refused(&text, &["1000002:1: a file has at most 1000000 rows"]);
}

#[test]
fn an_unknown_region_is_warned_of_once_and_left_out() {
    let (rows, warnings) =
        import("network,region,ms\nJP,eu-west-2,200\nNL,eu-west-2,9\nNL,eu-west-1,15\n");
    assert_eq!(rows.unwrap(), ["NL eu-west-1 15 None"]);
    assert_eq!(
        warnings,
        ["2:4: there is no region `eu-west-2`, its rows are left out: did you mean `eu-west-1`?"]
    );
}

#[test]
fn what_light_rules_out_is_warned_of_and_left_out() {
    let (rows, warnings) = import(
        "network,region,ms\nAS1,us-east-1,5\nAS1,ap-northeast-1,5\nAS2,us-east-1,5\nAS2,ap-northeast-1,160\n",
    );
    assert_eq!(rows.unwrap().len(), 2);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("2:5: AS1 cannot be so near to all"),
        "{warnings:?}"
    );
}

#[test]
fn what_is_left_out_is_not_said_to_count() {
    let (rows, warnings) = import(
        "network,region,ms\n203.178.141.0/24,us-east-1,1\n203.178.141.0/24,ap-northeast-1,1\n",
    );
    assert_eq!(rows.unwrap(), Vec::<String>::new());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].ends_with("its rows are left out"),
        "{warnings:?}"
    );
}

#[test]
fn of_what_every_line_has_the_first_hundred_are_told_in_order_and_how_many_more_there_are() {
    let lines = |row: &str| {
        (0..150)
            .map(|n| row.replace('#', &n.to_string()))
            .collect::<String>()
    };
    let told = |rows: &str, is_refused: bool, last: &str| {
        let (read, warnings) = import(&format!("network,region,ms\n{rows}"));
        assert_eq!(read.is_err(), is_refused);
        let told = read.err().unwrap_or(warnings);
        assert_eq!(told.len(), 100);
        assert!(told[0].starts_with("2:"), "{}", told[0]);
        let is_last = told[99].starts_with(last) && told[99].ends_with(" (and 50 more)");
        assert!(is_last, "{}", told[99]);
    };
    told(&lines("192.0.2.#/32,eu-west-1,nothing\n"), true, "101:");
    told(&lines("NL,no-#,5\n"), false, "101:");
    told(
        &lines("192.0.2.#/32,us-east-1,5\n192.0.2.#/32,ap-northeast-1,5\n"),
        false,
        "200:",
    );
}

#[test]
fn systems_are_warned_of_where_nobody_knows_whose_addresses_are_whose() {
    let rows = "network,region,ms\nNL,us-east-1,80\nAS64500,us-east-1,80\nAS64501,us-east-1,80\n";
    assert_eq!(import(rows).1, Vec::<String>::new());
    let told = "3:9: AS64500: without `geo.asn_database` nobody knows whose addresses these are, so the row has no effect (and 1 more)";
    assert_eq!(import_by(&plan_with(""), rows).1, [told]);
}

#[test]
fn lines_that_end_in_cr_alone_are_no_head_without_rows() {
    let told = "1:1: a line ends in CR alone: LF or CRLF is expected";
    let (rows, _) = import("network,region,ms\rNL,us-east-1,80\r");
    assert_eq!(rows.unwrap_err(), [told]);
    let (rows, _) = import("network,region,ms\r\nNL,us-east-1,80\r\n");
    assert_eq!(rows.unwrap().len(), 1);
}

#[test]
fn the_line_that_a_problem_is_about_is_quoted_unless_it_is_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("measured.csv");
    let long = format!("NL,eu-west-1,{}", "x".repeat(160));
    let text = format!("network,region,ms\nNL,eu-west-1,soon\n{long}\nNL,eu-west-2,9\n");
    let yaml = "regions: { eu-west-1: {} }\nservices: { www: { hosts: [www.example.com] } }";
    let loaded = load_text("edge.yaml", yaml, &|_| None).unwrap();
    let at = SourceAt {
        file: Path::new("edge.yaml").into(),
        line: 1,
        column: 1,
    };
    let file = FileRef { path, at };
    let read = |text: &str| {
        std::fs::write(&file.path, text).unwrap();
        let mut warnings = Vec::new();
        let read = read_imports(
            std::slice::from_ref(&file),
            &loaded.plan,
            &|_| None,
            &mut warnings,
        );
        loaded.problems(read.err().unwrap_or(warnings)).to_string()
    };
    let refused = read(&text);
    assert!(
        refused.contains("\n 2 | NL,eu-west-1,soon\n   |              ^"),
        "{refused}"
    );
    assert!(!refused.contains("\n 3 | "), "{refused}");
    let doubted = read("network,region,ms\nNL,eu-west-2,9\n");
    assert!(
        doubted.contains("\n 2 | NL,eu-west-2,9\n   |    ^"),
        "{doubted}"
    );
    let odd = read("network,region,ms\nNL,eu-west-1,1\u{1b}[31m\n");
    assert!(
        !odd.contains('\u{1b}'),
        "a terminal would act on it: {odd:?}"
    );
    assert!(odd.contains("`1\u{fffd}[31m` is no round trip"), "{odd}");
    assert!(odd.contains("\n 2 | NL,eu-west-1,1\u{fffd}[31m\n"), "{odd}");
}
