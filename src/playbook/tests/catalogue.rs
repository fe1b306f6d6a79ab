use crate::document::Problems;
use crate::playbook::testing::{GOOD, Kinds, any_condition, key, read, unsigned};
use crate::playbook::{Catalogue, Checks, Source, Trust, TrustRoot, sign};
use crate::signal::Wall;
use semver::Version;
use std::collections::BTreeMap;

const NOW: Wall = Wall(1_795_309_200_000_000);
const DAY_US: i64 = 86_400_000_000;

fn load(
    shipped: &[Source<'_>],
    overlay: &[Source<'_>],
    trust: &TrustRoot,
) -> (Catalogue, Vec<Problems>) {
    Catalogue::load(
        shipped,
        overlay,
        trust,
        &Checks {
            kinds: &Kinds,
            condition: &any_condition,
        },
    )
}

fn root() -> TrustRoot {
    TrustRoot {
        keys: vec![key("ours", 7).public()],
        ..TrustRoot::default()
    }
}

fn signature(text: &str, expires: Option<&str>) -> String {
    sign(&read(text).expect("fine"), text, expires, &key("ours", 7)).expect("signed")
}

fn why(trust: Trust) -> String {
    match trust {
        Trust::Untrusted { why } => why,
        trusted => panic!("trusted: {trusted}"),
    }
}

#[test]
fn only_a_signed_or_named_playbook_may_run() {
    let good = signature(GOOD, None);
    let source = Source {
        name: "a.yaml",
        text: GOOD,
        signature: Some(&good),
    };
    let (catalogue, problems) = load(&[], &[source], &root());
    assert_eq!(problems, []);
    let (listed, trust) = catalogue.runnable("fix-it", NOW).expect("runs");
    assert_eq!(trust, Trust::Signed { key: "ours".into() });
    assert_eq!(
        catalogue.trusted(NOW).keys().collect::<Vec<_>>(),
        [&listed.playbook.digest]
    );

    let (catalogue, _) = load(&[], &[unsigned(GOOD)], &root());
    let error = catalogue.runnable("fix-it", NOW).expect_err("unsigned");
    assert!(error.to_string().contains("not signed"), "{error}");
    assert!(catalogue.trusted(NOW).is_empty());

    let digest = read(GOOD).expect("fine").digest;
    let named = TrustRoot {
        digests: [digest].into(),
        ..root()
    };
    let (catalogue, _) = load(&[], &[unsigned(GOOD)], &named);
    assert_eq!(
        catalogue.runnable("fix-it", NOW).expect("runs").1,
        Trust::NamedByDigest
    );

    let (catalogue, _) = load(&[], &[source], &TrustRoot::default());
    assert!(
        why(catalogue.find("fix-it").expect("there").trust(NOW))
            .contains("`ours` is not trusted here")
    );
}

#[test]
fn an_expired_playbook_or_signature_does_not_run() {
    let short = signature(GOOD, Some("2026-11-22"));
    let source = Source {
        name: "a.yaml",
        text: GOOD,
        signature: Some(&short),
    };
    let (catalogue, _) = load(&[], &[source], &root());
    assert!(catalogue.runnable("fix-it", NOW).is_ok());
    let late = Wall(NOW.0 + DAY_US);
    assert!(why(catalogue.find("fix-it").expect("there").trust(late)).contains("has expired"));

    let text = format!("{GOOD}expires: 2026-11-22\n");
    let never = signature(&text, None);
    let named = TrustRoot {
        digests: [read(&text).expect("fine").digest].into(),
        ..root()
    };
    let source = Source {
        name: "a.yaml",
        text: &text,
        signature: Some(&never),
    };
    let (catalogue, _) = load(&[], &[source], &named);
    assert!(catalogue.runnable("fix-it", NOW).is_ok());
    let error = catalogue
        .runnable("fix-it", late)
        .expect_err("over, though signed and named");
    assert!(
        error.to_string().contains("`expires` date is over"),
        "{error}"
    );
}

#[test]
fn a_version_below_the_floor_is_not_taken_again() {
    let newer = GOOD.replace("1.2.3", "1.10.0");
    let (old_sig, new_sig) = (signature(GOOD, None), signature(&newer, None));
    let old = Source {
        name: "old.yaml",
        text: GOOD,
        signature: Some(&old_sig),
    };
    let new = Source {
        name: "new.yaml",
        text: &newer,
        signature: Some(&new_sig),
    };
    let (catalogue, _) = load(&[], &[old, new], &root());
    assert_eq!(
        catalogue
            .runnable("fix-it", NOW)
            .expect("runs")
            .0
            .playbook
            .version,
        Version::new(1, 10, 0)
    );
    let floors = catalogue.floors(&root(), NOW);
    assert_eq!(
        floors,
        BTreeMap::from([("fix-it".into(), Version::new(1, 10, 0))])
    );

    // Somebody puts the directory back to what it was: a rollback.
    let later = TrustRoot { floors, ..root() };
    let (catalogue, _) = load(&[], &[old], &later);
    let error = catalogue.runnable("fix-it", NOW).expect_err("rolled back");
    assert!(
        error
            .to_string()
            .contains("version 1.10.0 was loaded here before"),
        "{error}"
    );
    assert_eq!(
        catalogue.floors(&later, NOW),
        later.floors,
        "a floor never sinks"
    );
}

#[test]
fn an_unsigned_newer_version_neither_runs_nor_raises_the_floor() {
    let good = signature(GOOD, None);
    let newer = GOOD.replace("1.2.3", "9.0.0");
    let old = Source {
        name: "old.yaml",
        text: GOOD,
        signature: Some(&good),
    };
    let (catalogue, _) = load(&[], &[old, unsigned(&newer)], &root());
    assert_eq!(
        catalogue
            .runnable("fix-it", NOW)
            .expect("runs")
            .0
            .playbook
            .version,
        Version::new(1, 2, 3)
    );
    assert_eq!(
        catalogue.floors(&root(), NOW).get("fix-it"),
        Some(&Version::new(1, 2, 3))
    );
}

#[test]
fn a_bad_file_is_left_out_whole_and_the_others_stand() {
    let bad = GOOD
        .replace("fix-it", "other")
        .replace("max: 3", "max: 99")
        .replace("soak: 5m", "soak: no");
    let (catalogue, problems) = load(
        &[],
        &[unsigned(&bad), unsigned(GOOD), unsigned("x: [")],
        &root(),
    );
    assert_eq!(catalogue.iter().count(), 1);
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].list.len(), 2, "{}", problems[0]);
    assert!(catalogue.find("other").is_err());
}

