//! What the lab tells of itself, as JSON for programs and as a table for people. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde_json::{Value, json};

/// All regions, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabState {
    /// One entry a region.
    pub regions: Vec<RegionState>,
}

/// One region at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionState {
    /// What it is called.
    pub name: String,
    /// Whether it serves; false after a kill.
    pub up: bool,
    /// Where it serves, also while it is down.
    pub address: SocketAddr,
    /// How many writes it has taken itself in this epoch.
    pub log: u64,
    /// The last entry applied of every region's log, in the latest epoch.
    pub applied: BTreeMap<String, u64>,
    /// The same as `Meridian-Applied` has it, with epochs.
    pub positions: String,
    /// How long after their commit it applies its peers' writes.
    pub lag_ms: u64,
    /// The same of peers that have a lag of their own.
    pub lag_from_ms: BTreeMap<String, u64>,
    /// How far its clock is from the time of day.
    pub skew_ms: i64,
    /// What its backup has applied, as `Meridian-Applied` has it; none: there is no backup.
    pub backup: Option<String>,
    /// How often what it acknowledged reaches its disk; 0: before it acknowledges.
    pub flush_ms: u64,
    /// How often it crashed.
    pub crashes: u64,
    /// How many of the writes that it had acknowledged the crashes took.
    pub lost: u64,
    /// How long its answers take.
    pub round_trip_ms: u64,
    /// The regions that a partition keeps from it.
    pub parted_from: Vec<String>,
}

impl LabState {
    pub(super) fn to_json(&self) -> Value {
        let regions: Vec<Value> = self.regions.iter().map(RegionState::to_json).collect();
        json!({ "regions": regions })
    }

    /// What is out of the ordinary: a region, and what it is.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let of = |region: &RegionState| {
            let down = (!region.up).then(|| "down".to_owned());
            let notes = down.into_iter().chain(region.notes());
            let name = region.name.clone();
            notes.map(|note| (name.clone(), note)).collect::<Vec<_>>()
        };
        self.regions.iter().flat_map(of).collect()
    }

    /// None: it is no state of a lab.
    pub(super) fn from_json(state: &Value) -> Option<Self> {
        let regions = state.get("regions")?.as_array()?;
        let regions = regions.iter().map(RegionState::from_json);
        Some(Self {
            regions: regions.collect::<Option<_>>()?,
        })
    }
}

impl RegionState {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "up": self.up, "address": self.address.to_string(), "log": self.log,
            "applied": self.applied, "positions": self.positions, "lag_ms": self.lag_ms,
            "lag_from_ms": self.lag_from_ms, "skew_ms": self.skew_ms, "backup": self.backup,
            "flush_ms": self.flush_ms, "crashes": self.crashes, "lost": self.lost,
            "round_trip_ms": self.round_trip_ms, "parted_from": self.parted_from,
        })
    }

    fn from_json(region: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let number = |key: &str| region.get(key)?.as_u64();
        let numbers = |key: &str| {
            let numbers = region.get(key)?.as_object()?.iter();
            let numbers = numbers.map(|(region, number)| Some((region.clone(), number.as_u64()?)));
            numbers.collect::<Option<BTreeMap<_, _>>>()
        };
        let parted_from = region.get("parted_from")?.as_array()?.iter();
        Some(Self {
            name: text(region.get("name")?)?,
            up: region.get("up")?.as_bool()?,
            address: region.get("address")?.as_str()?.parse().ok()?,
            log: number("log")?,
            applied: numbers("applied")?,
            positions: text(region.get("positions")?)?,
            lag_ms: number("lag_ms")?,
            lag_from_ms: numbers("lag_from_ms")?,
            skew_ms: region.get("skew_ms")?.as_i64()?,
            backup: text(region.get("backup")?),
            flush_ms: number("flush_ms")?,
            crashes: number("crashes")?,
            lost: number("lost")?,
            round_trip_ms: number("round_trip_ms")?,
            parted_from: parted_from.map(text).collect::<Option<_>>()?,
        })
    }
}

impl fmt::Display for LabState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.regions.iter().map(|region| region.name.len()).max();
        let width = longest.unwrap_or(0).max("region".len());
        write!(
            out,
            "{:width$}  state  address                  log     lag  applied",
            "region"
        )?;
        for region in &self.regions {
            write!(out, "\n{:width$}  {region}", region.name)?;
        }
        Ok(())
    }
}

/// A row of the table, but for the name.
impl fmt::Display for RegionState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "up" } else { "down" };
        let (address, lag) = (self.address.to_string(), format!("{}ms", self.lag_ms));
        write!(
            out,
            "{state:5}  {address:21}  {:6}  {lag:>6}  {}",
            self.log, self.positions
        )?;
        for note in self.notes() {
            write!(out, "  ({note})")?;
        }
        Ok(())
    }
}

impl RegionState {
    /// What is out of the ordinary.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.parted_from.is_empty() {
            notes.push(format!("parted from {}", self.parted_from.join(", ")));
        }
        for (peer, lag_ms) in &self.lag_from_ms {
            notes.push(format!("{lag_ms}ms from {peer}"));
        }
        if self.skew_ms != 0 {
            notes.push(format!("clock {:+}ms", self.skew_ms));
        }
        if let Some(backup) = &self.backup {
            notes.push(format!("backup {backup}"));
        }
        if self.flush_ms != 0 {
            notes.push(format!("flushes every {}ms", self.flush_ms));
        }
        if self.crashes != 0 {
            notes.push(format!("crashes {}, lost {}", self.crashes, self.lost));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_as_a_table() {
        let region = |name: &str, up, parted_from: &[&str]| RegionState {
            name: name.to_owned(),
            up,
            address: "127.0.0.1:7101".parse().unwrap(),
            log: 12,
            applied: BTreeMap::from([("eu-west-1".to_owned(), 3), ("us-east-1".to_owned(), 12)]),
            positions: "eu-west-1=3,us-east-1=12".to_owned(),
            lag_ms: 500,
            lag_from_ms: BTreeMap::new(),
            skew_ms: 0,
            backup: None,
            flush_ms: 0,
            crashes: 0,
            lost: 0,
            round_trip_ms: 80,
            parted_from: parted_from.iter().map(|&name| name.to_owned()).collect(),
        };
        let regions = vec![
            region("us-east-1", true, &["ap-northeast-1"]),
            region("ap-northeast-1", false, &[]),
        ];
        insta::assert_snapshot!(LabState { regions }.to_string(), @"
        region          state  address                  log     lag  applied
        us-east-1       up     127.0.0.1:7101             12   500ms  eu-west-1=3,us-east-1=12  (parted from ap-northeast-1)
        ap-northeast-1  down   127.0.0.1:7101             12   500ms  eu-west-1=3,us-east-1=12
        ");
    }
}
