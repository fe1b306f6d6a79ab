//! The watch after the last step, as a pure machine: the condition must come true, and then hold without a break.

use crate::document::format_span;
use crate::signal::Uptime;
use crate::steps::Tri;
use std::time::Duration;

/// How long the condition may take to come true. Signatures clear after a few checks of at most a minute each.
pub const SETTLE: Duration = Duration::from_secs(300);

/// What the watch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoakState {
    /// Go on watching.
    Going,
    /// It held.
    Held,
    /// It did not come true, or did not hold; why.
    Broken(String),
}

/// The watch over one condition.
#[derive(Debug, Clone)]
pub struct Soak {
    span: Duration,
    began: Uptime,
    held_since: Option<Uptime>,
    was_true: bool,
}

impl Soak {
    /// A watch that begins at `now` and wants the condition to hold for `span`.
    pub fn new(span: Duration, now: Uptime) -> Self {
        Self {
            span,
            began: now,
            held_since: None,
            was_true: false,
        }
    }

    /// Takes one look. Time in which nobody could tell does not count as held, and does not break it either; but the whole
    /// watch ends after [`SETTLE`] and twice the span.
    pub fn observe(&mut self, now: Uptime, seen: &Tri) -> SoakState {
        match seen {
            Tri::Yes => {
                self.was_true = true;
                let since = *self.held_since.get_or_insert(now);
                if now.since(since) >= self.span {
                    return SoakState::Held;
                }
            }
            Tri::No if self.was_true => {
                return SoakState::Broken("the condition came true but did not hold".into());
            }
            Tri::No => self.held_since = None,
            Tri::Unknown(_) => self.held_since = None,
        }
        let waited = now.since(self.began);
        if !self.was_true && waited >= SETTLE {
            let why = match seen {
                Tri::Unknown(why) => format!("nobody can tell: {why}"),
                _ => "it still does not hold".into(),
            };
            return SoakState::Broken(format!(
                "the condition did not come true within {}; {why}",
                format_span(SETTLE)
            ));
        }
        if waited >= SETTLE.saturating_add(self.span.saturating_mul(2)) {
            return SoakState::Broken("nobody could tell for long enough that it holds".into());
        }
        SoakState::Going
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Uptime {
        Uptime::new(Duration::from_secs(seconds))
    }

    fn unknown() -> Tri {
        Tri::Unknown("no signal".into())
    }

    fn check(looks: &[(u64, Tri)], last: fn(&SoakState) -> bool) {
        let mut soak = Soak::new(Duration::from_secs(60), at(0));
        let mut state = SoakState::Going;
        for (index, (second, seen)) in looks.iter().enumerate() {
            assert_eq!(
                state,
                SoakState::Going,
                "ended before look {index} of {looks:?}"
            );
            state = soak.observe(at(*second), seen);
        }
        assert!(last(&state), "{looks:?} gave {state:?}");
    }

    #[test]
    fn a_soak_holds_only_without_a_break() {
        let held = |state: &SoakState| *state == SoakState::Held;
        let broken = |state: &SoakState| matches!(state, SoakState::Broken(_));
        let going = |state: &SoakState| *state == SoakState::Going;
        check(&[(0, Tri::Yes), (30, Tri::Yes), (60, Tri::Yes)], held);
        check(&[(0, Tri::Yes), (30, Tri::Yes), (59, Tri::Yes)], going);
        check(&[(0, Tri::No), (30, Tri::Yes), (90, Tri::Yes)], held);
        check(&[(0, Tri::Yes), (30, Tri::No)], broken);
        check(&[(0, Tri::No), (299, Tri::No)], going);
        check(&[(0, Tri::No), (300, Tri::No)], broken);
        check(&[(0, unknown()), (300, unknown())], broken);
        // Unknown starts the count anew, and does not count as held.
        check(
            &[
                (0, Tri::Yes),
                (30, unknown()),
                (60, Tri::Yes),
                (119, Tri::Yes),
            ],
            going,
        );
        check(
            &[
                (0, Tri::Yes),
                (30, unknown()),
                (60, Tri::Yes),
                (120, Tri::Yes),
            ],
            held,
        );
        check(&[(0, Tri::Yes), (420, unknown())], broken);
        check(&[(0, Tri::Yes), (59, unknown()), (118, Tri::No)], broken);
    }

    #[test]
    fn a_soak_of_no_length_holds_at_the_first_yes() {
        let mut soak = Soak::new(Duration::ZERO, at(5));
        assert_eq!(soak.observe(at(5), &Tri::Yes), SoakState::Held);
    }
}
