//! Tokens that are expired, foreign, unbound or of another account; kubelets; nobody.

use std::time::Duration;

use serde_json::json;

use super::case::Want::{Allow, Deny, Unknown};
use super::case::{Case, DRY, RBAC, Scene, lease, run};
use crate::api::Answer;
use crate::fleet::{ACCOUNT, CONFIG_MAPS, LEASES, mint, token};
use crate::process::until;

const UNBOUND: &str = "the token is not bound to a pod on a node";

#[test]
fn only_the_token_of_a_pod_on_the_node_speaks_for_the_node() {
    let scene = Scene::new("identities");
    let namespace = "/api/v1/namespaces/nodemend";
    let account = json!({ "metadata": { "name": "other" } });
    scene
        .admin
        .create(&format!("{namespace}/serviceaccounts"), &account)
        .expect("an account");
    for node in ["node-a", "node-b"] {
        scene
            .plane
            .pki()
            .user(node, &format!("system:node:{node}"), "system:nodes");
    }
    run(&scene, CASES);
}

#[test]
fn an_operator_frees_slots_and_rules_over_breakers_and_limits() {
    let scene = Scene::new("operator");
    scene.plane.pki().user("operator", "op", "people");
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
        "name": "nodemend-operator" });
    let binding = json!({ "metadata": { "name": "op" }, "roleRef": role,
        "subjects": [{ "kind": "User", "name": "op" }] });
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/nodemend/rolebindings";
    scene
        .admin
        .create(path, &binding)
        .expect("bind the operator's role");
    let operator = scene.plane.caller("operator");
    until("the role is in force", Duration::from_secs(10), || {
        operator.get(LEASES).is_success()
    });
    run(&scene, OPERATOR);
}

const OPERATOR: &[Case] = &[
    ("an operator frees a slot", Allow, |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        s.plane
            .caller("operator")
            .delete_exactly(&lease("slot.cluster.0"), &held)
    }),
    ("an operator takes a slot", Deny(RBAC), |s| {
        s.plane
            .caller("operator")
            .create(LEASES, &s.own.lease("slot.cluster.0"))
    }),
    ("an operator changes who holds a slot", Deny(RBAC), |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        s.plane
            .caller("operator")
            .replace(&lease("slot.cluster.0"), &held)
    }),
    ("an operator pulls the stop cord", Allow, |s| {
        let object = json!({ "metadata": { "name": "breaker-stop" } });
        s.plane
            .caller("operator")
            .create(&format!("{CONFIG_MAPS}?dryRun=All"), &object)
    }),
    ("an operator sets the limits", Allow, |s| {
        let path = format!("{CONFIG_MAPS}/limits?dryRun=All");
        s.plane
            .caller("operator")
            .merge(&path, &json!({ "data": { "cluster": "2" } }))
    }),
    ("an operator annotates a Node", Deny(RBAC), |s| {
        let patch = json!({ "metadata": { "annotations": { "nodemend.io/mode": "auto" } } });
        s.plane.caller("operator").patch(&s.own.node_path(), &patch)
    }),
];

