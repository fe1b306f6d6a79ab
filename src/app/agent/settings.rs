//! Settings that come into force while the agent runs.

use super::core::{Core, Message};
use crate::app::config::Config;
use crate::engine::Input;
use crate::executor::Rein;
use crate::policy::{Mode, OptIn};
use crate::report::audit::{Entry, RecordKind};
use std::sync::Arc;
use tokio::sync::mpsc;

impl Core {
    /// Puts the node's own settings in force; a run under way that they no longer allow stops at its next boundary.
    pub async fn apply_opt_in(self: &Arc<Self>, opt_in: OptIn, news: &mpsc::Sender<Message>) {
        let stop = opt_in.stop().or_else(|| self.outgrown(&opt_in));
        if let Some(why) = stop {
            self.reins.send_replace(Rein::Stop(why));
        }
        self.turn(Input::OptIn(opt_in), news).await;
    }

    /// Why the run under way is more than these settings allow, if it is.
    fn outgrown(&self, opt_in: &OptIn) -> Option<String> {
        let engine = self.engine();
        let (case, _) = engine.run()?;
        let class = engine.run_class();
        if class > opt_in.allow {
            return Some(format!(
                "disruption {class} is more than the allowed {} now",
                opt_in.allow
            ));
        }
        // A run that began with an approval goes on; one that began without is asked for now.
        let is_asked_for = engine.opt_in().mode == Mode::Auto && opt_in.mode == Mode::Approve;
        (is_asked_for && !opt_in.approved.contains(&case))
            .then(|| format!("the mode is approve now and nobody approved {case}"))
    }

    /// Puts a configuration in force.
    pub(super) async fn load(self: &Arc<Self>, config: &Config, news: &mpsc::Sender<Message>) {
        self.metrics.note_reload(true);
        for input in super::boot::inputs_of(config, self) {
            match input {
                Input::OptIn(opt_in) => self.apply_opt_in(opt_in, news).await,
                other => self.turn(other, news).await,
            }
        }
        let mut entry = Entry::of(RecordKind::ConfigLoaded);
        entry.opt_in = Some(config.digest.to_string());
        entry.reasons.push(config.origin.to_string());
        self.record(entry).await;
        tracing::info!(
            origin = &*config.origin,
            digest = &*config.digest,
            "configuration loaded"
        );
    }
}
