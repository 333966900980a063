//! What is measured survives a restart: `latency` in `state_dir`.
//!
//! A line that says the version and the digest of the rest, and the rest as JSON: what is measured of each network, and of
//! figures in force those that differ from it by a real gain, so that a restart gives none of them way sooner. Written whole
//! to a new file that then takes the old one's name. A file that cannot be read is set aside, never a reason not
//! to start. Addresses are not written: networks are, with how many sources were heard in each.

use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::RoundTrip;
use super::measurement::{Source, is_round_trip};
use super::samples::{Cell, Cells, MOST_NETWORKS, Samples};
use super::settled::Settled;
use super::together::Key;
use crate::disk::{Claim, replace};
use crate::prefix::IpVersion;
use crate::regular;

/// How the file begins: its form, before the digest.
const MARK: &str = "meridian-latency 2 ";

/// How it began before, when it held networks alone.
const MARK_OF_NETWORKS: &str = "meridian-latency 1 ";

/// The file.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    claim: Option<Claim>,
}

impl Store {
    /// The file of a folder, which another store has made, and whose that is, where it is known.
    pub(crate) fn of(folder: &Path, claim: Option<Claim>) -> Self {
        Self {
            path: folder.join("latency"),
            claim,
        }
    }

    /// Whether there is anything to be kept, or to be replaced.
    pub(crate) fn is_needed(&self, samples: &Samples) -> bool {
        !samples.is_empty() || self.path.exists()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file remembers; nothing, if there is none. An error says why the file was set aside. `now_ms` may be behind what the
    /// clock said when it was written: then all is as old as it was.
    pub fn restore(&self, now_ms: u64) -> Result<Samples, String> {
        let why = match regular::read(&self.path) {
            Ok(bytes) => match decode(&String::from_utf8_lossy(&bytes)) {
                Ok(mut samples) => {
                    let ahead_ms = self.written_ms().saturating_sub(now_ms);
                    samples.shift(-i64::try_from(ahead_ms).unwrap_or(i64::MAX));
                    return Ok(samples);
                }
                Err(why) => why.to_owned(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Samples::default());
            }
            Err(error) => error.to_string(),
        };
        let (file, aside) = (&self.path, self.path.with_extension("unreadable"));
        let became = match std::fs::rename(file, &aside) {
            Ok(()) => format!("set aside as {}", aside.display()),
            Err(error) => format!("it cannot be set aside: {error}"),
        };
        Err(format!("{}: {why}; {became}", file.display()))
    }

    /// When it was written; 0 where the file system does not say.
    fn written_ms(&self) -> u64 {
        let written = std::fs::metadata(&self.path).and_then(|file| file.modified());
        let since = written
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Writes what is to be remembered, [`encode`]d.
    pub fn save(&self, encoded: &str) -> io::Result<()> {
        self.claim.as_ref().map_or(Ok(()), Claim::assure)?;
        replace(&self.path, encoded.as_bytes())
    }
}

fn hex_digest(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// What is to be remembered, as the file has it.
pub fn encode(samples: &Samples) -> String {
    let networks: serde_json::Map<String, Value> = samples
        .networks
        .iter()
        .map(|(prefix, cells)| {
            let regions: serde_json::Map<String, Value> = cells
                .iter()
                .map(|(region, cell)| (region.to_string(), encode_cell(cell)))
                .collect();
            (prefix.to_string(), regions.into())
        })
        .collect();
    let giving_way = samples.settled.iter().filter_map(encode_giving_way);
    let giving_way: Vec<Value> = giving_way.collect();
    let body = json!({ "networks": networks, "giving_way": giving_way }).to_string();
    format!("{MARK}{}\n{body}", hex_digest(&body))
}

/// A figure in force that differs from what is measured.
fn encode_giving_way(((network, version, region), settled): (&Key, &Settled)) -> Option<Value> {
    let since_ms = settled.gives_way_since()?;
    Some(json!({
        "network": network.to_string(),
        "ipv6": *version == IpVersion::V6,
        "region": region.to_string(),
        "ms": settled.ms(),
        "since_ms": since_ms,
    }))
}

fn encode_cell(cell: &Cell) -> Value {
    json!({
        "ms": cell.average.ms(),
        "samples": cell.average.samples(),
        "at_ms": cell.at_ms,
        "source": cell.source.as_str(),
        "sources": cell.sources(),
    })
}

/// What was [`encode`]d.
pub fn decode(text: &str) -> Result<Samples, &'static str> {
    let rest = text.strip_prefix(MARK);
    let is_of_networks = rest.is_none();
    let rest = rest
        .or_else(|| text.strip_prefix(MARK_OF_NETWORKS))
        .ok_or("it is no file of measured latency, or of another version")?;
    let (digest, body) = rest.split_once('\n').ok_or("it is cut short")?;
    if hex_digest(body) != digest {
        return Err("its digest is not that of what it holds");
    }
    let held: Value = serde_json::from_str(body).map_err(|_| "it holds no JSON")?;
    let mut samples = Samples::default();
    let networks = if is_of_networks {
        Some(&held)
    } else {
        held.get("networks")
    };
    let networks = networks.and_then(Value::as_object).into_iter().flatten();
    for (prefix, regions) in networks.take(MOST_NETWORKS) {
        let prefix = prefix.parse().map_err(|_| "it names what is no network")?;
        samples.remember(prefix, decode_cells(regions));
    }
    let giving_way = held.get("giving_way").and_then(Value::as_array);
    let giving_way = giving_way.into_iter().flatten();
    samples.settled = giving_way.filter_map(decode_giving_way).collect();
    Ok(samples)
}

fn decode_giving_way(figure: &Value) -> Option<(Key, Settled)> {
    let text = |key: &str| figure.get(key)?.as_str();
    let ms = figure.get("ms")?.as_f64().filter(|ms| is_round_trip(*ms))?;
    let version = if figure.get("ipv6")?.as_bool()? {
        IpVersion::V6
    } else {
        IpVersion::V4
    };
    let key = (
        text("network")?.parse().ok()?,
        version,
        text("region")?.into(),
    );
    let since_ms = figure.get("since_ms")?.as_u64()?;
    Some((key, Settled::giving_way(ms, since_ms)))
}

fn decode_cells(regions: &Value) -> Cells {
    let regions = regions.as_object().into_iter().flatten();
    regions
        .filter_map(|(region, cell)| Some((region.as_str().into(), decode_cell(cell)?)))
        .collect()
}

fn decode_cell(cell: &Value) -> Option<Cell> {
    let number = |key: &str| cell.get(key)?.as_u64();
    let ms = cell.get("ms")?.as_f64().filter(|ms| is_round_trip(*ms))?;
    let source = cell.get("source")?.as_str()?;
    let source = Source::ALL.into_iter().find(|s| s.as_str() == source)?;
    let average = RoundTrip::known(ms, u32::try_from(number("samples")?).ok()?);
    let sources = usize::try_from(number("sources")?).ok()?;
    Some(Cell::new(average, number("at_ms")?, source, sources))
}

#[cfg(test)]
mod tests {
    use super::super::samples::Sample;
    use super::super::together::Enough;
    use super::*;

    const ENOUGH: Enough = Enough {
        samples: 3,
        sources: 3,
        off: &[],
    };

    /// Later than any file is written.
    const NOW_MS: u64 = u64::MAX;

    fn measured() -> Samples {
        let mut samples = Samples::default();
        for host in 1..4_u64 {
            let sample = Sample {
                client: format!("192.0.2.{host}").parse().unwrap(),
                region: "eu-west-1".into(),
                ms: 20.5,
                source: Source::Beacon,
            };
            samples.take(&sample, host, 1_000 + host);
        }
        samples
    }

    #[test]
    fn what_is_measured_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path(), None);
        assert!(
            store.restore(NOW_MS).unwrap().is_empty(),
            "there is no file yet"
        );
        let mut samples = measured();
        store.save(&encode(&samples)).unwrap();
        let mut restored = store.restore(NOW_MS).unwrap();
        let figures = |samples: &mut Samples| {
            samples
                .settle(ENOUGH, 2_000, |_| (None, None), |_| None)
                .rows
        };
        let rows = figures(&mut restored);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows, figures(&mut samples));
    }

    #[test]
    fn a_figure_in_force_gives_way_no_sooner_for_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path(), None);
        let mut samples = measured();
        let figure = |samples: &mut Samples, now_ms| {
            let country = (None, Some("FR".parse().unwrap()));
            let figures = samples.settle(ENOUGH, now_ms, |_| country, |_| None);
            figures.rows[0].measurement.ms
        };
        assert_eq!(figure(&mut samples, 2_000), 20.5);
        let slower = |host: u64, round: u32| Sample {
            client: format!("192.0.2.{host}").parse().unwrap(),
            region: "eu-west-1".into(),
            ms: 200.0 + f64::from(round),
            source: Source::Beacon,
        };
        for round in 1..4 {
            for host in 1..4 {
                let at_ms = 5_000 + u64::from(round) * 60_000;
                samples.take(&slower(host, round), host, at_ms);
            }
        }
        assert_eq!(figure(&mut samples, 190_000), 20.5, "it has not lasted yet");
        store.save(&encode(&samples)).unwrap();
        let mut restored = store.restore(NOW_MS).unwrap();
        assert_eq!(figure(&mut restored, 191_000), 20.5);
        assert_eq!(figure(&mut restored, 309_999), 20.5);
        for host in 1..4 {
            restored.take(&slower(host, 4), host, 310_000);
        }
        assert!(figure(&mut restored, 310_000) > 100.0);
    }

    #[test]
    fn what_an_edge_wrote_that_remembered_networks_alone_is_read() {
        let networks = r#"{"192.0.2.0/24":{"eu-west-1":{"at_ms":1003,"ms":20.5,"samples":3,"source":"beacon","sources":3}}}"#;
        let text = format!("{MARK_OF_NETWORKS}{}\n{networks}", hex_digest(networks));
        let rows = |mut samples: Samples| {
            samples
                .settle(ENOUGH, 2_000, |_| (None, None), |_| None)
                .rows
        };
        assert_eq!(rows(decode(&text).unwrap()), rows(measured()));
    }

    #[test]
    fn what_is_measured_is_as_old_as_it_was_where_the_clock_is_behind_what_it_said_at_saving() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path(), None);
        let (hour_ms, written_ms) = (3_600_000, 100 * 3_600_000);
        let mut samples = measured();
        samples.shift(written_ms - 2 * 3_600_000);
        store.save(&encode(&samples)).unwrap();
        let file = std::fs::File::open(folder.path().join("latency")).unwrap();
        let written_ms = u64::try_from(written_ms).unwrap();
        let at = UNIX_EPOCH + std::time::Duration::from_millis(written_ms);
        file.set_modified(at).unwrap();
        let mut restored = store.restore(50 * hour_ms).unwrap();
        let row = |samples: &mut Samples, now_ms| {
            let figures = samples.settle(ENOUGH, now_ms, |_| (None, None), |_| None);
            figures.rows[0].measurement
        };
        let of_then = row(&mut samples, written_ms);
        let of_now = row(&mut restored, 50 * hour_ms);
        assert_eq!(of_now.trust, of_then.trust);
        assert_eq!(written_ms - of_then.at_ms, 50 * hour_ms - of_now.at_ms);
    }

    #[test]
    fn no_address_of_a_client_is_written() {
        let text = encode(&measured());
        assert!(text.contains("192.0.2.0/24") && !text.contains("192.0.2.1"));
    }

    #[test]
    fn a_file_that_is_damaged_anywhere_is_set_aside() {
        let whole = encode(&measured());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path(), None);
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(
                String::from_utf8(bytes).is_ok_and(|text| decode(&text).is_err()),
                "at {at}"
            );
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
        std::fs::write(folder.path().join("latency"), &whole[..whole.len() - 1]).unwrap();
        let why = store.restore(NOW_MS).err().unwrap();
        assert!(why.contains("its digest is not that"), "{why}");
        assert!(folder.path().join("latency.unreadable").exists());
        assert!(!folder.path().join("latency").exists());
    }
}
