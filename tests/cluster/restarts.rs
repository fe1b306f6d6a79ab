//! Services that a run restarts on a real node, under a slot: a container runtime that hangs, and a kubelet that stays wedged
//! though somebody else mended the bus.

use std::time::Duration;

use jiff::Timestamp;

use crate::controlplane::ControlPlane;
use crate::flagship::{
    STANDARD, audit, hangs, node_with_agent, phase, print_story, start_pod, wedge,
};
use crate::node::Node;
use crate::node::fault::Paused;
use crate::process::{throughout, until};

const RUNNING_WITHIN: Duration = Duration::from_secs(60);
/// Three checks of 15 s, each with its deadline of 10 s, the gates, and the restart.
const MENDED_WITHIN: Duration = Duration::from_secs(150);

#[test]
fn a_runtime_that_hangs_is_restarted_and_containers_live_on() {
    let plane = ControlPlane::start_for_nodes("runtime");
    let images = plane.images();
    let node = node_with_agent(&plane, 61, &images, STANDARD, &[]);
    let admin = plane.admin();
    start_pod(&admin, "before", node.name());
    until("a pod runs", RUNNING_WITHIN, || {
        phase(&admin, "before") == "Running"
    });
    let pauses = node.output(&["pgrep", "-x", "nodemend"]);

    let struck = Timestamp::now();
    let paused = Paused::unit(&node, "containerd.service");
    let took = until("containerd was restarted", MENDED_WITHIN, || {
        restarted(&node, "runtime-unresponsive")
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

#[test]
fn a_kubelet_that_stays_wedged_after_the_bus_was_mended_by_hand_is_restarted() {
    let plane = ControlPlane::start_for_nodes("wedged");
    let images = plane.images();
    let node = node_with_agent(&plane, 63, &images, STANDARD, &[]);
    let admin = plane.admin();

    let struck = Timestamp::now();
    let muted = wedge(&admin, &node);
    // One check of the bus falls into the silence.
    throughout("no case of its own", Duration::from_secs(12), || {
        let records = audit(&node);
        !records.iter().any(|one| one["kind"] == "case-opened")
    });
    node.output(&["systemctl", "daemon-reexec"]);
    muted.release();
    assert!(hangs(&admin, &node));
    let took = until("kubelet was restarted", MENDED_WITHIN, || {
        restarted(&node, "kubelet-pod-workers-wedged")
    });
    print_story(struck, took, &audit(&node));
    until("the pod runs after all", RUNNING_WITHIN, || {
        phase(&admin, "during") == "Running"
    });
    let records = audit(&node);
    let mut cases = records.iter().filter(|one| one["kind"] == "case-opened");
    assert!(
        cases.all(|one| one["signature"] == "kubelet-pod-workers-wedged"),
        "{records:#?}"
    );
}

/// Whether a run for a case of `signature` has seen its service restarted.
fn restarted(node: &Node, signature: &str) -> bool {
    let is_it =
        |one: &serde_json::Value| one["kind"] == "step-verified" && one["signature"] == signature;
    audit(node).iter().any(is_it)
}
