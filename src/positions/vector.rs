//! Positions and vectors: what they are, how they are ordered and merged, and how they are written.
//!
//! A vector maps regions to positions; an absent entry means nothing. An entry may say where its epoch
//! began. Merging takes the larger entry of each region: commutative, associative and idempotent. Regions
//! go by name, because tokens outlive reloads and are shared between edges.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::config::plan::{MOST_VECTOR_ENTRIES, VersionForm};

/// A region as tokens and headers call it.
pub type RegionName = Arc<str>;

/// Bytes that hold the text of two or three regions.
const USUAL_TEXT: usize = 64;

/// A point in one region's log of writes. Ordered by epoch, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which life of the store; a restore, re-seed or promotion begins the next.
    pub epoch: u64,
    /// How far within it.
    pub seq: u64,
}

impl Position {
    /// How one position reads, in the form of its domain: `SEQ`, `EPOCH:SEQ`, or with [`VersionForm::PgLsn`] `HI/LO` and `TIMELINE:HI/LO`.
    pub fn show(self, form: VersionForm) -> String {
        let mut text = String::new();
        self.append_to(&mut text, form);
        text
    }

    fn append_to(self, text: &mut String, form: VersionForm) {
        // Nothing fails that is written to a text.
        if self.epoch != 0 {
            let _ = write!(text, "{}:", self.epoch);
        }
        let _ = match form {
            VersionForm::Integer => write!(text, "{}", self.seq),
            VersionForm::PgLsn => {
                let (high, low) = (self.seq >> 32, self.seq & 0xffff_ffff);
                write!(text, "{high:X}/{low:X}")
            }
        };
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
    /// It began no earlier than itself.
    #[error(
        "`{0}` says where its epoch began: after the `@` a position of an earlier epoch is expected"
    )]
    Fork(String),
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

/// Parses what a region has applied of a log: a position, and behind an `@` where its epoch began: the last
/// position of an earlier epoch that is still in it.
pub fn parse_entry(text: &str, form: VersionForm) -> Result<Entry, NotAPosition> {
    let Some((position, began)) = text.split_once('@') else {
        return Ok(parse_position(text, form)?.into());
    };
    let (position, began) = (
        parse_position(position, form)?,
        parse_position(began, form)?,
    );
    if began.epoch >= position.epoch {
        return Err(NotAPosition::Fork(text.to_owned()));
    }
    Ok(Entry {
        position,
        began: Some(began),
    })
}

/// Digits alone: no sign, no blank, not empty.
fn digits(text: &str, radix: u32) -> Option<u64> {
    if text.is_empty() || !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(text, radix).ok()
}

/// A region's part of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// How far.
    pub position: Position,
    /// The last position of an earlier epoch that is in this epoch too, if the region says so.
    pub began: Option<Position>,
}

impl From<Position> for Entry {
    fn from(position: Position) -> Self {
        Self {
            position,
            began: None,
        }
    }
}

impl Entry {
    /// The larger of two. Of equal ones that whose epoch includes less of earlier ones, so that no more is
    /// believed than both say.
    fn larger(self, other: Self) -> Self {
        match self.position.cmp(&other.position) {
            Ordering::Greater => self,
            Ordering::Less => other,
            Ordering::Equal => Self {
                began: self.began.min(other.began),
                ..self
            },
        }
    }

    /// The smaller of two, as with [`larger`](Self::larger).
    pub(super) fn smaller(self, other: Self) -> Self {
        if self.position == other.position {
            return self.larger(other);
        }
        if self.position < other.position {
            self
        } else {
            other
        }
    }

    fn append_to(self, text: &mut String, form: VersionForm) {
        self.position.append_to(text, form);
        if let Some(began) = self.began {
            text.push('@');
            began.append_to(text, form);
        }
    }
}

