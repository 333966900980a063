//! One entry of a master file: a directive or a record (RFC 1035 §5.1, RFC 2308 §4, RFC 3597 §5).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::{Name, RecordType};

use super::generate::Generate;
use super::state::{Context, Owner, Times};
use super::{Record, Spot, Wrong};
use crate::config::problem::nearest;
use crate::config::rdata::{
    Entries, Entry, Newline, Words, is_made_by_signers, mnemonics, name, read_words, record_type,
    unescape, written,
};
use crate::units::Ttl;

/// The directives that there are.
const DIRECTIVES: [&str; 4] = ["$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"];

/// What an entry says.
pub(super) enum Line {
    /// It changed what later lines mean.
    Nothing,
    Record {
        record: Record,
        /// Its TTL is the SOA's minimum, for the first time.
        guessed: bool,
    },
    /// A signature or a denial.
    MadeBySigner(Spot),
    Include(Include),
    Generate(Generate),
}

impl Line {
    /// The same, if it is a record, of another place.
    pub(super) fn at(self, at: Spot, context: &Context<'_>) -> Self {
        match self {
            Self::Record { record, guessed } => Self::Record {
                record: Record {
                    at: context.place(at),
                    ..record
                },
                guessed,
            },
            Self::MadeBySigner(_) => Self::MadeBySigner(at),
            Self::Nothing | Self::Include(_) | Self::Generate(_) => self,
        }
    }
}

/// A file to go on with.
pub(super) struct Include {
    pub(super) at: Spot,
    pub(super) file: Arc<Path>,
    pub(super) origin: Name,
}

/// Reads an entry.
pub(super) fn read(
    entry: Entry<'_>,
    context: &mut Context<'_>,
    times: &mut Times,
) -> Result<Line, Wrong> {
    let mut words = entry.words;
    let is_directive = words
        .peek()
        .is_some_and(|word| !word.is_quoted() && word.bytes().starts_with(b"$"));
    if is_directive && !entry.begins_blank {
        return directive(&mut words, context, times)
            .map_err(|message| Wrong::new(words.at(), message));
    }
    record(&mut words, entry.begins_blank, context, times)
        .map_err(|message| Wrong::new(words.at(), message))
}

/// Reads a line that `$GENERATE` has made: a record, and no directive.
pub(super) fn read_generated(
    line: &[u8],
    context: &mut Context<'_>,
    times: &mut Times,
) -> Result<Line, String> {
    let entry = Entries::new(line, Newline::Ends).next();
    let entry = entry.transpose().map_err(|wrong| wrong.message)?;
    let mut entry = entry.ok_or("there is nothing in it")?;
    record(&mut entry.words, false, context, times)
}

fn directive(
    words: &mut Words<'_>,
    context: &mut Context<'_>,
    times: &mut Times,
) -> Result<Line, String> {
    let word = words.expect("a directive")?;
    let line = match &*word.text().to_ascii_uppercase() {
        "$ORIGIN" => {
            context.origin = name(words.expect("a name")?.bytes(), &context.origin)?;
            Line::Nothing
        }
        "$TTL" => {
            times.default = Some(ttl(&words.expect("a TTL")?.text())?);
            Line::Nothing
        }
        "$INCLUDE" => Line::Include(include(words, context)?),
        "$GENERATE" => Line::Generate(Generate::read(words)?),
        unknown => {
            let hint = nearest(unknown, DIRECTIVES);
            let hint = hint.map_or_else(
                || format!("there are {}", DIRECTIVES.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            return Err(format!("unknown directive `{}`: {hint}", word.text()));
        }
    };
    match words.next() {
        Some(rest) => Err(format!("`{}` is too much", rest.text())),
        None => Ok(line),
    }
}

fn include(words: &mut Words<'_>, context: &Context<'_>) -> Result<Include, String> {
    let file = words.expect("the path of a file")?;
    let path = unescape(file.bytes())?;
    let origin = match words.next() {
        Some(word) => name(word.bytes(), &context.origin)?,
        None => context.origin.clone(),
    };
    Ok(Include {
        at: file.at(),
        file: context.beside(Path::new(OsStr::from_bytes(&path))),
        origin,
    })
}

fn record(
    words: &mut Words<'_>,
    begins_blank: bool,
    context: &mut Context<'_>,
    times: &mut Times,
) -> Result<Line, String> {
    let at = words.at();
    if !begins_blank {
        // Until it is read, the records below it are nobody's.
        context.owner = Owner::Unread;
        let word = words.expect("an owner")?;
        context.owner = Owner::Known(name(word.bytes(), &context.origin)?.to_lowercase());
    }
    let owner = match &context.owner {
        Owner::Known(owner) => owner.clone(),
        Owner::Unread => return Ok(Line::Nothing),
        Owner::None => {
            return Err("the first record needs an owner at the line's beginning".to_owned());
        }
    };
    let stated = ttl_and_class(words)?;
    let word = words.expect("a record type")?;
    let mnemonic = word.text();
    let Some(record_type) = record_type(&mnemonic) else {
        if is_made_by_signers(&mnemonic) {
            return Ok(Line::MadeBySigner(word.at()));
        }
        return Err(unknown_type(&mnemonic));
    };
    times.met_soa |= record_type == RecordType::SOA;
    let data = read_words(record_type, words, &context.origin)
        .map_err(|why| format!("this is not the RDATA of {}: {why}", written(record_type)))?;
    let (ttl, guessed) = times.of(stated, &data)?;
    let at = context.place(at);
    let record = Record {
        owner,
        ttl,
        data,
        at,
    };
    Ok(Line::Record { record, guessed })
}

/// RFC 1035 §5.1: both may be left out, and stand in either order.
fn ttl_and_class(words: &mut Words<'_>) -> Result<Option<Ttl>, String> {
    let mut stated = None;
    let mut has_class = false;
    while let Some(word) = words.peek() {
        let text = word.text();
        // No type begins with a digit, and no TTL with anything else.
        if text.starts_with(|c: char| c.is_ascii_digit()) && stated.is_none() {
            words.next();
            stated = Some(ttl(&text)?);
        } else if is_class(&text) && !has_class {
            words.next();
            if !["IN", "CLASS1"].contains(&&*text.to_ascii_uppercase()) {
                return Err(format!(
                    "class `{text}`: there are records of class IN only"
                ));
            }
            has_class = true;
        } else {
            break;
        }
    }
    Ok(stated)
}

fn is_class(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let generic = upper.strip_prefix("CLASS");
    ["IN", "CH", "HS", "CS"].contains(&&*upper)
        || generic.is_some_and(|number| number.parse::<u16>().is_ok())
}

fn ttl(text: &str) -> Result<Ttl, String> {
    if let Some((most, _)) = text.split_once('/') {
        return Err(format!(
            "`{text}` are two TTLs, of a record of gdnsd whose answer changes: a service answers here instead, with `dns.ttl: {most}` and `dns.ttl_min`"
        ));
    }
    text.parse()
        .map_err(|error: crate::units::NotAQuantity| error.to_string())
}

fn unknown_type(mnemonic: &str) -> String {
    if ["DYNA", "DYNC"].contains(&&*mnemonic.to_ascii_uppercase()) {
        return format!(
            "`{mnemonic}` is gdnsd's own: take the record out, and name its owner in `hosts` of a service"
        );
    }
    let hint = nearest(&mnemonic.to_ascii_uppercase(), mnemonics()).map_or_else(
        || "expected a mnemonic such as A, or TYPE65534".to_owned(),
        |known| format!("did you mean `{known}`?"),
    );
    format!("unknown record type `{mnemonic}`: {hint}")
}
