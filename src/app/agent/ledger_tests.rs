//! The ledger on the disk, while several tasks change it.

use super::boot::{self, Built, Plan};
use super::store;
use crate::app::config::Config;
use crate::host::Host;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

/// An agent without a cluster, whose machine and state are at `home`.
pub fn alone(home: &Path) -> Plan {
    Plan {
        config: Config::default(),
        host: Host::at(home),
        state_dir: home.join("state"),
        node: "n".to_owned(),
        standalone: true,
        cluster: None,
        metrics: Arc::default(),
    }
}

/// A watch of the own Node and a run's fresh read of it do so: the one's draft was renamed under the other's, which said that
/// the disk is broken and stopped the agent for good.
#[tokio::test]
async fn ledgers_that_many_tasks_write_at_once_are_written_and_the_newest_stays() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let Built { core, .. } = boot::build(&alone(home.path())).expect("the shipped rules");
    let mut writing = JoinSet::new();
    for number in 0..200 {
        assert!(core.engine().set_pause(Some(number.to_string())));
        let core = Arc::clone(&core);
        writing.spawn(async move { core.keep_now().await });
    }
    while let Some(written) = writing.join_next().await {
        assert_eq!(written.expect("ends"), Ok(()));
    }
    let kept = store::read(core.ledger.path(), "b").expect("a whole ledger");
    assert_eq!(kept.pause.as_deref(), Some("199"));
}
