//! What is wrong with a configuration, where, and what would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::plan::SourceAt;

/// Shorter texts are no secrets, and blotting them out would spoil messages.
const SHORTEST_HIDDEN: usize = 6;

/// A quoted line is cut after this many characters.
const LONGEST_QUOTE: usize = 160;

/// One thing that is wrong, or to be warned of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; none: nowhere in particular.
    pub at: Option<SourceAt>,
    /// What, and what would be right.
    pub message: String,
    /// Another place that matters, and why.
    pub related: Option<(SourceAt, String)>,
    /// Whatever else is said of this place follows from it.
    explains_others: bool,
}

impl Problem {
    /// A problem at a place.
    pub fn new(at: Option<SourceAt>, message: String) -> Self {
        Self {
            at,
            message,
            related: None,
            explains_others: false,
        }
    }

    /// Keeps what else is said of the place to itself.
    pub(super) fn explaining_others(mut self) -> Self {
        self.explains_others = true;
        self
    }

    /// Names another place that matters.
    pub(super) fn with_related(mut self, at: SourceAt, why: &str) -> Self {
        self.related = Some((at, why.to_owned()));
        self
    }
}

/// The texts that were read, so that problems can quote them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: BTreeMap<Arc<Path>, Arc<str>>,
    secrets: Vec<Arc<str>>,
}

impl Sources {
    pub(super) fn insert(&mut self, file: Arc<Path>, text: Arc<str>) {
        self.texts.insert(file, text);
    }

    /// From now on this text is blotted out of every message.
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.len() >= SHORTEST_HIDDEN {
            self.secrets.push(secret.into());
        }
    }

    /// A text without what is hidden.
    fn blotted(&self, text: &str) -> String {
        let blot = |text: String, secret: &Arc<str>| text.replace(&**secret, "***");
        self.secrets.iter().fold(text.to_owned(), blot)
    }

    /// The line of a place, unless it may hold a secret: whatever stands below `keys` or `admin`, well
    /// formed or not.
    fn line(&self, at: &SourceAt) -> Option<&str> {
        let index = usize::try_from(at.line).ok()?.checked_sub(1)?;
        let text = self.texts.get(&at.file)?;
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
}

/// All that is wrong, with the texts to quote.
#[derive(Clone, Debug)]
pub struct Problems {
    problems: Vec<Problem>,
    sources: Sources,
}

impl Problems {
    /// In the order of their places.
    pub(super) fn new(mut problems: Vec<Problem>, sources: Sources) -> Self {
        let place = |problem: &Problem| {
            problem
                .at
                .as_ref()
                .map(|at| (at.file.clone(), at.line, at.column))
        };
        problems.sort_by_key(place);
        problems.dedup();
        let explained: Vec<SourceAt> = problems
            .iter()
            .filter(|problem| problem.explains_others)
            .filter_map(|problem| problem.at.clone())
            .collect();
        problems.retain(|problem| {
            problem.explains_others || !problem.at.as_ref().is_some_and(|at| explained.contains(at))
        });
        Self { problems, sources }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// As a text of warnings.
    pub fn as_warnings(&self) -> String {
        let shown: Vec<String> = self
            .problems
            .iter()
            .map(|problem| self.show(problem, "warning: "))
            .collect();
        shown.join("\n")
    }

    /// `file:line:column: message`, the line, a caret.
    fn show(&self, problem: &Problem, label: &str) -> String {
        let Some(at) = &problem.at else {
            return format!("{label}{}", self.sources.blotted(&problem.message));
        };
        let message = self.sources.blotted(&problem.message);
        let mut text = format!("{}: {label}{message}", place(at));
        let short = |line: &&str| line.chars().count() <= LONGEST_QUOTE;
        if let Some(line) = self.sources.line(at).filter(short) {
            let number = at.line.to_string();
            let gutter = " ".repeat(number.len());
            let before: String = line
                .chars()
                .take(usize::try_from(at.column).unwrap_or(1).saturating_sub(1))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            text.push_str(&format!(
                "\n {gutter} |\n {number} | {line}\n {gutter} | {before}^"
            ));
        }
        if let Some((at, why)) = &problem.related {
            text.push_str(&format!("\n{}: {why}", place(at)));
        }
        text
    }
}

fn place(at: &SourceAt) -> String {
    format!("{}:{}:{}", at.file.display(), at.line, at.column)
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self
            .problems
            .iter()
            .map(|problem| self.show(problem, ""))
            .collect();
        f.write_str(&shown.join("\n"))
    }
}

/// The nearest of some known words, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (distance(given, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len().max(given.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many insertions, deletions, changes and swaps of neighbours lead from one word to the other
/// (restricted Damerau-Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
    let mut two_back: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let change = at(&last, j) + usize::from(a != b);
            let mut best = change.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&two_back, j - 1) + 1);
            }
            row.push(best);
        }
        two_back = std::mem::replace(&mut last, row);
    }
    at(&last, to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_what_was_meant() {
        let known = ["weight", "addresses", "origins", "location"];
        assert_eq!(nearest("wieght", known), Some("weight"));
        assert_eq!(nearest("adresses", known), Some("addresses"));
        assert_eq!(nearest("colour", known), None);
    }
}
