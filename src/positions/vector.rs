//! Positions and vectors: what they are, how they are ordered and merged, and how they are written.
//!
//! A vector maps regions to positions; an absent entry means nothing. Merging takes the larger
//! entry of each region: commutative, associative and idempotent. Regions go by name, because
//! tokens outlive reloads and are shared between edges.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::config::plan::VersionForm;

/// The most entries that a vector may have: as many regions as may take writes in one domain.
pub(super) const MOST_VECTOR_ENTRIES: usize = 16;

/// A region as tokens and headers call it.
pub type RegionName = Arc<str>;

/// A point in one region's log of writes. Ordered by epoch, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which life of the store; a restore, re-seed or promotion begins the next.
    pub epoch: u64,
    /// How far within it.
    pub seq: u64,
}

impl Position {
    /// Whether what is applied up to here includes `required`. Epochs do not compare: a later epoch
    /// may have left the required write behind.
    pub fn includes(self, required: Self) -> bool {
        self.epoch == required.epoch && self.seq >= required.seq
    }

    /// `SEQ`, `EPOCH:SEQ`, or with [`VersionForm::PgLsn`] `HI/LO` and `TIMELINE:HI/LO`.
    pub fn show(self, form: VersionForm) -> String {
        match (form, self.epoch) {
            (VersionForm::Integer, 0) => self.seq.to_string(),
            (VersionForm::Integer, epoch) => format!("{epoch}:{}", self.seq),
            (VersionForm::PgLsn, epoch) => {
                let (high, low) = (self.seq >> 32, self.seq & 0xffff_ffff);
                if epoch == 0 {
                    format!("{high:X}/{low:X}")
                } else {
                    format!("{epoch}:{high:X}/{low:X}")
                }
            }
        }
    }
}

/// A text that is no position or vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPosition {
    /// Not in the form of the domain.
    #[error("`{0}` is not a position: expected SEQ or EPOCH:SEQ, unsigned 64-bit")]
    Integer(String),
    /// Not in the form of the domain.
    #[error(
        "`{0}` is not a position: expected an LSN such as 16/B374D848, with or without TIMELINE:"
    )]
    PgLsn(String),
    /// Not `region=position`.
    #[error("`{0}` is not a vector entry: expected REGION=POSITION")]
    Entry(String),
    /// The same region twice.
    #[error("region `{0}` appears twice in a vector")]
    Twice(String),
    /// Over 16 entries.
    #[error("a vector has at most {MOST_VECTOR_ENTRIES} entries")]
    TooMany,
}

/// Parses a position in the form of its domain.
pub fn parse_position(text: &str, form: VersionForm) -> Result<Position, NotAPosition> {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (digits(epoch, 10), rest),
        None => (Some(0), text),
    };
    let seq = match form {
        VersionForm::Integer => digits(rest, 10),
        VersionForm::PgLsn => rest.split_once('/').and_then(|(high, low)| {
            let (high, low) = (digits(high, 16)?, digits(low, 16)?);
            (high <= u64::from(u32::MAX) && low <= u64::from(u32::MAX)).then_some(high << 32 | low)
        }),
    };
    match (epoch, seq) {
        (Some(epoch), Some(seq)) => Ok(Position { epoch, seq }),
        _ => Err(match form {
            VersionForm::Integer => NotAPosition::Integer(text.to_owned()),
            VersionForm::PgLsn => NotAPosition::PgLsn(text.to_owned()),
        }),
    }
}

/// Digits alone: no sign, no blank, not empty.
fn digits(text: &str, radix: u32) -> Option<u64> {
    if text.is_empty() || !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(text, radix).ok()
}

/// What has been written or applied, region by region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vector {
    /// Sorted by region; one entry each.
    entries: SmallVec<[(RegionName, Position); 4]>,
}

impl Vector {
    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Its entries in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&RegionName, Position)> {
        self.entries
            .iter()
            .map(|(region, position)| (region, *position))
    }

    /// A region's entry.
    pub fn get(&self, region: &str) -> Option<Position> {
        let at = self.find(region).ok()?;
        self.entries.get(at).map(|(_, position)| *position)
    }

    fn find(&self, region: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(name, _)| (**name).cmp(region))
    }

    /// Replaces a region's entry, whatever it was.
    pub fn set(&mut self, region: &RegionName, position: Position) {
        match self.find(region) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.1 = position;
                }
            }
            Err(at) => self.entries.insert(at, (region.clone(), position)),
        }
    }

    /// Raises a region's entry to at least `position`.
    pub fn raise(&mut self, region: &RegionName, position: Position) {
        if self.get(region).is_none_or(|known| known < position) {
            self.set(region, position);
        }
    }

    /// Raises every entry to at least the other's.
    pub fn merge(&mut self, other: &Self) {
        for (region, position) in other.iter() {
            self.raise(region, position);
        }
    }

    /// The entries of `required` that this vector does not include.
    pub fn missing<'a>(
        &self,
        required: &'a Self,
    ) -> impl Iterator<Item = (&'a RegionName, Position)> {
        required
            .iter()
            .filter(|(region, wanted)| !self.get(region).is_some_and(|have| have.includes(*wanted)))
    }

    /// Whether every entry of `required` is included.
    pub fn dominates(&self, required: &Self) -> bool {
        self.missing(required).next().is_none()
    }

    /// `us-east-1=1042,eu-west-1=3:977`.
    pub fn show(&self, form: VersionForm) -> String {
        let entries: Vec<String> = self
            .iter()
            .map(|(region, position)| format!("{region}={}", position.show(form)))
            .collect();
        entries.join(",")
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(VersionForm::Integer))
    }
}

