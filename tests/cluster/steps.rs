//! Each disruptive step in an agent's audit log against the server's: I2, I5, I6 and I12.

use serde_json::Value;

use crate::audit::{Call, micros};

/// The agents write their times in milliseconds, cut off.
const GRAIN: i64 = 1_000;

/// Every step in `records`, the audit log of the agent on `node`, that began without a slot of its own at that moment, whose slot
/// was not renewed between its intent and its effect, or that had no opt-in read in this run; empty when all is well.
///
/// The intent is written down first, then the slot is renewed, then the step starts (safety.md 2): with that write there is one
/// less than the hold ago (I5), and after a restart there is one before the step (I6).
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
                    began: micros(&record["time"]),
                    record,
                };
                let next = after(records, at);
                let of_run = |one: &&Value| one["run"] == record["run"];
                let opened = records[..at].iter().find(of_run).unwrap_or(record);
                let since = started.max(micros(&opened["time"]));
                found.extend(step.without_slot(next, calls));
                found.extend(step.without_opt_in(since, calls));
            }
            _ => {}
        }
    }
    found
}

/// What the log says next of the step that the record `at` tells of; or that the process ended.
fn after(records: &[Value], at: usize) -> Option<&Value> {
    let record = &records[at];
    records[at + 1..].iter().find(|next| {
        next["kind"] == "agent-started"
            || (next["run"] == record["run"] && next["step"] == record["step"])
    })
}

/// Whether the step whose intent the record `at` is was not begun after all: the agent was told to stop meanwhile.
pub fn is_withheld(records: &[Value], at: usize) -> bool {
    after(records, at).is_some_and(says_withheld)
}

fn says_withheld(next: &Value) -> bool {
    next["kind"] == "step-skipped"
}

struct Step<'a> {
    node: &'a str,
    name: String,
    began: i64,
    record: &'a Value,
}

impl Step<'_> {
    /// I2, I5 and I6. `next`: what the log says after it.
    fn without_slot(&self, next: Option<&Value>, calls: &[Call]) -> Option<String> {
        let step = &self.name;
        let slot = self.record["slot"].as_str();
        let Some((name, uid)) = slot.and_then(|slot| slot.split_once('/')) else {
            return Some(format!("I2: {step} names no slot: {}", self.record["slot"]));
        };
        let of_slots = calls
            .iter()
            .filter(|call| call.resource == "leases" && call.is_done() && !call.is_dry());
        // By whomever: itself, a person, or garbage collection.
        let freed = of_slots.clone().any(|call| {
            call.verb == "delete"
                && call.finished <= self.began
                && call.text("/requestObject/preconditions/uid") == uid
        });
        if freed && !next.is_some_and(says_withheld) {
            return Some(format!("I2: {step} began under {name}, freed before"));
        }
        let mut written = of_slots.filter(|call| {
            matches!(call.verb.as_str(), "create" | "update")
                && call.node.as_deref() == Some(self.node)
                && call.text("/responseObject/metadata/uid") == uid
        });
        let is_own = written
            .clone()
            .any(|call| call.finished <= self.began + GRAIN);
        if !is_own {
            return Some(format!(
                "I2: {step} began under {name}, which {} had not written",
                self.node
            ));
        }
        // Killed before it said how it went, or it says that it never came to its effect.
        let next = next.filter(|next| {
            !matches!(
                next["kind"].as_str(),
                Some("agent-started" | "step-not-applied" | "step-skipped")
            )
        })?;
        let ended = micros(&next["time"]) + GRAIN;
        let is_renewed = written.any(|call| {
            call.verb == "update" && call.received + GRAIN >= self.began && call.finished <= ended
        });
        (!is_renewed).then(|| format!("I5, I6: {step} did not renew {name} before its effect"))
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
                && call.finished <= self.began + GRAIN
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
            record("step-applied", "01:40"),
        ]
    };
    let read = || call("get", "00:50", "a");
    let created = || call("create", "01:00", "a");
    let renewed = || call("update", "01:32", "a");
    let sound = || vec![read(), created(), renewed()];
    let found = |records: &[Value], calls: &[Call]| breaches("a", records, calls).join("\n");
    assert_eq!(found(&begun(step()), &sound()), "");
    assert_eq!(found(&begun(with("opt_in", "90")), &sound()), "", "newer");
    let mut killed = begun(step());
    killed[3] = record("agent-started", "01:31");
    assert_eq!(
        found(&killed, &[read(), created()]),
        "",
        "it never came to that"
    );
    killed[3] = record("step-skipped", "01:31");
    assert_eq!(found(&killed, &[read(), created()]), "", "withheld");
    // Its Node was deleted while it wrote its intent: the slot went with it, and the agent was told so.
    let gone = call("delete", "01:10", "collector");
    assert_eq!(found(&killed, &[read(), created(), gone]), "", "withheld");
    let mut restarted = begun(step());
    restarted.swap(0, 1);
    restarted[1] = record("agent-started", "01:10");
    let again = || vec![created(), call("get", "01:15", "a"), renewed()];
    assert_eq!(found(&restarted, &again()), "");
    let plain = |calls: Vec<Call>| (begun(step()), calls);
    for ((records, calls), word) in [
        (plain(vec![read()]), "had not written"),
        (plain(vec![read(), renewed()]), "had not written"),
        (
            plain(vec![read(), call("create", "01:00", "b"), renewed()]),
            "had not written",
        ),
        (plain(vec![read(), created()]), "I5"),
        (
            plain(vec![read(), created(), call("update", "01:20", "a")]),
            "I5",
        ),
        (
            plain(vec![read(), created(), call("update", "01:50", "a")]),
            "I5",
        ),
        (
            plain(vec![read(), created(), call("update", "01:32", "b")]),
            "I5",
        ),
        (
            plain(vec![
                read(),
                created(),
                call("delete", "01:10", "a"),
                renewed(),
            ]),
            "freed before",
        ),
        (
            plain(vec![
                read(),
                created(),
                call("delete", "01:10", "collector"),
                renewed(),
            ]),
            "freed before",
        ),
        ((begun(with("slot", "")), sound()), "names no slot"),
        (
            (begun(with("slot", "slot.cluster.0/v")), sound()),
            "had not written",
        ),
        ((begun(with("opt_in", "")), sound()), "I12"),
        ((begun(with("opt_in", "87")), sound()), "I12"),
        (plain(vec![created(), renewed()]), "I12"),
        (
            plain(vec![call("get", "00:10", "a"), created(), renewed()]),
            "I12",
        ),
        (
            plain(vec![call("get", "00:50", "b"), created(), renewed()]),
            "I12",
        ),
        ((restarted.clone(), sound()), "I12"),
        (
            (
                restarted.clone(),
                vec![call("get", "01:15", "a"), created()],
            ),
            "I6",
        ),
    ] {
        let said = found(&records, &calls);
        assert!(said.contains(word), "«{said}» for {word}");
    }
}
