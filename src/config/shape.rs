//! The form of the configuration, as data: what may stand where. The one source of the checks, of
//! the nearest valid key, and of the JSON Schema.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::problem::{Problem, nearest};
use super::tree::{Entry, Node, Value};

/// What may stand at a place.
pub(super) enum Shape {
    /// A scalar that `check` accepts; its error says what would be right.
    Scalar(&'static Kind),
    /// One of some words.
    Word(&'static [&'static str]),
    /// Any number of one shape.
    List(&'static Shape),
    /// Exactly these keys.
    Map(&'static [Field]),
    /// Any names, each with one shape.
    Named(&'static Shape),
    /// A word or a map.
    WordOrMap(&'static [&'static str], &'static [Field]),
    /// `[latitude, longitude]`.
    Point,
    /// Whatever a zone's records hold; read by the zone compiler.
    Records,
}

/// A key of a map.
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) help: &'static str,
}

/// A kind of scalar.
pub(super) struct Kind {
    /// Says what is wrong with a text, and what would be right.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// JSON Schema type, and a pattern or example.
    pub(super) json: &'static str,
    pub(super) example: &'static str,
    /// Whether the text must not be shown.
    pub(super) secret: bool,
}

/// Checks a node; what is wrong goes to `problems`. `path` names the place in words.
pub(super) fn check(node: &Node, shape: &Shape, path: &str, problems: &mut Vec<Problem>) {
    if matches!(node.value, Value::Null) {
        return; // As if it were not there.
    }
    check_value(node, shape, path, problems);
}

/// Checks an item of a list or of named ones: it is there, so it must be something. A map of which
/// nothing is required may be left empty.
fn check_item(node: &Node, shape: &Shape, path: &str, problems: &mut Vec<Problem>) {
    match (&node.value, shape) {
        (Value::Null, Shape::Map(fields)) => check_required(node, &[], fields, path, problems),
        (Value::Null, Shape::Records) => {}
        _ => check_value(node, shape, path, problems),
    }
}

fn check_value(node: &Node, shape: &Shape, path: &str, problems: &mut Vec<Problem>) {
    match shape {
        Shape::Scalar(kind) => check_scalar(node, kind, path, problems),
        Shape::Word(words) => check_word(node, words, path, problems),
        Shape::List(item) => match &node.value {
            Value::List(items) => items
                .iter()
                .for_each(|node| check_item(node, item, path, problems)),
            Value::Scalar(_) | Value::Map(_) | Value::Null => {
                problems.push(wrong(node, path, "a list, such as [a, b]"))
            }
        },
        Shape::Map(fields) => check_map(node, fields, path, problems),
        Shape::Named(item) => match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    check_item(&entry.node, item, &join(path, &entry.key), problems);
                }
            }
            Value::Scalar(_) | Value::List(_) | Value::Null => {
                problems.push(wrong(node, path, "a map of names"))
            }
        },
        Shape::WordOrMap(words, fields) => match &node.value {
            Value::Map(_) => check_map(node, fields, path, problems),
            Value::Scalar(_) | Value::List(_) | Value::Null => {
                check_word(node, words, path, problems)
            }
        },
        Shape::Point => check_point(node, path, problems),
        Shape::Records => {
            if !matches!(node.value, Value::Map(_)) {
                let right = "a map of names, such as { www: { A: [192.0.2.1] } }";
                problems.push(wrong(node, path, right));
            }
        }
    }
}

fn check_point(node: &Node, path: &str, problems: &mut Vec<Problem>) {
    let numbers: Vec<f64> = node
        .items()
        .iter()
        .filter_map(|item| item.text()?.parse().ok())
        .collect();
    if numbers.len() != 2 || node.items().len() != 2 {
        let right = "[latitude, longitude] in degrees, such as [50.11, 8.68]";
        problems.push(wrong(node, path, right));
    }
}

