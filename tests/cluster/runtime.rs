//! A container runtime that hangs on a real node: found silent, restarted under a slot.

use std::time::Duration;

use jiff::Timestamp;

use crate::controlplane::ControlPlane;
use crate::flagship::{STANDARD, audit, node_with_agent, phase, print_story, start_pod};
use crate::node::fault::Paused;
use crate::process::until;

const RUNNING_WITHIN: Duration = Duration::from_secs(60);
/// Three checks of 15 s, each with its deadline of 10 s, the gates, and the restart.
const MENDED_WITHIN: Duration = Duration::from_secs(150);

#[test]
fn a_runtime_that_hangs_is_restarted_and_containers_live_on() {
    let plane = ControlPlane::start_for_nodes("runtime");
    let images = tempfile::tempdir().expect("a temporary directory");
    let node = node_with_agent(&plane, 61, images.path(), STANDARD, &[]);
    let admin = plane.admin();
    start_pod(&admin, "before", node.name());
    until("a pod runs", RUNNING_WITHIN, || {
        phase(&admin, "before") == "Running"
    });
    let pauses = node.output(&["pgrep", "-x", "nodemend"]);

    let struck = Timestamp::now();
    let paused = Paused::unit(&node, "containerd.service");
    let step = || {
        let mut records = audit(&node).into_iter();
        records.find(|record| {
            record["kind"] == "step-verified" && record["signature"] == "runtime-unresponsive"
        })
    };
    let took = until("containerd was restarted", MENDED_WITHIN, || {
        step().is_some()
    });
    drop(paused);
    print_story(struck, took, &audit(&node));
    start_pod(&admin, "after", node.name());
    until("a new pod runs", RUNNING_WITHIN, || {
        phase(&admin, "after") == "Running"
    });
    let now = node.output(&["pgrep", "-x", "nodemend"]);
    for process in pauses.lines() {
        assert!(
            now.lines().any(|one| one == process),
            "{process} ended: {now}"
        );
    }
}
