//! Reloads: all or nothing, one after the other, whoever asks for them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::inherited::Inherited;
use super::listeners::{Listeners, Serving};
use super::materials::{Materials, load_materials};
use super::one_load::{NotLoaded, OneLoad};
use super::sampling::Sampled;
use super::signatures::tell_of_signed;
use super::source::Source;
use super::succession::knocked;
use super::supervisor::{News, tell};
use super::watch::{Look, Watch};
use super::wiring::{Wiring, publish_generation};
use super::zone_keys::MissingKeys;
use crate::clock;
use crate::config::plan::{Node, Plan};
use crate::config::{Loaded, Problem, Problems, diff};
use crate::control::{ConfigProblem, ConfigStatus, Kind, ReloadOutcome, ReloadRequests, Reloaded};
use crate::disk::Claim;

/// What is loaded, or what is wrong with it.
pub(super) type Loading = Result<(Loaded, Materials), Refused>;

/// What is wrong with a configuration.
pub(super) struct Refused {
    problems: Vec<ConfigProblem>,
    /// What was read: while none of it changes, the problems stay. Nothing, if that is not known.
    files: Option<Vec<PathBuf>>,
}

impl From<&Problems> for Refused {
    fn from(problems: &Problems) -> Self {
        Self {
            problems: quoted(problems),
            files: Some(problems.files().to_vec()),
        }
    }
}

impl From<Vec<ConfigProblem>> for Refused {
    fn from(problems: Vec<ConfigProblem>) -> Self {
        Self {
            problems,
            files: None,
        }
    }
}

/// What carries out reloads.
pub(super) struct Reloading {
    pub(super) source: Source,
    pub(super) plan: Arc<Plan>,
    /// What the process was started with.
    pub(super) started_as: Node,
    pub(super) materials: Materials,
    pub(super) wiring: Wiring,
    pub(super) serving: Serving,
    pub(super) listeners: Listeners,
    pub(super) threads: usize,
    pub(super) loads: OneLoad<Loading>,
    /// Where another process asks to take over.
    pub(super) door: Option<Door>,
    /// The hold on `state_dir`.
    pub(super) claim: Option<Claim>,
    /// To be cancelled when one has.
    pub(super) sampled: Sampled,
    pub(super) succeeded: CancellationToken,
}

impl Reloading {
    /// Reloads whenever it is asked, a file changes or a SIGHUP arrives; gives itself back at the end.
    pub(super) async fn run(
        mut self,
        mut requests: ReloadRequests,
        mut hangups: mpsc::Receiver<()>,
        mut watch: Option<Watch>,
        stop: CancellationToken,
    ) -> Self {
        loop {
            let reply: Option<oneshot::Sender<ReloadOutcome>> = tokio::select! {
                () = stop.cancelled() => return self,
                Some(reply) = requests.recv() => Some(reply),
                Some(()) = hangups.recv() => None,
                () = changed(&mut watch) => {
                    if self.loads.is_stuck() {
                        // Nothing new: it is looked at again until that has ended.
                        watch.iter_mut().for_each(Watch::forget);
                        continue;
                    }
                    None
                }
                successor = knocked(&mut self.door) => {
                    // The end waits for it a little: whoever takes over would be left with nothing.
                    if self.hand_over_or_resume(successor, stop.cancelled()).await {
                        stop.cancelled().await;
                    }
                    if stop.is_cancelled() {
                        return self;
                    }
                    continue;
                }
            };
            tell(News::Reloading);
            let outcome = self.reload(&mut watch, &stop).await;
            tell(News::Ready);
            if let Some(reply) = reply {
                // Whoever asked may have gone; the event log and the page still tell.
                let _ = reply.send(outcome);
            }
        }
    }

    /// The edge ends: all but the admin closes, because a drain must still be seen, and another process may still come.
    pub(super) fn end_begins(&mut self) {
        self.listeners.close_faces();
    }

    /// Nothing is in flight any more.
    pub(super) fn end(&mut self) {
        self.listeners.close();
        if let Some(door) = self.door.take() {
            door.close();
        }
    }

