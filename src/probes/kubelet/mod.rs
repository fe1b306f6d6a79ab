//! The kubelet: does it call itself healthy, and do the pods that it took on get anywhere. On a machine without a kubelet it
//! lists nothing.
//!
//! | file | what it is |
//! |---|---|
//! | `signals` | the keys |
//! | `healthz` | the health check |
//! | `pods` | which pods have no cgroup yet |
//! | `waiting` | for how long, pure |

mod healthz;
mod pods;
mod signals;
mod waiting;

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
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use waiting::Waiting;

/// The unit that people restart. Where the kubelet is part of another program (k3s), the subject is the same and
/// systemd knows no such unit, so nothing restarts it.
const UNIT: &str = "kubelet.service";

/// `healthzBindAddress` and `healthzPort` of a kubelet that was not told otherwise. In its pod the agent is on the host's
/// network.
const HEALTHZ: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_248);

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
    address: SocketAddr,
    off_thread: OffThread<Result<Option<Pods>, ProbeError>>,
    waiting: Waiting,
    /// It answered once, so that nobody there is news.
    was_there: bool,
}

/// Everything that one run saw.
struct Sight {
    health: Health,
    latency: Duration,
    pods: Result<Option<Pods>, ProbeError>,
}

impl Kubelet {
    /// A probe that has asked nobody yet.
    pub fn new() -> Self {
        Self::at(HEALTHZ)
    }

    fn at(address: SocketAddr) -> Self {
        Self {
            address,
            off_thread: OffThread::new(),
            waiting: Waiting::default(),
            was_there: false,
        }
    }

    async fn look(&mut self, host: &Host) -> Sight {
        let place = host.clone();
        let deadline = Deadline::after(DEADLINE);
        let (health, pods) = tokio::join!(
            async {
                let health = healthz::ask(self.address, deadline).await;
                (health, clock::now().uptime.since(deadline.began()))
            },
            deadline.bound(
                self.off_thread
                    .run("the kubelet's pods", move || pods::read(&place))
            )
        );
        let late = || ProbeError::Late {
            what: "the kubelet's pods".to_owned(),
        };
        Sight {
            health: health.0,
            latency: health.1,
            pods: pods.unwrap_or_else(|_elapsed| Err(late())).flatten(),
        }
    }

    fn report(&mut self, now: Uptime, sight: Sight) -> Batch {
        let mut batch = Batch::of(SPEC.name);
        let is_mute = sight.health == Health::NobodyThere;
        self.was_there |= !is_mute;
        if self.was_there || !matches!(sight.pods, Ok(None)) {
            self.report_health(&mut batch, &sight);
            self.report_pods(&mut batch, now, sight.pods);
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
        let unit = Subject::named(UNIT);
        let missing = match &sight.health {
            Health::Ok => {
                batch.set_for(&HEALTHZ_OK, unit.clone(), true);
                batch.set_for(&HEALTHZ_LATENCY, unit.clone(), sight.latency);
                batch.set_for(&HEALTHZ_ERROR, unit, Arc::from(""));
                return;
            }
            Health::Bad(kind) => Ok(kind.as_str()),
            Health::NobodyThere if self.was_there => Ok("refused"),
            // It may keep its health check on another port, or on none.
            Health::NobodyThere => Err(MissingReason::NotHere(
                format!("a kubelet's health check on {}", self.address).into(),
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

    fn report_pods(
        &mut self,
        batch: &mut Batch,
        now: Uptime,
        pods: Result<Option<Pods>, ProbeError>,
    ) {
        let unit = Subject::named(UNIT);
        let reason = match pods {
            Ok(Some(pods)) => {
                let waits = self.waiting.note(now, &pods.without_cgroup);
                let count = i64::try_from(pods.count).unwrap_or(i64::MAX);
                batch.set_for(&PODS, unit.clone(), count);
                batch.set_for(&PODS_WAITING, unit.clone(), waits.count);
                batch.set_for(&PODS_WAITING_OLDEST, unit, waits.oldest);
                return;
            }
            Ok(None) => MissingReason::NotHere("the kubelet's home is not /var/lib/kubelet".into()),
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

    fn nobody() -> SocketAddr {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        server.local_addr().expect("an address")
    }

    fn value(batch: &Batch, key: &str) -> Option<Result<Value, &'static str>> {
        let sample = batch.samples.iter().find(|sample| sample.key == key)?;
        assert_eq!(sample.subject.as_str(), UNIT);
        Some(sample.value.clone().map_err(|reason| reason.kind()))
    }

    #[tokio::test]
    async fn a_machine_without_a_kubelet_is_silence() {
        let root = tempfile::tempdir().expect("a directory");
        let mut probe = Kubelet::at(nobody());
        let batch = probe.collect(&Host::at(root.path())).await.expect("a look");
        assert!(batch.samples.is_empty(), "{batch:?}");
        assert_eq!(batch.complete.len(), SPEC.keys.len());
    }

    #[tokio::test]
    async fn pods_are_counted_though_the_health_check_is_elsewhere() {
        let root = tempfile::tempdir().expect("a directory");
        let pod = root.path().join("var/lib/kubelet/pods/p/containers/c");
        std::fs::create_dir_all(pod).expect("made");
        let mut probe = Kubelet::at(nobody());
        let batch = probe.collect(&Host::at(root.path())).await.expect("a look");
        assert_eq!(value(&batch, "kubelet.pods"), Some(Ok(Value::Integer(1))));
        assert_eq!(value(&batch, "kubelet.healthz.ok"), Some(Err("not-here")));
    }

    #[test]
    fn a_kubelet_that_answered_once_and_is_gone_is_not_healthy() {
        let mut probe = Kubelet::at(nobody());
        let sight = |health| Sight {
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
