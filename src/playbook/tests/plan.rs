use crate::playbook::testing::{GOOD, Kinds, load_shipped, read};
use crate::playbook::{Guard, PlanError};
use crate::signal::Subject;
use std::time::Duration;

fn no_value(_: &str) -> Option<String> {
    None
}

#[test]
fn the_subject_takes_the_place_of_a_whole_argument() {
    let playbook = read(GOOD).expect("fine");
    let plan = playbook
        .plan(&Subject::named("kubelet.service"), &Kinds, &no_value)
        .expect("a plan");
    assert_eq!(plan.steps[2].summary.effect, "kubelet.service is restarted");
    assert_eq!(plan.steps[0].timeout, Duration::from_secs(30));
    assert!(matches!(&plan.steps[0].guard, Guard::Requires(text) if text.contains("it-is-broken")));
    assert_eq!(
        plan.steps[1].guard,
        Guard::None,
        "a step that only looks has no guard"
    );
    assert!(matches!(&plan.steps[2].guard, Guard::If(text) if text.contains("other")));
}

#[test]
fn a_plan_without_its_subject_is_none() {
    let playbook = read(GOOD).expect("fine");
    let error = playbook
        .plan(&Subject::NODE, &Kinds, &no_value)
        .expect_err("refused");
    assert_eq!(error.kind(), "needs-subject");
    assert!(error.to_string().contains("--subject"));
}

#[test]
fn a_hostile_subject_is_refused_by_the_step() {
    let playbook = read(GOOD).expect("fine");
    for subject in [
        "a b",
        "x;reboot",
        "../../etc/shadow",
        "$(reboot)",
        "{{subject}}x",
        "x\ny",
        "\u{202e}evil",
        "-M root\0",
        &"x ".repeat(5000),
    ] {
        let error = playbook
            .plan(&Subject::named(subject), &Kinds, &no_value)
            .expect_err("refused");
        assert_eq!(error.kind(), "step", "{subject:?}");
        assert!(error.to_string().len() < 300, "{error}");
    }
}

#[test]
fn a_subject_that_raises_the_class_is_refused() {
    let playbook = read(GOOD).expect("fine");
    let error = playbook
        .plan(&Subject::named("docker.service"), &Kinds, &no_value)
        .expect_err("refused");
    assert!(matches!(error, PlanError::Disruption { .. }), "{error}");
}

#[test]
fn the_digest_covers_everything_that_decides_what_is_done() {
    let digest = |text: &str, subject: &str| {
        let plan = read(text)
            .expect("fine")
            .plan(&Subject::named(subject), &Kinds, &no_value);
        plan.expect("a plan").digest
    };
    let first = digest(GOOD, "a.service");
    assert_eq!(digest(GOOD, "a.service"), first);
    assert_eq!(digest(&format!("# a comment\n{GOOD}"), "a.service"), first);
    assert_ne!(digest(GOOD, "b.service"), first);
    for (good, bad) in [
        ("timeout: 30s", "timeout: 31s"),
        ("\"other\"", "\"another\""),
        ("1.2.3", "1.2.4"),
        ("private-socket", "private-socket-or-signal"),
    ] {
        assert_ne!(
            digest(&GOOD.replacen(good, bad, 1), "a.service"),
            first,
            "{bad}"
        );
    }
}

#[test]
fn a_value_comes_from_the_signal_and_is_kept_for_making_the_same_plan_again() {
    let (catalogue, _) = load_shipped();
    let restore = &catalogue.find("sysctl-restore").expect("shipped").playbook;
    let subject = Subject::named("net.ipv4.ip_forward");
    let asked = |key: &str| (key == "kernel.sysctl.wanted").then(|| "1".to_owned());
    let plan = restore.plan(&subject, &Kinds, &asked).expect("a plan");
    assert_eq!(
        plan.steps[0].summary.effect,
        "net.ipv4.ip_forward becomes 1"
    );
    let again = restore
        .plan(&subject, &Kinds, &|key| plan.bound.get(key).cloned())
        .expect("again");
    assert_eq!(again, plan);

    let error = restore
        .plan(&subject, &Kinds, &no_value)
        .expect_err("no value");
    assert_eq!(error.kind(), "no-value");
    assert!(
        error.to_string().contains("kernel.sysctl.wanted"),
        "{error}"
    );
    let hostile = restore.plan(&subject, &Kinds, &|_| Some("{{subject}}".into()));
    assert_eq!(hostile.expect_err("refused").kind(), "step");
}

#[test]
fn the_text_of_a_plan_says_effect_verification_undo_and_time_of_each_step() {
    let (catalogue, _) = load_shipped();
    let plan = catalogue
        .find("systemd-reexec")
        .expect("shipped")
        .playbook
        .plan(&Subject::NODE, &Kinds, &no_value)
        .expect("a plan");
    let text = plan.to_text();
    assert!(
        text.starts_with("systemd-reexec 1.0.0 - Give PID 1 a new bus connection\n"),
        "{text}"
    );
    for word in ["effect ", "verify ", "undo ", "dry run "] {
        assert_eq!(
            text.matches(&format!("\n    {word}")).count(),
            plan.steps.len(),
            "{word}\n{text}"
        );
    }
    assert_eq!(text.matches("(at most ").count(), plan.steps.len());
    assert!(text.contains("kubelet.service is restarted") && text.contains("this step is skipped"));
    assert!(text.contains("and that holds for 5 min") && text.contains("a person must look"));
}
