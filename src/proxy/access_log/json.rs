//! A line of JSON, written in order and without anything in between. Pure.
//!
//! serde_json escapes, so that no client can end a line or a string. Of a text only [`LONGEST_TEXT`] bytes
//! are taken.

use std::borrow::Cow;
use std::time::Duration;

/// The longest text of a field, bytes: it bounds a line.
pub(super) const LONGEST_TEXT: usize = 4096;

/// An object that is being written.
pub(super) struct Object<'a> {
    text: &'a mut Vec<u8>,
    has_fields: bool,
}

/// Writes one object and a line feed.
pub(super) fn line(fields: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut text = Vec::with_capacity(1536);
    object(&mut text, fields);
    text.push(b'\n');
    text
}

fn object(text: &mut Vec<u8>, fields: impl FnOnce(&mut Object<'_>)) {
    text.push(b'{');
    fields(&mut Object {
        text,
        has_fields: false,
    });
    text.push(b'}');
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if self.has_fields {
            self.text.push(b',');
        }
        self.has_fields = true;
        string(self.text, key);
        self.text.push(b':');
        self.text
    }

    /// A text, or null.
    pub(super) fn text<'t>(&mut self, key: &str, value: impl Into<Option<&'t str>>) {
        let text = self.key(key);
        match value.into() {
            Some(value) => string(text, &shown(value)),
            None => text.extend_from_slice(b"null"),
        }
    }

    /// A whole number, or null.
    pub(super) fn number(&mut self, key: &str, value: impl Into<Option<u64>>) {
        let value = value.into();
        let value = value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        self.key(key).extend_from_slice(value.as_bytes());
    }

    /// True, false, or null.
    pub(super) fn truth(&mut self, key: &str, value: bool) {
        let value: &[u8] = if value { b"true" } else { b"false" };
        self.key(key).extend_from_slice(value);
    }

    /// A duration in milliseconds to the microsecond, or null.
    pub(super) fn ms(&mut self, key: &str, value: impl Into<Option<Duration>>) {
        let value = value.into().map_or_else(
            || "null".to_owned(),
            |value| format!("{:.3}", value.as_secs_f64() * 1e3),
        );
        self.key(key).extend_from_slice(value.as_bytes());
    }

    /// An object within this one.
    pub(super) fn object(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        object(self.key(key), fields);
    }

    /// An object, or null.
    pub(super) fn maybe<T>(
        &mut self,
        key: &str,
        value: Option<T>,
        fields: impl FnOnce(&mut Object<'_>, T),
    ) {
        match value {
            Some(value) => self.object(key, |object| fields(object, value)),
            None => self.key(key).extend_from_slice(b"null"),
        }
    }

    /// A list of objects.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut fields: impl FnMut(&mut Object<'_>, T),
    ) {
        let text = self.key(key);
        text.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            object(text, |object| fields(object, item));
        }
        text.push(b']');
    }
}

fn string(text: &mut Vec<u8>, value: &str) {
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.extend_from_slice(b"\"\""); // A Vec takes every write: this is for the types.
    }
}

/// The text in its bound, without the control characters that JSON leaves as they are: whoever shows the
/// log on a terminal must not obey it (ECMA-48 has CSI at U+009B).
fn shown(value: &str) -> Cow<'_, str> {
    let cut = value.floor_char_boundary(LONGEST_TEXT);
    let kept = value.get(..cut).unwrap_or_default();
    let is_control = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if kept.contains(is_control) {
        return Cow::Owned(kept.replace(is_control, "\u{fffd}"));
    }
    Cow::Borrowed(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read(line: &[u8]) -> Value {
        let text = str::from_utf8(line).unwrap();
        assert!(
            text.ends_with('\n') && text.matches('\n').count() == 1,
            "{text}"
        );
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_line_reads_back_as_what_was_written() {
        let line = line(|line| {
            line.text("a", "x");
            line.text("b", None);
            line.number("c", 7);
            line.number("d", None);
            line.ms("e", Duration::from_micros(1_500_250));
            line.object("f", |_| {});
            line.list("g", [1, 2], |item, number| item.number("h", number));
            line.maybe("i", None::<u8>, |_, _| {});
            line.truth("j", true);
        });
        assert_eq!(
            str::from_utf8(&line).unwrap(),
            "{\"a\":\"x\",\"b\":null,\"c\":7,\"d\":null,\"e\":1500.250,\"f\":{},\"g\":[{\"h\":1},{\"h\":2}],\"i\":null,\"j\":true}\n"
        );
        read(&line);
    }

    #[test]
    fn a_text_is_cut_at_its_bound_and_not_before() {
        let of = |length| line(|line| line.text("a", &*"é".repeat(length)));
        let length = |line: &[u8]| read(line)["a"].as_str().unwrap().len();
        assert_eq!(length(&of(LONGEST_TEXT / 2)), LONGEST_TEXT);
        assert_eq!(length(&of(LONGEST_TEXT / 2 + 1)), LONGEST_TEXT);
        let odd = line(|line| line.text("a", &*format!("x{}", "é".repeat(LONGEST_TEXT))));
        assert_eq!(length(&odd), LONGEST_TEXT - 1);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_one_line_of_json_without_control_characters(text in any::<String>()) {
            let line = line(|line| line.text("a", &*text));
            let back = read(&line);
            let shown = back["a"].as_str().unwrap();
            let same = text.chars().zip(shown.chars()).all(|(a, b)| a == b || a.is_control());
            prop_assert!(same);
            let raw = str::from_utf8(&line).unwrap().trim_end_matches('\n');
            prop_assert!(!raw.chars().any(char::is_control), "{:?}", raw);
        }
    }
}