#[test]
fn a_released_version_cannot_be_replaced_by_a_directory() {
    let good = signature(GOOD, None);
    let shipped = Source {
        name: "shipped.yaml",
        text: GOOD,
        signature: Some(&good),
    };
    let evil = GOOD.replace("private-socket", "private-socket-or-signal");
    let evil_sig = signature(&evil, None);
    let overlay = Source {
        name: "evil.yaml",
        text: &evil,
        signature: Some(&evil_sig),
    };
    let (catalogue, problems) = load(&[shipped], &[overlay, unsigned(GOOD)], &root());
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .to_string()
            .contains("already there with another content"),
        "{}",
        problems[0]
    );
    let (listed, _) = catalogue.runnable("fix-it", NOW).expect("runs");
    assert_eq!((&*listed.origin, listed.is_shipped), ("shipped.yaml", true));
}

#[test]
fn an_escalation_that_leads_nowhere_or_in_a_circle_is_said() {
    let to = |id: &str, target: &str| {
        GOOD.replace("fix-it", id)
            .replace("needsHuman: true", &format!("escalate: {target}"))
    };
    let (a, b, c) = (to("a", "b"), to("b", "a"), to("c", "nobody"));
    let (catalogue, problems) = load(&[], &[unsigned(&a), unsigned(&b), unsigned(&c)], &root());
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(catalogue.iter().count(), 3, "the playbooks stay");
    assert!(
        text.iter()
            .filter(|line| line.contains("in a circle"))
            .count()
            == 2,
        "{text:?}"
    );
    assert!(
        text.iter()
            .any(|line| line.contains("`nobody`, which is not there")),
        "{text:?}"
    );
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let newer = GOOD.replace("1.2.3", "2.0.0-rc.1");
    let (catalogue, _) = load(&[], &[unsigned(GOOD), unsigned(&newer)], &root());
    let find = |name: &str| {
        catalogue
            .find(name)
            .map(|listed| listed.playbook.version.to_string())
    };
    assert_eq!(find("fix-it"), Ok("2.0.0-rc.1".into()));
    assert_eq!(find("fix-it@1.2.3"), Ok("1.2.3".into()));
    assert_eq!(
        find("fix-it@3").expect_err("none").to_string(),
        "playbook fix-it has no version 3; it has 1.2.3, 2.0.0-rc.1"
    );
    assert!(
        find("nope")
            .expect_err("none")
            .to_string()
            .contains("`nodemend playbook list`")
    );
    assert_eq!(
        catalogue.runnable("nope", NOW).expect_err("none").kind(),
        "unknown"
    );
}
