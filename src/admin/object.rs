//! The JSON object of a call's body, in which every key is known and is there once.

use std::fmt;

use axum::body::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::writes::{Refused, bad};

/// An object from a body; an empty body is an empty object. Unknown keys are refused, and so is a key that is there twice, in an
/// object within it too: one of its values would be obeyed that whoever asked may not have meant (RFC 8259 §4).
pub(super) fn object(body: &Bytes, known: &[&str]) -> Result<Value, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let Object(object) = serde_json::from_slice(body).map_err(|wrong| {
        bad(if wrong.is_data() {
            format!("the body: {wrong}")
        } else {
            format!("the body is no JSON: {wrong}")
        })
    })?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(bad(format!(
            "unknown key `{key}`: expected {}",
            known.join(", ")
        ))),
        None => Ok(Value::Object(object)),
    }
}

struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(KeysOnce).map(Self)
    }
}

/// Any value, in whose objects no key is there twice.
struct Any(Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyOnce).map(Self)
    }
}

struct AnyOnce;

impl<'de> Visitor<'de> for AnyOnce {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Any(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        KeysOnce.visit_map(entries).map(Value::Object)
    }
}

struct KeysOnce;

impl<'de> Visitor<'de> for KeysOnce {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Any(value))) = entries.next_entry::<String, Any>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` is there twice")));
            }
            object.insert(key, value);
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn refused(body: &'static str) -> String {
        let (status, told) = object(&Bytes::from(body), &["over", "for"]).unwrap_err();
        assert_eq!(status, StatusCode::BAD_REQUEST);
        told["error"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_body_is_an_object_or_empty() {
        for body in ["", " \n", "{}"] {
            assert_eq!(object(&Bytes::from(body), &[]).unwrap(), json!({}));
        }
        let body = Bytes::from(r#"{"over": "1m"}"#);
        assert_eq!(object(&body, &["over"]).unwrap(), json!({ "over": "1m" }));
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said() {
        for (body, said) in [
            (
                r#"{"over": "1m", "over": "10m"}"#,
                "the body: `over` is there twice",
            ),
            (
                r#"{"over": [{"a": 1, "b": [null, true, -2.5, "c"], "a": 2}]}"#,
                "the body: `a` is there twice",
            ),
            (r#"{"ovr": "1m"}"#, "unknown key `ovr`: expected over, for"),
            (r#"["over"]"#, "expected a JSON object"),
            (
                r#"{"over": "1m"} {}"#,
                "the body is no JSON: trailing characters",
            ),
            (r#"{"over""#, "the body is no JSON: EOF"),
        ] {
            let refused = refused(body);
            assert!(refused.contains(said), "{body}: {refused}");
        }
    }
}
