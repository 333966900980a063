use proptest::prelude::*;

use super::*;

fn sequence(text: &str) -> Sequence {
    text.parse().unwrap()
}

#[test]
fn a_later_instance_comes_after_whatever_number_an_earlier_one_had() {
    assert!(sequence("2:1") > sequence("1:9"));
    assert!(sequence("2:10") > sequence("2:9"));
    assert_eq!(sequence("02:010"), sequence("2:10"));
    let most = u64::MAX;
    assert_eq!(
        sequence(&format!("{most}:{most}")).to_string(),
        format!("{most}:{most}")
    );
}

#[test]
fn what_is_no_sequence_is_refused_and_repeated_only_so_far() {
    for text in [
        "",
        "1",
        ":",
        "1:",
        ":1",
        "1:2:3",
        "-1:2",
        "+1:2",
        "1: 2",
        "a:1",
        "18446744073709551616:1",
        "1:18446744073709551616",
    ] {
        let why = text.parse::<Sequence>().unwrap_err().to_string();
        assert!(
            why.starts_with(&format!("`{text}` is no sequence")),
            "{why}"
        );
    }
    let long = "x".repeat(1_000);
    let why = long.parse::<Sequence>().unwrap_err().to_string();
    assert!(why.len() < 300, "{why}");
}

#[test]
fn a_minute_after_the_last_numbered_push_any_other_counts_again() {
    let mut turns = Turns::default();
    assert_eq!(turns.place(None, 0), Place::Unnumbered);
    turns.note(sequence("5:5"), 10);
    let places = |now_ms| {
        [Some("5:6"), Some("5:5"), Some("4:9"), None]
            .map(|text| turns.place(text.map(sequence), now_ms))
    };
    let (next, displaced) = (Place::Next, Place::Displaced);
    assert_eq!(
        places(60_009),
        [next, Place::Overtaken, displaced, displaced]
    );
    assert_eq!(places(60_010), [next, next, next, Place::Unnumbered]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(instance: u64, number: u64) {
        let written = Sequence { instance, number };
        prop_assert_eq!(written.to_string().parse(), Ok(written));
    }

    #[test]
    fn any_text_is_a_sequence_or_is_refused(text in ".{0,60}") {
        let _ = text.parse::<Sequence>();
    }
}
