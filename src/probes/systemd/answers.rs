//! What three questions to the bus and PID 1 say. Pure.

use super::serial::Growth;
use super::signals::{
    BUS_DAEMON_ANSWERS, BUS_DAEMON_LATENCY, BUS_DAYS_TO_OVERRUN, BUS_MANAGER_ANSWERS,
    BUS_MANAGER_DEADLINE, BUS_MANAGER_ERROR, BUS_MANAGER_LATENCY, BUS_SERIAL, BUS_SERIAL_RATE,
    PRIVATE_ANSWERS, PRIVATE_LATENCY,
};
use crate::host::systemd::{BusError, is_from_systemd};
use crate::signal::{Batch, Key, MissingReason};
use std::sync::Arc;
use std::time::Duration;

/// What came of one question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// It was answered.
    Yes {
        latency: Duration,
        /// The serial of the answer.
        serial: u32,
    },
    /// It was asked and not answered, though there is somebody who should.
    No { kind: &'static str, text: Arc<str> },
    /// It could not be asked: no rights, not installed, our own trouble.
    CannotTell(MissingReason),
}

impl Answer {
    /// What an error says about the one that was asked.
    pub(super) fn of_error(error: &BusError) -> Self {
        let text: Arc<str> = Arc::from(error.to_string());
        match error {
            BusError::NoSocket { .. } => Answer::CannotTell(MissingReason::NotHere(text)),
            BusError::NoRights { .. } | BusError::Rejected { .. } | BusError::Foreign { .. } => {
                Answer::CannotTell(MissingReason::NoRights(text))
            }
            BusError::Own { .. } | BusError::BadRequest { .. } => {
                Answer::CannotTell(MissingReason::ProbeFailed(text))
            }
            BusError::Reply { .. } => match error.kind() {
                "denied" => Answer::CannotTell(MissingReason::NoRights(text)),
                "limits-exceeded" => Answer::CannotTell(MissingReason::ProbeFailed(text)),
                kind => Answer::No { kind, text },
            },
            BusError::Refused { .. }
            | BusError::Late { .. }
            | BusError::Closed { .. }
            | BusError::BadMessage { .. } => Answer::No {
                kind: error.kind(),
                text,
            },
        }
    }

    /// The same for a question to PID 1 by way of the bus: an error that PID 1 itself sent is an answer.
    pub(super) fn of_manager_error(error: &BusError, waited: Duration) -> Self {
        match error {
            BusError::Reply { sender, serial, .. } if is_from_systemd(sender.as_deref()) => {
                Answer::Yes {
                    latency: waited,
                    serial: *serial,
                }
            }
            _ => Self::of_error(error),
        }
    }

    /// A socket that was there before and is gone is no answer, and not "not installed".
    pub(super) fn with_memory(self, was_there: bool) -> Self {
        match self {
            Answer::CannotTell(MissingReason::NotHere(text)) if was_there => Answer::No {
                kind: "no-socket",
                text,
            },
            other => other,
        }
    }

    /// Whether somebody was there to be asked.
    pub(super) fn was_there(&self) -> bool {
        matches!(self, Answer::Yes { .. } | Answer::No { .. })
    }
}

/// All answers of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answers {
    pub daemon: Answer,
    pub manager: Answer,
    pub private: Answer,
    pub deadline: Duration,
    pub growth: Option<Growth>,
}

/// Writes the signals of the probe `systemd-bus`.
pub(super) fn fill(batch: &mut Batch, answers: &Answers) {
    note(
        batch,
        &BUS_DAEMON_ANSWERS,
        &BUS_DAEMON_LATENCY,
        &answers.daemon,
    );
    note(
        batch,
        &BUS_MANAGER_ANSWERS,
        &BUS_MANAGER_LATENCY,
        &answers.manager,
    );
    note(batch, &PRIVATE_ANSWERS, &PRIVATE_LATENCY, &answers.private);
    batch.set(&BUS_MANAGER_DEADLINE, answers.deadline);
    let reason = match &answers.manager {
        Answer::Yes { serial, .. } => {
            batch.set(&BUS_MANAGER_ERROR, Arc::from(""));
            batch.set(&BUS_SERIAL, i64::from(*serial));
            fill_growth(batch, answers.growth);
            return;
        }
        Answer::No { kind, text } => {
            batch.set(&BUS_MANAGER_ERROR, Arc::from(*kind));
            MissingReason::Late(text.clone())
        }
        Answer::CannotTell(reason) => {
            batch.missing(&BUS_MANAGER_ERROR.spec, reason.clone());
            reason.clone()
        }
    };
    for key in [
        &BUS_SERIAL.spec,
        &BUS_SERIAL_RATE.spec,
        &BUS_DAYS_TO_OVERRUN.spec,
    ] {
        batch.missing(key, reason.clone());
    }
}

fn fill_growth(batch: &mut Batch, growth: Option<Growth>) {
    match growth {
        Some(growth) => batch.set(&BUS_SERIAL_RATE, growth.rate),
        None => batch.missing(&BUS_SERIAL_RATE.spec, MissingReason::NotYet),
    }
    match growth.and_then(|growth| growth.days_to_overrun) {
        Some(days) => batch.set(&BUS_DAYS_TO_OVERRUN, days),
        None => batch.missing(&BUS_DAYS_TO_OVERRUN.spec, MissingReason::NotYet),
    }
}

fn note(batch: &mut Batch, answers: &Key<bool>, latency: &Key<Duration>, answer: &Answer) {
    match answer {
        Answer::Yes { latency: took, .. } => {
            batch.set(answers, true);
            batch.set(latency, *took);
        }
        Answer::No { text, .. } => {
            batch.set(answers, false);
            batch.missing(&latency.spec, MissingReason::Late(text.clone()));
        }
        Answer::CannotTell(reason) => {
            batch.missing(&answers.spec, reason.clone());
            batch.missing(&latency.spec, reason.clone());
        }
    }
}
