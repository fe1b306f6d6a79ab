//! Agents whose server seems to lose its mind, and two agents that were given one Node.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::Call;
use crate::fleet::{Agent, LEASES};
use crate::history;
use crate::invariants;
use crate::liar::{LIES, Liar};
use crate::matrix::case::Scene;
use crate::patients::{MENDED_WITHIN, Patient, WAITS, waiting_playbook};
use crate::process::{throughout, until};
use crate::steps;

const AGENTS: u64 = 4;
/// Longer than a slot's hold and than most rests of a node that waits.
const LIED_FOR: Duration = Duration::from_secs(100);

fn auto() -> Value {
    json!({ "nodemend.io/mode": "auto", "nodemend.io/allow": "restart" })
}

fn caps() -> BTreeMap<&'static str, u64> {
    BTreeMap::from([("cluster", 2), ("zone-a", 2)])
}

fn all_breaches(scene: &Scene, patients: &[Patient]) -> Vec<String> {
    let calls = scene.plane.audit().calls();
    let mut found = invariants::breaches(&calls, &caps());
    found.extend(history::breaches(&calls));
    for patient in patients {
        found.extend(steps::breaches(
            &patient.agent.node,
            &patient.audit(),
            &calls,
        ));
    }
    found
}

#[test]
fn answers_cut_off_late_of_the_wrong_kind_or_with_unknown_fields_break_no_promise_and_are_named() {
    let scene = Scene::new("answers");
    scene.set_limits(&json!({ "cluster": "2", "zone-a": "2", "storm-nodes": "99" }));
    let mut liars = Vec::new();
    let mut patients: Vec<Patient> = (0..AGENTS)
        .map(|seed| {
            let agent = Agent::join(&scene.plane, &format!("told-{seed}"));
            let pki = scene.plane.pki();
            let liar = Liar::start(&pki.token_kubeconfig(&agent.token), seed);
            let kubeconfig = pki.relayed_kubeconfig(&agent.token, liar.url());
            liars.push(liar);
            let asleep = Patient::prepare(&scene.plane, agent, &auto(), &kubeconfig);
            asleep.fall_sick();
            asleep.wake()
        })
        .collect();
    throughout("the agents live on lies", LIED_FOR, || {
        for patient in &mut patients {
            patient.process.ensure_alive();
        }
        true
    });
    until("every lie was told", MENDED_WITHIN, || {
        let is_told = |lie| liars.iter().any(|liar| liar.told().contains_key(lie));
        LIES.iter().all(is_told)
    });
    assert_eq!(all_breaches(&scene, &patients), Vec::<String>::new());
    for liar in &liars {
        eprintln!("{:?}", liar.told());
        liar.be_honest();
    }
    for patient in &mut patients {
        until("it is mended", 2 * MENDED_WITHIN, || {
            patient.process.ensure_alive();
            patient.is_mended()
        });
    }
    until("every slot and claim is freed", MENDED_WITHIN, || {
        scene.admin.get(LEASES).body["items"] == json!([])
    });
    assert_eq!(all_breaches(&scene, &patients), Vec::<String>::new());
    for patient in &patients {
        let complaints = complaints(patient);
        assert!(
            !complaints.is_empty(),
            "{}: no complaint",
            patient.agent.node
        );
        for line in complaints {
            assert!(names_an_object(&line), "{line}");
        }
    }
}

/// What the agent's log says of errors with the server.
fn complaints(patient: &Patient) -> Vec<String> {
    let log = fs::read_to_string(patient.process.log()).expect("the agent's log");
    let lines = log.lines().filter(|line| line.contains("WARN"));
    let of_server = |line: &&str| line.contains("error=") || line.contains("why=\"");
    let own = |line: &&str| !line.contains("first full pass");
    lines
        .filter(of_server)
        .filter(own)
        .map(str::to_owned)
        .collect()
}

fn names_an_object(line: &str) -> bool {
    let kinds = [
        "Node ",
        "Nodes",
        "Lease ",
        "Leases ",
        "ConfigMap",
        "DaemonSet",
        "Event",
    ];
    kinds.iter().any(|kind| line.contains(kind))
}

#[test]
fn two_agents_of_one_node_never_hold_slots_together_and_the_second_names_what_is_not_its_own() {
    let scene = Scene::new("twins");
    scene.set_limits(&json!({ "cluster": "2", "zone-a": "2" }));
    let agent = Agent::join(&scene.plane, "node-t");
    let twin = Agent {
        node: agent.node.clone(),
        uid: agent.uid.clone(),
        token: agent.token.clone(),
        caller: scene.plane.token_caller(&agent.token),
    };
    let kubeconfig = scene.plane.pki().token_kubeconfig(&agent.token);
    let [first, second] = [("first", agent), ("second", twin)].map(|(home, agent)| {
        let home = scene.plane.dir().join(home);
        let asleep = Patient::prepare_in(&home, &scene.plane, agent, &auto(), &kubeconfig);
        asleep.fall_sick();
        asleep
    });
    first.prescribe(&waiting_playbook());
    first.put(WAITS.file, WAITS.closed);
    let mut first = first.wake();
    until("the first is half done", MENDED_WITHIN, || {
        first.process.ensure_alive();
        first.told("step-began").len() == 2
    });
    let mut second = second.wake();
    until("the second says why it waits", MENDED_WITHIN, || {
        second.process.ensure_alive();
        second.told("decided").iter().any(|record| {
            let reasons = record["reasons"].to_string();
            reasons.contains("Lease nodemend/") && reasons.contains("of this node made it")
        })
    });
    throughout("only the first works", Duration::from_secs(40), || {
        second.process.ensure_alive();
        second.told("step-began").is_empty() && slots_made(&scene) == 1
    });
    first.put(WAITS.file, WAITS.open);
    for patient in [&mut first, &mut second] {
        let closed = patient.await_told("run-closed", MENDED_WITHIN);
        assert_eq!(closed["outcome"], "mended", "{closed:#}");
    }
    until("every slot and claim is freed", MENDED_WITHIN, || {
        scene.admin.get(LEASES).body["items"] == json!([])
    });
    let calls = scene.plane.audit().calls();
    assert_eq!(slots_made(&scene), 2);
    assert_eq!(
        history::most_held(&calls, "cluster"),
        1,
        "one after the other"
    );
    assert_eq!(all_breaches(&scene, &[first, second]), Vec::<String>::new());
}

/// How many slots of the cluster were created so far.
fn slots_made(scene: &Scene) -> usize {
    let calls = scene.plane.audit().calls();
    let is_slot = |call: &&Call| {
        let name = call.text("/requestObject/metadata/name");
        call.verb == "create"
            && call.is_done()
            && !call.is_dry()
            && name.starts_with("slot.cluster.")
    };
    calls.iter().filter(is_slot).count()
}
