//! The DaemonSet on real nodes: the manifests as they are, the image as the script builds it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::controlplane::ControlPlane;
use crate::image;
use crate::node::Node;
use crate::process::until;

const PODS: &str = "/api/v1/namespaces/nodemend/pods";
const RUNNING_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn the_daemonset_runs_on_real_nodes_with_what_it_asks_for_and_no_more() {
    let plane = ControlPlane::start_for_nodes("pods");
    let images = plane.images();
    pause_image(&images, "localhost/pause:1", "pause");
    // A stand-in that only waits: here it is the pod that is looked at, not the program.
    pause_image(&images, "localhost/nodemend:0.1.0", "nodemend");
    plane.apply("overlays/observe");
    let mut nodes = [11, 12].map(|number| Node::boot(&plane, number, &images));
    for node in &mut nodes {
        let took = node.await_ready(&plane);
        eprintln!("{} Ready after {took:?}", node.name());
    }
    let admin = plane.admin();
    let took = until("a pod runs on both nodes", RUNNING_WITHIN, || {
        let pods = admin.get(PODS).body["items"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        pods.iter()
            .filter(|pod| pod["status"]["phase"] == "Running")
            .count()
            == nodes.len()
    });
    eprintln!("pods Running {took:?} later; memory {:?}", plane.memory());
    for node in &nodes {
        let (pid, mounts) = agent_process(node);
        let status = node.output(&["cat", &format!("/proc/{pid}/status")]);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} is in {status}"))
                .trim()
                .to_owned()
        };
        // DAC_READ_SEARCH is bit 2, SYS_PTRACE bit 19 (linux/capability.h).
        assert_eq!(
            field("CapEff:"),
            "0000000000080004",
            "effective capabilities"
        );
        assert_eq!(
            field("CapBnd:"),
            "0000000000080004",
            "capabilities it could ever get"
        );
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2", "filtered");
        let options = |point: &str| {
            let found = mounts
                .lines()
                .find(|line| line.split(' ').nth(1) == Some(point));
            found
                .and_then(|line| line.split(' ').nth(3))
                .unwrap_or_default()
                .to_owned()
        };
        for read_only in ["/", "/host", "/etc/nodemend"] {
            let found = options(read_only);
            assert!(
                found.split(',').any(|option| option == "ro"),
                "{read_only}: «{found}»"
            );
        }
        let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        let token = format!("/proc/{}/root{token}", pid);
        let token = node.output(&["cat", &token]);
        check_token(&plane, &token, node.name());
    }
}

/// The agent's process and its mounts; the pod's pause container runs the same program.
fn agent_process(node: &Node) -> (String, String) {
    let found = node.output(&["pgrep", "-x", "nodemend"]);
    let mounts = |pid: &str| node.output(&["cat", &format!("/proc/{pid}/mounts")]);
    let mut all = found.lines().map(|pid| (pid.to_owned(), mounts(pid)));
    all.find(|(_, mounts)| mounts.contains(" /host "))
        .expect("one of them sees the host")
}

/// The token that kubelet mounted speaks for this node, and is good for days.
fn check_token(plane: &ControlPlane, token: &str, node: &str) {
    let claims = crate::pki::claims(token);
    assert_eq!(claims["kubernetes.io"]["node"]["name"], node);
    let seconds = |key: &str| {
        claims[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {claims}"))
    };
    assert_eq!(seconds("exp") - seconds("iat"), 604_800);
    let patch =
        serde_json::json!({ "metadata": { "annotations": { "nodemend.io/state": "healthy" } } });
    let caller = plane.token_caller(token);
    let own: Value = caller
        .patch(&format!("/api/v1/nodes/{node}/status"), &patch)
        .expect("write the state");
    assert_eq!(
        own["metadata"]["annotations"]["nodemend.io/state"],
        "healthy"
    );
    let foreign = if node == "node11" { "node12" } else { "node11" };
    assert_eq!(
        caller
            .patch(&format!("/api/v1/nodes/{foreign}/status"), &patch)
            .code,
        403
    );
}

/// An image whose only program waits for ever.
pub fn pause_image(images: &Path, name: &str, file: &str) {
    let text = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";
    image_of(text, images, name, file);
}

/// An image whose only program is made of this C.
pub fn image_of(text: &str, images: &Path, name: &str, file: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, binary) = (dir.path().join("main.c"), dir.path().join("nodemend"));
    fs::write(&source, text).expect("a temporary directory");
    let status = Command::new("cc")
        .arg("-static")
        .arg("-o")
        .arg(&binary)
        .arg(source)
        .status();
    assert!(
        status.expect("cc is installed").success(),
        "cc -static failed"
    );
    image::build(&binary, &images.join(format!("{file}.tar")), name).expect("an image");
}
