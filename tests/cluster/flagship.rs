//! The flagship on a real node: PID 1 goes mute on the bus, kubelet keeps saying Ready, new pods
//! hang.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use serde_json::{Value, json};

use crate::api::Caller;
use crate::binaries::agent;
use crate::controlplane::ControlPlane;
use crate::fleet::{CONFIG_MAPS, EVENTS};
use crate::image;
use crate::invariants;
use crate::matrix::case::lease;
use crate::node::Node;
use crate::node::bus_connection::MutedBus;
use crate::node::fault::LostReplies;
use crate::patients::digest;
use crate::pods::pause_image;
use crate::process::{throughout, until};
use crate::rights;
use crate::steps;

const DAEMON_SET: &str = "/apis/apps/v1/namespaces/nodemend/daemonsets/nodemend";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// A pod on a healthy node runs after 2 s; a wedged one never does.
const RUNNING_WITHIN: Duration = Duration::from_secs(60);
/// The configuration of the overlay as it is.
pub const STANDARD: &str = "";
const HANGS_FOR: Duration = Duration::from_secs(15);
/// What the released playbook demands after its last step, and what it needs before.
const CLOSED_WITHIN: Duration = Duration::from_secs(300 + 90);
const PLAYBOOK: &str = "remediations/playbooks/systemd-reexec/1.0.0.yaml";

/// What the agent is up against, without the agent: if this picture changes, the scenario below
/// proves something else.
#[test]
fn with_pid_1_mute_the_node_stays_ready_and_pods_hang_until_kubelet_is_restarted_too() {
    let plane = ControlPlane::start_for_nodes("mute");
    let images = plane.images();
    pause_image(&images, "localhost/pause:1", "pause");
    let node = ready_node(&plane, 21, &images, &[]);
    let admin = plane.admin();
    start_pod(&admin, "before", node.name());
    until("a pod runs on the healthy node", RUNNING_WITHIN, || {
        phase(&admin, "before") == "Running"
    });

    let muted = wedge(&admin, &node);
    throughout("the pod hangs on a Ready node", HANGS_FOR, || {
        hangs(&admin, &node)
    });

    // By hand, what the playbook does: the private socket still works for root.
    node.output(&["systemctl", "daemon-reexec"]);
    until("PID 1 answers on the bus", RUNNING_WITHIN, || {
        node.run(&[
            "busctl",
            "--timeout=5",
            "status",
            "org.freedesktop.systemd1",
        ])
        .status
        .success()
    });
    throughout("the pod hangs though PID 1 answers", HANGS_FOR, || {
        hangs(&admin, &node)
    });
    node.output(&["systemctl", "restart", "kubelet.service"]);
    let took = until("the pod runs after all", RUNNING_WITHIN, || {
        phase(&admin, "during") == "Running"
    });
    eprintln!("the hanging pod ran {took:?} after the restart of kubelet");
    muted.release();
}

