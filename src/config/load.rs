//! Files and folders → one tree → the Plan.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile::compile;
use super::plan::{FileRef, Plan, SourceAt};
use super::problem::{Problem, Problems, Sources};
use super::shape::{check, secrets};
use super::spec::ROOT;
use super::tree::{Entry, Node, Value, parse};
use super::zone_files::ZoneFiles;
use crate::regular;

/// Sections whose entries belong to one file each.
const NAMED_SECTIONS: &[&str] = &["regions", "services", "zones"];

/// A configuration that may be put in force.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub plan: Plan,
    /// What to warn of.
    pub warnings: Vec<Problem>,
    sources: Sources,
    roots: Vec<PathBuf>,
    zone_files: Vec<PathBuf>,
}

impl Loaded {
    /// Later problems (certificates, databases) with the texts to quote.
    pub fn problems(&self, problems: Vec<Problem>) -> Problems {
        Problems::new(problems, self.sources.clone()).of_files(self.watched())
    }

    /// Every file and folder whose change is a change of the configuration.
    pub fn watched(&self) -> Vec<PathBuf> {
        watched(&self.roots, &self.zone_files, Some(&self.plan))
    }
}

/// The files and folders of a configuration, as far as they are known.
fn watched(roots: &[PathBuf], zone_files: &[PathBuf], plan: Option<&Plan>) -> Vec<PathBuf> {
    let zones = plan.iter().flat_map(|plan| &plan.zones);
    let signed = zones.filter_map(|zone| zone.dnssec.as_ref());
    let named = plan.iter().flat_map(|plan| files(plan));
    let named = named.chain(signed.map(|dnssec| &dnssec.keys));
    let named = named.map(|file: &FileRef| file.path.clone());
    let known = roots.iter().chain(zone_files).cloned();
    known.chain(named).collect()
}

/// The files that a Plan names and that must be there.
fn files(plan: &Plan) -> impl Iterator<Item = &FileRef> {
    let tls = &plan.tls;
    let geo = plan.geo.database.iter().chain(&plan.geo.asns);
    tls.files()
        .chain(plan.admin.files())
        .chain(geo)
        .chain(&plan.latency.imports)
}

/// A file that cannot be opened is told of with everything else; what it holds is read once the rest
/// is right.
fn missing(file: &FileRef) -> Option<Problem> {
    let error = regular::open(&file.path).err()?;
    let message = format!("{}: {error}", file.path.display());
    Some(Problem::new(Some(file.at.clone()), message))
}

/// Loads files and folders as one configuration.
pub fn load(
    paths: &[PathBuf],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let mut loading = Loading::new(environment);
    for path in paths {
        loading.path(path);
    }
    loading.finish(paths.to_vec())
}

/// Loads one text.
pub fn load_text(
    name: &str,
    yaml: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let mut loading = Loading::new(environment);
    loading.text(Path::new(name), yaml);
    loading.finish(Vec::new())
}

struct Loading<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    sources: Sources,
    problems: Vec<Problem>,
    root: Option<Node>,
    /// Whether some of what was given could not be read: what the rest lacks may be there.
    lacks_a_part: bool,
}