    async fn reload(
        &mut self,
        watch: &mut Option<Watch>,
        stop: &CancellationToken,
    ) -> ReloadOutcome {
        let outcome = self.load_and_apply(watch, stop).await;
        let admin = &self.serving.admin;
        let before = admin.config.load_full();
        match &outcome {
            Ok(reloaded) => {
                publish_generation(reloaded.generation);
                admin.config.store(Arc::new(ConfigStatus {
                    loaded_at_ms: clock::unix_ms(),
                    generation: reloaded.generation,
                    error: None,
                    changes: reloaded.changes.clone(),
                }));
            }
            Err(problems) => {
                metrics::gauge!("meridian_config_last_reload_successful").set(0.0);
                let first = problems.first().cloned();
                let told = first.as_ref().map_or_else(String::new, show);
                tracing::error!("reload refused, nothing changed: {told}");
                let message = format!("a reload was refused and nothing changed: {told}");
                self.serving.admin.control.tell(Kind::Reload, message).await;
                admin.config.store(Arc::new(ConfigStatus {
                    error: first,
                    ..(*before).clone()
                }));
            }
        }
        outcome
    }

    async fn load_and_apply(
        &mut self,
        watch: &mut Option<Watch>,
        stop: &CancellationToken,
    ) -> ReloadOutcome {
        let read = stop.run_until_cancelled(self.read(watch)).await;
        let (mut loaded, materials, look) =
            read.unwrap_or_else(|| Err(problem("the edge is shutting down")))?;
        // From here on these files matter, whatever becomes of the configuration.
        if let (Some(watch), Some(look)) = (watch, look) {
            watch.follow(look);
        }
        let mut inherited = Inherited::default();
        let bound = self
            .listeners
            .bind(&loaded.plan.listen, &mut inherited, self.threads);
        let bound = bound.map_err(|errors| {
            let told = errors
                .iter()
                .map(|e| ConfigProblem::elsewhere(e.to_string()));
            told.collect::<Vec<_>>()
        })?;
        self.listeners.note_ports(&mut loaded.plan.listen, &bound);
        let mut changes = diff(&self.plan, &loaded.plan).lines();
        changes.extend(materials.changes_since(&self.materials));
        self.warn_of_what_waits_for_a_restart(&loaded.plan.node);
        let plan = Arc::new(loaded.plan);
        let generation = self.put_in_force(&plan, &materials, &changes).await?;
        self.listeners.apply(&plan.listen, bound, &self.serving);
        self.plan = plan;
        self.materials = materials;
        let known_keys = self.materials.known_keys.clone();
        // A disk that hangs holds up nobody, and nobody waits for it.
        let claim = self.claim.clone();
        tokio::task::spawn_blocking(move || known_keys.remember(claim.as_ref()));
        Ok(Reloaded {
            generation,
            changes,
        })
    }

    /// Reads all that there is to read, on threads that may wait: a file system that hangs is told, and holds up
    /// nothing else.
    async fn read(
        &mut self,
        watch: &mut Option<Watch>,
    ) -> Result<(Loaded, Materials, Option<Look>), Vec<ConfigProblem>> {
        if let Some(watch) = watch
            && !watch.about_to_load().await
        {
            return Err(problem(&NotLoaded::Unanswered.to_string()));
        }
        let loaded = self.load().await;
        let Some(watch) = watch else {
            return match loaded {
                Ok((loaded, materials)) => Ok((loaded, materials, None)),
                Err(refused) => Err(refused.problems),
            };
        };
        if self.loads.is_stuck() {
            watch.forget();
        }
        let files = match &loaded {
            Ok((loaded, _)) => Some(loaded.watched()),
            Err(refused) => refused.files.clone(),
        };
        let look = match files {
            Some(files) => {
                let look = watch.look_behind_load(Arc::new(files)).await;
                if look.is_none() {
                    watch.forget();
                }
                look
            }
            None => None,
        };
        match (loaded, look) {
            (Ok((loaded, materials)), Some(look)) => Ok((loaded, materials, Some(look))),
            (Ok(_), None) => Err(problem(&NotLoaded::Unanswered.to_string())),
            (Err(refused), look) => {
                look.into_iter().for_each(|look| watch.follow(look));
                Err(refused.problems)
            }
        }
    }

