//! How fast regions answer, as a histogram of Prometheus: made of the totals that are counted anyway, so that it
//! costs a request nothing. Pure.

use std::fmt::Write;
use std::sync::Arc;

use super::metrics::help;
use crate::proxy::{ServedTotals, bucket_upper_us};

/// Of the octaves that are counted, those from 1 ms to 67 s.
const BOUNDS: std::ops::RangeInclusive<u32> = 4..=20;

/// The time to the first byte of answers, by region.
pub(super) fn first_bytes(mut regions: Vec<(Arc<str>, ServedTotals)>) -> String {
    regions.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = String::new();
    write_histogram(&mut text, "meridian_http_first_byte_seconds", &regions);
    text
}

fn write_histogram(text: &mut String, name: &str, regions: &[(Arc<str>, ServedTotals)]) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# HELP {name} {}", help(name));
    let _ = writeln!(text, "# TYPE {name} histogram");
    for (region, totals) in regions {
        for octave in BOUNDS {
            let (below, upper_us) = (totals.within_octave(octave), bucket_upper_us(octave));
            let upper = seconds(upper_us);
            let _ = writeln!(
                text,
                "{name}_bucket{{region=\"{region}\",le=\"{upper}\"}} {below}"
            );
        }
        let (all, spent) = (totals.answers, seconds(totals.spent_us));
        let _ = writeln!(
            text,
            "{name}_bucket{{region=\"{region}\",le=\"+Inf\"}} {all}"
        );
        let _ = writeln!(text, "{name}_sum{{region=\"{region}\"}} {spent}");
        let _ = writeln!(text, "{name}_count{{region=\"{region}\"}} {all}");
    }
}

/// Exact decimals.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_all_that_was_no_slower() {
        let mut totals = ServedTotals {
            answers: 3,
            spent_us: 2_500_300,
            ..ServedTotals::default()
        };
        // 64 µs to 68 µs, 1.024 ms to 1.088 ms, and minutes.
        for at in [1, 65, crate::proxy::TIME_BUCKETS - 1] {
            totals.times[at] = 1;
        }
        let text = first_bytes(vec![("near".into(), totals)]);
        for line in [
            "# TYPE meridian_http_first_byte_seconds histogram",
            "meridian_http_first_byte_seconds_bucket{region=\"near\",le=\"0.001024\"} 1",
            "meridian_http_first_byte_seconds_bucket{region=\"near\",le=\"0.002048\"} 2",
            "meridian_http_first_byte_seconds_bucket{region=\"near\",le=\"67.108864\"} 2",
            "meridian_http_first_byte_seconds_bucket{region=\"near\",le=\"+Inf\"} 3",
            "meridian_http_first_byte_seconds_sum{region=\"near\"} 2.500300",
            "meridian_http_first_byte_seconds_count{region=\"near\"} 3",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
    }
}
