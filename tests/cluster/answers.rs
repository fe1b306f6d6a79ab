//! Agents whose server seems to lose its mind, and two agents that were given one Node.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::Call;
use crate::fleet::{Agent, LEASES};
use crate::history;
use crate::invariants;
use crate::liar::{Liar, Lie};
use crate::matrix::case::Scene;
use crate::patients::{MENDED_WITHIN, Patient, WAITS, waiting_playbook};
use crate::process::{throughout, until};
use crate::steps;
use crate::wait::lines_so_far;

/// Each lie with the words in which an agent complains of it; unknown fields are nothing to complain of.
const LIES: [(Lie, &str); 7] = [
    (Lie::Late, "no answer from the API server within 5 s"),
    (Lie::Half, "EOF while parsing"),
    (Lie::Page, "expected value at line 1"),
    (Lie::OtherKind, "kind is"),
    (Lie::Bare, "is missing"),
    (Lie::Busy, "the server asks to slow down"),
    (Lie::NewFields, ""),
];

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
    let mut patients: Vec<Patient> = LIES
        .iter()
        .map(|(lie, _)| {
            let name = format!("told-{lie:?}").to_lowercase();
            let agent = Agent::join(&scene.plane, &name);
            let pki = scene.plane.pki();
            let liar = Liar::start(&pki.token_kubeconfig(&agent.token), *lie);
            let kubeconfig = pki.relayed_kubeconfig(&agent.token, liar.url());
            liars.push(liar);
            let asleep = Patient::prepare(&scene.plane, agent, &auto(), &kubeconfig);
            asleep.fall_sick();
            asleep.wake()
        })
        .collect();
    for (patient, (lie, words)) in patients.iter_mut().zip(&LIES) {
        let what = format!("{lie:?} is complained of, or does no harm");
        until(&what, 2 * MENDED_WITHIN, || {
            patient.process.ensure_alive();
            let complaint = complaints(patient).find(|line| line.contains(words));
            match lie {
                Lie::NewFields => patient.is_mended(),
                _ => complaint.is_some_and(|line| names_an_object(&line)),
            }
        });
    }
    assert_eq!(all_breaches(&scene, &patients), Vec::<String>::new());
    for (liar, (lie, _)) in liars.iter().zip(&LIES) {
        eprintln!("{lie:?}: told {} times", liar.told());
        assert!(liar.told() > 0);
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
        let nameless: Vec<_> = complaints(patient)
            .filter(|line| !names_an_object(line))
            .collect();
        assert_eq!(nameless, Vec::<String>::new(), "{}", patient.agent.node);
    }
}

/// What the agent says of answers that it does not take.
fn complaints(patient: &Patient) -> impl Iterator<Item = String> {
    let log = lines_so_far(patient.process.log()).expect("the agent's log");
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    lines.into_iter().filter(|line| {
        let mut words = LIES.iter().map(|(_, words)| words);
        words.any(|words| !words.is_empty() && line.contains(words))
    })
}

/// Whether the reason that a line gives says what it was about.
fn names_an_object(line: &str) -> bool {
    let keys = ["why=", "error=", "reasons=", "trouble"];
    let reason = keys.iter().find_map(|key| line.split_once(key));
    let reason = reason.map_or("", |(_, reason)| reason);
    let kinds = [
        "Node ",
        "Nodes",
        "Lease ",
        "Leases ",
        "ConfigMap",
        "DaemonSet",
        "Event",
    ];
    kinds.iter().any(|kind| reason.contains(kind))
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
