//! The texts that were read, so that problems can quote them, and what of them must not be quoted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::plan::SourceAt;

/// Shorter texts are no secrets, and blotting them out would spoil messages.
const SHORTEST_HIDDEN: usize = 6;

/// The texts that were read, so that problems can quote them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: BTreeMap<Arc<Path>, Arc<Yaml>>,
    masters: BTreeMap<Arc<Path>, Arc<Master>>,
    secrets: Vec<Arc<str>>,
}

/// A file of YAML, some lines of which may hold secrets.
#[derive(Debug)]
struct Yaml {
    text: Arc<str>,
    /// Where each line that may be quoted stands in the text; found when the first one is.
    public: OnceLock<Vec<Option<Range<usize>>>>,
}

/// A master file: public data, of any size, in any encoding.
#[derive(Debug)]
struct Master {
    bytes: Arc<[u8]>,
    /// Where each line begins; found when the first one is quoted.
    starts: OnceLock<Vec<usize>>,
}

impl Sources {
    pub(super) fn insert(&mut self, file: Arc<Path>, text: Arc<str>) {
        let public = OnceLock::new();
        self.texts.insert(file, Arc::new(Yaml { text, public }));
    }

    pub(super) fn insert_master(&mut self, file: Arc<Path>, bytes: Arc<[u8]>) {
        let starts = OnceLock::new();
        self.masters
            .insert(file, Arc::new(Master { bytes, starts }));
    }

    /// From now on this text is blotted out of every message.
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.len() >= SHORTEST_HIDDEN {
            self.secrets.push(secret.into());
        }
    }

    /// A text without what is hidden.
    pub(super) fn blotted(&self, text: &str) -> String {
        let blot = |text: String, secret: &Arc<str>| text.replace(&**secret, "***");
        self.secrets.iter().fold(text.to_owned(), blot)
    }

    /// The line of a place, unless it may hold a secret.
    pub(super) fn line(&self, at: &SourceAt) -> Option<Cow<'_, str>> {
        let index = usize::try_from(at.line).ok()?.checked_sub(1)?;
        match self.masters.get(&at.file) {
            Some(master) => master.line(index),
            None => self.texts.get(&at.file)?.line(index).map(Cow::Borrowed),
        }
    }
}

impl Master {
    fn line(&self, index: usize) -> Option<Cow<'_, str>> {
        let starts = self.starts.get_or_init(|| {
            let ends = self.bytes.iter().enumerate();
            let ends = ends.filter(|(_, byte)| **byte == b'\n');
            std::iter::once(0)
                .chain(ends.map(|(end, _)| end + 1))
                .collect()
        });
        let rest = self.bytes.get(*starts.get(index)?..)?;
        let line = rest.split(|byte| *byte == b'\n').next()?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(String::from_utf8_lossy(line))
    }
}

impl Yaml {
    fn line(&self, index: usize) -> Option<&str> {
        let public = self.public.get_or_init(|| public_lines(&self.text));
        let line = public.get(index)?.clone()?;
        self.text.get(line)
    }
}

/// Every line of YAML, well formed or not: where it stands, unless that is below `keys` or `admin`.
fn public_lines(text: &str) -> Vec<Option<Range<usize>>> {
    let (mut section, mut start) = ("", 0);
    let lines = text.split_inclusive('\n').map(|whole| {
        let line = whole.strip_suffix('\n').unwrap_or(whole);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.starts_with(|c: char| !c.is_whitespace() && c != '#' && c != '-') {
            section = line;
        }
        let place = start..start + line.len();
        start += whole.len();
        is_public(line, section).then_some(place)
    });
    lines.collect()
}

/// Whether a line of YAML holds no secret; `section` is the line that its section begins with.
fn is_public(line: &str, section: &str) -> bool {
    let is_secret = ["keys", "admin", "\"keys", "\"admin", "'keys", "'admin"]
        .iter()
        .any(|key| section.starts_with(key));
    // There `admin` is an address and `keys` a folder.
    let is_harmless = ["listen:", "zones:"]
        .iter()
        .any(|key| section.starts_with(key));
    let mentions: &[&str] = match is_harmless {
        true => &["secret", "token"],
        false => &["secret", "token", "keys", "admin:"],
    };
    let lower = line.to_lowercase();
    !is_secret && !mentions.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_six_characters_is_hidden_and_a_shorter_text_is_none() {
        let mut sources = Sources::default();
        sources.hide("sixsix");
        sources.hide("five5");
        assert_eq!(sources.blotted("a sixsix, a five5"), "a ***, a five5");
    }

    #[test]
    fn however_many_lines_are_quoted_the_file_is_looked_through_once() {
        let file: Arc<Path> = Path::new("edge.yaml").into();
        let lines: Vec<String> = (0..20_000)
            .map(|number| format!("  r{number}: {{}}"))
            .collect();
        let mut sources = Sources::default();
        sources.insert(file.clone(), lines.join("\n").into());
        let at = |line| SourceAt {
            file: file.clone(),
            line,
            column: 1,
        };
        let found = |sources: &Sources| {
            sources.texts[&file]
                .public
                .get()
                .map(|lines| lines.as_ptr())
        };
        assert_eq!(found(&sources), None, "nothing is quoted yet");
        let mut finds = Vec::new();
        for (number, line) in (1..).zip(&lines) {
            assert_eq!(sources.line(&at(number)).as_deref(), Some(&**line));
            finds.push(found(&sources));
        }
        finds.dedup();
        assert_eq!(finds.len(), 1);
        assert_eq!(sources.line(&at(20_001)), None);
    }

    #[test]
    fn lines_below_keys_and_admin_are_not_quoted_and_others_are_whatever_ends_them() {
        let text =
            "regions:\r\n  a: {}\nkeys:\n  - x\n# y\nzones:\n  admin: z\n  token: q\nadmin: w";
        let quoted: Vec<_> = public_lines(text)
            .into_iter()
            .map(|place| place.map(|place| &text[place]))
            .collect();
        let (yes, no) = (Some, None);
        let expected = [
            yes("regions:"),
            yes("  a: {}"),
            no,
            no,
            no,
            yes("zones:"),
            yes("  admin: z"),
            no,
            no,
        ];
        assert_eq!(quoted, expected);
    }
}
