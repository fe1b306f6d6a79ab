//! No permission on pods at all, nor on anything else that could widen an agent's rights; and the
//! same once more after somebody bound `cluster-admin` to the agents by mistake.

use std::fs;

use hyper::Method;
use serde_json::json;

use super::case::Want::{Allow, Deny};
use super::case::{Case, RBAC, Scene, grant_everything, run};
use crate::pki::base64;

const NEVER: &str = "ValidatingAdmissionPolicy 'nodemend-agent-";

#[test]
fn an_agent_has_no_permission_on_pods_rights_or_policies() {
    let scene = Scene::new("nothing-else");
    let mut cases: Vec<Case> = READS.to_vec();
    cases.extend(WRITES.iter().map(|(claim, act)| (*claim, Deny(RBAC), *act)));
    cases.extend(POLICY_CASES);
    run(&scene, &cases);
}

#[test]
fn a_role_bound_by_mistake_gives_an_agent_nothing_to_write() {
    let scene = Scene::new("granted");
    grant_everything(&scene);
    let cases: Vec<Case> = WRITES
        .iter()
        .map(|(claim, act)| (*claim, Deny(NEVER), *act))
        .collect();
    run(&scene, &cases);
}

type Act = fn(&Scene) -> crate::api::Answer;

const READS: &[Case] = &[
    ("read the number of agents wanted", Allow, |s| {
        get(s, &daemon_sets("/nodemend"))
    }),
    ("read another DaemonSet", Deny(RBAC), |s| {
        get(s, &daemon_sets("/other"))
    }),
    ("list DaemonSets", Deny(RBAC), |s| get(s, &daemon_sets(""))),
    ("read the own pod", Deny(RBAC), |s| get(s, POD)),
    ("list the pods of the namespace", Deny(RBAC), |s| {
        get(s, PODS)
    }),
    ("list all pods", Deny(RBAC), |s| get(s, "/api/v1/pods")),
    ("list the pods of the own node", Deny(RBAC), |s| {
        get(s, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a")
    }),
    ("watch pods", Deny(RBAC), |s| get(s, "/api/v1/pods?watch=1")),
    ("read the log of a pod", Deny(RBAC), |s| {
        get(s, &format!("{POD}/log"))
    }),
    ("list secrets", Deny(RBAC), |s| get(s, "/api/v1/secrets")),
    ("list secrets of the namespace", Deny(RBAC), |s| {
        get(s, "/api/v1/namespaces/nodemend/secrets")
    }),
    ("list namespaces", Deny(RBAC), |s| {
        get(s, "/api/v1/namespaces")
    }),
    ("list policies", Deny(RBAC), |s| get(s, POLICIES)),
    ("read the server's metrics", Deny(RBAC), |s| {
        get(s, "/metrics")
    }),
];

const WRITES: &[(&str, Act)] = &[
    // Its status is the agent's; what stands beside it, cordon and taints, is not.
    ("annotate the own Node beside its status", |s| {
        let notes = json!({ "annotations": { "nodemend.io/state": "healthy" } });
        s.own
            .caller
            .merge(&s.own.node_path(), &json!({ "metadata": notes }))
    }),
    ("cordon the own Node", |s| {
        let patch = json!({ "spec": { "unschedulable": true } });
        s.own.caller.merge(&s.own.node_path(), &patch)
    }),
    ("taint the own Node", |s| {
        let taints = json!([{ "key": "nodemend.io/quarantine", "effect": "NoSchedule" }]);
        let patch = json!({ "spec": { "taints": taints } });
        s.own.caller.merge(&s.own.node_path(), &patch)
    }),
    ("create a pod", |s| {
        let container = json!({ "name": "x", "image": "x" });
        let spec = json!({ "serviceAccountName": "nodemend-agent", "containers": [container] });
        post(
            s,
            PODS,
            json!({ "metadata": { "name": "x" }, "spec": spec }),
        )
    }),
    ("remove the own pod", |s| s.own.caller.delete(POD)),
    ("remove a foreign pod", |s| s.own.caller.delete(FOREIGN_POD)),
    ("evict the own pod", |s| {
        post(
            s,
            &format!("{POD}/eviction"),
            eviction("nodemend-agent-node-a"),
        )
    }),
    ("evict a foreign pod", |s| {
        post(
            s,
            &format!("{FOREIGN_POD}/eviction"),
            eviction("nodemend-agent-node-b"),
        )
    }),
    ("annotate a pod", |s| {
        s.own
            .caller
            .merge(POD, &json!({ "metadata": { "annotations": { "x": "y" } } }))
    }),
    ("write the status of a pod", |s| {
        s.own.caller.merge(
            &format!("{POD}/status"),
            &json!({ "status": { "phase": "Failed" } }),
        )
    }),
    ("run a command in a pod", |s| {
        s.own.caller.call(
            Method::POST,
            &format!("{POD}/exec?command=id&stdout=1"),
            None,
        )
    }),
    ("add a debug container to a pod", |s| {
        let container = json!({ "name": "debug", "image": "x" });
        let patch = json!({ "spec": { "ephemeralContainers": [container] } });
        s.own
            .caller
            .patch(&format!("{POD}/ephemeralcontainers"), &patch)
    }),
    ("create a secret", |s| {
        post(
            s,
            "/api/v1/namespaces/nodemend/secrets",
            json!({ "metadata": { "name": "x" } }),
        )
    }),
    ("mint a token", |s| {
        let path = "/api/v1/namespaces/nodemend/serviceaccounts/nodemend-agent/token";
        post(s, path, json!({ "spec": {} }))
    }),
    ("create a service account", |s| {
        let path = "/api/v1/namespaces/nodemend/serviceaccounts";
        post(s, path, json!({ "metadata": { "name": "x" } }))
    }),
    ("create a namespace", |s| {
        post(
            s,
            "/api/v1/namespaces",
            json!({ "metadata": { "name": "x" } }),
        )
    }),
    ("change its own DaemonSet", |s| {
        let patch = json!({ "metadata": { "annotations": { "x": "y" } } });
        s.own.caller.merge(&daemon_sets("/nodemend"), &patch)
    }),
    ("remove its own DaemonSet", |s| {
        s.own.caller.delete(&daemon_sets("/nodemend"))
    }),
    ("create a job", |s| {
        let pod = json!({ "spec": { "restartPolicy": "Never",
            "containers": [{ "name": "x", "image": "x" }] } });
        let path = "/apis/batch/v1/namespaces/nodemend/jobs";
        post(
            s,
            path,
            json!({ "metadata": { "name": "x" }, "spec": { "template": pod } }),
        )
    }),
    ("bind a role to itself", |s| {
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "cluster-admin" });
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        post(
            s,
            path,
            json!({ "metadata": { "name": "x" }, "roleRef": role }),
        )
    }),
    ("widen its own role", |s| {
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/nodemend-agent";
        s.own.caller.merge(path, &json!({ "rules": [] }))
    }),
    ("ask for a certificate", |s| {
        let request = fs::read(s.plane.pki().path("admin.csr")).expect("openssl left it");
        let spec = json!({ "request": base64(&request), "usages": ["client auth"],
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet" });
        let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        post(
            s,
            path,
            json!({ "metadata": { "name": "x" }, "spec": spec }),
        )
    }),
    ("remove its own flow schema", |s| {
        let path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/nodemend-agents";
        s.own.caller.delete(path)
    }),
    ("create a lease of a node's heartbeat", |s| {
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        s.own.caller.create(path, &s.own.lease("node-x"))
    }),
];

/// Rules of admission protect everything but themselves: there RBAC is the only wall.
const POLICY_CASES: &[Case] = &[
    ("remove a policy", Deny(RBAC), |s| {
        s.own
            .caller
            .delete(&format!("{POLICIES}/nodemend-slot-caps"))
    }),
    ("change a policy", Deny(RBAC), |s| {
        let patch = json!({ "spec": { "failurePolicy": "Ignore" } });
        s.own
            .caller
            .merge(&format!("{POLICIES}/nodemend-slot-caps"), &patch)
    }),
    ("remove a binding", Deny(RBAC), |s| {
        s.own.caller.delete(
                    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/nodemend-breaker",
                )
    }),
];

const PODS: &str = "/api/v1/namespaces/nodemend/pods";
const POD: &str = "/api/v1/namespaces/nodemend/pods/nodemend-agent-node-a";
const FOREIGN_POD: &str = "/api/v1/namespaces/nodemend/pods/nodemend-agent-node-b";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

fn get(scene: &Scene, path: &str) -> crate::api::Answer {
    scene.own.caller.get(path)
}

fn post(scene: &Scene, path: &str, object: serde_json::Value) -> crate::api::Answer {
    scene.own.caller.create(path, &object)
}

fn daemon_sets(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/nodemend/daemonsets{name}")
}

fn eviction(pod: &str) -> serde_json::Value {
    json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod } })
}
