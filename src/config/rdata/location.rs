//! LOC: a place on earth as degrees, meters and their precision (RFC 1876 §2, §3).

use super::words::Words;

/// The equator and the prime meridian, in thousandths of an arc second (RFC 1876 §2).
const MIDDLE: i64 = 1 << 31;

/// Meters below sea level from which altitude counts.
const BASE_CM: i64 = 10_000_000;

/// The largest size and the least precision: 9 with the power 9 (RFC 1876 §2).
const MOST_CM: i64 = 9_000_000_000;

/// Size, horizontal and vertical precision where none is written: 1 m, 10 km, 10 m (RFC 1876 §3).
const DEFAULTS: [(&str, u8); 3] = [("size", 0x12), ("precision", 0x16), ("precision", 0x13)];

/// `51 30 12.748 N 0 7 39.612 W 0m 1m 10000m 10m`.
pub(super) fn put(words: &mut Words<'_>, wire: &mut Vec<u8>) -> Result<(), String> {
    let latitude = angle(words, 90, ["N", "S"])?;
    let longitude = angle(words, 180, ["E", "W"])?;
    let altitude = centimeters(&words.expect("an altitude in meters")?.text())? + BASE_CM;
    let altitude = u32::try_from(altitude).map_err(|_| "the altitude is out of range")?;
    let mut precision = Vec::with_capacity(DEFAULTS.len());
    for (what, default) in DEFAULTS {
        let given = words.next().map(|word| exponent(what, &word.text()));
        precision.push(given.transpose()?.unwrap_or(default));
    }
    wire.push(0);
    wire.extend(precision);
    for number in [latitude, longitude, altitude] {
        wire.extend(number.to_be_bytes());
    }
    Ok(())
}

/// Degrees, and perhaps minutes and seconds, up to the letter of the hemisphere.
fn angle(words: &mut Words<'_>, most: i64, letters: [&str; 2]) -> Result<u32, String> {
    let [positive, negative] = letters;
    let mut thousandths = 0;
    let units = [
        ("degrees", 3_600_000, most),
        ("minutes", 60_000, 59),
        ("seconds", 1_000, 59),
    ];
    for (what, unit, most) in units {
        let word = words.expect(what)?.text();
        let part = fixed(&word, 3).filter(|part| (0..(most + 1) * 1_000).contains(part));
        let part = part.ok_or_else(|| format!("`{word}` is not {what} from 0 to {most}"))?;
        if what != "seconds" && part % 1_000 != 0 {
            return Err(format!("`{word}`: only seconds have a fraction"));
        }
        thousandths += part / 1_000 * unit + part % 1_000;
        let ends = |letter: &str| words.peek().is_some_and(|word| word.is_letter(letter));
        if ends(positive) || ends(negative) {
            break;
        }
    }
    let letter = words.expect("a hemisphere")?;
    let signed = match () {
        () if letter.is_letter(positive) => thousandths,
        () if letter.is_letter(negative) => -thousandths,
        () => return Err(format!("{positive} or {negative} is expected")),
    };
    if thousandths > most * 3_600_000 {
        return Err(format!("more than {most} degrees"));
    }
    u32::try_from(MIDDLE + signed).map_err(|_| "the angle is out of range".to_owned())
}

fn centimeters(word: &str) -> Result<i64, String> {
    let meters = word.strip_suffix(['m', 'M']).unwrap_or(word);
    fixed(meters, 2).ok_or_else(|| format!("`{word}` is not a length in meters, such as 10m"))
}

/// RFC 1876 §2: a digit and the power of ten of centimeters that it counts.
fn exponent(what: &str, word: &str) -> Result<u8, String> {
    let mut rest = centimeters(word)?;
    if rest > MOST_CM {
        return Err(format!("the {what} `{word}` is out of range"));
    }
    let mut power = 0_u8;
    while rest > 9 {
        rest /= 10;
        power += 1;
    }
    let digit = u8::try_from(rest).ok().filter(|_| power <= 9);
    let digit = digit.ok_or_else(|| format!("the {what} `{word}` is out of range"))?;
    Ok(digit << 4 | power)
}

/// A decimal number, counted in its last of `decimals` places.
fn fixed(word: &str, decimals: usize) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_good = (1..=8).contains(&whole.len())
        && fraction.len() <= decimals
        && is_number(whole)
        && is_number(fraction);
    let number: Option<i64> = format!("{whole}{fraction:0<decimals$}").parse().ok();
    number.filter(|_| is_good).map(|number| sign * number)
}
