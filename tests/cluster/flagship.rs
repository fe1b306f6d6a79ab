//! The flagship on a real node: PID 1 goes mute on the bus, kubelet keeps saying Ready, new pods
//! hang.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Caller;
use crate::controlplane::ControlPlane;
use crate::node::Node;
use crate::node::bus_connection::MutedBus;
use crate::pods::pause_image;
use crate::process::until;

const PODS: &str = "/api/v1/namespaces/default/pods";
/// A pod on a healthy node runs after 2 s; a wedged one never does.
const RUNNING_WITHIN: Duration = Duration::from_secs(60);
const HANGS_FOR: Duration = Duration::from_secs(15);

/// What the agent is up against, without the agent: if this picture changes, the scenario below
/// proves something else.
#[test]
fn with_pid_1_mute_the_node_stays_ready_and_new_pods_hang() {
    let plane = ControlPlane::start_for_nodes("mute");
    let images = tempfile::tempdir().expect("a temporary directory");
    pause_image(images.path(), "localhost/pause:1", "pause");
    let node = ready_node(&plane, 21, images.path());
    let admin = plane.admin();
    start_pod(&admin, "before", node.name());
    until("a pod runs on the healthy node", RUNNING_WITHIN, || {
        phase(&admin, "before") == "Running"
    });

    let muted = MutedBus::on(&node).expect("silence PID 1 on the bus");
    start_pod(&admin, "during", node.name());
    until("kubelet has begun with the pod", RUNNING_WITHIN, || {
        !pod(&admin, "during")["status"]["conditions"].is_null()
    });
    std::thread::sleep(HANGS_FOR);
    assert_eq!(
        phase(&admin, "during"),
        "Pending",
        "{:#}",
        pod(&admin, "during")["status"]
    );
    assert!(is_ready(&admin, node.name()), "kubelet still reports Ready");

    // By hand, what the playbook does: the private socket still works for root.
    node.output(&["systemctl", "daemon-reexec"]);
    node.output(&["systemctl", "restart", "kubelet.service"]);
    let took = until("the pod runs after all", RUNNING_WITHIN, || {
        phase(&admin, "during") == "Running"
    });
    eprintln!("the hanging pod ran {took:?} after the re-execution");
    muted.release();
}

fn ready_node(plane: &ControlPlane, number: u8, images: &Path) -> Node {
    let mut node = Node::boot(plane, number, images);
    node.await_ready(plane);
    let admin = plane.admin();
    until("the default service account exists", RUNNING_WITHIN, || {
        admin
            .get("/api/v1/namespaces/default/serviceaccounts/default")
            .code
            == 200
    });
    node
}

fn start_pod(admin: &Caller, name: &str, node: &str) {
    let container = json!({ "name": "pause", "image": "localhost/pause:1" });
    let spec = json!({ "nodeName": node, "terminationGracePeriodSeconds": 0,
        "tolerations": [{ "operator": "Exists" }], "containers": [container] });
    let pod = json!({ "metadata": { "name": name }, "spec": spec });
    admin.create(PODS, &pod).expect("create a pod");
}

fn pod(admin: &Caller, name: &str) -> Value {
    admin.get(&format!("{PODS}/{name}")).expect("read the pod")
}

fn phase(admin: &Caller, name: &str) -> String {
    pod(admin, name)["status"]["phase"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn is_ready(admin: &Caller, node: &str) -> bool {
    let node = admin
        .get(&format!("/api/v1/nodes/{node}"))
        .expect("read the Node");
    let conditions = node["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions
        .iter()
        .any(|one| one["type"] == "Ready" && one["status"] == "True")
}