    async fn load(&mut self) -> Loading {
        let (source, before) = (self.source.clone(), self.materials.clone());
        let loaded = self.loads.run(move || load(&source, &before)).await;
        loaded.unwrap_or_else(|error| Err(problem(&error.to_string()).into()))
    }

    fn warn_of_what_waits_for_a_restart(&self, new: &Node) {
        let at_start_only = |node: &Node| (node.state_dir.clone(), node.upgrade_socket.clone());
        if at_start_only(&self.started_as) != at_start_only(new) {
            tracing::warn!(
                "node.state_dir and node.upgrade_socket are read at the start only: restart to change them"
            );
        }
    }

    /// Nothing of this can fail but for the edge that ends meanwhile, once the Plan's answers are signed.
    async fn put_in_force(
        &mut self,
        plan: &Arc<Plan>,
        materials: &Materials,
        changes: &[String],
    ) -> Result<u64, Vec<ConfigProblem>> {
        let lasting = self.wiring.lasting(plan, materials).await;
        let lasting = lasting.map_err(|error| vec![ConfigProblem::elsewhere(error.to_string())])?;
        self.serving.https.store(materials.https.clone());
        self.serving.dot.store(materials.dot.clone());
        let admin = &self.serving.admin;
        admin.access.encrypt_with(materials.admin_tls.clone());
        admin.database.store(materials.database.clone());
        let summary = if changes.is_empty() {
            "nothing changed".to_owned()
        } else {
            changes.join("; ")
        };
        let signed = lasting.signed();
        let signed_before = self.wiring.dns.load().answers.lasting().signed();
        let adoption = self
            .wiring
            .adoption(plan.clone(), lasting, materials, summary);
        let adopted = admin.control.adopt(adoption).await;
        let generation = adopted.map_err(|closed| problem(&closed.to_string()))?;
        tell_of_signed(&admin.control, plan, &signed_before, &signed).await;
        Ok(generation)
    }
}

/// One of no place.
fn problem(message: &str) -> Vec<ConfigProblem> {
    vec![ConfigProblem::elsewhere(message.to_owned())]
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Loads the configuration and all that it names.
fn load(source: &Source, before: &Materials) -> Loading {
    let loaded = source.load().map_err(|problems| Refused::from(&problems))?;
    let materials = load_materials(&loaded, Some(before), MissingKeys::Create)
        .map_err(|problems| Refused::from(&loaded.problems(problems)))?;
    for warning in loaded.warnings.iter().chain(&materials.warnings) {
        tracing::warn!("{}", show(&ConfigProblem::from(warning)));
    }
    Ok((loaded, materials))
}

/// With the lines that they are about.
fn quoted(problems: &Problems) -> Vec<ConfigProblem> {
    problems
        .iter()
        .map(|problem| ConfigProblem {
            source: problems.line(problem),
            ..problem.into()
        })
        .collect()
}

impl ConfigProblem {
    fn elsewhere(message: String) -> Self {
        Self {
            file: String::new(),
            line: 0,
            column: 0,
            message,
            source: None,
        }
    }
}

impl From<&Problem> for ConfigProblem {
    fn from(problem: &Problem) -> Self {
        let at = problem.at.as_ref();
        Self {
            file: at.map_or_else(String::new, |at| at.file.display().to_string()),
            line: at.map_or(0, |at| at.line),
            column: at.map_or(0, |at| at.column),
            message: problem.message.clone(),
            source: None,
        }
    }
}

/// `file:line:column: message`.
fn show(problem: &ConfigProblem) -> String {
    let ConfigProblem {
        file,
        line,
        column,
        message,
        source: _,
    } = problem;
    if file.is_empty() {
        message.clone()
    } else {
        format!("{file}:{line}:{column}: {message}")
    }
}
