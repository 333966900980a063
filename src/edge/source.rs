//! Where an edge's configuration comes from, now and at every reload.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::plan::{Key, Plan};
use crate::config::{self, Loaded, Problems};
use crate::positions::random_key;
use crate::units::Secret;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The key of a configuration that has none.
    spare_key: Key,
    text: Text,
    /// Region → the server that stands in for its origins; none: the origins are the configured ones.
    stand_ins: Option<Arc<HashMap<String, SocketAddr>>>,
}

#[derive(Clone, Debug)]
enum Text {
    /// Files and folders, watched.
    Paths(Vec<PathBuf>),
    /// What messages call it, and the YAML; nobody can change it.
    Given(&'static str, String),
}

impl Source {
    /// Files and folders, watched.
    pub fn paths(paths: Vec<PathBuf>) -> Self {
        Self::of(Text::Paths(paths))
    }

    /// One text, which messages call by this name and nobody can change.
    pub fn text(name: &'static str, yaml: String) -> Self {
        Self::of(Text::Given(name, yaml))
    }

    fn of(text: Text) -> Self {
        Self {
            spare_key: random_key(),
            text,
            stand_ins: None,
        }
    }

    /// Puts servers in the place of the regions' origins, now and after every reload.
    pub fn with_stand_ins(mut self, servers: HashMap<String, SocketAddr>) -> Self {
        self.stand_ins = Some(Arc::new(servers));
        self
    }

    /// The files and folders that are given, if they can change.
    pub(super) fn watched(&self) -> Option<Vec<PathBuf>> {
        match &self.text {
            Text::Paths(paths) => Some(paths.clone()),
            Text::Given(..) => None,
        }
    }

    /// Loads it.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let environment = |name: &str| std::env::var(name).ok();
        let mut loaded = match &self.text {
            Text::Paths(paths) => config::load(paths, &environment),
            Text::Given(name, yaml) => config::load_text(name, yaml, &environment),
        }?;
        if let Some(servers) = &self.stand_ins {
            loaded.plan.stand_in(|region| servers.get(region).copied());
        }
        if loaded.plan.keys.is_empty() {
            loaded.plan.keys.push(self.spare_key.clone());
        }
        Ok(loaded)
    }

    /// What the next process needs of this.
    pub(super) fn bequeath(&self) -> Value {
        json!(self.spare_key.secret.expose())
    }

    /// Takes over the key of the process before, for a Plan that has none of its own.
    pub(super) fn inherit(&mut self, bequest: &Value, plan: &mut Plan) {
        let Some(secret) = bequest["key"].as_str() else {
            return;
        };
        let key = Key {
            secret: Secret::new(secret.to_owned()),
            ..self.spare_key.clone()
        };
        if plan.keys == [self.spare_key.clone()] {
            plan.keys = vec![key.clone()];
        }
        self.spare_key = key;
    }
}
