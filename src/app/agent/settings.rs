//! Settings that come into force while the agent runs.

use super::core::{Core, Message};
use crate::app::config::Config;
use crate::engine::Input;
use crate::executor::Rein;
use crate::policy::OptIn;
use crate::report::audit::{Entry, RecordKind};
use std::sync::Arc;
use tokio::sync::mpsc;

impl Core {
    /// Puts the node's own settings in force; a run under way that they no longer allow stops at its next boundary.
    pub async fn apply_opt_in(self: &Arc<Self>, opt_in: OptIn, news: &mpsc::Sender<Message>) {
        let stop = self.engine().why_to_stop(&opt_in);
        if let Some(why) = stop {
            self.reins.send_replace(Rein::Stop(why));
        }
        self.turn(Input::OptIn(opt_in), news).await;
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
