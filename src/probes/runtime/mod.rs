//! The container runtime: does it answer on its socket, and what does it say about itself. On a machine without one it lists
//! nothing.
//!
//! | file | what it is |
//! |---|---|
//! | `signals` | the keys |
//! | `call` | one call by gRPC |
//! | `parse` | the answers, pure |

mod call;
mod parse;
mod signals;
#[cfg(test)]
mod tests;

pub use signals::{ANSWERS, DEADLINE, ERROR, LATENCY, NETWORK_READY, READY, VERSION};

use super::error::ProbeError;
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Deadline, Host, clock};
use crate::signal::{Batch, Key, MissingReason, Subject, ValueType};
use call::{CallError, UNIMPLEMENTED};
use parse::{Status, Version};
use std::sync::Arc;
use std::time::Duration;

/// Sockets of the runtimes that are a unit of their own, in the order in which they are looked for, and that unit.
const RUNTIMES: [(&str, &str); 3] = [
    ("/run/containerd/containerd.sock", "containerd.service"),
    ("/run/crio/crio.sock", "crio.service"),
    ("/run/cri-dockerd.sock", "cri-docker.service"),
];

/// What is asked; containerd before 1.6 and cri-o before 1.20 know only the second.
const CALLS: [[&str; 2]; 2] = [
    [
        "/runtime.v1.RuntimeService/Version",
        "/runtime.v1.RuntimeService/Status",
    ],
    [
        "/runtime.v1alpha2.RuntimeService/Version",
        "/runtime.v1alpha2.RuntimeService/Status",
    ],
];

/// How long both answers are waited for: the threshold of the cloud providers' checks.
const WAIT: Duration = Duration::from_secs(10);

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "runtime",
    title: "container runtime",
    period: Duration::from_secs(15),
    timeout: Duration::from_secs(12),
    keys: &[
        &ANSWERS.spec,
        &LATENCY.spec,
        &DEADLINE.spec,
        &ERROR.spec,
        &READY.spec,
        &NETWORK_READY.spec,
        &VERSION.spec,
    ],
    cost: "2.2 ms wall, 0.7 ms CPU, and 0.6 ms CPU of containerd 1.6 (2 busy cores of a VM, unoptimised build)",
};

/// Asks the runtime for signs of life.
pub struct Runtime {
    wait: Duration,
    /// The one that answered last: its silence is news, that of a socket which somebody left behind is none.
    known: Option<usize>,
}

/// What came of one question.
type Answers = Result<[Result<Vec<u8>, CallError>; 2], CallError>;

impl Runtime {
    /// A probe that has asked nobody yet.
    pub fn new() -> Self {
        Self::with_patience(WAIT)
    }

    fn with_patience(wait: Duration) -> Self {
        Self { wait, known: None }
    }

