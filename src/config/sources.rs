//! The texts that were read, so that problems can quote them, and what of them must not be quoted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::plan::SourceAt;

/// Shorter texts are no secrets, and blotting them out would spoil messages.
const SHORTEST_HIDDEN: usize = 6;

/// The texts that were read, so that problems can quote them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: BTreeMap<Arc<Path>, Arc<str>>,
    masters: BTreeMap<Arc<Path>, Arc<Master>>,
    secrets: Vec<Arc<str>>,
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
        self.texts.insert(file, text);
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
            None => public_line(self.texts.get(&at.file)?, index).map(Cow::Borrowed),
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

/// A line of YAML that does not stand below `keys` or `admin`, well formed or not.
fn public_line(text: &str, index: usize) -> Option<&str> {
    let line = text.lines().nth(index)?;
    let above = text.lines().take(index + 1);
    let section = above
        .filter(|line| line.starts_with(|c: char| !c.is_whitespace() && c != '#' && c != '-'))
        .last()
        .unwrap_or_default();
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
    (!is_secret && !mentions.iter().any(|word| lower.contains(word))).then_some(line)
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
}
