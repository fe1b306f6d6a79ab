//! What the manifests grant beside what the audit log saw: nothing unused, nothing missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::audit::Call;

const AGENTS: &str = "system:serviceaccount:nodemend:nodemend-agent";

/// One right: API group, resource, verb.
pub type Right = (String, String, String);

/// Every right that `manifests/base/rbac.yaml` grants.
pub fn granted() -> BTreeSet<Right> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base/rbac.yaml");
    let text = fs::read_to_string(file).expect("the manifests are there");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("rbac.yaml is YAML");
    let mut rights = BTreeSet::new();
    for rule in documents
        .iter()
        .flat_map(|document| list(&document["rules"]))
    {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    rights.insert((text_of(group), text_of(resource), text_of(verb)));
                }
            }
        }
    }
    rights
}

/// The rights that the agents made use of, and the calls that RBAC refused them.
pub fn used(calls: &[Call]) -> (BTreeSet<Right>, Vec<String>) {
    let (mut rights, mut refused) = (BTreeSet::new(), Vec::new());
    for call in calls
        .iter()
        .filter(|call| call.user == AGENTS && !call.resource.is_empty())
    {
        let reason = call
            .record
            .pointer("/annotations/authorization.k8s.io~1decision");
        let right = (call.group.clone(), call.resource.clone(), call.verb.clone());
        if reason.and_then(Value::as_str) == Some("forbid") {
            refused.push(format!(
                "{} {}/{} {}",
                call.verb, call.group, call.resource, call.name
            ));
        } else {
            rights.insert(right);
        }
    }
    (rights, refused)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> String {
    value.as_str().expect("a rule lists words").to_owned()
}

#[test]
fn rights_are_read_from_the_manifests_and_from_the_audit_log() {
    let right = |group: &str, resource: &str, verb: &str| {
        (group.to_owned(), resource.to_owned(), verb.to_owned())
    };
    let granted = granted();
    for wanted in [
        right("", "nodes", "get"),
        right("", "nodes/status", "patch"),
        right("coordination.k8s.io", "leases", "delete"),
        right("events.k8s.io", "events", "create"),
    ] {
        assert!(granted.contains(&wanted), "{wanted:?} in {granted:?}");
    }
    assert!(
        !granted
            .iter()
            .any(|(_, resource, _)| resource.contains("pods")),
        "{granted:?}"
    );
    let line = |verb: &str, decision: &str| {
        format!(
            r#"{{"verb":"{verb}","user":{{"username":"{AGENTS}"}},"objectRef":{{"resource":"nodes","name":"a"}},"annotations":{{"authorization.k8s.io/decision":"{decision}"}}}}"#
        )
    };
    let calls = [line("get", "allow"), line("list", "forbid")];
    let calls: Vec<Call> = calls.iter().map(|line| crate::audit::parse(line)).collect();
    let (rights, refused) = used(&calls);
    assert_eq!(rights, BTreeSet::from([right("", "nodes", "get")]));
    assert_eq!(refused, ["list /nodes a"]);
}
