//! What the gates may know.

use super::schedule::Window;
use super::terms::{CaseId, Disruption, Mode};
use crate::signal::{Timestamp, Uptime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The node's own settings as read, with the version of what was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptIn {
    /// Where they come from: `config /etc/nodemend/config.yaml`, `node annotation`.
    pub source: Arc<str>,
    /// The version of what was read: the Node's resourceVersion, or the digest of the configuration file.
    pub version: Arc<str>,
    /// How far the agent may go.
    pub mode: Mode,
    /// The highest disruption class that it may use.
    pub allow: Disruption,
    /// The reason for a pause, if one stands.
    pub pause: Option<Arc<str>>,
    /// Cases that a person approved.
    pub approved: Vec<CaseId>,
    /// What was not understood. Anything here means that the agent only observes.
    pub trouble: Vec<Arc<str>>,
}

impl OptIn {
    /// Why a run under way must stop at its next boundary; `None`: these settings let it go on.
    pub fn stop(&self) -> Option<String> {
        match (&self.pause, self.mode, self.trouble.first()) {
            (Some(reason), _, _) => Some(format!("paused: {reason}")),
            (_, Mode::Observe, _) => Some("the mode is observe now".to_owned()),
            (_, _, Some(trouble)) => Some(format!("the settings are not understood: {trouble}")),
            _ => None,
        }
    }
}

/// A finished or running attempt at a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When it began, on the wall clock: attempts survive a reboot, uptime does not.
    pub began: Timestamp,
    /// The boot it began in is the present one.
    pub this_boot: bool,
}

/// How long ago an attempt began. Within this boot by the boot clock; across boots by the wall clock, where a clock that
/// ran backwards makes the attempt young, so that a wrong clock never grants an attempt.
pub(super) fn age(attempt: &Attempt, now: Timestamp) -> Duration {
    if attempt.this_boot {
        now.uptime.since(attempt.began.uptime)
    } else {
        let micros = now.wall.0.saturating_sub(attempt.began.wall.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// Everything the gates may look at.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Now.
    pub now: Timestamp,
    /// The node's own settings.
    pub opt_in: OptIn,
    /// Windows in which disruptive runs may start. Empty means always.
    pub windows: Vec<Window>,
    /// The most attempts per signature in `attempts_span`.
    pub max_attempts: u32,
    /// The span over which attempts are counted.
    pub attempts_span: Duration,
    /// How long to wait after an attempt at the same signature.
    pub cooldown: Duration,
    /// Attempts by signature, oldest first. `None`: the record of attempts could not be read.
    pub attempts: Option<BTreeMap<Arc<str>, Vec<Attempt>>>,
    /// When the evidence of each open case was last seen.
    pub evidence_at: BTreeMap<CaseId, Uptime>,
    /// When the agent began to look; evidence from before counts only if seen again.
    pub watching_since: Uptime,
    /// Cases in which something else is, or may yet prove to be, the cause; with what it is.
    pub hidden: BTreeMap<CaseId, Arc<str>>,
    /// Whether a run is under way on this node.
    pub run_in_flight: bool,
    /// Cases that need a human: nothing retries by itself.
    pub needs_human: Vec<CaseId>,
    /// Why no run may start at all (stop cord, breaker, journal not writable), if so.
    pub stop_cord: Option<Arc<str>>,
    /// Playbooks (by digest) that are trusted: signed by a pinned key or named by digest in the configuration.
    pub trusted: BTreeMap<Arc<str>, Arc<str>>,
    /// The highest disruption class that this build and setup can carry out at all, with the reason for the limit.
    pub capable: (Disruption, Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stops_for_a_pause_for_observe_and_for_what_is_not_understood() {
        let auto = OptIn {
            mode: Mode::Auto,
            ..OptIn::default()
        };
        let paused = OptIn {
            pause: Some(Arc::from("upgrade")),
            ..auto.clone()
        };
        let garbled = OptIn {
            trouble: vec![Arc::from("`Auto` is not a mode")],
            ..auto.clone()
        };
        for (settings, words) in [
            (&paused, "paused: upgrade"),
            (&OptIn::default(), "observe"),
            (&garbled, "`Auto` is not a mode"),
        ] {
            let why = settings.stop().unwrap_or_default();
            assert!(why.contains(words), "{settings:?}: {why}");
        }
        assert_eq!(auto.stop(), None);
    }
}
