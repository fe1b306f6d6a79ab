//! What people do by the program's own commands: `nodemend slot list` and `slot release`.

use serde_json::Value;

use crate::fleet::LEASES;
use crate::matrix::case::{Scene, lease};
use crate::process::command;

/// `nodemend slot ...` as this kubeconfig's user: exit code, standard output, standard error.
fn slot(scene: &Scene, user: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(env!("CARGO_BIN_EXE_nodemend"))
        .args(["slot"])
        .args(arguments)
        .arg("--kubeconfig")
        .arg(scene.plane.pki().path(&format!("{user}.kubeconfig")))
        .output()
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn people_list_slots_and_free_that_of_a_node_that_will_not_come_back() {
    let scene = Scene::new("people");
    let (code, text, errors) = slot(&scene, "admin", &["list"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "no slot is taken and no node waits\n"),
        "{errors}"
    );

    scene.held(&scene.own, "slot.cluster.1");
    scene.held(&scene.foreign, "slot.zone-a.0");
    let (code, text, errors) = slot(&scene, "admin", &["list"]);
    assert_eq!(code, Some(0), "{errors}");
    for word in ["slot.cluster.1", "node-a", "slot.zone-a.0", "node-b"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (_, text, _) = slot(&scene, "admin", &["list", "--output", "json"]);
    let rows: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{text}");

    let (code, text, errors) = slot(&scene, "admin", &["release", "slot.cluster.1"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        text.contains("slot.cluster.1 is free") && text.contains("node-a"),
        "{text}"
    );
    assert_eq!(scene.admin.get(&lease("slot.cluster.1")).code, 404);
    scene
        .admin
        .get(&lease("slot.zone-a.0"))
        .expect("the other slot stays");
    // It can be had again.
    scene.held(&scene.foreign, "slot.cluster.1");
}

#[test]
fn releasing_what_is_no_slot_or_without_the_rights_changes_nothing_and_says_so() {
    let scene = Scene::new("people-refused");
    scene.held(&scene.own, "slot.cluster.1");
    scene.held(&scene.own, "node-a");
    scene.plane.pki().user("guest", "guest", "guests");
    for (user, name, word) in [
        ("admin", "slot.cluster.2", "not found"),
        ("admin", "node-a", "slot"),
        ("admin", "slot.cluster.01", "slot"),
        ("guest", "slot.cluster.1", "cannot"),
    ] {
        let (code, text, errors) = slot(&scene, user, &["release", name]);
        assert_ne!(code, Some(0), "{name}: {text}");
        assert!(errors.contains(word), "{name}: {errors}");
    }
    let (code, _, errors) = slot(&scene, "guest", &["list"]);
    assert_ne!(code, Some(0));
    assert!(errors.contains("cannot list"), "{errors}");
    let left = scene.admin.get(LEASES).expect("list leases");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(2));
}
