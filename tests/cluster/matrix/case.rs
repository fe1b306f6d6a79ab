//! A row of the table, and the one place that runs all of them.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Answer, Caller};
use crate::controlplane::ControlPlane;
use crate::fleet::{Agent, CONFIG_MAPS, LEASES};
use crate::process::until;

/// What the server must answer.
#[derive(Clone, Copy)]
pub enum Want {
    /// It is done.
    Allow,
    /// 403, and the message says this: a refusal for another reason proves nothing.
    Deny(&'static str),
    /// 422: the object's own rules refuse it, with these words.
    Invalid(&'static str),
    /// 401: the token itself is not accepted.
    Unknown,
    /// 409: somebody was there first.
    Conflict,
}

/// One row: the claim, the answer it expects, and the call.
pub type Case = (&'static str, Want, fn(&Scene) -> Answer);

/// RBAC's refusals all contain this.
pub const RBAC: &str = "cannot";

/// Two nodes with an agent each on a server with our manifests.
pub struct Scene {
    /// The control plane.
    pub plane: ControlPlane,
    /// A person with all rights.
    pub admin: Caller,
    /// The agent whose rights are tried.
    pub own: Agent,
    /// Somebody else's agent.
    pub foreign: Agent,
}

impl Scene {
    /// Starts a control plane for the test `name` and waits until the policies are enforced.
    pub fn new(name: &str) -> Self {
        Self::on(ControlPlane::start(name))
    }

    /// The same with garbage collection.
    pub fn with_controllers(name: &str) -> Self {
        Self::on(ControlPlane::start_with_controllers(name))
    }

    fn on(plane: ControlPlane) -> Self {
        plane.apply("overlays/observe");
        let admin = plane.admin();
        let own = Agent::join(&plane, "node-a");
        let foreign = Agent::join(&plane, "node-b");
        let scene = Self {
            plane,
            admin,
            own,
            foreign,
        };
        scene.set_limits(
            &json!({ "cluster": "3", "zone-a": "1", "pool-gpu": "10", "pool-a.b": "1" }),
        );
        let probe = |slot: &str, word: &str| {
            let answer = scene.own.caller.create(DRY, &scene.own.lease(slot));
            answer.message().contains(word) || (word.is_empty() && answer.is_success())
        };
        until("the policies are enforced", Duration::from_secs(30), || {
            probe("slot.cluster.3", "cap of 3") && probe("slot.cluster.2", "")
        });
        scene
    }

    /// The limits as an administrator would set them.
    pub fn set_limits(&self, data: &Value) {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "limits", "namespace": "nodemend" }, "data": data });
        let path = format!("{CONFIG_MAPS}/limits");
        let answer = self.admin.replace(&path, &object);
        if answer.code == 404 {
            self.admin
                .create(CONFIG_MAPS, &object)
                .expect("create the limits");
        } else {
            answer.expect("set the limits");
        }
    }

    /// A Lease that `agent` holds, made by the agent itself.
    pub fn held(&self, agent: &Agent, name: &str) -> Value {
        agent
            .caller
            .create(LEASES, &agent.lease(name))
            .expect("an agent's own lease")
    }

    /// A Lease that only an administrator could have made.
    pub fn planted(&self, lease: &Value) -> Value {
        self.admin
            .create(LEASES, lease)
            .expect("an administrator plants a lease")
    }

    /// Back to no leases and to nodes as they joined.
    fn reset(&self) {
        self.admin.delete(LEASES).expect("remove all leases");
        for agent in [&self.own, &self.foreign] {
            let notes = json!({ "nodemend.io/state": null, "nodemend.io/case": null,
                "nodemend.io/blocked": null, "nodemend.io/cordoned": null,
                "nodemend.io/mode": "observe", "nodemend.io/pause": null, "other.io/note": "x" });
            let patch = json!({ "metadata": { "annotations": notes, "finalizers": null },
                "spec": { "unschedulable": null,
                    "taints": [{ "key": "other.io/taint", "effect": "NoSchedule" }] } });
            self.admin
                .merge(&agent.node_path(), &patch)
                .expect("reset the node");
        }
    }
}

/// Binds `cluster-admin` to the agents' account, as somebody in a hurry might.
pub fn grant_everything(scene: &Scene) {
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
        "name": "cluster-admin" });
    let subject =
        json!({ "kind": "ServiceAccount", "name": "nodemend-agent", "namespace": "nodemend" });
    let binding =
        json!({ "metadata": { "name": "mistake" }, "roleRef": role, "subjects": [subject] });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    scene
        .admin
        .create(path, &binding)
        .expect("bind cluster-admin");
    until("the role is in force", Duration::from_secs(10), || {
        scene.own.caller.get("/api/v1/pods").is_success()
    });
}

/// Creates of leases that pass admission and leave nothing behind.
pub const DRY: &str = "/apis/coordination.k8s.io/v1/namespaces/nodemend/leases?dryRun=All";

/// Path of the lease `name`.
pub fn lease(name: &str) -> String {
    format!("{LEASES}/{name}")
}

/// `object` with the part at `pointer` replaced.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    if let Some(part) = object.pointer_mut(pointer) {
        *part = value;
        return object;
    }
    let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
    object.pointer_mut(parent).expect("the parent exists")[key] = value;
    object
}

/// Runs `cases` and fails with a table of all that were answered differently.
pub fn run(scene: &Scene, cases: &[Case]) {
    let mut wrong = String::new();
    for (claim, want, act) in cases {
        scene.reset();
        let got = act(scene);
        let (fine, wanted) = match want {
            Want::Allow => (got.is_success(), "allowed".to_owned()),
            Want::Deny(word) => (
                got.code == 403 && got.message().contains(word),
                format!("403 «{word}»"),
            ),
            Want::Invalid(word) => (
                got.code == 422 && got.message().contains(word),
                format!("422 «{word}»"),
            ),
            Want::Unknown => (got.code == 401, "401".to_owned()),
            Want::Conflict => (got.code == 409, "409".to_owned()),
        };
        if !fine {
            let (code, message) = (got.code, got.message());
            writeln!(wrong, "{claim:<62} | {wanted:<24} | {code} {message}").expect("to a String");
        }
    }
    let head = format!("{:<62} | {:<24} | answered", "claim", "wanted");
    assert!(
        wrong.is_empty(),
        "of {} cases these went wrong:\n{head}\n{wrong}",
        cases.len()
    );
    eprintln!("{} cases as wanted", cases.len());
}
