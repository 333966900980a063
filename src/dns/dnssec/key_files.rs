//! Keys in a folder, in BIND's format: `Kexample.com.+013+12345.key` has the DNSKEY record, the
//! `.private` beside it the private half and the times, as dnssec-keygen and dnssec-settime write them.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hickory_proto::rr::Name;

use super::key::{Key, KeyError, Times, ZoneKeys};
use crate::clock::{dnssec_time, read_dnssec_time};
use crate::config;
use crate::config::plan::SigningAlgorithm;
use crate::regular;

/// The longest file that is read as a key: hundreds of times what one has.
const LONGEST_FILE: u64 = 64 * 1024;

/// What is wrong with a key's file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Of the file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It says something else than a key of this zone.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// Of the file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// A file's name has 255 bytes, of which `K`, `+ALG+KEYID` and `.private.new` take 23.
const LONGEST_NAME: usize = 255 - 23;

impl KeyFileError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }

    fn malformed(path: &Path, why: impl ToString) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// Reads every key of a zone. A folder that is not there has none.
pub fn load_keys(folder: &Path, zone: &Name) -> Result<ZoneKeys, Vec<KeyFileError>> {
    let length = file_text(zone).len();
    if length > LONGEST_NAME {
        let why = format!(
            "{zone} cannot be signed: its name takes {length} bytes of the names of its key files, and {LONGEST_NAME} are possible"
        );
        return Err(vec![KeyFileError::malformed(folder, why)]);
    }
    let files = key_files(folder, zone).map_err(|error| vec![error])?;
    let mut keys = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        match load_key(&file, zone) {
            Ok(key) => keys.push(key),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(ZoneKeys { keys })
    } else {
        Err(errors)
    }
}

/// Makes the first key of a zone, which signs keys and data (a combined signing key), and writes it.
pub fn create_keys(
    folder: &Path,
    zone: &Name,
    algorithm: SigningAlgorithm,
    now: u32,
) -> Result<ZoneKeys, KeyFileError> {
    let times = Times {
        publish: Some(now),
        activate: Some(now),
        ..Times::default()
    };
    let (key, private) =
        Key::generate(algorithm, times).map_err(|error| KeyFileError::malformed(folder, error))?;
    fs::create_dir_all(folder).map_err(KeyFileError::io(folder))?;
    let number = algorithm.number();
    let stem = format!("K{}+{number:03}+{:05}", file_text(zone), key.tag());
    let zone = zone.to_ascii();
    let made = dnssec_time(now);
    let secret = format!(
        "Private-key-format: v1.3\nAlgorithm: {number} ({})\nPrivateKey: {}\nCreated: {made}\nPublish: {made}\nActivate: {made}\n",
        algorithm.mnemonic(),
        BASE64.encode(&private),
    );
    let public = format!(
        "; This is a key-signing key, keyid {}, for {zone}\n; Created: {made}\n{zone} IN DNSKEY {} 3 {number} {}\n",
        key.tag(),
        key.flags(),
        BASE64.encode(key.public()),
    );
    // A key is there once its `.key` is, so that nobody finds half of it.
    write_new(&folder.join(format!("{stem}.private")), &secret, 0o600)?;
    write_new(&folder.join(format!("{stem}.key")), &public, 0o644)?;
    // The parent may have its DS before the system has written the folder.
    let kept = fs::File::open(folder).and_then(|folder| folder.sync_all());
    kept.map_err(KeyFileError::io(folder))?;
    Ok(ZoneKeys { keys: vec![key] })
}

/// Written whole beside its place, then moved there.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyFileError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options.open(&unfinished).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    written.map_err(KeyFileError::io(path))
}

/// A zone's name in names of files, as BIND's tools write it: in lower case, and what is no letter, digit, hyphen or
/// underscore as `%2F`.
fn file_text(zone: &Name) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let labels = zone.iter().map(|label| {
        let bytes = label.iter().map(|byte| match byte.to_ascii_lowercase() {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        bytes.collect::<String>() + "."
    });
    labels.collect()
}

/// The `.key` files of a zone, also one whose other half alone is there.
fn key_files(folder: &Path, zone: &Name) -> Result<BTreeSet<PathBuf>, KeyFileError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(KeyFileError::io(folder))?,
    };
    let zone = file_text(zone);
    let mut files = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(KeyFileError::io(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let rest = name.and_then(|name| name.strip_prefix('K'));
        let rest = rest.and_then(|rest| {
            rest.strip_suffix(".key")
                .or_else(|| rest.strip_suffix(".private"))
        });
        let owner = rest.and_then(|rest| rest.rsplitn(3, '+').nth(2));
        if owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&zone)) {
            files.insert(path.with_extension("key"));
        }
    }
    Ok(files)
}

