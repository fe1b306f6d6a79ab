//! Nodes with an agent's pod bound to each, as the scheduler and kubelet would leave them, and the
//! tokens that kubelet would hand to those pods.

use serde_json::{Value, json};

use crate::api::Caller;
use crate::controlplane::ControlPlane;

/// Leases of the agents' namespace.
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/nodemend/leases";
/// ConfigMaps of the agents' namespace.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/nodemend/configmaps";
/// Events about Nodes.
pub const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
/// The account of the agents.
pub const ACCOUNT: &str = "nodemend-agent";

/// One node and the identity of its agent.
pub struct Agent {
    /// Name of the Node.
    pub node: String,
    /// Uid of the Node.
    pub uid: String,
    /// The bearer token of the agent's pod.
    pub token: String,
    /// A caller with that token.
    pub caller: Caller,
}

impl Agent {
    /// Registers `node` and binds an agent's pod to it.
    pub fn join(plane: &ControlPlane, node: &str) -> Self {
        Self::join_labelled(plane, node, &zone_a())
    }

    /// The same with `labels` on the Node.
    pub fn join_labelled(plane: &ControlPlane, node: &str, labels: &Value) -> Self {
        let bare = Self::join_bare_labelled(plane, node, labels);
        let token = token(plane, node, ACCOUNT);
        Self {
            caller: plane.token_caller(&token),
            token,
            ..bare
        }
    }

    /// Registers `node` only: no pod, and a token that nobody accepts.
    pub fn join_bare(plane: &ControlPlane, node: &str) -> Self {
        Self::join_bare_labelled(plane, node, &zone_a())
    }

    fn join_bare_labelled(plane: &ControlPlane, node: &str, labels: &Value) -> Self {
        let admin = plane.admin();
        let object = json!({ "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": node, "labels": labels } });
        let object = admin
            .create("/api/v1/nodes", &object)
            .expect("register the node");
        let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        let status = json!({ "status": {
            "addresses": [{ "type": "Hostname", "address": node }],
            "capacity": room, "allocatable": room,
            // One of another tool's, as on many nodes: agents then ask which types are theirs.
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" },
                { "type": "OtherToolProblem", "status": "False", "reason": "Fine" }],
        } });
        let path = format!("/api/v1/nodes/{node}/status");
        admin
            .patch(&path, &status)
            .expect("report the node's status");
        Self {
            node: node.to_owned(),
            uid: text(&object["metadata"]["uid"]),
            caller: plane.token_caller("none"),
            token: "none".to_owned(),
        }
    }

    /// Path of its Node.
    pub fn node_path(&self) -> String {
        format!("/api/v1/nodes/{}", self.node)
    }

    /// A Lease `name` held by this agent and owned by its Node.
    pub fn lease(&self, name: &str) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name, "ownerReferences": [self.owner()] },
            "spec": { "holderIdentity": self.node, "leaseDurationSeconds": 60 },
        })
    }

    /// The reference to its Node that makes garbage collection free what it holds.
    pub fn owner(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "Node", "name": self.node, "uid": self.uid })
    }

    /// An event about its own Node.
    pub fn event(&self, name: &str) -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": { "name": name, "namespace": "default" },
            "eventTime": "2026-11-22T08:00:00.000000Z", "type": "Warning",
            "reason": "BusSilent", "action": "Diagnose", "note": "PID 1 does not answer",
            "reportingController": "nodemend.io/agent", "reportingInstance": self.node,
            "regarding": { "apiVersion": "v1", "kind": "Node", "name": self.node },
        })
    }
}

fn zone_a() -> Value {
    json!({ "topology.kubernetes.io/zone": "a", "kubernetes.io/os": "linux" })
}

/// Binds a pod of `account` to `node` and mints the token that the kubelet would mount into it.
pub fn token(plane: &ControlPlane, node: &str, account: &str) -> String {
    let admin = plane.admin();
    let name = format!("{account}-{node}");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": node, "serviceAccountName": account,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "agent", "image": "localhost/nodemend:0.1.0" }],
        },
    });
    let pods = "/api/v1/namespaces/nodemend/pods";
    let pod = admin.create(pods, &pod).expect("bind a pod to the node");
    let bound = json!({ "kind": "Pod", "apiVersion": "v1", "name": name,
        "uid": pod["metadata"]["uid"] });
    mint(
        plane,
        account,
        // Longer than any test: nobody here renews it.
        &json!({ "expirationSeconds": 86_400, "boundObjectRef": bound }),
    )
}

/// A token of `account` by the TokenRequest API with `spec`.
pub fn mint(plane: &ControlPlane, account: &str, spec: &Value) -> String {
    let path = format!("/api/v1/namespaces/nodemend/serviceaccounts/{account}/token");
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": spec });
    let answer = plane.admin().create(&path, &request).expect("mint a token");
    text(&answer["status"]["token"])
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .expect("the server fills this field")
        .to_owned()
}
