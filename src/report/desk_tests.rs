//! What is told when, by a desk against an imagined server.

use super::conditions::{Telling, Told};
use super::desk::{Desk, Facts, Next};
use super::events::Happening;
use super::pace::{COALESCE, HEARTBEAT, MIN_HEARTBEAT, quiet_rest};
use crate::host::cluster::{ApiError, Call, NodeCondition, NodeView, Resource, Verb};
use crate::policy::{CaseId, RunId};
use crate::signal::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

const DRAW: f64 = 0.5;

struct Scene {
    desk: Desk,
    now: Timestamp,
    view: NodeView,
    telling: Telling,
    agents: Option<u64>,
}

impl Scene {
    /// A Node in a cluster of this size that was told that it is healthy.
    fn of(agents: u64) -> Self {
        let mut scene = Self {
            desk: Desk::new("nodemend", Box::new(|| DRAW)),
            now: Timestamp::default().plus(Duration::from_secs(1_000)),
            view: NodeView {
                name: "n".to_owned(),
                uid: "u".to_owned(),
                ..NodeView::default()
            },
            telling: Telling {
                state: "healthy".to_owned(),
                ..Telling::default()
            },
            agents: Some(agents),
        };
        scene.say("A", false);
        scene.say("B", false);
        assert_eq!(scene.tell().len(), 1, "the state");
        scene.pass(Duration::from_secs(60));
        assert_eq!(scene.tell(), []);
        scene
    }

    fn say(&mut self, kind: &str, is_problem: bool) {
        let told = Told {
            is_problem,
            reason: format!("{kind}{is_problem}"),
            message: "seen".to_owned(),
        };
        self.telling.conditions.insert(kind.to_owned(), told);
    }

    /// A case opens, with this condition.
    fn fall_sick(&mut self, kind: &str) {
        self.say(kind, true);
        self.telling.state = "waiting".to_owned();
        self.telling.case = Some("case-1".to_owned());
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    fn next(&mut self) -> Next {
        let facts = Facts {
            now: self.now,
            view: Some(&self.view),
            telling: &self.telling,
            agents: self.agents,
        };
        self.desk.next(&facts)
    }

    fn hear(&mut self, answer: Result<Value, ApiError>) {
        let facts = Facts {
            now: self.now,
            view: Some(&self.view),
            telling: &self.telling,
            agents: self.agents,
        };
        self.desk.heard(&facts, answer);
    }

    /// Everything that is sent now, when the server takes it.
    fn tell(&mut self) -> Vec<Call> {
        self.tell_to(|_| Ok(json!({ "metadata": { "name": "x" } })))
    }

    fn tell_to(&mut self, server: impl Fn(&Call) -> Result<Value, ApiError>) -> Vec<Call> {
        let mut sent = Vec::new();
        while let Next::Send(call) = self.next() {
            self.hear(server(&call));
            sent.push(call);
            assert!(sent.len() < 50, "it never rests: {sent:#?}");
        }
        sent
    }

    fn rest(&mut self) -> Duration {
        match self.next() {
            Next::Rest(span) => span,
            Next::Send(call) => panic!("{call:?}"),
        }
    }

    fn happen(&mut self, reason: &str, is_common: bool) {
        self.desk.happened(Happening {
            at: self.now,
            reason: reason.to_owned(),
            action: "Diagnose",
            note: "x".to_owned(),
            is_warning: true,
            is_common,
        });
    }
}

fn refused(call: &Call, code: u16) -> ApiError {
    ApiError::Refused {
        what: call.what(),
        verb: call.verb.word(),
        code,
        reason: "Forbidden".to_owned(),
        message: "no".to_owned(),
        retry_after: (code == 429).then_some(Duration::from_secs(7)),
    }
}

fn conditions(call: &Call) -> Vec<String> {
    let list = call
        .body
        .as_ref()
        .and_then(|body| body.pointer("/status/conditions"));
    let list = list.and_then(Value::as_array).cloned().unwrap_or_default();
    let kind = |one: &Value| one["type"].as_str().unwrap_or("?").to_owned();
    list.iter().map(kind).collect()
}

fn notes(call: &Call) -> Option<&Value> {
    call.body.as_ref()?.pointer("/metadata/annotations")
}

#[test]
fn a_leading_edge_is_one_request_at_once_whatever_the_size_of_the_cluster() {
    for agents in [1, 5_000] {
        let mut scene = Scene::of(agents);
        scene.fall_sick("A");
        let sent = scene.tell();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        assert_eq!(
            (sent[0].verb, sent[0].resource),
            (Verb::Patch, Resource::NodeStatus)
        );
        assert_eq!(
            sent[0].content_type(),
            "application/strategic-merge-patch+json"
        );
        assert_eq!(conditions(&sent[0]), ["A"]);
        let notes = notes(&sent[0]).expect("the annotations come along");
        assert_eq!(notes["nodemend.io/case"], "case-1");
        assert_eq!(notes["nodemend.io/blocked"], Value::Null);
        // The next within 5 s waits for the rest of them.
        scene.say("B", true);
        assert_eq!(scene.rest(), COALESCE);
        scene.pass(COALESCE);
        assert_eq!(conditions(&scene.tell()[0]), ["B"]);
    }
}

#[test]
fn why_a_node_waits_is_quiet_in_a_large_cluster_and_rides_on_what_is_written_meanwhile() {
    for agents in [3, 5_000] {
        let mut scene = Scene::of(agents);
        scene.fall_sick("A");
        scene.tell();
        scene.telling.blocked = Some("2 of 9 are first".to_owned());
        let quiet = quiet_rest(Some(agents), DRAW);
        assert_eq!(scene.rest(), quiet.max(COALESCE).min(HEARTBEAT));
        // Asked again, and with another number, it is the same moment.
        scene.pass(quiet / 2);
        scene.telling.blocked = Some("1 of 9 are first".to_owned());
        if agents > 3 {
            assert_eq!(scene.tell(), []);
            // A condition does not wait for it, and takes it along.
            scene.say("B", true);
            let sent = scene.tell();
            assert_eq!(sent.len(), 1);
            assert_eq!(
                notes(&sent[0]).expect("with it")["nodemend.io/blocked"],
                "1 of 9 are first"
            );
        } else {
            scene.pass(COALESCE);
            assert_eq!(scene.tell().len(), 1);
        }
    }
}

#[test]
fn a_condition_that_no_rule_names_any_more_is_removed_and_those_of_others_stay() {
    let mut scene = Scene::of(3);
    let one = |kind: &str| NodeCondition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: "Old".to_owned(),
    };
    scene.view.uid = "made anew".to_owned();
    scene.view.conditions = ["Ready", "Retired", "Npd", "Foreign"].map(one).to_vec();
    let types = json!({ "kind": "ConfigMap", "metadata": { "name": "conditions" },
        "data": { "Retired": "lab-retired", "Npd": "npd kernel-monitor" } });
    let sent = scene.tell_to(|_| Ok(types.clone()));
    assert_eq!(sent.len(), 2, "{sent:#?}");
    assert_eq!(sent[0].resource, Resource::ConfigMaps);
    let gone = json!([{ "type": "Retired", "$patch": "delete" }]);
    assert_eq!(
        sent[1].body.as_ref().expect("a patch")["status"]["conditions"],
        gone
    );
}

