//! Files of measured round trips: CSV with a head, or a JSON list, of network, region and ms.
//!
//! Every problem with its place; a file with one is refused whole. A region that the Plan has not, and
//! round trips that light rules out, are warned of and left out; so is a row whose network and region another has. What light
//! rules out from where a geography database has the network is warned of. Bounded in size and in rows.

mod json;
mod judged;

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::plan::{FileRef, Plan, SourceAt};
use super::problem::{Few, Problem};
use crate::geo::is_country;
use crate::latency::{LONGEST_MS, Measurement, Network, Row, Source, Whereabouts, is_round_trip};
use crate::prefix::Prefix;
use crate::regular;

/// The longest file, bytes.
const MOST_BYTES: u64 = 64 << 20;

/// The most rows of one file.
const MOST_ROWS: usize = 1_000_000;

/// The columns, in the order in which the documentation has them; the last may be missing.
const COLUMNS: [&str; 4] = ["network", "region", "ms", "samples"];

/// Where in a file something is, from 1.
#[derive(Clone, Copy)]
struct Place {
    line: u32,
    /// In characters.
    column: u32,
}

/// What a column of a row says, and where.
type Cell<'t> = (&'t str, Place);

/// What each of the columns says; `None`: nothing.
type Cells<'t> = [Option<Cell<'t>>; COLUMNS.len()];

