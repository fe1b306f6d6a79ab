//! The states of a case and the one table of its transitions.

use serde::Serialize;
use std::fmt;

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseState {
    /// Seen, but not yet for as long as its signature holds.
    Suspected,
    /// Seen for long enough: open.
    Confirmed,
    /// A run is under way.
    Treating,
    /// No longer seen, but not yet for long enough.
    Clearing,
    /// A run failed in a way that only a person can judge. Nothing retries.
    NeedsHuman,
    /// Over.
    Closed(ClosingReason),
}

/// Why a case is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosingReason {
    /// Seen to be gone for as long as its signature demands, after a run.
    Mended,
    /// Seen to be gone, without a run of ours.
    Cleared,
    /// It was only suspected and went away before its hold.
    NotConfirmed,
    /// What it was about is no longer on this machine.
    SubjectGone,
    /// Its signature is no longer in force.
    SignatureRetired,
}

impl CaseState {
    /// The states in which a case counts as open, with their words, for metrics and pages.
    pub const OPEN: [CaseState; 4] = [
        CaseState::Confirmed,
        CaseState::Treating,
        CaseState::Clearing,
        CaseState::NeedsHuman,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            CaseState::Suspected => "suspected",
            CaseState::Confirmed => "confirmed",
            CaseState::Treating => "treating",
            CaseState::Clearing => "clearing",
            CaseState::NeedsHuman => "needs-human",
            CaseState::Closed(_) => "closed",
        }
    }

    /// Whether the fault stands or may stand.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }
}

impl fmt::Display for ClosingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClosingReason::Mended => "seen to be gone after a run",
            ClosingReason::Cleared => "seen to be gone, without a run of ours",
            ClosingReason::NotConfirmed => "went away before its hold",
            ClosingReason::SubjectGone => "what it was about is no longer on this machine",
            ClosingReason::SignatureRetired => "its signature is no longer in force",
        })
    }
}

/// What can happen to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseEvent {
    /// Present for as long as the signature holds.
    HoldMet,
    /// Present now.
    Seen,
    /// Absent now.
    Gone,
    /// Absent for as long as the signature demands; `after_run` says whether a run of ours came before.
    ClearMet {
        /// Whether a run of ours came before.
        after_run: bool,
    },
    /// A run began.
    RunBegan,
    /// The run ended well, and its verification held.
    RunMended,
    /// The run ended without effect, and what it did is undone: it may be tried again.
    RunUndone,
    /// The run ended in a way that only a person can judge.
    RunNeedsHuman,
    /// A person said that it may be tried again.
    HumanRetries,
    /// What it was about is gone.
    SubjectGone,
    /// The signature is no longer in force.
    Retired,
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a case that is {} cannot meet {event:?}", state.as_str())]
pub struct IllegalEdge {
    /// Where the case stands.
    pub state: CaseState,
    /// What was said to happen.
    pub event: CaseEvent,
}

