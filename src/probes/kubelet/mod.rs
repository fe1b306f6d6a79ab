//! The kubelet: does it call itself healthy, and do the pods that it took on get anywhere. On a machine without a kubelet it
//! lists nothing.
//!
//! | file | what it is |
//! |---|---|
//! | `signals` | the keys |
//! | `healthz` | the health check |
//! | `pods` | which pods have no cgroup yet |
//! | `setup` | which kubelet this is, and where its places are |
//! | `told` | what it was told, pure |
//! | `waiting` | for how long, pure |

mod healthz;
mod pods;
mod setup;
mod signals;
mod told;
mod waiting;

pub(super) use setup::{Finder, Setup};
pub use signals::{
    HEALTHZ_ERROR, HEALTHZ_LATENCY, HEALTHZ_OK, PODS, PODS_WAITING, PODS_WAITING_OLDEST,
};

use super::error::ProbeError;
use super::off_thread::OffThread;
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Deadline, Host, clock};
use crate::signal::{Batch, MissingReason, Subject, Uptime};
use healthz::Health;
use pods::Pods;
use std::sync::Arc;
use std::time::Duration;
use waiting::Waiting;

/// How long the health check is waited for. A healthy kubelet answers within 2 ms, a loaded one within a second.
const DEADLINE: Duration = Duration::from_secs(3);

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "kubelet",
    title: "kubelet",
    period: Duration::from_secs(5),
    timeout: Duration::from_millis(4_500),
    keys: &[
        &HEALTHZ_OK.spec,
        &HEALTHZ_LATENCY.spec,
        &HEALTHZ_ERROR.spec,
        &PODS.spec,
        &PODS_WAITING.spec,
        &PODS_WAITING_OLDEST.spec,
    ],
    cost: "1.5 ms wall, 0.4 ms CPU with 3 pods; cgroups are looked at only while a pod has no container (2 busy cores of a VM, unoptimised build)",
};

/// Asks the kubelet, and looks at what it does.
pub struct Kubelet {
    finder: Finder,
    off_thread: OffThread<Result<Option<Pods>, ProbeError>>,
    waiting: Waiting,
    /// It answered once, so that nobody there is news.
    was_there: bool,
}

/// Everything that one run saw.
struct Sight {
    setup: Arc<Setup>,
    health: Health,
    latency: Duration,
    pods: Result<Option<Pods>, ProbeError>,
}

impl Kubelet {
    /// A probe that has asked nobody yet.
    pub fn new() -> Self {
        Self::with(Finder::new())
    }

    fn with(finder: Finder) -> Self {
        Self {
            finder,
            off_thread: OffThread::new(),
            waiting: Waiting::default(),
            was_there: false,
        }
    }

    async fn look(&mut self, host: &Host) -> Sight {
        let deadline = Deadline::after(DEADLINE);
        let setup = self.finder.setup(host, deadline).await;
        let (place, home) = (host.clone(), setup.home.clone());
        let (health, pods) = tokio::join!(
            async {
                let health = match setup.healthz {
                    Some(address) => healthz::ask(address, deadline).await,
                    None => Health::SwitchedOff,
                };
                (health, clock::now().uptime.since(deadline.began()))
            },
            deadline.bound(
                self.off_thread
                    .run("the kubelet's pods", move || pods::read(&place, &home))
            )
        );
        let late = || ProbeError::Late {
            what: "the kubelet's pods".to_owned(),
        };
        Sight {
            setup,
            health: health.0,
            latency: health.1,
            pods: pods.unwrap_or_else(|_elapsed| Err(late())).flatten(),
        }
    }

    fn report(&mut self, now: Uptime, sight: Sight) -> Batch {
        let mut batch = Batch::of(SPEC.name);
        let is_mute = matches!(sight.health, Health::NobodyThere | Health::SwitchedOff);
        self.was_there |= !is_mute;
        if self.was_there || !matches!(sight.pods, Ok(None)) {
            self.report_health(&mut batch, &sight);
            self.report_pods(&mut batch, now, sight);
        }
        batch.lists_all(&HEALTHZ_OK);
        batch.lists_all(&HEALTHZ_LATENCY);
        batch.lists_all(&HEALTHZ_ERROR);
        batch.lists_all(&PODS);
        batch.lists_all(&PODS_WAITING);
        batch.lists_all(&PODS_WAITING_OLDEST);
        batch
    }