/// Parses `us-east-1=1042,eu-west-1=3:977`; an empty text is the empty vector. What follows an `@`
/// in an entry says where its epoch began, and is not needed to compare within an epoch.
pub fn parse_vector(text: &str, form: VersionForm) -> Result<Vector, NotAPosition> {
    let mut vector = Vector::default();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let (region, position) = entry
            .split_once('=')
            .filter(|(region, _)| !region.is_empty())
            .ok_or_else(|| NotAPosition::Entry(entry.to_owned()))?;
        let position = position
            .split_once('@')
            .map_or(position, |(position, _)| position);
        if vector.get(region).is_some() {
            return Err(NotAPosition::Twice(region.to_owned()));
        }
        if vector.len() == MOST_VECTOR_ENTRIES {
            return Err(NotAPosition::TooMany);
        }
        vector.set(&region.into(), parse_position(position, form)?);
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(text: &str) -> Vector {
        parse_vector(text, VersionForm::Integer).unwrap()
    }

    #[test]
    fn a_position_is_a_number_or_an_epoch_with_a_number() {
        let parse = |text| parse_position(text, VersionForm::Integer);
        assert_eq!(
            parse("1042"),
            Ok(Position {
                epoch: 0,
                seq: 1042
            })
        );
        assert_eq!(parse("3:977"), Ok(Position { epoch: 3, seq: 977 }));
        assert_eq!(parse("0:5"), parse("5"));
        assert!(parse("18446744073709551615").is_ok());
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "18446744073709551616",
            ":1",
            "1:",
            " 1",
            "1:2:3",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_lsn_is_two_hexadecimal_halves() {
        let parse = |text| parse_position(text, VersionForm::PgLsn);
        let position = parse("16/B374D848").unwrap();
        assert_eq!(position.seq, 0x16_B374_D848);
        assert_eq!(position.show(VersionForm::PgLsn), "16/B374D848");
        assert_eq!(parse("2:16/0").unwrap().epoch, 2);
        for text in [
            "1042",
            "16",
            "/1",
            "16/",
            "100000000/0",
            "0/100000000",
            "G/1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_vector_reads_as_it_is_written() {
        let text = "eu-west-1=3:977,us-east-1=1042";
        assert_eq!(vector(text).to_string(), text);
        assert_eq!(vector(""), Vector::default());
        assert_eq!(vector("us-east-1=4:12@3:977").to_string(), "us-east-1=4:12");
        for text in ["us-east-1", "=1", "a=1,a=2", "a=x"] {
            assert!(parse_vector(text, VersionForm::Integer).is_err(), "{text}");
        }
    }

    #[test]
    fn sixteen_entries_are_read_and_seventeen_refused() {
        let of = |n: usize| {
            (0..n)
                .map(|i| format!("r{i}=1"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(vector(&of(16)).len(), 16);
        assert_eq!(
            parse_vector(&of(17), VersionForm::Integer),
            Err(NotAPosition::TooMany)
        );
    }

    #[test]
    fn an_entry_is_satisfied_within_its_epoch_only() {
        assert!(vector("a=3:5").dominates(&vector("a=3:5")));
        assert!(!vector("a=3:4").dominates(&vector("a=3:5")));
        assert!(!vector("a=4:9").dominates(&vector("a=3:5")));
        assert!(!vector("b=9").dominates(&vector("a=1")));
        assert!(vector("").dominates(&vector("")));
    }

    fn any_vector() -> impl Strategy<Value = Vector> {
        prop::collection::btree_map("[a-d]", (0u64..3, 0u64..5), 0..4).prop_map(|entries| {
            let mut vector = Vector::default();
            for (region, (epoch, seq)) in entries {
                vector.set(&region.into(), Position { epoch, seq });
            }
            vector
        })
    }

    fn merged(a: &Vector, b: &Vector) -> Vector {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(
            a in any_vector(), b in any_vector(), c in any_vector()
        ) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn within_one_epoch_a_merge_dominates_both(a in any_vector(), b in any_vector()) {
            let flat = |v: &Vector| {
                let mut flat = Vector::default();
                for (region, p) in v.iter() {
                    flat.set(region, Position { epoch: 0, seq: p.seq });
                }
                flat
            };
            let (a, b) = (flat(&a), flat(&b));
            let both = merged(&a, &b);
            prop_assert!(both.dominates(&a) && both.dominates(&b));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
            let _ = parse_vector(&text, VersionForm::Integer);
            let _ = parse_vector(&text, VersionForm::PgLsn);
        }

        #[test]
        fn what_is_shown_parses_back(v in any_vector()) {
            for form in [VersionForm::Integer, VersionForm::PgLsn] {
                prop_assert_eq!(parse_vector(&v.show(form), form), Ok(v.clone()));
            }
        }
    }
}
