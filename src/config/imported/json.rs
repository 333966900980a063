//! A JSON list of measured round trips, with the place in the text of each value.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{COLUMNS, Place, Reading};

/// Reads the objects of a list, one after the other.
pub(super) fn read(reading: &mut Reading, text: &str) {
    let mut json = serde_json::Deserializer::from_str(text);
    let cursor = Cursor::new(text);
    let items = Items { reading, cursor };
    let read = json.deserialize_seq(items).and_then(|()| json.end());
    if let Err(error) = read {
        let (place, message) = told(&error, text);
        reading.problem(place, message);
    }
}

/// What is no JSON, and where.
fn told(error: &serde_json::Error, text: &str) -> (Place, String) {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&suffix).unwrap_or(&message);
    // Its columns are bytes, ours are characters.
    let before = text.lines().nth(line - 1).unwrap_or("");
    let before = before.char_indices().take_while(|(at, _)| at + 1 < column);
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    let place = Place {
        line: number(line),
        column: number(before.count() + 1),
    };
    (place, format!("this is no JSON list of objects: {message}"))
}

/// Where in a text its parts are, which are asked for from the first to the last.
struct Cursor<'t> {
    left: &'t str,
    place: Place,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        let place = Place { line: 1, column: 1 };
        Self { left: text, place }
    }

    /// Where a part of the text begins.
    fn place(&mut self, part: &'t str) -> Place {
        let begins = |part: &str| part.as_ptr().addr();
        let passed = begins(part).saturating_sub(begins(self.left));
        let (passed, left) = self
            .left
            .split_at_checked(passed)
            .unwrap_or((self.left, ""));
        for char in passed.chars() {
            self.place = match char {
                '\n' => Place {
                    line: self.place.line + 1,
                    column: 1,
                },
                _ => Place {
                    column: self.place.column + 1,
                    ..self.place
                },
            };
        }
        self.left = left;
        self.place
    }
}

struct Items<'r, 't> {
    reading: &'r mut Reading,
    cursor: Cursor<'t>,
}

impl<'t> Visitor<'t> for Items<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, such as [{EXAMPLE}]")
    }

    fn visit_seq<A: SeqAccess<'t>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            self.item(item.get());
        }
        Ok(())
    }
}

const EXAMPLE: &str = r#"{"network": "AS64500", "region": "eu-west-1", "ms": 23.5}"#;

impl<'t> Items<'_, 't> {
    fn item(&mut self, text: &'t str) {
        let begins = self.cursor.place(text);
        let Ok(Fields(fields)) = serde_json::from_str(text) else {
            let message = format!("an object is expected, such as {EXAMPLE}");
            return self.reading.problem(begins, message);
        };
        let mut values: [Option<(String, Place)>; COLUMNS.len()] = [const { None }; COLUMNS.len()];
        for (name, value) in fields {
            let place = self.cursor.place(value.get());
            let column = COLUMNS.iter().position(|known| *known == name);
            let Some(slot) = column.and_then(|column| values.get_mut(column)) else {
                continue;
            };
            if slot.is_some() {
                return self
                    .reading
                    .problem(place, format!("`{name}` is there twice"));
            }
            match scalar(value.get()) {
                Some(text) => *slot = Some((text, place)),
                None => {
                    let message = format!("`{name}` is neither a text nor a number");
                    return self.reading.problem(place, message);
                }
            }
        }
        let cells = values.each_ref().map(|value| {
            let (text, place) = value.as_ref()?;
            Some((text.as_str(), *place))
        });
        self.reading.row(begins, cells);
    }
}

/// What a value says, without its quotes.
fn scalar(value: &str) -> Option<String> {
    match value.as_bytes().first()? {
        b'"' => serde_json::from_str(value).ok(),
        b'-' | b'0'..=b'9' => Some(value.to_owned()),
        _ => None,
    }
}

/// The members of an object in their order, those of one name too.
struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Fields<'t> {
    fn deserialize<D: Deserializer<'t>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'t> Visitor<'t> for Members {
            type Value = Vec<(String, &'t RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(COLUMNS.len());
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        from.deserialize_map(Members).map(Self)
    }
}