/// Reads both halves.
fn load_key(path: &Path, zone: &Name) -> Result<Key, KeyFileError> {
    let public = read_half(path, "the public half of the key is missing")?;
    let (flags, algorithm, public) = read_public(path, &public, zone)?;
    let private_path = path.with_extension("private");
    let text = read_half(&private_path, "the private half of the key is missing")?;
    let malformed = |why: String| KeyFileError::malformed(&private_path, why);
    let field = |name: &str| private_field(&text, name);
    if field("Algorithm").and_then(|value| value.split(' ').next()?.parse().ok())
        != Some(algorithm.number())
    {
        return Err(malformed(format!(
            "`Algorithm: {}` is expected, as in the .key file",
            algorithm.number()
        )));
    }
    let private = field("PrivateKey").and_then(|value| BASE64.decode(value).ok());
    let private =
        private.ok_or_else(|| malformed("`PrivateKey:` with base64 is expected".to_owned()))?;
    let time = |name: &str| match field(name) {
        None => Ok(None),
        Some(value) => read_dnssec_time(value).map(Some).ok_or_else(|| {
            malformed(format!(
                "`{name}: {value}`: a time such as 20261124103000 is expected"
            ))
        }),
    };
    let times = Times {
        publish: time("Publish")?,
        activate: time("Activate")?,
        inactive: time("Inactive")?,
        delete: time("Delete")?,
        sync_publish: time("SyncPublish")?,
        sync_delete: time("SyncDelete")?,
    };
    let key = Key::new(algorithm, flags, public, &private, times);
    key.map_err(|error| match error {
        KeyError::Flags(_) => KeyFileError::malformed(path, error),
        KeyError::Mismatch | KeyError::Generate => KeyFileError::malformed(&private_path, error),
    })
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    let mut file = regular::open(path).map_err(KeyFileError::io(path))?;
    let length = file.metadata().map_err(KeyFileError::io(path))?.len();
    if length > LONGEST_FILE {
        return Err(KeyFileError::malformed(
            path,
            "not a key: it is over 64 KiB",
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(KeyFileError::io(path))?;
    Ok(text)
}

/// One of the two files of a key.
fn read_half(path: &Path, missing: &str) -> Result<String, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            Err(KeyFileError::malformed(path, missing))
        }
        text => text,
    }
}

/// The value of `Name: value`.
fn private_field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.trim() == name)
        .map(|(_, value)| value.trim())
}

/// The fields of the DNSKEY record: `OWNER [TTL] [IN] DNSKEY FLAGS 3 ALGORITHM BASE64`.
fn read_public(
    path: &Path,
    text: &str,
    zone: &Name,
) -> Result<(u16, SigningAlgorithm, Vec<u8>), KeyFileError> {
    let record = text
        .lines()
        .map(|line| line.split(';').next().unwrap_or_default())
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let mut words = record.split_whitespace();
    let owner = words.next().unwrap_or_default();
    if config::read_name(owner.as_bytes()).as_ref() != Ok(zone) {
        let why = format!("a DNSKEY record of {zone} is expected");
        return Err(KeyFileError::malformed(path, why));
    }
    let mut fields = words
        .skip_while(|word| !word.eq_ignore_ascii_case("DNSKEY"))
        .skip(1);
    let flags = fields.next().and_then(|word| word.parse().ok());
    let protocol = fields.next();
    let number: Option<u8> = fields.next().and_then(|word| word.parse().ok());
    let public = BASE64.decode(fields.collect::<String>()).ok();
    let (Some(flags), Some("3"), Some(number), Some(public)) = (flags, protocol, number, public)
    else {
        let why = "`DNSKEY FLAGS 3 ALGORITHM BASE64` is expected";
        return Err(KeyFileError::malformed(path, why));
    };
    let algorithm = SigningAlgorithm::ALL
        .into_iter()
        .find(|known| known.number() == number);
    let algorithm = algorithm.ok_or_else(|| {
        let why = format!("algorithm {number}: 13 (ECDSAP256SHA256) or 15 (ED25519) is expected");
        KeyFileError::malformed(path, why)
    })?;
    Ok((flags, algorithm, public))
}