/// The agent in its pod, from its own image, confined as the manifests say, with the playbook as it
/// was released: it sees the host's silence and ends it by the host's own systemd, under a slot.
#[test]
fn the_agent_in_its_pod_mends_a_mute_pid_1_and_the_kubelet_that_it_wedged() {
    let plane = ControlPlane::start_for_nodes("mended");
    let images = plane.images();
    let node = node_with_agent(&plane, 31, &images, STANDARD, &[]);
    let admin = plane.admin();
    let kubelet = main_pid(&node);

    let struck = (Instant::now(), Timestamp::now());
    let muted = wedge(&admin, &node);
    until("the Node says what is wrong", RUNNING_WITHIN, || {
        condition(&admin, node.name(), "SystemdUnresponsive")
            .is_some_and(|one| one["status"] == "True")
    });
    assert!(hangs(&admin, &node));
    until("the pod runs after all", Duration::from_secs(150), || {
        phase(&admin, "during") == "Running"
    });
    let healed = struck.0.elapsed();
    start_pod(&admin, "after", node.name());
    until("a new pod runs", RUNNING_WITHIN, || {
        phase(&admin, "after") == "Running"
    });
    assert_ne!(main_pid(&node), kubelet, "kubelet is another process");

    let told = |kind: &str| {
        let mut records = audit(&node).into_iter();
        records.find(|record| record["kind"] == kind)
    };
    until("the run is closed after its soak", CLOSED_WITHIN, || {
        told("run-closed").is_some()
    });
    until("the case is closed", RUNNING_WITHIN, || {
        told("case-closed").is_some()
    });
    let run = told("run-closed").expect("a run");
    assert_eq!(run["signature"], "systemd-bus-unresponsive", "{run:#}");
    assert_eq!(
        (&run["outcome"], &run["version"]),
        (&json!("mended"), &json!("1.0.0")),
        "{run:#}"
    );
    let records = audit(&node);
    print_story(struck.1, healed, &records);
    assert_steps(&records);
    let calls = plane.audit().calls();
    let caps = BTreeMap::from([("cluster", 1)]);
    let none = Vec::<String>::new();
    assert_eq!(invariants::breaches(&calls, &caps), none);
    assert_eq!(steps::breaches(node.name(), &records, &calls), none);
    assert_eq!(rights::used(&calls).1, none, "calls that RBAC refused");
    assert_eq!(
        admin.get(&lease("slot.cluster.0")).code,
        404,
        "the slot is free again"
    );
    assert_told(&plane, &node);
    muted.release();
}

/// PID 1 is mute on the bus, and what kubelet asked it before that is lost for ever: the node's bus
/// drops PID 1's answers until kubelet has begun with a pod, then PID 1 itself hears nothing more.
pub fn wedge(admin: &Caller, node: &Node) -> MutedBus {
    let lost = LostReplies::on(node);
    start_pod(admin, "during", node.name());
    // Its worker asks PID 1 for a cgroup right after it wrote the status, and nothing shows that it did but that it hangs.
    throughout("the pod's worker hangs", Duration::from_secs(2), || {
        hangs(admin, node)
    });
    let muted = MutedBus::on(node).expect("silence PID 1 on the bus");
    drop(lost);
    muted
}

/// Whether the pod does not start while kubelet reports Ready.
pub fn hangs(admin: &Caller, node: &Node) -> bool {
    phase(admin, "during") == "Pending" && is_ready(admin, node.name())
}

/// The two steps that this fault needs were done, those for a silent runtime left out.
fn assert_steps(records: &[Value]) {
    let of = |kind: &str| -> Vec<u64> {
        let found = records.iter().filter(|record| record["kind"] == kind);
        found.filter_map(|record| record["step"].as_u64()).collect()
    };
    let whole = format!("{records:#?}");
    assert_eq!(of("step-verified"), [0, 1, 4], "{whole}");
    assert_eq!(of("step-skipped"), [2, 3], "{whole}");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PLAYBOOK));
    let released = digest(&text.expect("the released playbook"));
    let begun = records
        .iter()
        .filter(|record| record["kind"] == "step-began");
    for record in begun {
        assert_eq!(record["digest"], *released, "the very playbook: {record:#}");
    }
}

/// What people see with kubectl.
fn assert_told(plane: &ControlPlane, node: &Node) {
    let admin = plane.admin();
    until("the condition is cleared", RUNNING_WITHIN, || {
        condition(&admin, node.name(), "SystemdUnresponsive")
            .is_some_and(|one| one["status"] == "False")
    });
    until("the node is healthy again", RUNNING_WITHIN, || {
        let node = admin
            .get(&format!("/api/v1/nodes/{}", node.name()))
            .expect("the Node");
        node["metadata"]["annotations"]["nodemend.io/state"] == "healthy"
    });
    let events = admin.get(EVENTS).expect("list events");
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let ours = events.iter().filter(|event| {
        event["regarding"]["name"] == node.name()
            && event["reportingController"] == "nodemend.io/agent"
    });
    let reasons: Vec<&str> = ours.filter_map(|event| event["reason"].as_str()).collect();
    eprintln!("events of the agent: {reasons:?}");
    assert!(!reasons.is_empty(), "{events:#?}");
    for what in ["describe", "events"] {
        let name = format!("node/{}", node.name());
        let shown = match what {
            "describe" => plane.kubectl(&["describe", &name]),
            _ => plane.kubectl(&["events", "--for", &name]),
        };
        eprintln!("{}", shown.expect("kubectl shows the node"));
    }
}

