//! What the parts of a service, each right by itself, make of each other.

use std::time::Duration;

use super::super::Compiling;
use crate::config::plan::{MOST_VECTOR_ENTRIES, Service, Writes};
use crate::config::tree::Entry;

/// Warns of what the service would do otherwise than it says.
pub(super) fn warn(entry: &Entry, service: &Service, compiling: &mut Compiling<'_>) {
    of_many_logs(entry, service, compiling);
    of_tries_that_do_not_wait(entry, service, compiling);
    of_a_guard_that_nothing_passes(entry, service, compiling);
}

/// A service that is never left as many regions as its guard wants.
fn of_a_guard_that_nothing_passes(entry: &Entry, service: &Service, compiling: &mut Compiling<'_>) {
    let guards = entry.node.get("guards");
    let node = guards.and_then(|guards| guards.get("min_regions"));
    let (wanted, regions) = (usize::from(service.min_regions), service.regions.len());
    if let Some(node) = node.filter(|_| wanted > regions) {
        let message = format!(
            "`{}` has fewer regions than {wanted}, {regions}: each drain of one that is able is refused unless it is forced",
            entry.key
        );
        compiling.warning(&node.at, message);
    }
}

/// Where every region may take writes each has a log, and a vector has no entry for more than some.
fn of_many_logs(entry: &Entry, service: &Service, compiling: &mut Compiling<'_>) {
    let logs = service.regions.len();
    let is_one = matches!(service.writes, Writes::Primary { .. });
    let node = entry.node.get("consistency");
    if let Some(node) =
        node.filter(|_| service.consistency.is_some() && !is_one && logs > MOST_VECTOR_ENTRIES)
    {
        let message = format!(
            "writes of `{}` may go to {logs} regions, and a position has {MOST_VECTOR_ENTRIES} entries at most: what origins have of more logs than these is refused, and reads with tokens are stale",
            entry.key
        );
        compiling.warning(&node.at, message);
    }
}

/// A region may hold a read until it has what that must see.
fn of_tries_that_do_not_wait(entry: &Entry, service: &Service, compiling: &mut Compiling<'_>) {
    let (Some(consistency), Some(node)) = (&service.consistency, entry.node.get("consistency"))
    else {
        return;
    };
    let bounds = [
        ("retries.per_try", service.retries.per_try),
        ("timeouts.first_byte", service.timeouts.first_byte),
    ];
    let is_short = |(_, bound): &(&str, Duration)| !bound.is_zero() && *bound <= consistency.wait;
    for (name, _) in bounds.into_iter().filter(is_short) {
        let message = format!(
            "{name} of `{}` is no longer than `wait`: a region that holds a read until it has caught up is given up before that; where none does, as they answer 409 meanwhile, this is nothing",
            entry.key
        );
        compiling.warning(&node.at, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_text;

    #[test]
    fn more_regions_that_take_writes_than_a_position_has_entries_are_warned_of() {
        let warned = |count: usize, writes: &str| {
            let regions: String = (0..count)
                .map(|i| format!("  r{i}: {{ origins: ['http://192.0.2.1'] }}\n"))
                .collect();
            let yaml = format!(
                "regions:\n{regions}services: {{ www: {{ hosts: [www.example.com], {writes} consistency: {{ read_your_writes: true }} }} }}"
            );
            let loaded = load_text("test", &yaml, &|_| None).unwrap();
            let said = loaded.problems(loaded.warnings.clone()).as_warnings();
            said.contains("may go to 17 regions, and a position has 16 entries at most")
        };
        assert!(warned(17, ""));
        assert!(!warned(16, ""));
        assert!(!warned(17, "writes: { to: { primary: r0 } },"));
    }

    #[test]
    fn tries_that_are_given_up_before_a_wait_is_over_are_warned_of() {
        let warned = |bounds: &str| {
            let yaml = format!(
                "regions: {{ eu: {{ origins: ['http://192.0.2.1'] }} }}
services: {{ www: {{ hosts: [www.example.com], {bounds} consistency: {{ read_your_writes: true, wait: 800ms }} }} }}"
            );
            let loaded = load_text("test", &yaml, &|_| None).unwrap();
            let said = loaded.problems(loaded.warnings.clone()).as_warnings();
            said.matches("is no longer than `wait`").count()
        };
        assert_eq!(warned(""), 0);
        assert_eq!(warned("retries: { per_try: 801ms },"), 0);
        assert_eq!(
            warned("retries: { per_try: 800ms }, timeouts: { first_byte: 100ms },"),
            2
        );
    }

    #[test]
    fn a_guard_that_wants_more_regions_than_the_service_has_is_warned_of() {
        let warned = |guards: &str| {
            let yaml = format!(
                "regions: {{ a: {{}}, b: {{}} }}\nservices: {{ www: {{ hosts: [www.example.com], {guards} }} }}"
            );
            let loaded = load_text("edge.yaml", &yaml, &|_| None).unwrap();
            let said = loaded.problems(loaded.warnings.clone()).as_warnings();
            said.contains("`www` has fewer regions than 3, 2: each drain")
        };
        assert!(warned("guards: { min_regions: 3 }"));
        assert!(!warned("guards: { min_regions: 2 }"));
        assert!(!warned(""));
    }
}
