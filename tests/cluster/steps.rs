//! Each disruptive step in an agent's audit log against the server's: I2, I5, I6 and I12.

use serde_json::Value;

use crate::audit::{Call, micros};

/// How long a write proves a slot (safety.md 2), in microseconds.
const HOLD: i64 = 60_000_000;
/// The agents write their times in milliseconds, cut off.
const GRAIN: i64 = 1_000;

/// Every step in `records`, the audit log of the agent on `node`, that began without a slot of its own at that moment, without a
/// write of it that is fresh and of this very process, or without an opt-in read in this run; empty when all is well.
pub fn breaches(node: &str, records: &[Value], calls: &[Call]) -> Vec<String> {
    let mut found = Vec::new();
    let mut started = 0;
    for (at, record) in records.iter().enumerate() {
        match record["kind"].as_str() {
            Some("agent-started") => started = micros(&record["time"]),
            Some("step-began") => {
                let step = Step {
                    node,
                    name: format!("{node} {} step {}", record["run"], record["step"]),
                    began: micros(&record["time"]) + GRAIN,
                    started,
                    record,
                };
                let of_run = |one: &&Value| one["run"] == record["run"];
                let opened = records[..at].iter().find(of_run).unwrap_or(record);
                let since = started.max(micros(&opened["time"]));
                found.extend(step.without_slot(calls));
                found.extend(step.without_opt_in(since, calls));
            }
            _ => {}
        }
    }
    found
}

struct Step<'a> {
    node: &'a str,
    name: String,
    began: i64,
    started: i64,
    record: &'a Value,
}

impl Step<'_> {
    /// I2, I5 and I6.
    fn without_slot(&self, calls: &[Call]) -> Option<String> {
        let step = &self.name;
        let slot = self.record["slot"].as_str();
        let Some((name, uid)) = slot.and_then(|slot| slot.split_once('/')) else {
            return Some(format!("I2: {step} names no slot: {}", self.record["slot"]));
        };
        let earlier = calls.iter().filter(|call| {
            call.resource == "leases"
                && call.is_done()
                && !call.is_dry()
                && call.finished <= self.began
        });
        // By whomever: itself, a person, or garbage collection.
        let freed = earlier.clone().any(|call| {
            call.verb == "delete" && call.text("/requestObject/preconditions/uid") == uid
        });
        let mut written = earlier.filter(|call| {
            matches!(call.verb.as_str(), "create" | "update")
                && call.node.as_deref() == Some(self.node)
                && call.text("/responseObject/metadata/uid") == uid
        });
        // The hold counts from before the request was sent, so the server's receipt is late enough.
        match written.next_back().map(|call| call.received) {
            None => Some(format!(
                "I2: {step} began under {name}, which {} never wrote",
                self.node
            )),
            Some(_) if freed => Some(format!("I2: {step} began under {name}, freed before")),
            Some(at) if self.began - at > HOLD => Some(format!(
                "I5: {step} began {} s after the last write of {name}",
                (self.began - at) / 1_000_000
            )),
            Some(at) if at < self.started => Some(format!(
                "I6: {step} began after a restart and before a write of {name}"
            )),
            Some(_) => None,
        }
    }

    /// I12: a GET since the run or the process began, and nothing older than its answer was obeyed.
    fn without_opt_in(&self, since: i64, calls: &[Call]) -> Option<String> {
        let step = &self.name;
        let obeyed: Option<u64> = self.record["opt_in"].as_str().and_then(|v| v.parse().ok());
        let Some(obeyed) = obeyed else {
            return Some(format!("I12: {step} names no opt-in"));
        };
        let shown = calls.iter().rfind(|call| {
            (call.verb.as_str(), call.resource.as_str()) == ("get", "nodes")
                && call.name == self.node
                && call.node.as_deref() == Some(self.node)
                && call.is_done()
                && call.received + GRAIN >= since
                && call.finished <= self.began
        });
        let shown = shown.map(|call| call.text("/responseObject/metadata/resourceVersion"));
        match shown.map(|version| version.parse::<u64>().unwrap_or(u64::MAX)) {
            None => Some(format!("I12: {step} began and its Node was not read")),
            Some(version) if obeyed < version => Some(format!(
                "I12: {step} obeyed version {obeyed}, and {version} had been shown"
            )),
            Some(_) => None,
        }
    }
}