/// When each thing happened, after the fault.
pub fn print_story(struck: Timestamp, healed: Duration, records: &[Value]) {
    eprintln!("healed {healed:?} after the fault");
    for record in records {
        let at = record["time"]
            .as_str()
            .and_then(|time| time.parse::<Timestamp>().ok());
        let after = at.map(|at| at.duration_since(struck).as_secs_f64());
        let kind = record["kind"].as_str().unwrap_or_default();
        eprintln!(
            "{after:9.3?} s {kind} {} {} {} {}",
            record["signature"], record["step"], record["outcome"], record["slot"]
        );
    }
}

fn main_pid(node: &Node) -> String {
    let property = [
        "systemctl",
        "show",
        "--property=MainPID",
        "--value",
        "kubelet.service",
    ];
    node.output(&property)
}

fn condition(admin: &Caller, node: &str, kind: &str) -> Option<Value> {
    let node = admin
        .get(&format!("/api/v1/nodes/{node}"))
        .expect("read the Node");
    let list = node["status"]["conditions"].as_array().cloned();
    list.unwrap_or_default()
        .into_iter()
        .find(|one| one["type"] == kind)
}

/// A node whose agent runs as the manifests say, with `config`, opted in.
pub fn node_with_agent(
    plane: &ControlPlane,
    number: u8,
    images: &Path,
    config: &str,
    files: &[(&str, &str)],
) -> Node {
    install_agent(plane, images, config);
    let node = ready_node(plane, number, images, files);
    opt_in(&plane.admin(), node.name(), RUNNING_WITHIN);
    node
}

/// Applies the manifests with `config`; the images of the agent and of a pod that waits lie in `images`.
pub fn install_agent(plane: &ControlPlane, images: &Path, config: &str) {
    pause_image(images, "localhost/pause:1", "pause");
    let archive = images.join("nodemend.tar");
    image::build(agent(), &archive, "localhost/nodemend:0.1.0").expect("the agent's image");
    plane.apply("overlays/standard");
    if config != STANDARD {
        configure(plane, config);
    }
}

/// A person opts the node in, and the agent's pod there gets ready.
pub fn opt_in(admin: &Caller, node: &str, limit: Duration) {
    let opt_in = json!({ "nodemend.io/mode": "auto", "nodemend.io/allow": "restart" });
    let opt_in = json!({ "metadata": { "annotations": opt_in } });
    let path = format!("/api/v1/nodes/{node}");
    admin
        .merge(&path, &opt_in)
        .expect("a person opts the node in");
    until("the agent's pod is ready", limit, || agent_is_ready(admin));
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
pub fn audit(node: &Node) -> Vec<Value> {
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

pub fn start_pod(admin: &Caller, name: &str, node: &str) {
    let container = json!({ "name": "pause", "image": "localhost/pause:1" });
    let spec = json!({ "nodeName": node, "terminationGracePeriodSeconds": 0,
        "tolerations": [{ "operator": "Exists" }], "containers": [container] });
    let pod = json!({ "metadata": { "name": name }, "spec": spec });
    admin.create(PODS, &pod).expect("create a pod");
}

fn pod(admin: &Caller, name: &str) -> Value {
    admin.get(&format!("{PODS}/{name}")).expect("read the pod")
}

pub fn phase(admin: &Caller, name: &str) -> String {
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