#[test]
fn what_a_slot_bounds_is_told_at_once() {
    let mut scene = Scene::of(5_000);
    scene.fall_sick("A");
    scene.tell();
    scene.pass(COALESCE);
    for state in ["mending", "waiting", "needs-human", "healthy"] {
        scene.telling.state = state.to_owned();
        assert_eq!(scene.tell().len(), 1, "{state}");
        scene.pass(COALESCE);
    }
    scene.happen("RunOpened", false);
    scene.happen("NeedsHuman", false);
    assert_eq!(scene.tell().len(), 2);
}

#[test]
fn events_of_cases_are_spread_and_those_of_one_reason_stay_together() {
    let mut scene = Scene::of(5_000);
    scene.happen("Opened", true);
    assert_eq!(scene.tell(), []);
    let (due, minute) = (quiet_rest(Some(5_000), DRAW), Duration::from_secs(60));
    scene.pass(minute);
    scene.happen("Opened", true);
    scene.happen("Closed", true);
    assert_eq!(scene.tell(), []);
    scene.pass(due - minute);
    let sent: Vec<Verb> = scene.tell().iter().map(|call| call.verb).collect();
    assert_eq!(sent, [Verb::Create, Verb::Patch], "one series");
    scene.pass(minute);
    assert_eq!(scene.tell().len(), 1);
}

#[test]
fn a_condition_that_stands_beats_slowly_and_numbers_wait_for_it() {
    let mut scene = Scene::of(3);
    scene.fall_sick("A");
    scene.telling.blocked = Some("opens in 900 s".to_owned());
    scene.tell();
    scene.pass(MIN_HEARTBEAT);
    scene.telling.blocked = Some("opens in 600 s".to_owned());
    assert_eq!(scene.tell(), []);
    scene.pass(HEARTBEAT);
    let sent = scene.tell();
    assert_eq!(
        (sent.len(), conditions(&sent[0])),
        (1, vec!["A".to_owned()])
    );
    assert_eq!(
        notes(&sent[0]).expect("too")["nodemend.io/blocked"],
        "opens in 600 s"
    );
}

