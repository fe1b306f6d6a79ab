//! Nodes whose way to the server breaks without a word while a run is half done: a cable that is pulled, one that loses every
//! answer, one that loses every call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::audit::{Call, micros};
use crate::cable::{Cable, Loss};
use crate::crowd::now;
use crate::fleet::{Agent, EVENTS, LEASES};
use crate::invariants;
use crate::matrix::case::Scene;
use crate::patients::{MENDED_WITHIN, Patient, WAITS, waiting_playbook};
use crate::process::{throughout, until};
use crate::steps;
use crate::wait::lines_so_far;

/// How long a write proves a slot.
const HOLD: Duration = Duration::from_secs(60);
/// A slot is renewed every 15 s, and a call takes at most 5 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(15 + 5 + 5);
/// How long a run asks again whether it may go on, and how often.
const PATIENCE: Duration = Duration::from_secs(60 + 10);
/// A signal comes every 15 s.
const SEEN_WITHIN: Duration = Duration::from_secs(40);
/// What may still get through from the moment before the packets begin to vanish.
const UNDER_WAY: i64 = 2_000_000;
/// What a watch may be silent, and as much again.
const TOLD_WITHIN: Duration = Duration::from_secs(300);

/// A node, how it is cut off, and when that was.
struct Cut {
    patient: Patient,
    loss: Loss,
    from: i64,
    to: i64,
}

#[test]
fn a_node_cut_off_for_longer_than_the_hold_begins_no_step_and_is_mended_and_tells_of_it_once_it_is_back()
 {
    let scene = Scene::new("partitions");
    scene.set_limits(&json!({ "cluster": "3", "zone-a": "3", "storm-nodes": "99" }));
    let mut nodes = [Loss::Both, Loss::Answers, Loss::Calls]
        .into_iter()
        .enumerate()
        .map(|(number, loss)| Cut {
            patient: admit(&scene, number),
            loss,
            from: 0,
            to: 0,
        })
        .collect::<Vec<_>>();
    for node in &mut nodes {
        until("the run waits for the test", MENDED_WITHIN, || {
            node.patient.process.ensure_alive();
            node.patient.told("step-began").len() == 2
        });
    }
    for node in &mut nodes {
        // The step mended it, and what broke it breaks it again: there is something left to do.
        node.patient.fall_sick();
        node.from = now();
        cable(node).lose(node.loss);
    }
    for node in &mut nodes {
        let what = format!("{:?}: the agent notices", node.loss);
        // Where the cut came between a step's intent and its proof, the step is withheld, and asked for again.
        until(&what, NOTICED_WITHIN, || {
            [
                "slot not renewed",
                "step-withheld",
                "the breakers cannot be read",
            ]
            .iter()
            .any(|words| says(node, words))
        });
    }
    stay_away(&mut nodes);
    for node in &mut nodes {
        node.to = now();
        cable(node).mend();
        // A person looks at the node, and wants to be heard, too.
        let path = node.patient.agent.node_path();
        let note = json!({ "metadata": { "annotations": { "nodemend.io/pause": "partition" } } });
        scene.admin.merge(&path, &note).expect("annotate the node");
    }
    hear_people(&scene, &nodes);
    for node in &mut nodes {
        let mended = |record: &Value| record["outcome"] == "mended";
        until("a run mends it", MENDED_WITHIN, || {
            node.patient.process.ensure_alive();
            node.patient.told("run-closed").iter().any(mended)
        });
        assert!(node.patient.is_well());
    }
    until("every slot and claim is freed", MENDED_WITHIN, || {
        scene.admin.get(LEASES).body["items"] == json!([])
    });
    for node in &nodes {
        judge(&scene, node);
    }
    let caps = BTreeMap::from([("cluster", 3), ("zone-a", 3)]);
    let found = invariants::breaches(&scene.plane.audit().calls(), &caps);
    assert_eq!(found, Vec::<String>::new());
}

fn cable(node: &Cut) -> &Cable {
    node.patient.cable.as_ref().expect("each has one")
}

fn says(node: &Cut, words: &str) -> bool {
    let log = lines_so_far(node.patient.process.log());
    log.expect("the agent's log").contains(words)
}

/// A sick node whose playbook has a step, waits for the test, and has another.
fn admit(scene: &Scene, number: usize) -> Patient {
    let agent = Agent::join(&scene.plane, &format!("cut-{number}"));
    let kubeconfig = scene.plane.pki().token_kubeconfig(&agent.token);
    let notes = json!({ "nodemend.io/mode": "auto", "nodemend.io/allow": "restart" });
    let mut asleep = Patient::prepare(&scene.plane, agent, &notes, &kubeconfig);
    asleep.prescribe(&waiting_playbook());
    asleep.put(WAITS.file, WAITS.closed);
    asleep.fall_sick();
    asleep.connect(Cable::lay(number, scene.plane.dir()));
    asleep.wake()
}

