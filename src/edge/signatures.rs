//! Keeps DNS signatures ahead of those who ask: due ones are made anew, and those that follow from a
//! snapshot are made as soon as it is published. Both beside whoever publishes, so that no change of health waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::rr::Name;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::answers::Renewed;
use crate::clock;
use crate::config::plan::Plan;
use crate::control::{Control, Kind};
use crate::dns::{Lasting, Live, Signs, presign};

/// How often it is looked whether signatures are due: a key takes effect this late at most, and after it has signed.
const RENEWAL_CHECK: Duration = Duration::from_secs(1);

/// How long signing rests after each 256 RRsets, which take it 4 ms: a week's signatures may be due at once, and the
/// processors are those of queries. 131,072 RRsets take five seconds more by it.
const REST: Duration = Duration::from_millis(10);

/// What has answers signed anew when signatures or keys are due (RFC 6781 §4.4.2), or the clock was set back.
pub(super) struct Renewal {
    pub(super) control: Control,
    pub(super) dns: Arc<ArcSwap<Live>>,
    pub(super) renewed: Arc<Renewed>,
    pub(super) stop: CancellationToken,
}

impl Renewal {
    /// Goes on until it is to stop.
    pub(super) async fn run(self) {
        let is_due = || {
            let is_published = self.renewed.load().is_none();
            let live = self.dns.load();
            is_published && live.answers.lasting().is_due(clock::unix_secs())
        };
        whenever(is_due, || self.renew(), self.stop.clone()).await;
    }

    /// One at a time, so that there are no more signatures in memory than those in force and their successors.
    async fn renew(&self) {
        let (dns, stop) = (self.dns.clone(), self.stop.clone());
        let signing = move || {
            let rest = || {
                std::thread::sleep(REST);
                !stop.is_cancelled()
            };
            renewed(&dns, clock::unix_secs(), &rest)
        };
        match tokio::task::spawn_blocking(signing).await {
            Ok(Some(lasting)) => {
                let live = self.dns.load_full();
                let before = live.answers.lasting().signed();
                let now = lasting.signed();
                self.renewed.store(Some(lasting));
                self.control.republish().await;
                tell_of_signed(&self.control, &live.snapshot.plan, &before, &now).await;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "DNS answers were not signed anew"),
        }
    }
}

/// Tells of zones of a Plan whose keys sign no longer, or do now.
pub(super) async fn tell_of_signed(
    control: &Control,
    plan: &Plan,
    before: &BTreeMap<Name, Signs>,
    now: &BTreeMap<Name, Signs>,
) {
    let was_signed = |zone: &Name| {
        before
            .get(zone)
            .is_some_and(|signs| *signs > Signs::Nothing)
    };
    let left = plan.zones.iter().map(|zone| &zone.origin);
    for zone in left.filter(|zone| was_signed(zone) && !now.contains_key(zone)) {
        let message = format!(
            "{zone} is signed no more: it has no dnssec any more, and whoever validates refuses it while its parent has a DS"
        );
        control.warn(Kind::State, message).await;
    }
    for (zone, signs) in now {
        match (before.get(zone), signs) {
            (Some(Signs::All | Signs::DataAlone), Signs::Nothing) => {
                let message = format!(
                    "{zone} is signed no more: no key is active by its times, and whoever validates refuses it while its parent has a DS"
                );
                control.warn(Kind::State, message).await;
            }
            (Some(Signs::All | Signs::Nothing), Signs::DataAlone) => {
                let message = format!(
                    "the keys of {zone} are signed by no key-signing key: none is active by its times, and whoever validates refuses the zone while its parent has a DS"
                );
                control.warn(Kind::State, message).await;
            }
            (Some(Signs::Nothing | Signs::DataAlone), Signs::All) => {
                let message = format!("{zone} is signed now");
                control.tell(Kind::State, message).await;
            }
            (None, _)
            | (Some(Signs::All), Signs::All)
            | (Some(Signs::DataAlone), Signs::DataAlone)
            | (Some(Signs::Nothing), Signs::Nothing) => {}
        }
    }
}

/// What is in force with signatures of `now`, in seconds since 1970, where they are due, also of what the snapshot in
/// force has signed beyond its Plan. `None` if another Plan comes meanwhile, or `rest`, which is called now and then,
/// says so.
fn renewed(
    dns: &ArcSwap<Live>,
    now: u32,
    rest: &(dyn Fn() -> bool + Sync),
) -> Option<Arc<Lasting>> {
    let before = dns.load_full();
    let is_wanted = || rest() && before.answers.lasting().is_of(&dns.load().snapshot.plan);
    let lasting = before.answers.lasting().renewed(now, &is_wanted)?;
    let current = dns.load_full();
    if !lasting.is_of(&current.snapshot.plan) {
        return None;
    }
    let next = Live::on(current.snapshot.clone(), lasting.clone(), Some(&current));
    let is_in_force = || lasting.is_of(&dns.load().snapshot.plan);
    presign(&next, Some(&current), is_in_force)?;
    Some(lasting)
}

/// Does something whenever it is found due, until `stop`.
async fn whenever<F: Future<Output = ()>>(
    is_due: impl Fn() -> bool,
    work: impl Fn() -> F,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(RENEWAL_CHECK);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        if is_due() {
            work().await;
        }
    }
}

