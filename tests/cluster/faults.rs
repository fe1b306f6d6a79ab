//! Each fault of a node gives the picture that it claims, as the node and the API server show it.

use std::time::Duration;

use crate::api::Caller;
use crate::controlplane::ControlPlane;
use crate::node::Node;
use crate::node::fault::{CutLink, Paused, Stopped};
use crate::pods::pause_image;
use crate::process::until;

/// The controller-manager gives a silent node 50 s.
const UNKNOWN_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn faults_of_a_node_show_as_they_claim_and_end_with_their_guard() {
    let plane = ControlPlane::start_for_nodes("faults");
    let images = plane.images();
    pause_image(&images, "localhost/pause:1", "pause");
    let mut node = Node::boot(&plane, 41, &images);
    node.await_ready(&plane);

    let containerd = || {
        node.run(&["timeout", "5", "ctr", "version"])
            .status
            .success()
    };
    assert!(containerd());
    let stopped = Stopped::on(&node, "containerd.service");
    assert!(!containerd(), "containerd answers though it is stopped");
    drop(stopped);
    until(
        "containerd answers again",
        Duration::from_secs(20),
        containerd,
    );

    let kubelet = || {
        node.run(&["timeout", "5", "bash", "-c", TALK])
            .status
            .success()
    };
    until("kubelet is healthy", Duration::from_secs(20), kubelet);
    let paused = Paused::unit(&node, "kubelet.service");
    assert!(!kubelet(), "kubelet answers though it is paused");
    drop(paused);
    until("kubelet answers again", Duration::from_secs(20), kubelet);

    let private = || node.run(&["timeout", "5", "systemctl", "show", "--property=Version"]);
    let paused = Paused::init(&node);
    assert!(
        !private().status.success(),
        "PID 1 answers though it is paused"
    );
    drop(paused);
    until("PID 1 answers again", Duration::from_secs(20), || {
        private().status.success()
    });

    let bus = || {
        node.run(&["timeout", "5", "busctl", "--no-pager", "list"])
            .status
            .success()
    };
    let paused = Paused::unit(&node, "dbus.service");
    assert!(!bus(), "the bus answers though it is paused");
    drop(paused);
    until("the bus answers again", Duration::from_secs(20), bus);

    let admin = plane.admin();
    let cut = CutLink::on(&node);
    let took = until("the node is Unknown", UNKNOWN_WITHIN, || {
        ready(&admin, node.name()) == "Unknown"
    });
    drop(cut);
    let back = until("the node is back", UNKNOWN_WITHIN, || {
        ready(&admin, node.name()) == "True"
    });
    eprintln!("link down: Unknown after {took:?}; up again: Ready after {back:?}");
}

/// A GET without curl, which the nodes lack: succeeds if the answer begins with 200.
const TALK: &str = "exec 3<>/dev/tcp/127.0.0.1/10248 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 \
                    && read -r line <&3 && [[ $line == *' 200 '* ]]";

fn ready(admin: &Caller, node: &str) -> String {
    let node = admin.get(&format!("/api/v1/nodes/{node}")).body;
    let conditions = node["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = conditions.iter().find(|one| one["type"] == "Ready");
    ready
        .and_then(|one| one["status"].as_str())
        .unwrap_or_default()
        .to_owned()
}
