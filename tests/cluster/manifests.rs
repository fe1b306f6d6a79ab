//! The manifests as an operator applies them: every overlay, every field known to the server,
//! every expression type-checked by it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Caller;
use crate::controlplane::ControlPlane;
use crate::fleet::Agent;
use crate::process::until;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const PODS: &str = "/api/v1/namespaces/nodemend/pods";
const DAEMON_SET: &str = "/apis/apps/v1/namespaces/nodemend/daemonsets/nodemend";

#[test]
fn every_overlay_applies_and_every_policy_type_checks() {
    let plane = ControlPlane::start_with_controllers("manifests");
    let admin = plane.admin();
    let node = Agent::join_bare(&plane, "node-a");
    install_operator_kinds(&admin);
    let overlays = children("overlays");
    assert!(overlays.len() >= 3, "{overlays:?}");
    for overlay in &overlays {
        plane.apply(&format!("overlays/{overlay}"));
        // A second time: what the server filled in is no conflict.
        plane.apply(&format!("overlays/{overlay}"));
        let wanted = admin.get(DAEMON_SET).expect("the DaemonSet exists");
        let what = format!("{overlay}: a pod on the node");
        until(&what, Duration::from_secs(60), || {
            pods(&admin).iter().any(|pod| runs(pod, &wanted, &node))
        });
        // No kubelet here lets go of a pod when the next overlay replaces it.
        admin.delete(DAEMON_SET).expect("remove the DaemonSet");
        admin
            .delete(&format!("{PODS}?gracePeriodSeconds=0"))
            .expect("remove the pods");
    }
    for component in children("components") {
        plane.apply(&format!("components/{component}"));
    }
    check_policies(&admin);
}

fn check_policies(admin: &Caller) {
    let mut policies = Vec::new();
    until(
        "the server has type-checked every policy",
        Duration::from_secs(60),
        || {
            let list = admin.get(POLICIES).expect("list the policies");
            policies = list["items"].as_array().cloned().unwrap_or_default();
            policies.len() >= 8
                && policies
                    .iter()
                    .all(|one| !one["status"]["typeChecking"].is_null())
        },
    );
    for policy in policies {
        let name = policy["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        // Rules of "*/*" have no one type to be checked against.
        assert!(warnings.is_null(), "{name}: {warnings:#}");
    }
}

/// Whether `pod` belongs to this very DaemonSet on `node`, and is admitted as it was written.
fn runs(pod: &Value, wanted: &Value, node: &Agent) -> bool {
    let spec = &pod["spec"];
    let template = &wanted["spec"]["template"]["spec"];
    pod["metadata"]["ownerReferences"][0]["uid"] == wanted["metadata"]["uid"]
        && spec["nodeName"] == json!(node.node)
        && spec["containers"][0]["args"] == template["containers"][0]["args"]
        && spec["volumes"] == template["volumes"]
        && spec["priority"] == json!(900_000_000)
}

fn pods(admin: &Caller) -> Vec<Value> {
    let list = admin.get(PODS).expect("list the pods");
    list["items"].as_array().cloned().unwrap_or_default()
}

/// The kinds of the Prometheus operator, as open as a kind can be: the component only has to be
/// accepted here, its content is checked where Prometheus is.
fn install_operator_kinds(admin: &Caller) {
    for (kind, plural) in [
        ("PodMonitor", "podmonitors"),
        ("PrometheusRule", "prometheusrules"),
    ] {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let version = json!({ "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": schema } });
        let names = json!({ "kind": kind, "plural": plural, "singular": kind.to_lowercase() });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.monitoring.coreos.com"),
                "annotations": { "api-approved.kubernetes.io": "unapproved, test only" } },
            "spec": { "group": "monitoring.coreos.com", "scope": "Namespaced", "names": names,
                "versions": [version] },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        admin
            .create(path, &definition)
            .expect("define the operator's kind");
        let list = format!("/apis/monitoring.coreos.com/v1/{plural}");
        until("the kind is served", Duration::from_secs(30), || {
            admin.get(&list).code == 200
        });
    }
}

/// A condition that admission does not know would cost the agent its whole status patch.
#[test]
fn every_condition_of_a_signature_is_listed_for_admission() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = fs::read_to_string(root.join("manifests/base/conditions.yaml")).expect("the list");
    let listed: Value = serde_saphyr::from_str(&listed).expect("the list is YAML");
    let mut missing = BTreeSet::new();
    for file in signatures(&root.join("remediations/signatures")) {
        let text = fs::read_to_string(&file).expect("a signature can be read");
        for document in serde_saphyr::from_multiple::<Value>(&text).expect("signatures are YAML") {
            if let Some(kind) = document.pointer("/condition/type").and_then(Value::as_str)
                && listed["data"][kind].is_null()
            {
                missing.insert(format!("{kind}: {}", document["id"]));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "add to manifests/base/conditions.yaml:\n{missing:#?}"
    );
}

fn signatures(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            files.extend(signatures(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files
}

fn children(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("manifests")
        .join(folder);
    let entries = fs::read_dir(&folder).expect("the manifests are there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a readable directory").file_name())
        .map(|name| name.into_string().expect("our own names are UTF-8"))
        .collect();
    names.sort();
    names
}