impl<'a> Loading<'a> {
    fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            environment,
            sources: Sources::default(),
            problems: Vec::new(),
            root: None,
            lacks_a_part: false,
        }
    }

    fn complain(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.cannot_read(None, format!("{}: {why}", path.display()));
    }

    fn cannot_read(&mut self, at: Option<SourceAt>, message: String) {
        self.problems.push(Problem::new(at, message));
        self.lacks_a_part = true;
    }

    fn path(&mut self, path: &Path) {
        if !path.is_dir() {
            return self.file(path);
        }
        match yaml_files(path) {
            Ok(files) if files.is_empty() => {
                self.complain(path, "there is no *.yaml or *.yml in this folder")
            }
            Ok(files) => files.iter().for_each(|file| self.file(file)),
            Err(error) => self.complain(path, error),
        }
    }

    fn file(&mut self, path: &Path) {
        match regular::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => self.text(path, &text),
            Ok(Err(error)) => {
                let valid = error.utf8_error().valid_up_to();
                let message = "not UTF-8 from here on: a configuration is a text";
                let at = place_of(path, error.as_bytes().get(..valid).unwrap_or_default());
                self.cannot_read(Some(at), message.to_owned());
            }
            Err(error) => self.complain(path, error),
        }
    }

    fn text(&mut self, path: &Path, text: &str) {
        let file: Arc<Path> = path.into();
        self.sources.insert(file.clone(), text.into());
        let substituted = std::cell::RefCell::new(Vec::new());
        let environment = |name: &str| {
            let value = (self.environment)(name);
            substituted.borrow_mut().extend(value.clone());
            value
        };
        let found_before = self.problems.len();
        let parsed = parse(&file, text, &environment, &mut self.problems);
        self.lacks_a_part |= parsed.is_none() && self.problems.len() > found_before;
        for value in substituted.into_inner() {
            self.sources.hide(&value);
        }
        if let Some(node) = parsed {
            if matches!(node.value, Value::Scalar(_) | Value::List(_)) {
                let message = "a map is expected, with keys such as regions and services";
                let problem = Problem::new(Some(node.at.clone()), message.to_owned());
                self.problems.push(problem.explaining_others());
            }
            self.root = match self.root.take() {
                None => Some(node),
                Some(root) => Some(union(root, node, true, &mut self.problems)),
            };
        }
    }

    fn finish(mut self, roots: Vec<PathBuf>) -> Result<Loaded, Problems> {
        if self.lacks_a_part {
            let root = self.root.take();
            root.iter().for_each(|root| self.hide_secrets(root));
            return Err(Problems::new(self.problems, self.sources).of_files(roots));
        }
        let Some(root) = self.root.take() else {
            if self.problems.is_empty() {
                let message = "the configuration is empty: `regions` and `services` are required";
                self.problems.push(Problem::new(None, message.to_owned()));
            }
            return Err(Problems::new(self.problems, self.sources).of_files(roots));
        };
        if matches!(root.value, Value::Null) {
            let message = "the configuration is empty: `regions` and `services` are required";
            let problem = Problem::new(Some(root.at.clone()), message.to_owned());
            self.problems.push(problem);
        }
        check(&root, &ROOT, "", &mut self.problems);
        self.hide_secrets(&root);
        let mut warnings = Vec::new();
        let mut zone_files = ZoneFiles::new(self.sources);
        let plan = compile(&root, &mut zone_files, &mut self.problems, &mut warnings);
        if let Some(plan) = plan.as_ref().filter(|_| !roots.is_empty()) {
            self.problems.extend(files(plan).filter_map(missing));
        }
        match plan {
            Some(plan) if self.problems.is_empty() => Ok(Loaded {
                plan,
                warnings,
                sources: zone_files.sources,
                roots,
                zone_files: zone_files.paths,
            }),
            plan => {
                let files = watched(&roots, &zone_files.paths, plan.as_ref());
                Err(Problems::new(self.problems, zone_files.sources).of_files(files))
            }
        }
    }
}

impl Loading<'_> {
    /// What comes from the environment, and what stands where a secret belongs, is never shown.
    fn hide_secrets(&mut self, root: &Node) {
        let mut found = Vec::new();
        secrets(root, &ROOT, &mut found);
        found.iter().for_each(|secret| self.sources.hide(secret));
    }
}

/// The place behind a text.
fn place_of(path: &Path, before: &[u8]) -> SourceAt {
    let text = String::from_utf8_lossy(before);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let last = text.rsplit('\n').next().unwrap_or_default();
    SourceAt {
        file: path.into(),
        line: count(text.matches('\n').count() + 1),
        column: count(last.chars().count() + 1),
    }
}

/// A folder's YAML files in name order, hidden ones left out.
fn yaml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        // A link to nowhere is read, and told of.
        if yaml && !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The union of two trees: maps are joined, anything else twice is a problem that names both places.
fn union(mut first: Node, second: Node, top: bool, problems: &mut Vec<Problem>) -> Node {
    let Value::Map(entries) = &mut first.value else {
        return if matches!(first.value, Value::Null) {
            second
        } else {
            first
        };
    };
    let places = places(entries);
    for entry in second.into_entries() {
        let Some(known) = places.get(&entry.key).and_then(|at| entries.get_mut(*at)) else {
            entries.push(entry);
            continue;
        };
        if matches!(entry.node.value, Value::Null) {
            continue;
        }
        if matches!(known.node.value, Value::Null) {
            *known = entry;
            continue;
        }
        let both_maps = matches!(
            (&known.node.value, &entry.node.value),
            (Value::Map(_), Value::Map(_))
        );
        if both_maps && top && NAMED_SECTIONS.contains(&&*entry.key) {
            join_named(known, entry.node, problems);
        } else if both_maps {
            let placeholder = Node {
                at: known.node.at.clone(),
                value: Value::Null,
            };
            let node = std::mem::replace(&mut known.node, placeholder);
            known.node = union(node, entry.node, false, problems);
        } else {
            problems.push(twice(&entry, known));
        }
    }
    first
}

fn join_named(known: &mut Entry, second: Node, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &mut known.node.value else {
        return;
    };
    let places = places(entries);
    for entry in second.into_entries() {
        match places.get(&entry.key).and_then(|at| entries.get(*at)) {
            Some(first) => problems.push(twice(&entry, first)),
            None => entries.push(entry),
        }
    }
}

/// Where each key of a map is: there may be hundreds of thousands.
fn places(entries: &[Entry]) -> HashMap<Arc<str>, usize> {
    let keys = entries.iter().map(|entry| entry.key.clone());
    keys.zip(0..).collect()
}

fn twice(second: &Entry, first: &Entry) -> Problem {
    let problem = Problem::new(
        Some(second.at.clone()),
        format!("`{}` is in two files", second.key),
    );
    problem.with_related(first.at.clone(), "first here")
}
