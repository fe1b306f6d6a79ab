//! On a node with a kernel of its own: what a wrong clock does. Run by name: `tests/run --qemu`.

use std::time::Duration;

use serde_json::Value;

use crate::controlplane::ControlPlane;
use crate::flagship::{STANDARD, install_agent, opt_in};
use crate::matrix::case::lease;
use crate::node::qemu::Machine;
use crate::process::{throughout, until};

const HOUR: i64 = 3_600;
/// Longer than a slot's hold of 60 s and than three checks of every probe that judges.
const LONG_ENOUGH: Duration = Duration::from_secs(75);
const MENDED_WITHIN: Duration = Duration::from_secs(400);

#[test]
#[ignore = "boots a virtual machine, ten minutes of two cores: tests/run --qemu"]
fn a_clock_set_forward_and_back_opens_no_case_and_breaks_no_hold() {
    Machine::prepare();
    let plane = ControlPlane::start_for_nodes("qemu");
    let images = plane.images();
    install_agent(&plane, &images, STANDARD);
    let mut node = Machine::boot(&plane, 71, &images);
    let took = node.await_ready(&plane);
    eprintln!("{} Ready after {took:?}", node.name());
    let admin = plane.admin();
    opt_in(&admin, node.name(), Duration::from_secs(300));
    let kernel = node.shell("uname -r; stat -fc %T /sys/fs/cgroup");
    eprintln!("kernel and cgroups: {}", kernel.trim().replace('\n', ", "));

    for step in [HOUR, -HOUR] {
        set_clock(&node, step);
        throughout("the clock alone is no fault", LONG_ENOUGH, || {
            opened(&node).is_empty()
        });
    }

    // The signature's hold is 45 s, the slot's 60 s, the playbook's soak 120 s.
    node.shell("systemctl kill --kill-whom=main --signal=STOP containerd.service");
    throughout("no case before its hold", Duration::from_secs(20), || {
        opened(&node).is_empty()
    });
    set_clock(&node, HOUR);
    until("the case is opened all the same", MENDED_WITHIN, || {
        !opened(&node).is_empty()
    });
    set_clock(&node, -HOUR);
    until("the step is done", MENDED_WITHIN, || {
        !told(&node, "step-verified").is_empty()
    });
    for step in [HOUR, -HOUR] {
        set_clock(&node, step);
        throughout("no other case is opened", Duration::from_secs(30), || {
            opened(&node) == ["runtime-unresponsive"]
        });
    }
    until("the run is closed", MENDED_WITHIN, || {
        !told(&node, "run-closed").is_empty()
    });
    let run = told(&node, "run-closed");
    assert_eq!(run[0]["outcome"], "mended", "{run:#?}");
    assert_eq!(opened(&node), ["runtime-unresponsive"]);
    until("the slot is free again", MENDED_WITHIN, || {
        admin.get(&lease("slot.cluster.0")).code == 404
    });
}

fn set_clock(node: &Machine, seconds: i64) {
    node.shell(&format!("date --set=@$(( $(date +%s) + {seconds} ))"));
}

fn told(node: &Machine, kind: &str) -> Vec<Value> {
    let text = node.shell("cat /var/lib/nodemend/audit/*.jsonl");
    let records = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    records
        .filter(|record: &Value| record["kind"] == kind)
        .collect()
}

/// What was opened, without the flapping that is true: the control plane takes a Lease whose renewTime does not advance for
/// a dead kubelet's (node_lifecycle_controller.go, tryUpdateNodeHealth), so after a step back the node is NotReady for a while.
fn opened(node: &Machine) -> Vec<String> {
    let cases = told(node, "case-opened");
    let names = cases.iter().map(|case| case["signature"].as_str());
    let names = names.filter(|name| *name != Some("node-ready-flapping"));
    names
        .map(|name| name.unwrap_or_default().to_owned())
        .collect()
}
