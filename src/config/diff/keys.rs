//! Keys of a part of the configuration with what they say, to tell which of them changed.

use std::fmt::{Debug, Display};

/// A longer value is not shown: what changed is told, and the file has the rest.
const MOST_SHOWN: usize = 80;

/// One key, by its place below what has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    name: &'static str,
    value: Value,
}

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// In the operator's words.
    Shown(String),
    /// To be compared alone.
    Hidden(String),
}

impl Key {
    pub(super) fn shown(name: &'static str, value: impl Display) -> Self {
        let value = Value::Shown(value.to_string());
        Self { name, value }
    }

    pub(super) fn list(name: &'static str, values: impl Iterator<Item = String>) -> Self {
        Self::shown(name, values.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn hidden(name: &'static str, value: &impl Debug) -> Self {
        let value = Value::Hidden(format!("{value:?}"));
        Self { name, value }
    }

    fn of<'a>(keys: &'a [Self], name: &str) -> Option<&'a Value> {
        let found = keys.iter().find(|key| key.name == name);
        found.map(|key| &key.value)
    }
}

/// An enum's variant as it stands in YAML.
pub(super) fn word(variant: impl Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

/// The keys whose values differ, as `: KEY OLD → NEW, KEY`; empty if none do.
pub(super) fn changed(old: &[Key], new: &[Key]) -> String {
    let gone = old.iter().filter(|key| Key::of(new, key.name).is_none());
    let names = new.iter().chain(gone).map(|key| key.name);
    let told: Vec<String> = names
        .filter_map(|name| told(name, Key::of(old, name), Key::of(new, name)))
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!(": {}", told.join(", ")),
    }
}

fn told(name: &str, old: Option<&Value>, new: Option<&Value>) -> Option<String> {
    if old == new {
        return None;
    }
    let text = |value: Option<&Value>| match value {
        None => Some("absent".to_owned()),
        Some(Value::Shown(text)) if text.is_empty() => Some("none".to_owned()),
        Some(Value::Shown(text)) if text.len() <= MOST_SHOWN => Some(text.clone()),
        Some(Value::Shown(_) | Value::Hidden(_)) => None,
    };
    Some(match (text(old), text(new)) {
        (Some(old), Some(new)) => format!("{name} {old} → {new}"),
        (None, _) | (_, None) => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: Key, new: Key, told: &str) {
        assert_eq!(changed(&[old], &[new]), told);
    }

    #[test]
    fn a_value_is_told_before_and_after() {
        check(
            Key::shown("ttl", "30s"),
            Key::shown("ttl", "5s"),
            ": ttl 30s → 5s",
        );
        check(Key::shown("ttl", "30s"), Key::shown("ttl", "30s"), "");
        check(
            Key::shown("regions", ""),
            Key::shown("regions", "a"),
            ": regions none → a",
        );
        check(
            Key::shown("a", 1),
            Key::shown("b", 2),
            ": b absent → 2, a 1 → absent",
        );
    }

    #[test]
    fn what_may_be_secret_or_is_long_is_told_without_its_value() {
        let (old, new) = (
            Key::hidden("path", &"/a?key=s3cret"),
            Key::hidden("path", &"/b"),
        );
        check(old, new, ": path");
        let of = |length| Key::shown("hosts", "x".repeat(length));
        assert!(changed(&[of(1)], &[of(MOST_SHOWN)]).contains('→'));
        assert_eq!(changed(&[of(1)], &[of(MOST_SHOWN + 1)]), ": hosts");
    }
}