/// Lets the runs want their next step once the hold is over, and watches them until they give up.
fn stay_away(nodes: &mut [Cut]) {
    let idle = |nodes: &mut [Cut]| {
        for node in &mut *nodes {
            node.patient.process.ensure_alive();
        }
        nodes.iter().all(|node| steps_done(&node.patient) == 1)
    };
    throughout("no step while the hold runs out", HOLD, || idle(nodes));
    for node in &*nodes {
        node.patient.put(WAITS.file, WAITS.open);
    }
    let limit = SEEN_WITHIN + PATIENCE;
    let took = until("every run gives up", limit, || {
        assert!(idle(nodes), "a step was done while the node was cut off");
        let closed = |node: &Cut| !node.patient.told("run-closed").is_empty();
        nodes.iter().all(closed)
    });
    eprintln!("the runs were closed {took:?} after they could have gone on");
    for node in &*nodes {
        let closed = node.patient.told("run-closed").pop().expect("a run");
        assert_ne!(closed["outcome"], "mended", "{closed:#}");
        let reasons = closed.to_string();
        assert!(
            reasons.contains("nobody can tell whether a breaker is open"),
            "{closed:#}"
        );
    }
}

/// How many steps that change something were done.
fn steps_done(patient: &Patient) -> usize {
    let applied = patient.told("step-applied");
    applied.iter().filter(|one| one["step"] != 1).count()
}

/// Prints after what time the agents obey a person again.
fn hear_people(scene: &Scene, nodes: &[Cut]) {
    let began = Instant::now();
    let mut heard: Vec<Option<Duration>> = vec![None; nodes.len()];
    until("the agents obey a person again", TOLD_WITHIN, || {
        for (node, heard) in nodes.iter().zip(&mut heard) {
            let object = scene.admin.get(&node.patient.agent.node_path()).body;
            let blocked = object["metadata"]["annotations"]["nodemend.io/blocked"].as_str();
            if heard.is_none() && blocked.is_some_and(|text| text.contains("paused: partition")) {
                *heard = Some(began.elapsed());
            }
        }
        heard.iter().all(Option::is_some)
    });
    eprintln!("a pause was obeyed after {heard:?}");
    for node in nodes {
        let path = node.patient.agent.node_path();
        let note = json!({ "metadata": { "annotations": { "nodemend.io/pause": null } } });
        scene.admin.merge(&path, &note).expect("annotate the node");
    }
}

fn judge(scene: &Scene, node: &Cut) {
    let (name, calls) = (&node.patient.agent.node, scene.plane.audit().calls());
    let unproved = steps::breaches(name, &node.patient.audit(), &calls);
    assert_eq!(unproved, Vec::<String>::new(), "{:?}", node.loss);
    // That it was cut off is the server's word, not the agent's. The deaf are heard once on each line that stood before: what
    // they wrote was done, and proves nothing to them.
    let is_heard = node.loss == Loss::Answers;
    let since = node.from + if is_heard { 0 } else { UNDER_WAY };
    let away = |call: &&Call| {
        call.node.as_deref() == Some(name) && call.received > since && call.received < node.to
    };
    let writes = calls.iter().filter(away).filter(|call| call.is_write());
    let writes: Vec<_> = writes
        .map(|call| format!("{} {}", call.verb, call.name))
        .collect();
    eprintln!(
        "{:?}: the server saw {writes:?} while it was cut off",
        node.loss
    );
    assert_eq!(!writes.is_empty(), is_heard, "{:?}: {writes:?}", node.loss);
    // By the client or by the keeper of the slot, whose limits are the same.
    let is_late = [
        "no answer within 5s",
        "no answer from the API server within 5 s",
    ];
    let is_late = is_late.iter().any(|words| says(node, words));
    assert!(is_late || !is_heard, "{:?}: nothing was late", node.loss);
    let records = node.patient.audit();
    let begun = records.iter().filter(|record| {
        let at = micros(&record["time"]);
        record["kind"] == "step-applied" && record["step"] != 1 && at > node.from && at < node.to
    });
    assert_eq!(begun.count(), 0, "{records:#?}");
    let events = scene.admin.get(EVENTS).expect("list events");
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let about = |event: &Value| event["regarding"]["name"] == **name;
    let reasons: Vec<_> = events
        .iter()
        .filter(|event| about(event))
        .map(|event| &event["reason"])
        .collect();
    eprintln!("{:?}: told of {reasons:?}", node.loss);
    assert!(!reasons.is_empty(), "{:?}: no event", node.loss);
    until("the condition is cleared", MENDED_WITHIN, || {
        let object = scene.admin.get(&node.patient.agent.node_path()).body;
        let list = object["status"]["conditions"].as_array().cloned();
        list.unwrap_or_default()
            .iter()
            .any(|one| one["type"] == "KernelSettingsDrift" && one["status"] == "False")
    });
}