#[test]
fn the_checker_finds_each_kind_of_step_without_leave() {
    let record = |kind: &str, time: &str| {
        let run = if kind == "agent-started" { "" } else { "run-1" };
        serde_json::json!({ "kind": kind, "run": run, "step": 0, "slot": "slot.cluster.0/u",
            "opt_in": "88", "time": format!("2026-11-22T09:{time}Z") })
    };
    let with = |field: &str, text: &str| {
        let mut step = record("step-began", "01:30");
        step[field] = serde_json::json!(text);
        step
    };
    let call = |verb: &str, time: &str, node: &str| {
        let get = verb == "get";
        let (resource, name) = if get {
            ("nodes", node)
        } else {
            ("leases", "x")
        };
        let line = serde_json::json!({
            "verb": verb, "stage": "ResponseComplete", "requestURI": "/x",
            "user": { "username": "agent", "extra": {
                "authentication.kubernetes.io/node-name": [node] } },
            "objectRef": { "resource": resource, "name": name },
            "responseStatus": { "code": 200 },
            "requestReceivedTimestamp": format!("2026-11-22T09:{time}Z"),
            "stageTimestamp": format!("2026-11-22T09:{time}Z"),
            "requestObject": { "preconditions": { "uid": "u" } },
            "responseObject": { "metadata": { "uid": "u", "resourceVersion": "88" } },
        });
        crate::audit::parse(&line.to_string())
    };
    let step = || record("step-began", "01:30");
    let begun = |step: Value| {
        vec![
            record("agent-started", "00:00"),
            record("decided", "00:30"),
            step,
        ]
    };
    let read = || call("get", "00:50", "a");
    let sound = || vec![read(), call("create", "01:00", "a")];
    let found = |records: &[Value], calls: &[Call]| breaches("a", records, calls).join("\n");
    assert_eq!(found(&begun(step()), &sound()), "");
    assert_eq!(found(&begun(with("opt_in", "90")), &sound()), "", "newer");
    let renewed = [
        read(),
        call("create", "00:20", "a"),
        call("update", "01:20", "a"),
    ];
    assert_eq!(found(&begun(step()), &renewed), "");
    let restarted = vec![
        record("decided", "00:30"),
        record("agent-started", "01:10"),
        step(),
    ];
    let again = [
        call("create", "01:00", "a"),
        call("get", "01:15", "a"),
        call("update", "01:20", "a"),
    ];
    assert_eq!(found(&restarted, &again), "");
    let late = |calls: Vec<Call>| (begun(step()), calls);
    for ((records, calls), word) in [
        (late(vec![read()]), "never wrote"),
        (
            late(vec![read(), call("create", "01:00", "b")]),
            "never wrote",
        ),
        (
            late(vec![read(), call("create", "01:40", "a")]),
            "never wrote",
        ),
        (
            late(vec![
                read(),
                call("create", "01:00", "a"),
                call("delete", "01:10", "a"),
            ]),
            "freed before",
        ),
        (
            late(vec![
                read(),
                call("create", "01:00", "a"),
                call("delete", "01:10", "collector"),
            ]),
            "freed before",
        ),
        (late(vec![read(), call("create", "00:10", "a")]), "I5"),
        ((begun(with("slot", "")), sound()), "names no slot"),
        (
            (begun(with("slot", "slot.cluster.0/v")), sound()),
            "never wrote",
        ),
        ((begun(with("opt_in", "")), sound()), "I12"),
        ((begun(with("opt_in", "87")), sound()), "I12"),
        (late(vec![call("create", "01:00", "a")]), "I12"),
        (
            late(vec![
                call("get", "00:10", "a"),
                call("create", "01:00", "a"),
            ]),
            "I12",
        ),
        (
            late(vec![
                call("get", "00:50", "b"),
                call("create", "01:00", "a"),
            ]),
            "I12",
        ),
        (
            (
                restarted.clone(),
                vec![call("get", "01:15", "a"), call("create", "01:00", "a")],
            ),
            "I6",
        ),
        ((restarted.clone(), sound()), "I12"),
    ] {
        let said = found(&records, &calls);
        assert!(said.contains(word), "«{said}» for {word}");
    }
}
