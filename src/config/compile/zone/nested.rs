//! Zones within zones: what resolvers need of the zone above to find the one below, and to believe it.
//!
//! Both are answered from here all the same. Whoever asks the zone above is told nothing of the one below, though, and
//! whoever validates goes by what it is told.

use std::collections::HashMap;

use hickory_proto::rr::{Name, RecordType};

use super::draft::{Draft, above};
use crate::config::compile::Compiling;
use crate::config::problem::{Problem, bounded};

/// Warns of zones that the zone above, which is served here too, does not delegate or does not vouch for.
pub(super) fn check(drafts: &[Draft<'_>], compiling: &mut Compiling<'_>) {
    let origins: HashMap<&Name, &Draft<'_>> = drafts.iter().map(|d| (&d.origin, d)).collect();
    let told = drafts.iter().filter_map(|inner| {
        let mut outer = above(&inner.origin).skip(1);
        let outer = outer.find_map(|name| origins.get(&name).copied())?;
        let message = doubt(inner, outer)?;
        let problem = Problem::new(Some(inner.entry.at.clone()), message);
        Some(problem.with_related(outer.entry.at.clone(), "the zone above"))
    });
    compiling.warnings.extend(bounded(told.collect()));
}

fn doubt(inner: &Draft<'_>, outer: &Draft<'_>) -> Option<String> {
    let (below, above) = (&inner.entry.key, &outer.entry.key);
    match end(outer, &inner.origin) {
        None => Some(undelegated(inner, outer)),
        Some(name) if outer.has(&name, RecordType::DNAME) => Some(format!(
            "zone `{below}` lies below {name}, of which zone `{above}` has a DNAME record: resolvers take its names for others (RFC 6672 §2.4) and do not ask for it. Take the DNAME away, or `{below}`"
        )),
        Some(cut) if cut == inner.origin => unvouched(inner, outer),
        // Somebody else's zone lies between the two.
        Some(_) => None,
    }
}

/// Where a zone ends on the way from its apex down to a name: at a delegation, or at a DNAME above the name.
fn end(zone: &Draft<'_>, name: &Name) -> Option<Name> {
    let within = above(name).take_while(|name| zone.origin.zone_of(name));
    let ends =
        within.filter(|at| zone.is_cut(at) || (at != name && zone.has(at, RecordType::DNAME)));
    ends.last()
}

fn undelegated(inner: &Draft<'_>, outer: &Draft<'_>) -> String {
    let (below, above) = (&inner.entry.key, &outer.entry.key);
    let (ds, validators) = if outer.is_signed() {
        let ds = format!(", and a DS record if `{below}` is signed");
        let validators = ", and those that validate take its names for missing or forged";
        (ds, validators)
    } else {
        (String::new(), "")
    };
    format!(
        "zone `{below}` lies in zone `{above}`, which does not delegate it: give `{above}` NS records for {} (RFC 1034 §4.2.1){ds}. Without them resolvers take `{below}` for a part of `{above}`{validators}",
        inner.origin
    )
}

/// RFC 4035 §5.2: a DS in a signed zone says that the zone below is signed, and its absence that it is not.
fn unvouched(inner: &Draft<'_>, outer: &Draft<'_>) -> Option<String> {
    let (below, above) = (&inner.entry.key, &outer.entry.key);
    let has_ds = outer.has(&inner.origin, RecordType::DS);
    match (outer.is_signed(), has_ds, inner.is_signed()) {
        (true, false, true) => Some(format!(
            "zone `{below}` is signed, but its delegation in the signed zone `{above}` has no DS record, so that nobody validates it: `meridian check --ds` prints the one to add"
        )),
        (true, true, false) => Some(format!(
            "zone `{below}` is not signed, but its delegation in the signed zone `{above}` has a DS record, so that whoever validates refuses its answers: sign it, or take the DS away"
        )),
        (true | false, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_text;

    /// What is told of zones, each on a line of its own from the third on.
    #[track_caller]
    fn check(zones: &[&str], place_and_words: Option<(&str, &str)>) {
        let yaml = format!(
            "regions: {{ eu-west-1: {{ addresses: [192.0.2.1] }} }}\n\
             services: {{ api: {{ hosts: [api.example.com, api.lab.example.com] }} }}\n\
             zones: {{\n{}\n}}\n",
            zones.join(",\n")
        );
        let loaded = load_text("edge.yaml", &yaml, &|_| None);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let told = loaded.problems(loaded.warnings.clone()).as_warnings();
        let told = told.to_string();
        let lines = told.lines().filter(|line| line.contains("warning: zone"));
        let lines: Vec<&str> = lines.collect();
        match place_and_words {
            Some((place, words)) => {
                assert_eq!(lines.len(), 1, "{told}");
                assert!(lines[0].starts_with(place), "{told}");
                assert!(lines[0].contains(words), "{told}");
            }
            None => assert!(lines.is_empty(), "{told}"),
        }
    }

    const NS: &str = "nameservers: { ns1: [192.0.2.53] }";
    const SIGNED: &str = ", dnssec: { keys: keys }";

    fn lab(more: &str) -> String {
        format!("lab.example.com: {{ {NS}{more} }}")
    }

    fn above(records: &str, more: &str) -> String {
        format!("example.com: {{ {NS}{more}, records: {{ {records} }} }}")
    }

    #[test]
    fn a_zone_that_the_zone_above_does_not_delegate_is_warned_of() {
        let told = "which does not delegate it: give `example.com` NS records for lab.example.com.";
        check(&[&above("", ""), &lab("")], Some(("edge.yaml:5:1", told)));
        check(&[&lab(""), &above("", "")], Some(("edge.yaml:4:1", told)));
        let delegated = above("lab: { NS: ns1.lab }, ns1.lab: { A: 192.0.2.53 }", "");
        check(&[&delegated, &lab("")], None);
        check(&[&lab("")], None);
    }

    fn yaml(zones: &str) -> String {
        format!(
            "regions: {{ eu-west-1: {{ addresses: [192.0.2.1] }} }}\n\
             services: {{ api: {{ hosts: [api.example.net] }} }}\n\
             zones: {{ {zones} }}\n"
        )
    }

    /// The warnings of these zones that are of what lies in what.
    fn warnings(zones: &str) -> Vec<String> {
        let loaded = load_text("edge.yaml", &yaml(zones), &|_| None);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let told = loaded.warnings.into_iter().map(|warning| warning.message);
        told.filter(|message| message.contains("` lies ")).collect()
    }

    #[test]
    fn what_validators_make_of_it_is_told_where_the_zone_above_is_signed() {
        let unsigned = warnings(&format!("{}, {}", above("", ""), lab("")));
        let signed = warnings(&format!("{}, {}", above("", SIGNED), lab("")));
        for words in ["and a DS record if", "those that validate"] {
            assert!(!unsigned[0].contains(words), "{unsigned:?}");
            assert!(signed[0].contains(words), "{signed:?}");
        }
    }

    #[test]
    fn a_zone_below_a_dname_of_the_zone_above_is_warned_of() {
        let deep = format!("a.lab.example.com: {{ {NS} }}");
        for (records, place) in [
            ("lab: { DNAME: example.net. }", "lab.example.com."),
            ("'@': { DNAME: example.net. }", "example.com."),
        ] {
            let told = warnings(&format!("{}, {deep}", above(records, "")));
            let expected = format!("lies below {place}, of which zone `example.com` has a DNAME");
            assert!(told.len() == 1 && told[0].contains(&expected), "{told:?}");
        }
    }

    #[test]
    fn these_warnings_are_bounded() {
        let inner = (0..1_001).map(|number| format!(", z{number}.example.com: {{ {NS} }}"));
        let told = warnings(&format!("{}{}", above("", ""), inner.collect::<String>()));
        assert_eq!(told.len(), 1_000);
        assert!(told[999].ends_with("(and 1 more)"), "{}", told[999]);
    }

    #[test]
    fn a_zone_below_somebody_else_s_is_that_one_s_to_delegate() {
        let elsewhere = above("lab: { NS: ns.example.net. }", "");
        let deep = format!("a.lab.example.com: {{ {NS} }}");
        check(&[&elsewhere, &deep], None);
        // Two levels down with nothing between, it is the zone above that counts.
        let told = "zone `a.lab.example.com` lies in zone `example.com`";
        check(&[&above("", ""), &deep], Some(("edge.yaml:5:1", told)));
    }

    #[test]
    fn a_ds_says_of_the_zone_below_what_is_true() {
        let servers = "NS: ns1.lab";
        let glue = "ns1.lab: { A: 192.0.2.53 }";
        let ds = format!("DS: 60485 13 2 {}", "AB".repeat(32));
        let with_ds = format!("lab: {{ {servers}, {ds} }}, {glue}");
        let without = format!("lab: {{ {servers} }}, {glue}");
        let cases = [
            (&with_ds, SIGNED, SIGNED, None),
            (&without, SIGNED, "", None),
            (&without, "", SIGNED, None),
            (&without, SIGNED, SIGNED, Some("has no DS record")),
            (&with_ds, SIGNED, "", Some("is not signed, but")),
        ];
        for (records, outer, inner, told) in cases {
            let told = told.map(|told| ("edge.yaml:5:1", told));
            check(&[&above(records, outer), &lab(inner)], told);
        }
    }
}