fn check_scalar(node: &Node, kind: &Kind, path: &str, problems: &mut Vec<Problem>) {
    let Some(text) = node.text() else {
        problems.push(wrong(
            node,
            path,
            &format!("a value such as {}", kind.example),
        ));
        return;
    };
    if let Err(message) = (kind.check)(text) {
        // Beside a secret a wrong value may be the secret itself, in the wrong place.
        let message = if !kind.secret && (path.starts_with("keys.") || path.starts_with("admin.")) {
            without(&message, text)
                .map(|message| format!("{path}: {message}"))
                .unwrap_or_else(|| format!("{path}: a value such as {} is expected", kind.example))
        } else {
            format!("{path}: {message}")
        };
        problems.push(Problem::new(Some(node.at.clone()), message));
    }
}

/// A message that does not show the value that it is about; none if it cannot but show it.
fn without(message: &str, text: &str) -> Option<String> {
    let hidden = message.replace(&format!("`{text}`"), "this");
    (!text.is_empty() && !hidden.contains(text)).then_some(hidden)
}

fn check_word(node: &Node, words: &[&str], path: &str, problems: &mut Vec<Problem>) {
    let given = node.text().unwrap_or_default();
    if words.contains(&given) {
        return;
    }
    let hint = nearest(given, words.iter().copied())
        .map_or(String::new(), |word| format!(": did you mean `{word}`?"));
    let expected = words.join(", ");
    let message = if node.text().is_some() {
        format!("{path}: `{given}` is not one of {expected}{hint}")
    } else {
        format!("{path}: one of {expected} is expected")
    };
    problems.push(Problem::new(Some(node.at.clone()), message));
}

fn check_map(node: &Node, fields: &[Field], path: &str, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &node.value else {
        let keys: Vec<&str> = fields.iter().map(|field| field.key).collect();
        problems.push(wrong(
            node,
            path,
            &format!("a map with keys such as {}", keys.join(", ")),
        ));
        return;
    };
    for entry in entries {
        match fields.iter().find(|field| field.key == &*entry.key) {
            Some(field) => check(&entry.node, &field.shape, &join(path, &entry.key), problems),
            None => {
                let known = fields.iter().map(|field| field.key);
                let hint = match nearest(&entry.key, known.clone()) {
                    Some(key) => format!("did you mean `{key}`?"),
                    None => format!("expected {}", known.collect::<Vec<_>>().join(", ")),
                };
                let whose = if path.is_empty() {
                    String::new()
                } else {
                    format!(" in {path}")
                };
                let message = format!("unknown key `{}`{whose}: {hint}", entry.key);
                problems.push(Problem::new(Some(entry.at.clone()), message));
            }
        }
    }
    check_required(node, entries, fields, path, problems);
}

fn check_required(
    node: &Node,
    entries: &[Entry],
    fields: &[Field],
    path: &str,
    problems: &mut Vec<Problem>,
) {
    let misspelt = |key: &str| {
        let unknown = |entry: &&Entry| fields.iter().all(|field| field.key != &*entry.key);
        let mut unknown = entries.iter().filter(unknown);
        unknown.any(|entry| nearest(&entry.key, fields.iter().map(|f| f.key)) == Some(key))
    };
    for field in fields
        .iter()
        .filter(|field| field.required && node.get(field.key).is_none() && !misspelt(field.key))
    {
        let whose = if path.is_empty() {
            "the configuration"
        } else {
            path
        };
        problems.push(Problem::new(
            Some(node.at.clone()),
            format!("{whose} lacks `{}`: {}", field.key, field.help),
        ));
    }
}