/// Reads the files that `latency.import` names, of which an earlier one counts before a later one. `whereabouts`: where networks
/// are, if that is known.
pub fn read_imports(
    files: &[FileRef],
    plan: &Plan,
    whereabouts: &dyn Fn(Network) -> Option<Whereabouts>,
    warnings: &mut Vec<Problem>,
) -> Result<Vec<Row>, Vec<Problem>> {
    let (mut rows, mut texts, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        match read_file(file) {
            Ok((read, text)) => {
                rows.extend(read);
                texts.push((&file.path, text));
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut doubts = Vec::new();
    let rows = judged::believed(rows, plan, whereabouts, &mut doubts);
    for (file, text) in texts {
        Problem::quote_all(&mut doubts, file, &text);
    }
    warnings.append(&mut doubts);
    Ok(rows)
}

/// The rows of a file with their places, and its text.
fn read_file(file: &FileRef) -> Result<(Placed, String), Vec<Problem>> {
    let (text, modified_ms) = open(&file.path).map_err(|why| {
        let message = format!("{}: {why}", file.path.display());
        vec![Problem::new(Some(file.at.clone()), message)]
    })?;
    let mut reading = Reading {
        file: file.path.as_path().into(),
        at_ms: modified_ms,
        rows: Vec::new(),
        problems: Few::default(),
    };
    if text.trim_start().starts_with(['[', '{']) {
        json::read(&mut reading, &text);
    } else {
        reading.csv(&text);
    }
    let mut problems = reading.problems.all();
    if problems.is_empty() {
        return Ok((reading.rows, text));
    }
    Problem::quote_all(&mut problems, &file.path, &text);
    Err(problems)
}

/// The text of a file, and when it was written, in milliseconds since 1970.
fn open(path: &Path) -> Result<(String, u64), String> {
    let opened = regular::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(format!("it has more than {} MiB", MOST_BYTES >> 20));
    }
    // Spreadsheets mark UTF-8 so (RFC 3629 §6).
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    let modified = metadata.modified().ok();
    let since_1970 = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let ms = since_1970.and_then(|since| u64::try_from(since.as_millis()).ok());
    Ok((text, ms.unwrap_or(0)))
}

/// Rows with where they are.
type Placed = Vec<(Row, SourceAt)>;

struct Reading {
    file: Arc<Path>,
    at_ms: u64,
    rows: Placed,
    problems: Few,
}

impl Reading {
    fn at(&self, Place { line, column }: Place) -> SourceAt {
        SourceAt {
            file: self.file.clone(),
            line,
            column,
        }
    }

    fn problem(&mut self, place: Place, message: String) {
        let at = self.at(place);
        self.problems.tell(&at, || message);
    }

    fn csv(&mut self, text: &str) {
        let lines = (1..=u32::MAX).zip(text.lines());
        if let Some((number, _)) = lines.clone().find(|(_, text)| text.contains('\r')) {
            let message = "a line ends in CR alone: LF or CRLF is expected".to_owned();
            return self.problem(begin(number), message);
        }
        let mut lines = lines.filter(|(_, text)| {
            let text = text.trim();
            !text.is_empty() && !text.starts_with('#')
        });
        let Some((number, head)) = lines.next() else {
            let message = "the first line names the columns, and there is none: network,region,ms is expected; a file without rows has that line alone";
            return self.problem(begin(1), message.to_owned());
        };
        let Some(places) = self.head(number, head) else {
            return;
        };
        for (number, text) in lines {
            let cells = cells(text, number);
            if cells.len() > places.len() {
                let message = format!(
                    "{} columns, and the head names {}",
                    cells.len(),
                    places.len()
                );
                self.problem(begin(number), message);
                continue;
            }
            let mut row: Cells<'_> = [None; COLUMNS.len()];
            for (cell, place) in cells.into_iter().zip(&places) {
                if let Some(slot) = place.and_then(|place| row.get_mut(place)) {
                    *slot = Some(cell).filter(|(text, _)| !text.is_empty());
                }
            }
            self.row(begin(number), row);
        }
    }

    /// Which of our columns each column of the file is; a file may have others.
    fn head(&mut self, number: u32, head: &str) -> Option<Vec<Option<usize>>> {
        let names = cells(head, number);
        let places: Vec<Option<usize>> = names
            .iter()
            .map(|(name, _)| {
                COLUMNS
                    .iter()
                    .position(|known| name.eq_ignore_ascii_case(known))
            })
            .collect();
        let twice = (0..COLUMNS.len()).find(|column| {
            let named = places.iter().filter(|place| **place == Some(*column));
            named.count() > 1
        });
        if let Some(name) = twice.and_then(|twice| COLUMNS.get(twice)) {
            self.problem(begin(number), format!("two columns are `{name}`"));
            return None;
        }
        let missing = (0..COLUMNS.len() - 1).find(|column| !places.contains(&Some(*column)));
        let Some(missing) = missing else {
            return Some(places);
        };
        let message = format!(
            "the first line names the columns, and there is no `{}`: network,region,ms is expected, and samples if they are known",
            COLUMNS.get(missing)?
        );
        self.problem(begin(number), message);
        None
    }

    fn row(&mut self, begins: Place, cells: Cells<'_>) {
        let [network, region, ms, samples] = cells;
        let (Some(network), Some(region), Some(ms)) = (network, region, ms) else {
            let missing = COLUMNS.iter().zip(cells).find(|(_, cell)| cell.is_none());
            let message = format!("`{}` is missing", missing.map_or("ms", |(name, _)| name));
            return self.problem(begins, message);
        };
        if self.rows.len() >= MOST_ROWS {
            let message = format!("a file has at most {MOST_ROWS} rows");
            return self.problem(begins, message);
        }
        let network = read(network, read_network);
        let ms = read(ms, read_ms);
        let samples = samples
            .map(|samples| read(samples, read_samples))
            .transpose();
        let (network, ms, samples) = match (network, ms, samples) {
            (Ok(network), Ok(ms), Ok(samples)) => (network, ms, samples),
            (network, ms, samples) => {
                let wrong = [network.err(), ms.err(), samples.err()];
                for (message, place) in wrong.into_iter().flatten() {
                    self.problem(place, message);
                }
                return;
            }
        };
        let row = Row {
            network,
            region: region.0.into(),
            measurement: Measurement {
                ms,
                samples,
                at_ms: self.at_ms,
                source: Source::Import,
                trust: 1.0,
                networks: None,
            },
        };
        self.rows.push((row, self.at(region.1)));
    }
}

fn begin(line: u32) -> Place {
    Place { line, column: 1 }
}

/// The cells of a line of CSV.
fn cells(text: &str, line: u32) -> Vec<Cell<'_>> {
    let mut column = 1;
    text.split(',')
        .map(|cell| {
            let begins = cell.chars().take_while(|c| c.is_whitespace()).count();
            let place = Place {
                line,
                column: column + u32::try_from(begins).unwrap_or(0),
            };
            column += u32::try_from(cell.chars().count() + 1).unwrap_or(0);
            let text = cell.trim();
            let bare = text
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'));
            (bare.unwrap_or(text), place)
        })
        .collect()
}

fn read<T>(
    (text, place): Cell<'_>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, (String, Place)> {
    parse(text).map_err(|message| (message, place))
}

fn read_network(text: &str) -> Result<Network, String> {
    match text.parse() {
        Ok(Network::Country(country)) if !is_country(country) => {
            Err(format!("`{text}` is no country's ISO 3166 code"))
        }
        Ok(Network::Prefix(prefix)) if is_mapped(prefix) => Err(format!(
            "`{text}` is IPv4 written as IPv6 (RFC 4291 §2.5.5.2): write the IPv4 prefix"
        )),
        parsed => parsed.map_err(|error: crate::latency::NotANetwork| error.to_string()),
    }
}

fn is_mapped(prefix: Prefix) -> bool {
    match prefix.address() {
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some() && prefix.length() >= 96,
        IpAddr::V4(_) => false,
    }
}

fn read_ms(text: &str) -> Result<f64, String> {
    let ms: Option<f64> = text.parse().ok().filter(|ms| is_round_trip(*ms));
    ms.ok_or_else(|| {
        format!("`{text}` is no round trip: ms above 0 and up to {LONGEST_MS} are expected")
    })
}

fn read_samples(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no number of samples"))
}

#[cfg(test)]
#[path = "imported_tests.rs"]
mod tests;
