//! YAML as a tree in which everything knows its place, so that every problem can be told at once.
//!
//! Built from the parser's events: anchors, merge keys and `${VARIABLES}` are resolved here, and
//! scalars stay the text that the operator wrote. Bounded in depth and in size.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScanError, Span};

use super::plan::SourceAt;
use super::problem::Problem;

/// Deeper nesting is refused; the contract's deepest is 6.
const DEEPEST: usize = 64;

/// More nodes than this, aliases counted each time, are refused.
const MOST_NODES: usize = 500_000;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: SourceAt,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Scalar(Arc<str>),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<str>,
    pub(super) at: SourceAt,
    pub(super) node: Node,
}

impl Node {
    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// The entries of a map, taken out of it; none of anything else.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        match self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => Vec::new(),
        }
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    /// Whether it is a list of nothing.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::List(items) if items.is_empty())
    }

    /// The value of a key that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let entry = self.entries().iter().find(|entry| *entry.key == *key)?;
        (!matches!(entry.node.value, Value::Null)).then_some(&entry.node)
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The scalar at a key, as something; `None` also if it is no such thing, which the shape tells.
    pub(super) fn read<T>(&self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        parse(self.get(key)?.text()?)
    }
}

/// Parses a file. What is wrong goes to `problems`; what can be read is returned.
pub(super) fn parse(
    file: &Arc<Path>,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let mut builder = Builder {
        file,
        environment,
        problems,
        anchors: HashMap::new(),
        nodes: 0,
    };
    let text = mark_variables(text);
    let mut events = Parser::new_from_str(&text);
    match builder.document(&mut events) {
        Ok(node) => node,
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// Stand for `$`, `{` and `}` of a variable while YAML is parsed: in `{ secret: ${KEY} }` a brace would
/// begin a map. Private-use characters, one each, so that columns stay right.
const DOLLAR: char = '\u{f8f0}';
const OPEN: char = '\u{f8f1}';
const CLOSE: char = '\u{f8f2}';

/// Marks `${NAME}` wherever it stands.
fn mark_variables(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let name = after.split_once('}').filter(|(name, _)| is_variable(name));
        rest = match name {
            Some((name, after)) => {
                out.extend([DOLLAR, OPEN]);
                out.push_str(name);
                out.push(CLOSE);
                after
            }
            None => {
                out.push_str("${");
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// The text as it was written.
fn unmark(text: &str) -> String {
    text.replace(DOLLAR, "$")
        .replace(OPEN, "{")
        .replace(CLOSE, "}")
}

/// Letters, digits and underscores, as POSIX has the names of variables.
fn is_variable(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

struct Builder<'a> {
    file: &'a Arc<Path>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<Problem>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

type Next<'i> = Option<Result<(Event<'i>, Span), ScanError>>;

impl Builder<'_> {
    fn at(&self, marker: &Marker) -> SourceAt {
        SourceAt {
            file: self.file.clone(),
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
            column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
        }
    }

    fn problem(&self, span: &Span, message: impl Into<String>) -> Problem {
        Problem::new(Some(self.at(&span.start)), message.into())
    }

    fn event<'i>(&self, next: Next<'i>) -> Result<(Event<'i>, Span), Problem> {
        match next {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Problem::new(
                Some(self.at(error.marker())),
                format!("this is not YAML: {}", error.info()),
            )),
            None => Err(Problem::new(
                None,
                format!("{} ends too soon", self.file.display()),
            )),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a library's enum of events that are mere punctuation here"
    )]
    fn document<'i>(
        &mut self,
        events: &mut impl Iterator<Item = Result<(Event<'i>, Span), ScanError>>,
    ) -> Result<Option<Node>, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.event(events.next())?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(self.problem(&span, "a second YAML document: a file holds one"));
                }
                Event::DocumentStart(..) => {
                    let next = self.event(events.next())?;
                    root = Some(self.node(next, events, 0)?);
                }
                _ => {}
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a library's enum of events that are mere punctuation here"
    )]
    fn node<'i>(
        &mut self,
        (event, span): (Event<'i>, Span),
        events: &mut impl Iterator<Item = Result<(Event<'i>, Span), ScanError>>,
        depth: usize,
    ) -> Result<Node, Problem> {
        self.count(1, &span)?;
        if depth > DEEPEST {
            return Err(self.problem(&span, format!("nested deeper than {DEEPEST} levels")));
        }
        let at = self.at(&span.start);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let null = style == granit_parser::ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null");
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar(self.substitute(&text, &at))
                };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(events, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(events, depth)?, anchor),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| self.problem(&span, "an alias to what holds it"))?;
                self.count(size(&node), &span)?;
                return Ok(node);
            }
            other => return Err(self.problem(&span, format!("unexpected here: {other:?}"))),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, span: &Span) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MOST_NODES {
            return Err(self.problem(
                span,
                format!("more than {MOST_NODES} values, aliases counted each time"),
            ));
        }
        Ok(())
    }

    fn list<'i>(
        &mut self,
        events: &mut impl Iterator<Item = Result<(Event<'i>, Span), ScanError>>,
        depth: usize,
    ) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            let next = self.event(events.next())?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(next, events, depth + 1)?);
        }
    }

    fn map<'i>(
        &mut self,
        events: &mut impl Iterator<Item = Result<(Event<'i>, Span), ScanError>>,
        depth: usize,
    ) -> Result<Value, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<Arc<str>, SourceAt> = HashMap::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.event(events.next())?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let Event::Scalar(key, ..) = event else {
                return Err(self.problem(&span, "a key must be a plain word"));
            };
            let at = self.at(&span.start);
            let next = self.event(events.next())?;
            let node = self.node(next, events, depth + 1)?;
            if *key == *"<<" {
                let is_map = |node: &&Node| matches!(node.value, Value::Map(_));
                if !merge_sources(&node).iter().all(is_map) {
                    let message = "`<<` merges a map, or a list of them";
                    self.problems
                        .push(Problem::new(Some(at), message.to_owned()));
                    continue;
                }
                merged.extend(
                    merge_sources(&node)
                        .into_iter()
                        .flat_map(|source| source.entries().to_vec()),
                );
                continue;
            }
            let key: Arc<str> = unmark(&key).into();
            if let Some(first) = places.insert(key.clone(), at.clone()) {
                let twice = Problem::new(Some(at), format!("`{key}` appears twice"));
                self.problems.push(twice.with_related(first, "first here"));
                continue;
            }
            entries.push(Entry { key, at, node });
        }
        for entry in merged {
            if !places.contains_key(&entry.key) {
                places.insert(entry.key.clone(), entry.at.clone());
                entries.push(entry);
            }
        }
        Ok(Value::Map(entries))
    }

    /// Replaces `${NAME}` by the environment's value; `$${` stands for `${`.
    fn substitute(&mut self, text: &str, at: &SourceAt) -> Arc<str> {
        let text = unmark(text);
        let text = text.as_str();
        if !text.contains("${") {
            return text.into();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(found) = rest.find("${") {
            let (before, after) = rest.split_at(found);
            let after = after.get(2..).unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                let message =
                    "`${` without `}`: write ${NAME} for a variable, $${ for the characters"
                        .to_owned();
                self.problems.push(Problem::new(Some(at.clone()), message));
                return text.into();
            };
            match (self.environment)(name) {
                Some(value) => out.push_str(&value),
                None if name.is_empty() => {
                    let message =
                        "`${}` names no variable: write ${NAME} for one, $${ for the characters";
                    let problem = Problem::new(Some(at.clone()), message.to_owned());
                    self.problems.push(problem.explaining_others());
                }
                None => {
                    let message = format!("the environment variable `{name}` is not set");
                    let problem = Problem::new(Some(at.clone()), message);
                    self.problems.push(problem.explaining_others());
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out.into()
    }
}

/// What `<<` names: a map, or a list of them.
fn merge_sources(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Map(_) | Value::Null | Value::Scalar(_) => vec![node],
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.node)).sum::<usize>(),
    }
}