/// What has been written or applied, region by region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vector {
    /// Sorted by region; one entry each.
    entries: SmallVec<[(RegionName, Entry); 3]>,
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

    /// Its positions in the order of their regions' names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&RegionName, Position)> {
        self.entries()
            .map(|(region, entry)| (region, entry.position))
    }

    /// The same with where epochs began.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&RegionName, Entry)> {
        self.entries.iter().map(|(region, entry)| (region, *entry))
    }

    /// A region's position.
    pub fn get(&self, region: &str) -> Option<Position> {
        self.entry(region).map(|entry| entry.position)
    }

    /// A region's position with where its epoch began.
    pub fn entry(&self, region: &str) -> Option<Entry> {
        let at = self.find(region).ok()?;
        self.entries.get(at).map(|(_, entry)| *entry)
    }

    fn find(&self, region: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(name, _)| (**name).cmp(region))
    }

    /// Replaces a region's entry, whatever it was.
    pub fn set(&mut self, region: &RegionName, entry: impl Into<Entry>) {
        let entry = entry.into();
        match self.find(region) {
            Ok(at) => {
                if let Some(known) = self.entries.get_mut(at) {
                    known.1 = entry;
                }
            }
            Err(at) => self.entries.insert(at, (region.clone(), entry)),
        }
    }

    /// Raises a region's entry to at least this one.
    pub fn raise(&mut self, region: &RegionName, entry: impl Into<Entry>) {
        let entry = entry.into();
        let known = self.entry(region);
        self.set(region, known.map_or(entry, |known| known.larger(entry)));
    }

    /// Raises every entry to at least the other's.
    pub fn merge(&mut self, other: &Self) {
        for (region, entry) in other.entries() {
            self.raise(region, entry);
        }
    }

    /// Drops the entries that `keep` does not want.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&RegionName, Position) -> bool) {
        self.entries
            .retain(|(region, entry)| keep(region, entry.position));
    }

    /// The entries that both have, each the smaller.
    pub(crate) fn least(&self, other: &Self) -> Self {
        let mut least = Self::default();
        for (region, entry) in self.entries() {
            if let Some(theirs) = other.entry(region) {
                least.set(region, entry.smaller(theirs));
            }
        }
        least
    }

    /// `us-east-1=1042,eu-west-1=3:977`.
    pub fn show(&self, form: VersionForm) -> String {
        let mut text = String::with_capacity(USUAL_TEXT);
        for (region, entry) in self.entries() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(region);
            text.push('=');
            entry.append_to(&mut text, form);
        }
        text
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(VersionForm::Integer))
    }
}

/// Parses `us-east-1=1042,eu-west-1=4:12@3:977`; an empty text is the empty vector.
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
        if vector.get(region).is_some() {
            return Err(NotAPosition::Twice(region.to_owned()));
        }
        if vector.len() == MOST_VECTOR_ENTRIES {
            return Err(NotAPosition::TooMany);
        }
        vector.set(&region.into(), parse_entry(position, form)?);
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::positions::fixtures::vector;

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
        let forked = "us-east-1=4:12@3:977";
        assert_eq!(vector(forked).to_string(), forked);
        for text in ["us-east-1", "=1", "a=1,a=2", "a=x", "a=4:1@", "a=@3:1"] {
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
    fn an_epoch_begins_in_an_earlier_one() {
        let parse = |text| parse_entry(text, VersionForm::Integer);
        let entry = parse("4:12@3:977").unwrap();
        assert_eq!(entry.position, Position { epoch: 4, seq: 12 });
        assert_eq!(entry.began, Some(Position { epoch: 3, seq: 977 }));
        assert_eq!(parse("1:0@5").unwrap().began.unwrap().epoch, 0);
        for text in ["4:12@4:1", "4:12@5:1", "12@3", "4:12@3:977@2:1", "4:12@x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_timeline_begins_at_an_lsn_of_an_earlier_one() {
        let text = "us-east-1=2:16/B374D848@1:16/B0000000";
        let vector = parse_vector(text, VersionForm::PgLsn).unwrap();
        let began = vector.entry("us-east-1").unwrap().began.unwrap();
        assert_eq!((began.epoch, began.seq), (1, 0x16_B000_0000));
        assert_eq!(vector.show(VersionForm::PgLsn), text);
        assert!(parse_vector("a=16/0@16/0", VersionForm::PgLsn).is_err());
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        (0u64..3, 0u64..5, prop::option::of(0u64..5)).prop_map(|(epoch, seq, began)| Entry {
            position: Position { epoch, seq },
            began: began.filter(|_| epoch > 0).map(|seq| Position {
                epoch: epoch - 1,
                seq,
            }),
        })
    }

    fn any_vector() -> impl Strategy<Value = Vector> {
        prop::collection::btree_map("[a-d]", any_entry(), 0..4).prop_map(|entries| {
            let mut vector = Vector::default();
            for (region, entry) in entries {
                vector.set(&region.into(), entry);
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
        fn the_least_is_commutative_and_no_more_than_either(a in any_vector(), b in any_vector()) {
            let least = a.least(&b);
            prop_assert_eq!(&least, &b.least(&a));
            for (region, position) in least.iter() {
                prop_assert!(position <= a.get(region).unwrap() && position <= b.get(region).unwrap());
            }
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
