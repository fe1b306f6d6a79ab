//! Slots and claims: create, renew, free; own and foreign; forged.

use serde_json::{Value, json};

use super::case::Want::{Allow, Conflict, Deny};
use super::case::{Case, RBAC, Scene, lease, run, with};
use crate::fleet::LEASES;

const OWNER: &str = "metadata.ownerReferences must be";
const HOLDER: &str = "spec.holderIdentity must be";
const NAME: &str = "a slot is named";

#[test]
fn an_agent_creates_renews_and_frees_its_own_slots_and_claim_only() {
    let scene = Scene::new("slots");
    run(&scene, CREATE);
    run(&scene, CHANGE);
}

const CREATE: &[Case] = &[
    ("create an own slot", Allow, |s| create(s, "slot.cluster.0")),
    ("create the last slot below the cap", Allow, |s| {
        create(s, "slot.cluster.2")
    }),
    ("create a slot of a zone", Allow, |s| {
        create(s, "slot.zone-a.0")
    }),
    ("create a slot of a pool", Allow, |s| {
        create(s, "slot.pool-gpu.9")
    }),
    (
        "create a slot of a pool with a dot in its name",
        Allow,
        |s| create(s, "slot.pool-a.b.0"),
    ),
    (
        "create a slot of a pool one part longer than a listed one",
        Deny("cap of 0 for domain pool-gpu.0"),
        |s| create(s, "slot.pool-gpu.0.0"),
    ),
    ("create a slot that a foreign node holds", Conflict, |s| {
        s.held(&s.foreign, "slot.cluster.0");
        create(s, "slot.cluster.0")
    }),
    ("create an own slot twice", Conflict, |s| {
        s.held(&s.own, "slot.cluster.0");
        create(s, "slot.cluster.0")
    }),
    (
        "create the slot at the cap",
        Deny("beyond the cap of 3"),
        |s| create(s, "slot.cluster.3"),
    ),
    ("create a slot far beyond it", Deny("beyond the cap"), |s| {
        create(s, "slot.cluster.999")
    }),
    ("create slot 1000", Deny(NAME), |s| {
        create(s, "slot.cluster.1000")
    }),
    ("create slot 0 written 00", Deny(NAME), |s| {
        create(s, "slot.cluster.00")
    }),
    ("create slot 0 written 0x0", Deny(NAME), |s| {
        create(s, "slot.cluster.0x0")
    }),
    ("create slot 1 written 1e0", Deny(NAME), |s| {
        create(s, "slot.cluster.1e0")
    }),
    ("create a slot without number", Deny(NAME), |s| {
        create(s, "slot.cluster")
    }),
    ("create a slot with a part too many", Deny(NAME), |s| {
        create(s, "slot.cluster.0.0")
    }),
    ("create a slot of no domain", Deny(NAME), |s| {
        create(s, "slot.0")
    }),
    ("create a slot of an unknown kind", Deny(NAME), |s| {
        create(s, "slot.other.0")
    }),
    ("create a slot of a zone without name", Deny(NAME), |s| {
        create(s, "slot.zone.0")
    }),
    ("create a slot of an unlisted zone", Deny("cap of 0"), |s| {
        create(s, "slot.zone-z.0")
    }),
    ("create a slot of an unlisted pool", Deny("cap of 0"), |s| {
        create(s, "slot.pool-z.0")
    }),
    ("create a control-plane slot", Deny("cap of 0"), |s| {
        create(s, "slot.control-plane.0")
    }),
    ("create a drain slot", Deny("cap of 0"), |s| {
        create(s, "slot.drain.0")
    }),
    ("create a slot by generateName", Deny(NAME), |s| {
        let mut object = s.own.lease("");
        object["metadata"] = json!({ "generateName": "slot.cluster.1",
            "ownerReferences": [s.own.owner()] });
        s.own.caller.create(LEASES, &object)
    }),
    ("create a slot held by a foreign node", Deny(HOLDER), |s| {
        forged(s, "/spec/holderIdentity", json!("node-b"))
    }),
    ("create a slot held by nobody", Deny(HOLDER), |s| {
        forged(s, "/spec/holderIdentity", json!(null))
    }),
    ("create a slot without spec", Deny(HOLDER), |s| {
        forged(s, "/spec", json!(null))
    }),
    ("create a slot owned by a foreign Node", Deny(OWNER), |s| {
        forged(s, "/metadata/ownerReferences", json!([s.foreign.owner()]))
    }),
    (
        "create a slot with the uid of a foreign Node",
        Deny(OWNER),
        |s| {
            forged(
                s,
                "/metadata/ownerReferences/0",
                with(s.own.owner(), "/uid", json!(s.foreign.uid)),
            )
        },
    ),
    (
        "create a slot with the name of a foreign Node",
        Deny(OWNER),
        |s| {
            forged(
                s,
                "/metadata/ownerReferences/0",
                with(s.own.owner(), "/name", json!("node-b")),
            )
        },
    ),
    ("create a slot without owner", Deny(OWNER), |s| {
        forged(s, "/metadata/ownerReferences", json!([]))
    }),
    ("create a slot with two owners", Deny(OWNER), |s| {
        forged(
            s,
            "/metadata/ownerReferences",
            json!([s.own.owner(), s.foreign.owner()]),
        )
    }),
    ("create a slot owned by a Pod", Deny(OWNER), |s| {
        forged(
            s,
            "/metadata/ownerReferences/0",
            with(s.own.owner(), "/kind", json!("Pod")),
        )
    }),
    (
        "create a slot owned by a Node of another API",
        Deny(OWNER),
        |s| {
            forged(
                s,
                "/metadata/ownerReferences/0",
                with(s.own.owner(), "/apiVersion", json!("x.io/v1")),
            )
        },
    ),
    ("create a slot with a finalizer", Deny("finalizers"), |s| {
        forged(s, "/metadata/finalizers", json!(["x.io/keep"]))
    }),
    ("create a slot in namespace default", Deny(RBAC), |s| {
        elsewhere(s, "default")
    }),
    (
        "create a slot in namespace kube-node-lease",
        Deny(RBAC),
        |s| elsewhere(s, "kube-node-lease"),
    ),
    ("create the own claim", Allow, |s| create(s, "node-a")),
    ("create the own claim with signature and zone", Allow, |s| {
        let labels = json!({ "nodemend.io/signature": "kernel-oops", "nodemend.io/zone": "a" });
        s.own.caller.create(
            LEASES,
            &with(s.own.lease("node-a"), "/metadata/labels", labels),
        )
    }),
    (
        "create the claim of a foreign node",
        Deny("a claim named after the node"),
        |s| create(s, "node-b"),
    ),
    (
        "create a lease of another name",
        Deny("a claim named after the node"),
        |s| create(s, "leader"),
    ),
    (
        "create the own claim held by a foreign node",
        Deny(HOLDER),
        |s| {
            let object = with(
                s.own.lease("node-a"),
                "/spec/holderIdentity",
                json!("node-b"),
            );
            s.own.caller.create(LEASES, &object)
        },
    ),
    ("create the own claim without owner", Deny(OWNER), |s| {
        let object = with(
            s.own.lease("node-a"),
            "/metadata/ownerReferences",
            json!([]),
        );
        s.own.caller.create(LEASES, &object)
    }),
];