impl CaseState {
    /// The state after an event: the only table of transitions.
    ///
    /// # Errors
    /// [`IllegalEdge`] for everything that is not in the table.
    pub fn next(self, event: CaseEvent) -> Result<CaseState, IllegalEdge> {
        use CaseEvent as E;
        use CaseState as S;
        Ok(match (self, event) {
            (S::Suspected, E::Seen) => S::Suspected,
            (S::Suspected, E::HoldMet) => S::Confirmed,
            (S::Suspected, E::Gone | E::ClearMet { .. }) => S::Closed(ClosingReason::NotConfirmed),
            (S::Confirmed, E::Seen | E::HoldMet) => S::Confirmed,
            (S::Confirmed, E::Gone) => S::Clearing,
            (S::Confirmed, E::RunBegan) => S::Treating,
            // While a run is under way its verification decides, not a passing reading.
            (S::Treating, E::Seen | E::HoldMet | E::Gone | E::ClearMet { .. }) => S::Treating,
            (S::Treating, E::RunMended) => S::Clearing,
            (S::Treating, E::RunUndone) => S::Confirmed,
            (S::Treating, E::RunNeedsHuman) => S::NeedsHuman,
            (S::Clearing, E::Gone) => S::Clearing,
            (S::Clearing, E::Seen | E::HoldMet) => S::Confirmed,
            (S::Clearing | S::Confirmed, E::ClearMet { after_run: true }) => {
                S::Closed(ClosingReason::Mended)
            }
            (S::Clearing | S::Confirmed, E::ClearMet { after_run: false }) => {
                S::Closed(ClosingReason::Cleared)
            }
            (S::NeedsHuman, E::Seen | E::HoldMet | E::Gone | E::ClearMet { .. }) => S::NeedsHuman,
            (S::NeedsHuman, E::HumanRetries) => S::Confirmed,
            (S::Suspected | S::Confirmed | S::Clearing | S::NeedsHuman, E::SubjectGone) => {
                S::Closed(ClosingReason::SubjectGone)
            }
            (S::Suspected | S::Confirmed | S::Clearing | S::NeedsHuman, E::Retired) => {
                S::Closed(ClosingReason::SignatureRetired)
            }
            (state, event) => return Err(IllegalEdge { state, event }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [CaseEvent; 12] = [
        CaseEvent::HoldMet,
        CaseEvent::Seen,
        CaseEvent::Gone,
        CaseEvent::ClearMet { after_run: true },
        CaseEvent::ClearMet { after_run: false },
        CaseEvent::RunBegan,
        CaseEvent::RunMended,
        CaseEvent::RunUndone,
        CaseEvent::RunNeedsHuman,
        CaseEvent::HumanRetries,
        CaseEvent::SubjectGone,
        CaseEvent::Retired,
    ];

    #[test]
    fn nothing_happens_to_a_closed_case() {
        for reason in [
            ClosingReason::Mended,
            ClosingReason::Cleared,
            ClosingReason::NotConfirmed,
        ] {
            for event in EVENTS {
                assert!(
                    CaseState::Closed(reason).next(event).is_err(),
                    "{reason:?} {event:?}"
                );
            }
        }
    }

    #[test]
    fn every_illegal_edge_is_an_error() {
        use CaseEvent as E;
        use CaseState as S;
        for (state, events) in [
            (
                S::Suspected,
                &[
                    E::RunBegan,
                    E::RunMended,
                    E::RunUndone,
                    E::RunNeedsHuman,
                    E::HumanRetries,
                ][..],
            ),
            (
                S::Confirmed,
                &[
                    E::RunMended,
                    E::RunUndone,
                    E::RunNeedsHuman,
                    E::HumanRetries,
                ],
            ),
            (
                S::Treating,
                &[E::RunBegan, E::HumanRetries, E::SubjectGone, E::Retired],
            ),
            (
                S::Clearing,
                &[
                    E::RunBegan,
                    E::RunMended,
                    E::RunUndone,
                    E::RunNeedsHuman,
                    E::HumanRetries,
                ],
            ),
            (
                S::NeedsHuman,
                &[E::RunBegan, E::RunMended, E::RunUndone, E::RunNeedsHuman],
            ),
        ] {
            for event in EVENTS {
                assert_eq!(
                    state.next(event).is_err(),
                    events.contains(&event),
                    "{state:?} {event:?}"
                );
            }
        }
    }

    #[test]
    fn only_a_person_leads_out_of_needs_human_while_its_subject_is_there() {
        for event in EVENTS {
            let next = CaseState::NeedsHuman.next(event);
            let leaves = !matches!(next, Ok(CaseState::NeedsHuman) | Err(_));
            let expected = matches!(
                event,
                CaseEvent::HumanRetries | CaseEvent::SubjectGone | CaseEvent::Retired
            );
            assert_eq!(leaves, expected, "{event:?}");
        }
    }
}