fn wrong(node: &Node, path: &str, expected: &str) -> Problem {
    let whose = if path.is_empty() {
        "the configuration"
    } else {
        path
    };
    Problem::new(
        Some(node.at.clone()),
        format!("{whose}: {expected} is expected"),
    )
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Every text that stands where a secret belongs.
pub(super) fn secrets(node: &Node, shape: &Shape, found: &mut Vec<Arc<str>>) {
    match (shape, &node.value) {
        (Shape::Scalar(kind), Value::Scalar(text)) if kind.secret => found.push(text.clone()),
        (Shape::List(item), Value::List(items)) => {
            items.iter().for_each(|node| secrets(node, item, found));
        }
        (Shape::Named(item), Value::Map(entries)) => {
            let nodes = entries.iter().map(|entry| &entry.node);
            nodes.for_each(|node| secrets(node, item, found));
        }
        (Shape::Map(fields) | Shape::WordOrMap(_, fields), Value::Map(entries)) => {
            for entry in entries {
                // A misspelt `secret:` holds one too.
                let keys = fields.iter().map(|field| field.key);
                let meant = nearest(&entry.key, keys);
                if let Some(field) = fields.iter().find(|field| Some(field.key) == meant) {
                    secrets(&entry.node, &field.shape, found);
                }
            }
        }
        _ => {}
    }
}

/// The JSON Schema of a shape.
pub(super) fn schema(shape: &Shape) -> Json {
    match shape {
        // YAML writes numbers and booleans bare, and `${VARIABLES}` make any of them strings.
        Shape::Scalar(kind) => {
            let types = match kind.json {
                "boolean" => json!(["boolean", "string", "null"]),
                _ => json!(["string", "number", "null"]),
            };
            json!({ "type": types, "examples": [kind.example] })
        }
        Shape::Word(words) => {
            json!({ "anyOf": [{ "enum": words }, variable(), { "type": "null" }] })
        }
        Shape::List(item) => json!({ "type": ["array", "null"], "items": never_null(item) }),
        Shape::Map(fields) => map_schema(fields),
        Shape::Named(item) => {
            json!({ "type": ["object", "null"], "additionalProperties": never_null(item) })
        }
        Shape::WordOrMap(words, fields) => {
            json!({ "anyOf": [{ "enum": words }, variable(), map_schema(fields)] })
        }
        Shape::Point => json!({
            "type": ["array", "null"], "items": { "anyOf": [{ "type": "number" }, variable()] }, "minItems": 2, "maxItems": 2,
            "description": "latitude, longitude in degrees",
        }),
        Shape::Records => records_schema(),
    }
}

/// A text that a variable of the environment becomes, or a part of it.
fn variable() -> Json {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

/// What stands in a list or behind a name of its own: null is nothing there.
fn never_null(shape: &Shape) -> Json {
    let mut schema = schema(shape);
    if let Json::Object(schema) = &mut schema {
        schema.insert("not".to_owned(), json!({ "type": "null" }));
    }
    schema
}

fn map_schema(fields: &[Field]) -> Json {
    let properties: serde_json::Map<String, Json> = fields
        .iter()
        .map(|field| {
            let mut schema = schema(&field.shape);
            if let Json::Object(schema) = &mut schema {
                schema.insert("description".to_owned(), json!(field.help));
            }
            (field.key.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.key)
        .collect();
    let types = if required.is_empty() {
        json!(["object", "null"])
    } else {
        json!("object")
    };
    json!({ "type": types, "properties": properties, "required": required, "additionalProperties": false })
}

/// Names, each with `ttl`, `service` and record types.
fn records_schema() -> Json {
    let rdata = json!({ "anyOf": [
        { "type": ["string", "number"] },
        { "type": "array", "items": { "type": ["string", "number"] } },
    ] });
    let types: serde_json::Map<String, Json> = super::rdata::mnemonics()
        .map(|mnemonic| (mnemonic.to_owned(), rdata.clone()))
        .collect();
    let mut properties = types;
    properties.insert(
        "ttl".to_owned(),
        json!({ "type": ["string", "number", "null"] }),
    );
    properties.insert("service".to_owned(), json!({ "type": "string" }));
    json!({
        "type": ["object", "null"],
        "additionalProperties": {
            "type": "object", "properties": properties,
            "patternProperties": { "^TYPE[0-9]+$": rdata }, "additionalProperties": false,
        },
    })
}