const CASES: &[Case] = &[
    ("the agent's own token", Allow, |s| slot(s, &s.own.token)),
    (
        "the token of a foreign agent, for a slot of this node",
        Deny("spec.holderIdentity"),
        |s| slot(s, &s.foreign.token),
    ),
    ("a token that expired a minute ago", Unknown, |s| {
        slot(
            s,
            &s.plane.pki().expired(&s.own.token, Duration::from_secs(60)),
        )
    }),
    ("a token with another signature", Unknown, |s| {
        let (signed, _) = s.own.token.rsplit_once('.').expect("a JWT");
        let (_, signature) = s.foreign.token.rsplit_once('.').expect("a JWT");
        slot(s, &format!("{signed}.{signature}"))
    }),
    ("a token without signature", Unknown, |s| {
        let (signed, _) = s.own.token.rsplit_once('.').expect("a JWT");
        slot(s, &format!("{signed}."))
    }),
    ("no token at all", Unknown, |s| slot(s, "none")),
    ("a token for another audience", Unknown, |s| {
        let spec = json!({ "audiences": ["vault"], "expirationSeconds": 600 });
        slot(s, &mint(&s.plane, ACCOUNT, &spec))
    }),
    ("a token bound to nothing, for a slot", Deny(UNBOUND), |s| {
        slot(s, &unbound(s))
    }),
    (
        "a token bound to nothing, for a claim",
        Deny(UNBOUND),
        |s| {
            s.plane
                .token_caller(&unbound(s))
                .create(DRY, &s.own.lease("node-a"))
        },
    ),
    (
        "a token bound to nothing, for the own Node",
        Deny("its own Node only"),
        |s| {
            let patch =
                json!({ "metadata": { "annotations": { "nodemend.io/state": "healthy" } } });
            s.plane
                .token_caller(&unbound(s))
                .patch(&format!("{}/status", s.own.node_path()), &patch)
        },
    ),
    (
        "a token bound to nothing, for an event",
        Deny("its own Node only"),
        |s| {
            s.plane
                .token_caller(&unbound(s))
                .create(crate::fleet::EVENTS, &s.own.event("unbound"))
        },
    ),
    ("the token of a pod that is gone", Unknown, |s| {
        let token = token(&s.plane, "node-a", "other");
        let pod = "/api/v1/namespaces/nodemend/pods/other-node-a?gracePeriodSeconds=0";
        s.admin.delete(pod).expect("remove the pod");
        // The server remembers an accepted token for ten seconds, so this one was never shown.
        slot(s, &token)
    }),
    ("a pod on this node of another account", Deny(RBAC), |s| {
        let token = token(&s.plane, "node-a", "other");
        let answer = slot(s, &token);
        let pod = "/api/v1/namespaces/nodemend/pods/other-node-a?gracePeriodSeconds=0";
        s.admin.delete(pod).expect("remove the pod");
        answer
    }),
    (
        "the kubelet, for a slot of its node",
        Deny("can only access leases in"),
        |s| {
            s.plane
                .caller("node-a")
                .create(LEASES, &s.own.lease("slot.cluster.0"))
        },
    ),
    ("the kubelet, for the limits", Deny("can only read"), |s| {
        let path = "/api/v1/namespaces/nodemend/configmaps/limits";
        s.plane
            .caller("node-a")
            .merge(path, &json!({ "data": { "cluster": "999" } }))
    }),
    ("the kubelet annotates its node", Allow, |s| {
        annotate(s, "x.io/y")
    }),
    (
        "the kubelet opts its node in by mode",
        Deny("a kubelet does not"),
        |s| annotate(s, "nodemend.io/mode"),
    ),
    (
        "the kubelet opts its node in by allow",
        Deny("a kubelet does not"),
        |s| annotate(s, "nodemend.io/allow"),
    ),
    (
        "the kubelet approves a case",
        Deny("a kubelet does not"),
        |s| annotate(s, "nodemend.io/approve"),
    ),
    (
        "the kubelet pauses its node",
        Deny("a kubelet does not"),
        |s| annotate(s, "nodemend.io/pause"),
    ),
    ("the kubelet reports its status", Allow, |s| {
        let list = json!([{ "type": "Ready", "status": "True", "reason": "KubeletReady" }]);
        let path = format!("{}/status", s.own.node_path());
        s.plane
            .caller("node-a")
            .patch(&path, &json!({ "status": { "conditions": list } }))
    }),
    (
        "the kubelet opts its node in by the status resource",
        Deny("a kubelet does not"),
        |s| {
            let patch = json!({ "metadata": { "annotations": { "nodemend.io/mode": "auto" } } });
            s.plane
                .caller("node-a")
                .patch(&format!("{}/status", s.own.node_path()), &patch)
        },
    ),
    ("a person opts the node in", Allow, |s| {
        let patch = json!({ "metadata": { "annotations": { "nodemend.io/mode": "auto" } } });
        s.admin.patch(&s.own.node_path(), &patch)
    }),
];

fn slot(scene: &Scene, token: &str) -> Answer {
    scene
        .plane
        .token_caller(token)
        .create(DRY, &scene.own.lease("slot.cluster.0"))
}

fn unbound(scene: &Scene) -> String {
    mint(&scene.plane, ACCOUNT, &json!({ "expirationSeconds": 600 }))
}

fn annotate(scene: &Scene, key: &str) -> Answer {
    let patch = json!({ "metadata": { "annotations": { key: "auto" } } });
    scene
        .plane
        .caller("node-a")
        .patch(&scene.own.node_path(), &patch)
}