#[test]
fn a_part_that_the_server_does_not_want_hides_nothing_else_and_is_not_repeated() {
    let mut scene = Scene::of(3);
    scene.say("B", true);
    scene.fall_sick("A");
    let sent = scene.tell_to(|call| match conditions(call).contains(&"A".to_owned()) {
        true => Err(refused(call, 403)),
        false => Ok(json!({})),
    });
    let kinds: Vec<_> = sent.iter().map(conditions).collect();
    assert_eq!(kinds, [vec!["A", "B"], vec!["A"], vec!["B"], vec![]]);
    assert!(notes(&sent[3]).is_some());
    scene.pass(HEARTBEAT / 2);
    assert_eq!(scene.tell(), []);
    scene.pass(HEARTBEAT);
    let again: Vec<_> = scene.tell().iter().map(conditions).collect();
    assert_eq!(again, [["A", "B"]], "once with the heartbeat");
}

#[test]
fn a_server_that_is_away_is_told_the_latest_and_left_alone_for_as_long_as_it_asks() {
    let mut scene = Scene::of(3);
    scene.fall_sick("A");
    let Next::Send(call) = scene.next() else {
        panic!("at once")
    };
    scene.hear(Err(refused(&call, 429)));
    assert_eq!(scene.rest(), Duration::from_secs(7).mul_f64(1.0 + DRAW));
    scene.say("A", false);
    scene.telling.state = "healthy".to_owned();
    scene.telling.case = None;
    scene.pass(Duration::from_secs(11));
    assert_eq!(
        scene.tell(),
        [],
        "it was never said, so there is nothing to take back"
    );
}

#[test]
fn a_run_waits_until_it_has_its_slot() {
    let mut desk = Desk::new("nodemend", Box::new(|| DRAW));
    let run = |number| Some((CaseId(1), RunId(number)));
    assert_eq!(desk.waiting(None), None);
    assert!(desk.waiting(run(1)).is_some_and(|why| why.contains("soon")));
    desk.waits(Some("full".to_owned()));
    assert_eq!(desk.waiting(run(1)), Some("full"));
    desk.rides(RunId(1));
    assert_eq!(desk.waiting(run(1)), None);
    desk.waits(None);
    assert!(desk.waiting(run(2)).is_some());
}

#[test]
fn what_rests_while_the_number_of_agents_is_unknown_is_told_once_it_turns_out_to_be_small() {
    let mut scene = Scene::of(3);
    scene.agents = None;
    scene.fall_sick("A");
    assert_eq!(scene.tell().len(), 1, "the condition, at once");
    // Why it waits, and the case's event: quiet news.
    scene.telling.blocked = Some("slot: all are in use".to_owned());
    scene.happen("CaseOpened", true);
    scene.pass(COALESCE);
    assert_eq!(scene.tell(), []);
    assert!(scene.rest() >= quiet_rest(None, 0.0) - COALESCE * 2);
    scene.agents = Some(3);
    scene.pass(Duration::from_secs(2));
    assert_eq!(scene.tell().len(), 2);
}

#[test]
fn a_conflict_is_no_refusal_and_what_was_to_be_told_is_told_again() {
    let mut scene = Scene::of(3);
    scene.fall_sick("A");
    let sent = scene.tell_to(|call| Err(refused(call, 409)));
    assert_eq!(sent.len(), 1, "then it rests: {sent:?}");
    scene.pass(Duration::from_secs(10));
    let again = scene.tell();
    assert_eq!(again.first().map(conditions), Some(vec!["A".to_owned()]));
}

#[test]
fn a_list_of_types_that_may_not_be_read_holds_no_condition_up() {
    let mut scene = Scene::of(3);
    scene.view.uid = "made anew".to_owned();
    scene.view.conditions.push(NodeCondition {
        kind: "OtherToolProblem".to_owned(),
        status: "False".to_owned(),
        reason: "Fine".to_owned(),
    });
    scene.fall_sick("A");
    let sent = scene.tell_to(|call| match call.resource {
        Resource::ConfigMaps => Err(refused(call, 403)),
        _ => Ok(json!({ "metadata": { "name": "x" } })),
    });
    assert_eq!(sent.last().map(conditions), Some(vec!["A".to_owned()]));
}
