//! What is wrong with a configuration, where, and what would be right.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use super::plan::SourceAt;
pub use super::sources::Sources;
use crate::terminal;

/// Problems, and warnings, of a zone that are told.
const MOST_TOLD: usize = 1_000;

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
    /// The line it is about, where the text is not kept.
    line: Option<Box<str>>,
    /// Whatever else is said of this place follows from it.
    explains_others: bool,
}

impl Problem {
    /// A problem at a place.
    pub fn new(at: Option<SourceAt>, message: String) -> Self {
        Self {
            at,
            message: printable(message.into()).into_owned(),
            related: None,
            line: None,
            explains_others: false,
        }
    }

    /// Quotes the lines of a file whose text is not kept.
    pub(super) fn quote_all(problems: &mut [Self], file: &Path, text: &str) {
        let is_of_it = |at: &&SourceAt| *at.file == *file;
        let wanted = problems.iter();
        let wanted = wanted.filter_map(|problem| problem.at.as_ref().filter(is_of_it));
        let wanted: BTreeSet<u32> = wanted.map(|at| at.line).collect();
        let lines = (1..=u32::MAX).zip(text.lines());
        let lines: HashMap<u32, &str> = lines
            .filter(|(number, _)| wanted.contains(number))
            .collect();
        for problem in problems {
            if let Some(at) = problem.at.as_ref().filter(is_of_it) {
                let line = lines.get(&at.line).filter(|line| is_short(line));
                problem.line = line.map(|line| (*line).into());
            }
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

/// All that is wrong, with the texts to quote.
#[derive(Clone, Debug)]
pub struct Problems {
    problems: Vec<Problem>,
    sources: Sources,
    files: Vec<PathBuf>,
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
        let explaining = problems.iter().filter(|problem| problem.explains_others);
        let explained: BTreeSet<_> = explaining.map(place).filter(Option::is_some).collect();
        problems.retain(|problem| problem.explains_others || !explained.contains(&place(problem)));
        Self {
            problems,
            sources,
            files: Vec::new(),
        }
    }

    /// Says what was read, or sought, before they were found.
    pub(super) fn of_files(mut self, files: Vec<PathBuf>) -> Self {
        self.files = files;
        self
    }

    /// The files and folders that were read or sought: while none of them changes, the problems stay.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// The line that a problem is about; none where there is none, or it is too long or may hold a secret.
    pub fn line(&self, problem: &Problem) -> Option<String> {
        Some(self.sources.blotted(&self.quoted(problem)?))
    }

    fn quoted<'a>(&'a self, problem: &'a Problem) -> Option<Cow<'a, str>> {
        let kept = problem.line.as_deref().map(Cow::Borrowed);
        let line = kept.or_else(|| self.sources.line(problem.at.as_ref()?))?;
        is_short(&line).then(|| printable(line))
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
        if let Some(line) = self.quoted(problem) {
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

/// Without what a terminal would act on: it may be of any file.
fn printable(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_odd = |c: char| terminal::acts_on(c) && !matches!(c, '\n' | '\t');
    if text.contains(is_odd) {
        Cow::Owned(text.replace(is_odd, "\u{fffd}"))
    } else {
        text
    }
}

fn is_short(line: &str) -> bool {
    line.chars().count() <= LONGEST_QUOTE
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

/// Of problems of one kind that a file may have in every line, the first.
#[derive(Default)]
pub(super) struct Few {
    told: Vec<Problem>,
    untold: usize,
}

impl Few {
    const MOST: usize = 100;

    pub(super) fn tell(&mut self, at: &SourceAt, message: impl FnOnce() -> String) {
        if self.told.len() < Self::MOST {
            self.told.push(Problem::new(Some(at.clone()), message()));
        } else {
            self.untold += 1;
        }
    }

    /// The last says how many more there are.
    pub(super) fn all(mut self) -> Vec<Problem> {
        and_more(&mut self.told, self.untold);
        self.told
    }
}

fn and_more(told: &mut [Problem], untold: usize) {
    if let Some(last) = told.last_mut().filter(|_| untold > 0) {
        last.message.push_str(&format!(" (and {untold} more)"));
    }
}

/// The first of what is wrong with a zone: a file of another kind has something in every line.
pub(super) fn bounded(mut told: Vec<Problem>) -> Vec<Problem> {
    let place = |problem: &Problem| {
        let at = problem.at.as_ref();
        at.map(|at| (at.file.clone(), at.line, at.column))
    };
    told.sort_by_key(place);
    let untold = told.len().saturating_sub(MOST_TOLD);
    told.truncate(MOST_TOLD);
    and_more(&mut told, untold);
    told
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

    #[test]
    fn a_line_of_160_characters_is_quoted_and_a_longer_one_is_not() {
        for (length, is_quoted) in [(160, true), (161, false)] {
            let line = format!("{:x<length$}", "colour: red # ");
            let problems = crate::config::load_text("edge.yaml", &line, &|_| None);
            let shown = problems.unwrap_err().to_string();
            assert!(shown.contains("edge.yaml:1:1"), "{shown}");
            assert_eq!(shown.contains(&line), is_quoted, "{shown}");
        }
    }
}
