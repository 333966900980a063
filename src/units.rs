//! Quantities as an operator writes them: durations, sizes, shares, TTLs, secrets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A text that is no such quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAQuantity {
    /// A duration was expected.
    #[error("`{0}` is not a duration: expected a number with a unit, such as 250ms, 10s, 5m or 1h")]
    Duration(String),
    /// Nobody waits that long, and clocks overflow.
    #[error("`{0}` is too long: at most 3650d")]
    TooLong(String),
    /// A size was expected.
    #[error(
        "`{0}` is not a size: expected a number of bytes, with B, KiB, MiB or GiB, such as 64KiB"
    )]
    Size(String),
    /// A share was expected.
    #[error("`{0}` is not a share: expected 0% to 100%")]
    Percent(String),
    /// A TTL was expected.
    #[error(
        "`{0}` is not a TTL: expected whole seconds up to 2147483647, such as 300, 5m or 1h30m (RFC 2181 §8)"
    )]
    Ttl(String),
}

/// Ten years.
const LONGEST_DURATION: Duration = Duration::from_secs(3_650 * 86_400);

/// Splits `10.5ms` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    Some((number.parse().ok()?, unit.trim()))
}

/// Parses `250ms`, `10s`, `1.5m`, `2h`, `7d`; a bare `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, NotAQuantity> {
    let refuse = || NotAQuantity::Duration(text.to_owned());
    let (number, unit) = number_and_unit(text).ok_or_else(refuse)?;
    let seconds_per_unit = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" if number == 0.0 => 0.0,
        _ => return Err(refuse()),
    };
    let duration = Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| refuse())?;
    if duration > LONGEST_DURATION {
        return Err(NotAQuantity::TooLong(text.to_owned()));
    }
    Ok(duration)
}

/// A duration as an operator writes it: in the largest unit that leaves a whole number.
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    if micros == 0 {
        return "0s".to_owned();
    }
    units
        .into_iter()
        .find(|(size, _)| micros.is_multiple_of(*size))
        .map_or_else(
            || format!("{micros}us"),
            |(size, unit)| format!("{}{unit}", micros / size),
        )
}

/// Parses a number of bytes: `0`, `512`, `64KiB`, `10MiB`, `1GiB`.
pub fn parse_size(text: &str) -> Result<u64, NotAQuantity> {
    let refuse = || NotAQuantity::Size(text.to_owned());
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let bytes_per_unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refuse()),
    };
    number.checked_mul(bytes_per_unit).ok_or_else(refuse)
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0.0);

    /// Everything.
    pub const ALL: Self = Self(1.0);

    /// From 0 (none) to 1 (all).
    pub fn ratio(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = NotAQuantity;

    /// Parses `80%`.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok())
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| NotAQuantity::Percent(text.to_owned()))
    }
}

/// A DNS time to live in whole seconds, at most 2^31 - 1 (RFC 2181 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

impl Ttl {
    /// The longest, RFC 2181 §8.
    pub const MAX: Self = Self(0x7fff_ffff);

    /// Cuts to [`Ttl::MAX`].
    pub fn from_secs(secs: u32) -> Self {
        Self(secs.min(Self::MAX.0))
    }

    /// The whole seconds of a duration, rounded down and cut to [`Ttl::MAX`].
    pub fn from_duration(duration: Duration) -> Self {
        Self::from_secs(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX))
    }

    /// In seconds.
    pub fn secs(self) -> u32 {
        self.0
    }
}

impl FromStr for Ttl {
    type Err = NotAQuantity;

    /// Parses a duration of whole seconds, or what a master file may have: a bare number of seconds,
    /// and units in a row such as `1h30m` and `2W`.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let refuse = || NotAQuantity::Ttl(text.to_owned());
        if let Some(secs) = master_file_seconds(text.trim()) {
            return Some(Self(secs))
                .filter(|t| *t <= Self::MAX)
                .ok_or_else(refuse);
        }
        let duration = parse_duration(text).map_err(|_| refuse())?;
        let secs = u32::try_from(duration.as_secs()).map_err(|_| refuse())?;
        if duration.subsec_nanos() != 0 || secs > Self::MAX.0 {
            return Err(refuse());
        }
        Ok(Self(secs))
    }
}

/// `3600`, `1h30m`, `2W`, as BIND writes times since its eighth version.
fn master_file_seconds(text: &str) -> Option<u32> {
    let mut rest = text;
    let mut seconds = 0_u32;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let number: u32 = number.parse().ok()?;
        let mut after = after.chars();
        let per_unit = match after.next().map(|unit| unit.to_ascii_lowercase()) {
            // A number alone is seconds; behind others it needs its unit.
            None if rest.len() == text.len() => 1,
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) | None => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(per_unit)?)?;
        rest = after.as_str();
        if rest.is_empty() {
            return Some(seconds);
        }
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_duration(Duration::from_secs(self.0.into())))
    }
}

/// A text that must not be shown: keys, tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for those who check or sign with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_an_operator_writes_them() {
        for (text, expected) in [
            ("250ms", Duration::from_millis(250)),
            ("10s", Duration::from_secs(10)),
            ("5m", Duration::from_secs(300)),
            ("1.5h", Duration::from_secs(5400)),
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "10 sceonds",
            "-1s",
            "1e99d",
            "9999999999999999d",
            "1.2.3s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_show_in_the_largest_whole_unit() {
        for text in ["250ms", "10s", "5m", "90m", "36h", "0s"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_counted_in_powers_of_two() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("0"), Ok(0));
        assert!(parse_size("64kb").is_err());
        assert!(parse_size("17179869184GiB").is_err());
    }

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!("80%".parse::<Share>().unwrap().ratio(), 0.8);
        assert!("101%".parse::<Share>().is_err());
        assert!("0.8".parse::<Share>().is_err());
    }

    #[test]
    fn a_ttl_is_whole_seconds_up_to_the_limit() {
        assert_eq!("30s".parse::<Ttl>().unwrap().secs(), 30);
        assert_eq!("2147483647".parse::<Ttl>().unwrap(), Ttl::MAX);
        assert!("2147483648".parse::<Ttl>().is_err());
        assert!("1500ms".parse::<Ttl>().is_err());
        assert!("9999999999".parse::<Ttl>().is_err());
    }

    #[test]
    fn a_ttl_may_be_written_as_master_files_write_it() {
        for (text, secs) in [
            ("0", 0),
            ("3600", 3_600),
            ("1h30m", 5_400),
            ("1W2D3H4M5S", 788_645),
            ("1.5h", 5_400),
        ] {
            assert_eq!(text.parse::<Ttl>().unwrap().secs(), secs, "{text}");
        }
        for text in ["", "h", "1h30x", "4000w", "-1", "1 h 30 m"] {
            assert!(text.parse::<Ttl>().is_err(), "{text}");
        }
        for text in ["2147483648", "4294967296", "250ms", "4000w", "soon"] {
            let told = text.parse::<Ttl>().unwrap_err().to_string();
            assert!(
                told.contains("expected whole seconds up to 2147483647"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(…)");
    }
}