    fn report_health(&self, batch: &mut Batch, sight: &Sight) {
        let unit = Subject::named(&sight.setup.subject);
        let missing = match &sight.health {
            Health::Ok => {
                batch.set_for(&HEALTHZ_OK, unit.clone(), true);
                batch.set_for(&HEALTHZ_LATENCY, unit.clone(), sight.latency);
                batch.set_for(&HEALTHZ_ERROR, unit, Arc::from(""));
                return;
            }
            Health::Bad(kind) => Ok(kind.as_str()),
            Health::NobodyThere if self.was_there => Ok("refused"),
            // Where no process tells, it may be on another port.
            Health::NobodyThere => {
                let place = sight.setup.healthz.map(|address| address.to_string());
                let place = place.unwrap_or_default();
                Err(MissingReason::NotHere(
                    format!("a kubelet's health check on {place}").into(),
                ))
            }
            Health::SwitchedOff => Err(MissingReason::NotHere(
                "the kubelet's health check, which is switched off (healthzPort: 0)".into(),
            )),
            Health::CannotTell(why) => Err(MissingReason::ProbeFailed(why.as_str().into())),
        };
        let no_latency = match missing {
            Ok(kind) => {
                batch.set_for(&HEALTHZ_OK, unit.clone(), false);
                batch.set_for(&HEALTHZ_ERROR, unit.clone(), Arc::from(kind));
                MissingReason::NotHere("there was no healthy answer".into())
            }
            Err(reason) => {
                batch.missing_for(&HEALTHZ_OK.spec, unit.clone(), reason.clone());
                batch.missing_for(&HEALTHZ_ERROR.spec, unit.clone(), reason.clone());
                reason
            }
        };
        batch.missing_for(&HEALTHZ_LATENCY.spec, unit, no_latency);
    }

    fn report_pods(&mut self, batch: &mut Batch, now: Uptime, sight: Sight) {
        let unit = Subject::named(&sight.setup.subject);
        let reason = match sight.pods {
            Ok(Some(pods)) => {
                let waits = self.waiting.note(now, &pods.without_cgroup);
                let count = i64::try_from(pods.count).unwrap_or(i64::MAX);
                batch.set_for(&PODS, unit.clone(), count);
                batch.set_for(&PODS_WAITING, unit.clone(), waits.count);
                batch.set_for(&PODS_WAITING_OLDEST, unit, waits.oldest);
                return;
            }
            Ok(None) => {
                let home = sight.setup.home.display();
                MissingReason::NotHere(format!("the kubelet's home {home}").into())
            }
            Err(error) => error.missing_reason(),
        };
        for spec in [&PODS.spec, &PODS_WAITING.spec, &PODS_WAITING_OLDEST.spec] {
            batch.missing_for(spec, unit.clone(), reason.clone());
        }
    }
}

impl Default for Kubelet {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe for Kubelet {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        Box::pin(async move {
            let sight = self.look(host).await;
            Ok(self.report(clock::now().uptime, sight))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Value;

    /// A kubelet whose health check is where nobody listens.
    fn nobody() -> Finder {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let healthz = Some(server.local_addr().expect("an address"));
        Finder::fixed(Setup {
            healthz,
            ..Setup::default()
        })
    }

    fn value(batch: &Batch, key: &str) -> Option<Result<Value, &'static str>> {
        let sample = batch.samples.iter().find(|sample| sample.key == key)?;
        assert_eq!(sample.subject.as_str(), "kubelet.service");
        Some(sample.value.clone().map_err(|reason| reason.kind()))
    }

    #[tokio::test]
    async fn a_machine_without_a_kubelet_is_silence() {
        let root = tempfile::tempdir().expect("a directory");
        let mut probe = Kubelet::with(nobody());
        let batch = probe.collect(&Host::at(root.path())).await.expect("a look");
        assert!(batch.samples.is_empty(), "{batch:?}");
        assert_eq!(batch.complete.len(), SPEC.keys.len());
    }

    #[tokio::test]
    async fn pods_are_counted_though_the_health_check_is_elsewhere() {
        let root = tempfile::tempdir().expect("a directory");
        let pod = root.path().join("var/lib/kubelet/pods/p/containers/c");
        std::fs::create_dir_all(pod).expect("made");
        let mut probe = Kubelet::with(nobody());
        let batch = probe.collect(&Host::at(root.path())).await.expect("a look");
        assert_eq!(value(&batch, "kubelet.pods"), Some(Ok(Value::Integer(1))));
        assert_eq!(value(&batch, "kubelet.healthz.ok"), Some(Err("not-here")));
    }

    #[test]
    fn a_kubelet_that_answered_once_and_is_gone_is_not_healthy() {
        let mut probe = Kubelet::with(nobody());
        let sight = |health| Sight {
            setup: Arc::default(),
            health,
            latency: Duration::from_millis(2),
            pods: Ok(Some(Pods::default())),
        };
        for (health, ok, error) in [
            (Health::NobodyThere, Err("not-here"), Err("not-here")),
            (Health::Ok, Ok(true), Ok("")),
            (
                Health::Bad("status-500".to_owned()),
                Ok(false),
                Ok("status-500"),
            ),
            (Health::NobodyThere, Ok(false), Ok("refused")),
            (
                Health::CannotTell("x".to_owned()),
                Err("probe-failed"),
                Err("probe-failed"),
            ),
            (Health::SwitchedOff, Err("not-here"), Err("not-here")),
        ] {
            let batch = probe.report(Uptime::default(), sight(health.clone()));
            let expected = Some(ok.map(Value::Bool));
            assert_eq!(value(&batch, "kubelet.healthz.ok"), expected, "{health:?}");
            let expected = Some(error.map(|text| Value::Text(text.into())));
            assert_eq!(
                value(&batch, "kubelet.healthz.error"),
                expected,
                "{health:?}"
            );
        }
    }
}
