//! The control plane itself: side by side, killed, paused, and its garbage collection.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::controlplane::ControlPlane;
use crate::fleet::{Agent, LEASES};
use crate::matrix::case::{Scene, lease};
use crate::process::until;

#[test]
fn a_killed_api_server_comes_back_with_every_slot() {
    let mut scene = Scene::new("killed");
    let held = scene.held(&scene.own, "slot.cluster.0");
    scene.plane.api.kill();
    assert_eq!(
        scene.own.caller.get(&lease("slot.cluster.0")).code,
        0,
        "nobody listens"
    );
    scene.plane.api.restart();
    eprintln!("ready again after {:?}", scene.plane.await_ready());
    let now = scene
        .own
        .caller
        .get(&lease("slot.cluster.0"))
        .expect("the slot outlived the server");
    assert_eq!(held, now);
}

#[test]
fn while_etcd_is_paused_no_slot_is_granted() {
    let scene = Scene::new("paused");
    scene.plane.etcd.pause();
    let path = format!("{LEASES}?timeout=2s");
    let object = scene.own.lease("slot.cluster.0");
    let start = Instant::now();
    let answer = scene
        .own
        .caller
        .call(Method::POST, &path, Some(("application/json", &object)));
    assert!(
        !answer.is_success(),
        "a slot without a store: {} {}",
        answer.code,
        answer.body
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "the refusal came after {:?}",
        start.elapsed()
    );
    scene.plane.etcd.resume();
    // The write may have reached etcd before the pause ended; then the slot is this node's own.
    until("a slot can be had again", Duration::from_secs(30), || {
        let code = scene.own.caller.create(LEASES, &object).code;
        code == 201 || code == 409
    });
}

#[test]
fn deleting_a_node_frees_its_slots_and_claim_and_no_others() {
    let plane = ControlPlane::start_with_controllers("collected");
    eprintln!(
        "ready after {:?}, memory {:?}",
        plane.ready_after(),
        plane.memory()
    );
    plane.apply("overlays/observe");
    let (lost, other) = (Agent::join(&plane, "lost"), Agent::join(&plane, "other"));
    let admin = plane.admin();
    for object in [
        lost.lease("slot.cluster.0"),
        lost.lease("lost"),
        other.lease("other"),
    ] {
        until("a lease can be had", Duration::from_secs(20), || {
            let code = admin.create(LEASES, &object).code;
            code == 201 || code == 409
        });
    }
    admin.delete(&lost.node_path()).expect("remove the Node");
    let took = until(
        "the lost Node's leases are gone",
        Duration::from_secs(60),
        || {
            ["slot.cluster.0", "lost"]
                .iter()
                .all(|name| admin.get(&lease(name)).code == 404)
        },
    );
    eprintln!("freed {took:?} after the Node was removed");
    admin
        .get(&lease("other"))
        .expect("the other node's claim stays");
    let freed = plane.audit().calls();
    let freed = freed
        .iter()
        .find(|call| call.verb == "delete" && call.name == "slot.cluster.0");
    let user = &freed.expect("the audit log has the deletion").user;
    assert_eq!(
        user,
        "system:serviceaccount:kube-system:generic-garbage-collector"
    );
}

#[test]
fn two_control_planes_live_side_by_side() {
    let both_run = Arc::new(Barrier::new(2));
    let planes = ["side-1", "side-2"].map(|name| {
        let both_run = Arc::clone(&both_run);
        std::thread::spawn(move || {
            let plane = ControlPlane::start(name);
            both_run.wait();
            plane.admin().get("/version").expect("read the version")["gitVersion"].clone()
        })
    });
    for plane in planes {
        assert_eq!(plane.join().expect("its own answer"), json!("v1.34.4"));
    }
}
