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
use super::kubelet::{Finder, Setup};
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Deadline, Host, clock};
use crate::signal::{Batch, Key, MissingReason, Subject, ValueType};
use call::{CallError, UNIMPLEMENTED};
use parse::{Status, Version};
use std::sync::Arc;
use std::time::Duration;

/// Known sockets, in the order in which they are looked for where nobody says which one the kubelet uses, and the unit of
/// the runtime behind it; none where the runtime is a part of another program, which nobody restarts for it.
const PLACES: [(&str, Option<&str>); 4] = [
    (
        "/run/containerd/containerd.sock",
        Some("containerd.service"),
    ),
    ("/run/crio/crio.sock", Some("crio.service")),
    ("/run/cri-dockerd.sock", Some("cri-docker.service")),
    // k3s and rke2.
    ("/run/k3s/containerd/containerd.sock", None),
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
    finder: Finder,
    /// The one that answered last: its silence is news, that of a socket which somebody left behind is none.
    known: Option<Place>,
}

/// A socket, and the subject of its signals.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    socket: String,
    subject: String,
}

impl Place {
    /// `part_of`: the program that this machine's kubelet is a part of.
    fn of(socket: &str, part_of: Option<&str>) -> Place {
        let unit = PLACES.iter().find(|(known, _)| *known == socket);
        let subject = match unit {
            Some((_, Some(unit))) => (*unit).to_owned(),
            Some((_, None)) => format!("containerd in {}", part_of.unwrap_or("k3s or rke2")),
            None => format!("runtime at {socket}"),
        };
        Place {
            socket: socket.to_owned(),
            subject,
        }
    }
}

/// What came of one question.
type Answers = Result<[Result<Vec<u8>, CallError>; 2], CallError>;

impl Runtime {
    /// A probe that has asked nobody yet.
    pub fn new() -> Self {
        Self::with_patience(WAIT)
    }

    fn with_patience(wait: Duration) -> Self {
        Self {
            wait,
            finder: Finder::new(),
            known: None,
        }
    }

    async fn look(&mut self, host: &Host) -> Batch {
        let mut batch = Batch::of(SPEC.name);
        let deadline = Deadline::after(self.wait);
        let setup = self.finder.setup(host, deadline).await;
        match self.choose(host, &setup).await {
            Choice::Nobody => {}
            Choice::One(place) => {
                let answers = ask(host, &place.socket, deadline).await;
                report(&mut batch, &place.subject, self.wait, deadline, &answers);
                if answers.is_ok() {
                    self.known = Some(place);
                }
            }
            Choice::None(places, why) => {
                for (place, spec) in places
                    .iter()
                    .flat_map(|place| SPEC.keys.iter().map(move |spec| (place, spec)))
                {
                    let reason = MissingReason::NotHere(Arc::clone(&why));
                    batch.missing_for(spec, Subject::named(&place.subject), reason);
                }
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

    /// The one that the kubelet was told; else the one that answered before; else the only one that takes calls.
    async fn choose(&mut self, host: &Host, setup: &Setup) -> Choice {
        let part_of = setup.part_of.as_deref();
        let told = setup
            .runtime
            .as_deref()
            .map(|socket| Place::of(socket, part_of));
        self.known = self
            .known
            .take()
            .filter(|known| told.as_ref().is_none_or(|told| told == known));
        if let Some(known) = &self.known {
            return Choice::One(known.clone());
        }
        let known = || PLACES.iter().map(|(socket, _)| Place::of(socket, part_of));
        let mut open = Vec::new();
        let mut refused = Vec::new();
        for place in told.map_or_else(|| known().collect(), |told| vec![told]) {
            match call::takes_calls(&host.path(&place.socket)).await {
                Some(true) => open.push(place),
                Some(false) => refused.push(place),
                None => {}
            }
        }
        refused.truncate(1);
        match open.len() {
            0 if refused.is_empty() => Choice::Nobody,
            0 => Choice::None(
                refused,
                Arc::from("nobody listens on the runtime's socket, and nobody did before"),
            ),
            1 => open.pop().map_or(Choice::Nobody, Choice::One),
            _ => {
                let names: Vec<&str> = open.iter().map(|place| place.subject.as_str()).collect();
                let why = format!(
                    "{} take calls, and nothing says which one the kubelet uses; name it by containerRuntimeEndpoint in the kubelet's configuration",
                    names.join(" and ")
                );
                Choice::None(open, Arc::from(why))
            }
        }
    }
}

/// Whom to ask.
enum Choice {
    /// There is no runtime here.
    Nobody,
    /// This one.
    One(Place),
    /// Nobody can be asked at these places, and why.
    None(Vec<Place>, Arc<str>),
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
