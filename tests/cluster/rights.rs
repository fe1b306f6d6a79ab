//! What the manifests grant beside what the audit log saw: nothing unused, nothing missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Caller;
use crate::audit::Call;
use crate::controlplane::ControlPlane;
use crate::process::until;

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

/// Every verb on every resource that the server knows, in and outside the agents' namespace: what
/// the server allows is what the manifests grant, and no more.
#[test]
fn the_server_allows_exactly_what_the_manifests_grant() {
    let plane = ControlPlane::start("rights");
    plane.apply("overlays/observe");
    let admin = plane.admin();
    until("the roles are in force", Duration::from_secs(30), || {
        is_allowed(
            &admin,
            Some("default"),
            "events.k8s.io",
            "events",
            "create",
            "",
        )
    });
    let (mut asked, mut allowed) = (0, BTreeSet::new());
    for (group, resource) in resources(&admin) {
        for verb in VERBS {
            for namespace in [Some("nodemend"), Some("default"), Some("kube-system"), None] {
                asked += 1;
                if is_allowed(&admin, namespace, &group, &resource, verb, "") {
                    let place = namespace.unwrap_or("*");
                    allowed.insert(format!("{place} {group}/{resource} {verb}"));
                }
            }
        }
    }
    eprintln!("{asked} questions, {} rights", allowed.len());
    assert_eq!(allowed, expected());
    for (name, wanted) in [("nodemend", true), ("other", false)] {
        let own = is_allowed(&admin, Some("nodemend"), "apps", "daemonsets", "get", name);
        assert_eq!(own, wanted, "get DaemonSet {name}");
    }
}

const VERBS: [&str; 13] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "use",
];

fn expected() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    // A right on all of a namespace's objects; DaemonSets are granted by name, so not here.
    for (group, resource, verb) in granted() {
        match resource.as_str() {
            "nodes" | "nodes/status" => {
                // A cluster-wide right answers for any namespace.
                for place in ["nodemend", "default", "kube-system", "*"] {
                    all.insert(format!("{place} {group}/{resource} {verb}"));
                }
            }
            "events" => drop(all.insert(format!("default {group}/{resource} {verb}"))),
            "daemonsets" => {}
            _ => drop(all.insert(format!("nodemend {group}/{resource} {verb}"))),
        }
    }
    // What Kubernetes gives to everybody: to ask about oneself.
    for (group, kind) in [
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ] {
        for place in ["nodemend", "default", "kube-system", "*"] {
            all.insert(format!("{place} {group}/{kind} create"));
        }
    }
    all
}

/// Every resource and subresource of every group, in its preferred version.
fn resources(admin: &Caller) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut paths = vec![(String::new(), "/api/v1".to_owned())];
    let groups = admin.get("/apis").expect("discover the groups");
    for group in list(&groups["groups"]) {
        let version = text_of(&group["preferredVersion"]["groupVersion"]);
        paths.push((text_of(&group["name"]), format!("/apis/{version}")));
    }
    for (group, path) in paths {
        let answer = admin.get(&path).expect("discover the group");
        for resource in list(&answer["resources"]) {
            found.insert((group.clone(), text_of(&resource["name"])));
        }
    }
    found
}

fn is_allowed(
    admin: &Caller,
    namespace: Option<&str>,
    group: &str,
    resource: &str,
    verb: &str,
    name: &str,
) -> bool {
    let (kind, part) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = json!({ "namespace": namespace.unwrap_or_default(), "group": group,
        "resource": kind, "subresource": part, "verb": verb, "name": name });
    let groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:nodemend",
        "system:authenticated",
    ];
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": { "user": AGENTS, "groups": groups, "resourceAttributes": attributes } });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = admin.create(path, &review).expect("ask the server");
    answer["status"]["allowed"] == json!(true)
}