const CHANGE: &[Case] = &[
    ("read an own slot", Allow, |s| {
        s.held(&s.own, "slot.cluster.0");
        s.own.caller.get(&lease("slot.cluster.0"))
    }),
    ("read a foreign slot", Allow, |s| {
        s.held(&s.foreign, "slot.cluster.0");
        s.own.caller.get(&lease("slot.cluster.0"))
    }),
    ("list slots and claims", Allow, |s| s.own.caller.get(LEASES)),
    ("watch slots and claims", Deny(RBAC), |s| {
        s.own
            .caller
            .get(&format!("{LEASES}?watch=1&timeoutSeconds=1"))
    }),
    ("list leases of namespace kube-system", Deny(RBAC), |s| {
        s.own
            .caller
            .get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases")
    }),
    ("renew an own slot", Allow, |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        put(
            s,
            &with(
                held,
                "/spec/renewTime",
                json!("2026-11-22T08:00:00.000000Z"),
            ),
        )
    }),
    (
        "renew an own slot with what was read before the last renewal",
        Conflict,
        |s| {
            let held = s.held(&s.own, "slot.cluster.0");
            put(
                s,
                &with(
                    held.clone(),
                    "/spec/renewTime",
                    json!("2026-11-22T08:00:00.000000Z"),
                ),
            );
            put(s, &held)
        },
    ),
    ("renew an own slot by PATCH", Deny(RBAC), |s| {
        s.held(&s.own, "slot.cluster.0");
        s.own.caller.merge(
            &lease("slot.cluster.0"),
            &json!({ "spec": { "leaseDurationSeconds": 9 } }),
        )
    }),
    ("steal a foreign slot", Deny(HOLDER), |s| {
        let held = s.held(&s.foreign, "slot.cluster.0");
        let held = with(held, "/spec/holderIdentity", json!("node-a"));
        put(
            s,
            &with(held, "/metadata/ownerReferences", json!([s.own.owner()])),
        )
    }),
    ("write a note on a foreign slot", Deny(HOLDER), |s| {
        let held = s.held(&s.foreign, "slot.cluster.0");
        put(
            s,
            &with(
                held,
                "/metadata/annotations",
                json!({ "nodemend.io/phase": "done" }),
            ),
        )
    }),
    ("give an own slot to a foreign node", Deny(HOLDER), |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        put(s, &with(held, "/spec/holderIdentity", json!("node-b")))
    }),
    ("tie an own slot to a foreign Node", Deny(OWNER), |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        put(
            s,
            &with(
                held,
                "/metadata/ownerReferences",
                json!([s.foreign.owner()]),
            ),
        )
    }),
    ("cut an own slot loose from its Node", Deny(OWNER), |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        put(s, &with(held, "/metadata/ownerReferences", json!([])))
    }),
    ("put a finalizer on an own slot", Deny("finalizers"), |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        put(s, &with(held, "/metadata/finalizers", json!(["x.io/keep"])))
    }),
    (
        "renew the slot of a former Node of the same name",
        Deny(OWNER),
        |s| {
            let held = s.planted(&former(s, "slot.cluster.0"));
            put(
                s,
                &with(held, "/metadata/ownerReferences", json!([s.own.owner()])),
            )
        },
    ),
    ("adopt a slot that nobody owns", Deny(OWNER), |s| {
        let loose = with(
            s.own.lease("slot.cluster.0"),
            "/metadata/ownerReferences",
            json!([]),
        );
        let held = s.planted(&loose);
        put(
            s,
            &with(held, "/metadata/ownerReferences", json!([s.own.owner()])),
        )
    }),
    ("free an own slot", Allow, |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        s.own.caller.delete_exactly(&lease("slot.cluster.0"), &held)
    }),
    (
        "free an own slot without preconditions",
        Deny("preconditions"),
        |s| {
            s.held(&s.own, "slot.cluster.0");
            s.own.caller.delete(&lease("slot.cluster.0"))
        },
    ),
    (
        "free an own slot whose version was not read",
        Deny("preconditions"),
        |s| {
            let held = s.held(&s.own, "slot.cluster.0");
            let held = with(held, "/metadata/resourceVersion", json!(null));
            s.own.caller.delete_exactly(&lease("slot.cluster.0"), &held)
        },
    ),
    (
        "free an own slot by the uid of an earlier one",
        Conflict,
        |s| {
            let held = s.held(&s.own, "slot.cluster.0");
            let held = with(
                held,
                "/metadata/uid",
                json!("5b0c9f3e-0000-4000-8000-000000000000"),
            );
            s.own.caller.delete_exactly(&lease("slot.cluster.0"), &held)
        },
    ),
    (
        "free an own slot that was renewed meanwhile",
        Conflict,
        |s| {
            let held = s.held(&s.own, "slot.cluster.0");
            put(
                s,
                &with(
                    held.clone(),
                    "/spec/renewTime",
                    json!("2026-11-22T08:00:00.000000Z"),
                ),
            );
            s.own.caller.delete_exactly(&lease("slot.cluster.0"), &held)
        },
    ),
    ("free a foreign slot", Deny(HOLDER), |s| {
        let held = s.held(&s.foreign, "slot.cluster.0");
        s.own.caller.delete_exactly(&lease("slot.cluster.0"), &held)
    }),
    (
        "free the slot of a former Node of the same name",
        Deny(OWNER),
        |s| {
            let held = s.planted(&former(s, "slot.cluster.0"));
            s.own.caller.delete_exactly(&lease("slot.cluster.0"), &held)
        },
    ),
    ("free every slot at once", Deny(RBAC), |s| {
        s.held(&s.own, "slot.cluster.0");
        s.own.caller.delete(LEASES)
    }),
    ("renew the own claim", Allow, |s| {
        let held = s.held(&s.own, "node-a");
        put(
            s,
            &with(
                held,
                "/spec/renewTime",
                json!("2026-11-22T08:00:00.000000Z"),
            ),
        )
    }),
    ("withdraw the own claim", Allow, |s| {
        s.held(&s.own, "node-a");
        s.own.caller.delete(&lease("node-a"))
    }),
    (
        "change a foreign claim",
        Deny("a claim named after the node"),
        |s| put(s, &s.held(&s.foreign, "node-b")),
    ),
    (
        "withdraw a foreign claim",
        Deny("a claim named after the node"),
        |s| {
            s.held(&s.foreign, "node-b");
            s.own.caller.delete(&lease("node-b"))
        },
    ),
    ("a person frees the slot of a node", Allow, |s| {
        let held = s.held(&s.own, "slot.cluster.0");
        s.admin.delete_exactly(&lease("slot.cluster.0"), &held)
    }),
    (
        "a person creates a slot beyond the cap",
        Deny("beyond the cap"),
        |s| s.admin.create(LEASES, &s.own.lease("slot.cluster.3")),
    ),
];

fn create(scene: &Scene, name: &str) -> crate::api::Answer {
    scene.own.caller.create(LEASES, &scene.own.lease(name))
}

fn forged(scene: &Scene, pointer: &str, value: Value) -> crate::api::Answer {
    let object = with(scene.own.lease("slot.cluster.0"), pointer, value);
    scene.own.caller.create(LEASES, &object)
}

fn elsewhere(scene: &Scene, namespace: &str) -> crate::api::Answer {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    scene
        .own
        .caller
        .create(&path, &scene.own.lease("slot.cluster.0"))
}

fn former(scene: &Scene, name: &str) -> Value {
    let uid = json!("11111111-0000-4000-8000-000000000000");
    with(
        scene.own.lease(name),
        "/metadata/ownerReferences/0/uid",
        uid,
    )
}

fn put(scene: &Scene, object: &Value) -> crate::api::Answer {
    let name = object["metadata"]["name"]
        .as_str()
        .expect("a lease has a name");
    scene.own.caller.replace(&lease(name), object)
}
