//! The form of the state file: a version and a checksum around what is remembered, as one line of JSON.
//!
//! ```json
//! {"version":2,"sha256":"9f86…","state":{…}}
//! ```
//!
//! Pure. The checksum is over the bytes of `state` as they stand in the file, so that whatever was cut off
//! or turned over is found, and nothing damaged is taken for knowledge.

use aws_lc_rs::digest;
use serde_json::Value;

/// The form that is written. Version 1 was the state alone, without a checksum.
pub(super) const VERSION: u64 = 2;

const BEFORE_SUM: &str = "{\"version\":2,\"sha256\":\"";
const BEFORE_STATE: &str = "\",\"state\":";
const AFTER_STATE: &str = "}\n";

/// Why a state file is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Cut off, or not all of it is what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A later Meridian wrote it.
    #[error("it is of version {0}, and this Meridian knows versions up to {VERSION}")]
    Later(u64),
}

/// A state that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Unsealed {
    /// What is remembered.
    pub(super) state: Value,
    /// Whether it was in an earlier form.
    pub(super) is_earlier: bool,
}

/// A state in the form of the file.
pub(super) fn seal(state: &Value) -> String {
    let state = state.to_string();
    let sum = sum_of(state.as_bytes());
    [BEFORE_SUM, &sum, BEFORE_STATE, &state, AFTER_STATE].concat()
}

/// What a file holds.
pub(super) fn unseal(file: &[u8]) -> Result<Unsealed, Unreadable> {
    let damaged = |why: &str| Unreadable::Damaged(why.to_owned());
    let text = std::str::from_utf8(file).map_err(|_| damaged("it is no text"))?;
    let Some(rest) = text.strip_prefix(BEFORE_SUM) else {
        return of_another_version(text);
    };
    let (sum, rest) = rest
        .split_once(BEFORE_STATE)
        .ok_or_else(|| damaged("it ends too soon"))?;
    let state = rest
        .strip_suffix(AFTER_STATE)
        .ok_or_else(|| damaged("it ends too soon"))?;
    if sum != sum_of(state.as_bytes()) {
        return Err(damaged("its checksum is another"));
    }
    let state = serde_json::from_str(state).map_err(|e| Unreadable::Damaged(e.to_string()))?;
    Ok(Unsealed {
        state,
        is_earlier: false,
    })
}

fn of_another_version(text: &str) -> Result<Unsealed, Unreadable> {
    let damaged = |why: String| Unreadable::Damaged(why);
    let file: Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    match file.get("version").and_then(Value::as_u64) {
        Some(1) if file.get("verdicts").is_some() => Ok(Unsealed {
            state: file,
            is_earlier: true,
        }),
        Some(later) if later > VERSION => Err(Unreadable::Later(later)),
        Some(_) | None => Err(damaged("it is in no form that was ever written".to_owned())),
    }
}

fn sum_of(bytes: &[u8]) -> String {
    let sum = digest::digest(&digest::SHA256, bytes);
    sum.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn state() -> Value {
        json!({
            "drains": [{ "region": "eu", "reason": "new \"disks\"\n", "since_ms": 20 }],
            "verdicts": { "shop/eu/http://10.2.0.1:80": "healthy" },
            "positions": [{ "domain": "orders", "region": "eu", "applied": "us=5,eu=3:9" }],
        })
    }

    #[test]
    fn what_was_sealed_is_unsealed_as_it_was() {
        let unsealed = unseal(seal(&state()).as_bytes()).unwrap();
        assert_eq!((unsealed.state, unsealed.is_earlier), (state(), false));
    }

    #[test]
    fn a_file_cut_off_anywhere_is_not_read() {
        let whole = seal(&state());
        for length in 0..whole.len() {
            assert!(unseal(&whole.as_bytes()[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_file_with_any_bit_turned_over_is_not_read() {
        let whole = seal(&state()).into_bytes();
        for bit in 0..whole.len() * 8 {
            let mut file = whole.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&file).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_first_form_is_read_and_a_later_one_named() {
        let first = json!({ "version": 1, "verdicts": {}, "drains": [] });
        let unsealed = unseal(first.to_string().as_bytes()).unwrap();
        assert_eq!((unsealed.state, unsealed.is_earlier), (first, true));
        assert_eq!(
            unseal(br#"{"version":3,"sha256":"","state":{}}"#),
            Err(Unreadable::Later(3))
        );
        let later = Unreadable::Later(3).to_string();
        assert_eq!(
            later,
            "it is of version 3, and this Meridian knows versions up to 2"
        );
    }

    fn any_state() -> impl Strategy<Value = Value> {
        proptest::collection::btree_map(".*", (".*", any::<u64>()), 0..8).prop_map(|map| json!(map))
    }

    proptest! {
        #[test]
        fn any_state_survives_and_any_damage_is_found(
            state in any_state(),
            from in any::<proptest::sample::Index>(),
            with in proptest::collection::vec(any::<u8>(), 0..16),
            cut in 0_usize..16,
        ) {
            let whole = seal(&state).into_bytes();
            prop_assert_eq!(unseal(&whole).unwrap().state, state);
            let from = from.index(whole.len());
            let until = whole.len().min(from + cut);
            let mut file = whole.clone();
            file.splice(from..until, with);
            prop_assert!(file == whole || unseal(&file).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(file in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = unseal(&file);
        }
    }
}
