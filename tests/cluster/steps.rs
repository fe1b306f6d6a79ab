//! Each disruptive step in an agent's audit log against the server's: I2, I5 and I12.

use jiff::Timestamp;
use serde_json::Value;

use crate::audit::Call;

/// How long a write proves a slot (safety.md 2).
const HOLD_SECONDS: i64 = 60;

/// Every step in `records`, the audit log of the agent on `node`, that began without a slot of its
/// own at that moment, without a fresh write of it, or without an opt-in; empty when all is well.
pub fn breaches(node: &str, records: &[Value], calls: &[Call]) -> Vec<String> {
    let begun = records
        .iter()
        .filter(|record| record["kind"] == "step-began");
    begun
        .filter_map(|record| breach(node, record, calls))
        .collect()
}

fn breach(node: &str, record: &Value, calls: &[Call]) -> Option<String> {
    let step = format!("{node} {} step {}", record["run"], record["step"]);
    let Some((name, uid)) = record["slot"]
        .as_str()
        .and_then(|slot| slot.split_once('/'))
    else {
        return Some(format!("I2: {step} names no slot: {}", record["slot"]));
    };
    if record["opt_in"].as_str().is_none_or(str::is_empty) {
        return Some(format!("I12: {step} names no opt-in"));
    }
    let began = moment(&record["time"])?;
    let of_slot = |call: &&Call| {
        call.resource == "leases"
            && call.is_done()
            && !call.is_dry()
            && call.node.as_deref() == Some(node)
    };
    let before =
        |call: &&Call| moment(&call.record["stageTimestamp"]).is_some_and(|at| at <= began);
    let mut earlier = calls.iter().filter(of_slot).filter(before);
    let freed = earlier.clone().any(|call| {
        call.verb == "delete" && call.record["requestObject"]["preconditions"]["uid"] == uid
    });
    let written = earlier.rfind(|call| {
        matches!(call.verb.as_str(), "create" | "update")
            && call.record["responseObject"]["metadata"]["uid"] == uid
    });
    // The hold counts from before the request was sent, so the server's receipt is late enough.
    let written = written.and_then(|call| moment(&call.record["requestReceivedTimestamp"]));
    match written {
        None => Some(format!(
            "I2: {step} began under {name}, which {node} never wrote"
        )),
        Some(_) if freed => Some(format!("I2: {step} began under {name}, freed before")),
        Some(at) if began.as_second() - at.as_second() > HOLD_SECONDS => Some(format!(
            "I5: {step} began {began}, {name} was last written {at}"
        )),
        Some(_) => None,
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[test]
fn the_checker_finds_each_kind_of_step_without_leave() {
    let step = |time: &str, slot: &str, opt_in: &str| {
        serde_json::json!({ "kind": "step-began", "run": "run-1", "step": 0, "slot": slot,
            "opt_in": opt_in, "time": format!("2026-11-22T09:{time}Z") })
    };
    let call = |verb: &str, time: &str, node: &str| {
        let record = serde_json::json!({
            "verb": verb, "stage": "ResponseComplete", "requestURI": "/x",
            "user": { "username": "agent", "extra": {
                "authentication.kubernetes.io/node-name": [node] } },
            "objectRef": { "resource": "leases", "name": "slot.cluster.0" },
            "responseStatus": { "code": 200 },
            "requestReceivedTimestamp": format!("2026-11-22T09:{time}Z"),
            "stageTimestamp": format!("2026-11-22T09:{time}Z"),
            "requestObject": { "preconditions": { "uid": "u" } },
            "responseObject": { "metadata": { "uid": "u" } },
        });
        crate::audit::parse(&record.to_string())
    };
    let found = |record: &Value, calls: &[Call]| {
        breaches("a", std::slice::from_ref(record), calls).join("\n")
    };
    let sound = step("01:30", "slot.cluster.0/u", "88");
    assert_eq!(found(&sound, &[call("create", "01:00", "a")]), "");
    let renewed = [call("create", "00:00", "a"), call("update", "01:20", "a")];
    assert_eq!(found(&sound, &renewed), "");
    for (record, calls, word) in [
        (&sound, vec![], "never wrote"),
        (&sound, vec![call("create", "01:00", "b")], "never wrote"),
        (&sound, vec![call("create", "01:40", "a")], "never wrote"),
        (
            &sound,
            vec![call("create", "01:00", "a"), call("delete", "01:10", "a")],
            "freed before",
        ),
        (&sound, vec![call("create", "00:10", "a")], "I5"),
        (&step("01:30", "", "88"), vec![], "names no slot"),
        (
            &step("01:30", "slot.cluster.0/v", "88"),
            vec![call("create", "01:00", "a")],
            "never wrote",
        ),
        (
            &step("01:30", "slot.cluster.0/u", ""),
            vec![call("create", "01:00", "a")],
            "I12",
        ),
    ] {
        let said = found(record, &calls);
        assert!(said.contains(word), "«{said}» for {word}");
    }
}