    async fn look(&mut self, host: &Host) -> Batch {
        let mut batch = Batch::of(SPEC.name);
        let deadline = Deadline::after(self.wait);
        let mut refused = None;
        for (index, (socket, unit)) in RUNTIMES.iter().enumerate() {
            if self.known.is_some_and(|known| known != index) {
                continue;
            }
            let answers = ask(host, socket, deadline).await;
            let is_known = self.known.is_some();
            match &answers {
                Err(CallError::NoSocket) if !is_known => continue,
                Err(CallError::Refused) if !is_known => {
                    refused.get_or_insert(*unit);
                    continue;
                }
                Err(_) => {}
                Ok(_) => self.known = Some(index),
            }
            refused = None;
            report(&mut batch, unit, self.wait, deadline, &answers);
            break;
        }
        if let Some(unit) = refused {
            for spec in SPEC.keys {
                let why = "nobody listens on the runtime's socket, and nobody did before";
                let reason = MissingReason::NotHere(why.into());
                batch.missing_for(spec, Subject::named(unit), reason);
            }
        }
        batch.lists_all(&ANSWERS);
        batch.lists_all(&LATENCY);
        batch.lists_all(&DEADLINE);
        batch.lists_all(&ERROR);
        batch.lists_all(&READY);
        batch.lists_all(&NETWORK_READY);
        batch.lists_all(&VERSION);
        batch
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe for Runtime {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        Box::pin(async move { Ok(self.look(host).await) })
    }
}

async fn ask(host: &Host, socket: &str, deadline: Deadline) -> Answers {
    let socket = host.path(socket);
    let [new, old] = CALLS;
    let answers = call::call(&socket, new, deadline).await?;
    let is_old =
        |answer: &Result<_, CallError>| matches!(answer, Err(CallError::Status(UNIMPLEMENTED)));
    if answers.iter().all(is_old) {
        return call::call(&socket, old, deadline).await;
    }
    Ok(answers)
}

fn report(batch: &mut Batch, unit: &str, wait: Duration, deadline: Deadline, answers: &Answers) {
    let unit = Subject::named(unit);
    batch.set_for(&DEADLINE, unit.clone(), wait);
    match answers {
        Ok([version, status]) => {
            batch.set_for(&ANSWERS, unit.clone(), true);
            let took = clock::now().uptime.since(deadline.began());
            batch.set_for(&LATENCY, unit.clone(), took);
            let error = [version, status]
                .into_iter()
                .find_map(|answer| answer.as_ref().err());
            let error = error.map(CallError::kind).unwrap_or_default();
            batch.set_for(&ERROR, unit.clone(), Arc::from(error));
            report_version(batch, &unit, version);
            report_status(batch, &unit, status);
        }
        Err(error) => {
            let reason = silence(error);
            if let Some(reason) = &reason {
                batch.missing_for(&ANSWERS.spec, unit.clone(), reason.clone());
            } else {
                batch.set_for(&ANSWERS, unit.clone(), false);
            }
            batch.set_for(&ERROR, unit.clone(), Arc::from(error.kind()));
            let reason = reason.unwrap_or_else(|| MissingReason::Late(error.to_string().into()));
            for spec in [
                &LATENCY.spec,
                &READY.spec,
                &NETWORK_READY.spec,
                &VERSION.spec,
            ] {
                batch.missing_for(spec, unit.clone(), reason.clone());
            }
        }
    }
}

/// Why an error says nothing about the runtime; `None` where it is the runtime that is silent.
fn silence(error: &CallError) -> Option<MissingReason> {
    let text: Arc<str> = Arc::from(error.to_string());
    match error {
        CallError::NoRights(_) => Some(MissingReason::NoRights(text)),
        CallError::Connect(_) => Some(MissingReason::ProbeFailed(text)),
        CallError::NoSocket
        | CallError::Refused
        | CallError::Closed(_)
        | CallError::Late(_)
        | CallError::Status(_)
        | CallError::Garbled => None,
    }
}

fn report_version(batch: &mut Batch, unit: &Subject, answer: &Result<Vec<u8>, CallError>) {
    match answer.as_deref().map(Version::parse) {
        Ok(Ok(found)) => {
            let text = format!("{} {}", found.name, found.version);
            batch.set_for(&VERSION, unit.clone(), Arc::from(text.trim()));
        }
        Ok(Err(error)) => batch.missing_for(&VERSION.spec, unit.clone(), unreadable(&error)),
        Err(error) => batch.missing_for(&VERSION.spec, unit.clone(), unreadable(error)),
    }
}

fn report_status(batch: &mut Batch, unit: &Subject, answer: &Result<Vec<u8>, CallError>) {
    let status = match answer.as_deref().map(Status::parse) {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(error) => Err(unreadable(error)),
    };
    let silent = || MissingReason::NotHere("the runtime does not say".into());
    let runtime = status
        .clone()
        .and_then(|status| status.runtime.ok_or_else(silent));
    let network = status.and_then(|status| status.network.ok_or_else(silent));
    put(batch, &READY, unit, runtime);
    put(batch, &NETWORK_READY, unit, network);
}

fn put<V: ValueType>(
    batch: &mut Batch,
    key: &Key<V>,
    unit: &Subject,
    value: Result<V, MissingReason>,
) {
    match value {
        Ok(value) => batch.set_for(key, unit.clone(), value),
        Err(reason) => batch.missing_for(&key.spec, unit.clone(), reason),
    }
}

fn unreadable(error: &dyn std::error::Error) -> MissingReason {
    MissingReason::Unreadable(error.to_string().into())
}