/// Signs what each published table can answer, beside those who answer from it. A newer table puts an
/// end to the work on an older one.
pub(super) async fn make_ahead(
    dns: Arc<ArcSwap<Live>>,
    published: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut done: Option<Arc<Live>> = None;
    while stop
        .run_until_cancelled(published.notified())
        .await
        .is_some()
    {
        let live = dns.load_full();
        let (next, before) = (live.clone(), done.clone());
        let (current, stop) = (dns.clone(), stop.clone());
        let signing = tokio::task::spawn_blocking(move || {
            let is_wanted = || Arc::ptr_eq(&current.load(), &next) && !stop.is_cancelled();
            presign(&next, before.as_deref(), is_wanted)
        });
        if let Ok(Some(rrsets)) = signing.await {
            tracing::debug!(rrsets, "DNS answers are signed");
            done = Some(live);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::mpsc;

    use tokio::time::Instant;

    use super::super::answers::Answers;
    use super::*;
    use crate::config::plan::Plan;
    use crate::dns::testing::{NOW, plan, read, signing, snapshot};
    use crate::dns::{Arrival, Pace, Transport, respond};
    use crate::health::Health;
    use crate::ids::{Id, RegionId};
    use crate::steering::{Draw, Snapshot};

    const WEEK: u32 = 7 * 86_400;

    /// The answer to a query with DO.
    fn ask(dns: &ArcSwap<Live>, name: &str, qtype: u8) -> Vec<u8> {
        let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.bytes());
        }
        query.extend([0, 0, qtype, 0, 1]);
        query.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        let arrival = Arrival {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transport: Transport::Tcp,
            draw: Draw(0),
            unix_secs: NOW,
        };
        let mut out = Vec::new();
        let live = dns.load();
        respond(&live, &query, arrival, || Pace::Whole, &mut out);
        out
    }

    fn all_but(plan: &Arc<Plan>, down: Option<RegionId>) -> Arc<Snapshot> {
        Arc::new(snapshot(plan.clone(), |_, member| {
            if Some(member.region) == down {
                member.health = Health::Unhealthy;
            }
        }))
    }

    /// What is published of a Plan whose zone has been signed for a week.
    fn signed_a_week_ago() -> (Arc<Plan>, Answers) {
        let mut plan = plan();
        let signed = "regions: { a: { addresses: [192.0.2.1] } }\nservices: { a: { hosts: [a.test] } }\n\
             zones: { test: { nameservers: { ns1: [192.0.2.53] }, dnssec: { keys: keys } } }\n";
        plan.zones[0].dnssec = read(signed).zones[0].dnssec.clone();
        let plan = Arc::new(plan);
        let live = Live::compile(all_but(&plan, None), &signing(&plan), None);
        let answers = Answers {
            lasting: live.answers.lasting().clone(),
            dns: Arc::new(ArcSwap::from_pointee(live)),
            renewed: Arc::default(),
            published: Arc::default(),
        };
        (plan, answers)
    }

    #[test]
    fn a_change_of_health_is_published_while_signatures_are_made_anew() {
        let (plan, mut answers) = signed_a_week_ago();
        let dns = answers.dns.clone();
        let is_due = || dns.load().answers.lasting().is_due(NOW + WEEK);
        let before = [("example.com", 6), ("api.example.com", 1)].map(|(n, t)| ask(&dns, n, t));
        let (resting, rests) = mpsc::channel();
        let (resume, resumes) = mpsc::sync_channel(0);
        let resumes = std::sync::Mutex::new(resumes);
        let signing = std::thread::spawn({
            let dns = dns.clone();
            move || {
                let rest = || resting.send(()).is_ok() && resumes.lock().unwrap().recv().is_ok();
                renewed(&dns, NOW + WEEK, &rest)
            }
        });
        // It is at its first rest, and goes no further.
        rests.recv().unwrap();
        assert!(is_due());
        let down = all_but(&plan, Some(Id::at(0)));
        answers.publish(down.clone());
        assert_ne!(ask(&dns, "api.example.com", 1), before[1]);
        assert_eq!(ask(&dns, "example.com", 6), before[0], "signed as before");
        drop(rests);
        resume.send(()).unwrap();
        drop(resume);
        assert!(signing.join().unwrap().is_none(), "it was told to end");

        let lasting = renewed(&dns, NOW + WEEK, &|| true).unwrap();
        answers.renewed.store(Some(lasting));
        answers.publish(down);
        assert!(!is_due());
        assert_ne!(ask(&dns, "example.com", 6), before[0], "signed anew");
        assert_ne!(ask(&dns, "api.example.com", 1), before[1]);
    }

    #[test]
    fn signatures_of_a_plan_that_is_replaced_meanwhile_are_not_published() {
        let (_, mut answers) = signed_a_week_ago();
        let dns = answers.dns.clone();
        let stale = renewed(&dns, NOW + WEEK, &|| true).unwrap();
        let reloaded = Arc::new(plan());
        let snapshot = all_but(&reloaded, None);
        let rest = || {
            dns.store(Arc::new(Live::compile(
                snapshot.clone(),
                &signing(&reloaded),
                None,
            )));
            true
        };
        assert!(renewed(&dns, NOW + WEEK, &rest).is_none());
        answers.lasting = dns.load().answers.lasting().clone();
        answers.renewed.store(Some(stale));
        answers.publish(snapshot.clone());
        let lasting = dns.load().answers.lasting().clone();
        assert!(lasting.is_of(&reloaded));
        assert!(answers.renewed.load().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_done_a_second_later_at_most_and_nothing_before_it_is_due() {
        let start = Instant::now();
        let due_at = Duration::from_millis(2_400);
        let done: RefCell<Vec<Duration>> = RefCell::default();
        let stop = CancellationToken::new();
        let is_due = || start.elapsed() >= due_at && done.borrow().len() < 2;
        let work = || {
            done.borrow_mut().push(start.elapsed());
            std::future::ready(())
        };
        let ended = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            stop.cancel();
        };
        tokio::join!(whenever(is_due, work, stop.clone()), ended);
        let seconds: Vec<u64> = done.borrow().iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [3, 4]);
    }
}
