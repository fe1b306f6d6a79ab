//! The flagship on a real node: PID 1 goes mute on the bus, kubelet keeps saying Ready, new pods
//! hang.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Caller;
use crate::binaries::agent;
use crate::controlplane::ControlPlane;
use crate::fleet::CONFIG_MAPS;
use crate::image;
use crate::invariants;
use crate::matrix::case::lease;
use crate::node::Node;
use crate::node::bus_connection::MutedBus;
use crate::patients::digest;
use crate::pods::pause_image;
use crate::process::until;
use crate::rights;
use crate::steps;

const DAEMON_SET: &str = "/apis/apps/v1/namespaces/nodemend/daemonsets/nodemend";
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
    let node = ready_node(&plane, 21, images.path(), &[]);
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

/// The agent in its pod, from its own image, confined as the manifests say: it sees the host's
/// silence and ends it by the host's own systemd, under a slot.
#[test]
fn the_agent_in_its_pod_mends_a_mute_pid_1() {
    let agent = agent();
    let plane = ControlPlane::start_for_nodes("mended");
    let images = tempfile::tempdir().expect("a temporary directory");
    pause_image(images.path(), "localhost/pause:1", "pause");
    image::build(
        agent,
        &images.path().join("nodemend.tar"),
        "localhost/nodemend:0.1.0",
    )
    .expect("the agent's image");
    plane.apply("overlays/standard");
    let (playbook, digest) = impatient_playbook();
    configure(
        &plane,
        &format!(
            "limits: {{ mode: auto, allow: restart }}\n\
         playbooks: {{ dir: /var/lib/nodemend/playbooks }}\ntrust: {{ digests: [{digest}] }}\n"
        ),
    );
    let files = [(
        "/var/lib/nodemend/playbooks/systemd-reexec/1.0.1.yaml",
        playbook.as_str(),
    )];
    let node = ready_node(&plane, 31, images.path(), &files);
    let admin = plane.admin();
    let opt_in = json!({ "nodemend.io/mode": "auto", "nodemend.io/allow": "restart" });
    let opt_in = json!({ "metadata": { "annotations": opt_in } });
    let path = format!("/api/v1/nodes/{}", node.name());
    admin
        .merge(&path, &opt_in)
        .expect("a person opts the node in");
    until("the agent's pod is ready", RUNNING_WITHIN, || {
        agent_is_ready(&admin)
    });
    eprintln!(
        "{}",
        plane
            .kubectl(&["logs", "-n", "nodemend", "ds/nodemend"])
            .expect("logs")
    );

    let muted = MutedBus::on(&node).expect("silence PID 1 on the bus");
    start_pod(&admin, "during", node.name());
    let took = until("the pod runs after all", Duration::from_secs(150), || {
        phase(&admin, "during") == "Running"
    });
    eprintln!("the hanging pod ran {took:?} after PID 1 went mute");
    let told = |kind: &str| {
        audit(&node)
            .into_iter()
            .find(|record| record["kind"] == kind)
    };
    until(
        "the run is closed after its soak",
        Duration::from_secs(60),
        || told("run-closed").is_some(),
    );
    let (run, began) = (
        told("run-closed").expect("a run"),
        told("step-began").expect("a step"),
    );
    assert_eq!(run["signature"], "systemd-bus-unresponsive", "{run:#}");
    assert_eq!(run["outcome"], "mended", "{run:#}");
    assert_eq!(
        began["digest"].as_str(),
        Some(digest.as_str()),
        "the very playbook: {began:#}"
    );
    until("the case is closed", Duration::from_secs(60), || {
        told("case-closed").is_some()
    });
    let calls = plane.audit().calls();
    let caps = BTreeMap::from([("cluster", 1)]);
    assert_eq!(invariants::breaches(&calls, &caps), Vec::<String>::new());
    assert_eq!(
        steps::breaches(node.name(), &audit(&node), &calls),
        Vec::<String>::new()
    );
    assert_eq!(
        rights::used(&calls).1,
        Vec::<String>::new(),
        "calls that RBAC refused"
    );
    assert_eq!(
        admin.get(&lease("slot.cluster.0")).code,
        404,
        "the slot is free again"
    );
    muted.release();
}

/// The released playbook with a soak that a test can wait for and without the restarts that need
/// signatures of their own, and the digest by which the configuration may trust it.
fn impatient_playbook() -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let released = root.join("remediations/playbooks/systemd-reexec/1.0.0.yaml");
    let text = fs::read_to_string(released).expect("the released playbook");
    let (steps, rest) = text
        .split_once("  - restart_unit:")
        .expect("it restarts units, too");
    let (_, verify) = rest
        .split_once("\nverify:")
        .expect("it ends with its verification");
    let text = format!("{steps}verify:{verify}");
    let text = text
        .replace("version: 1.0.0", "version: 1.0.1")
        .replace("soak: 5m", "soak: 10s");
    assert!(text.contains("1.0.1") && text.contains("10s"), "{text}");
    let digest = digest(&text);
    (text, digest)
}

/// Puts `text` in the place of the overlay's configuration, before any pod has read it.
fn configure(plane: &ControlPlane, text: &str) {
    let admin = plane.admin();
    let daemon_set = admin.get(DAEMON_SET).expect("the DaemonSet exists");
    let volumes = daemon_set["spec"]["template"]["spec"]["volumes"]
        .as_array()
        .expect("volumes");
    let config = volumes
        .iter()
        .find(|volume| volume["name"] == "config")
        .expect("its config");
    let name = config["configMap"]["name"].as_str().expect("a name");
    let patch = json!({ "data": { "config.yaml": text } });
    admin
        .merge(&format!("{CONFIG_MAPS}/{name}"), &patch)
        .expect("set the configuration");
}

/// What the agent on `node` wrote down, oldest first.
fn audit(node: &Node) -> Vec<Value> {
    let text = node.output(&["sh", "-c", "cat /var/lib/nodemend/audit/*.jsonl"]);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("audit records are JSON"))
        .collect()
}

fn agent_is_ready(admin: &Caller) -> bool {
    admin.get(DAEMON_SET).body["status"]["numberReady"] == 1
}

fn ready_node(plane: &ControlPlane, number: u8, images: &Path, files: &[(&str, &str)]) -> Node {
    let mut node = Node::boot_with(plane, number, images, files);
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
