//! A proposal and facts that every gate passes, for tests to spoil.

use super::clearance::{Cleared, Gates};
use super::facts::{Facts, OptIn};
use super::terms::{CaseId, Disruption, Mode, PlaybookRef, Proposal};
use crate::signal::{Subject, Timestamp, Wall};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A proposal to restart something.
pub fn proposal() -> Proposal {
    Proposal {
        case: CaseId(41),
        signature: Arc::from("systemd-bus-unresponsive"),
        subject: Subject::NODE,
        playbook: PlaybookRef {
            id: "systemd-reexec".into(),
            version: "1.0.0".into(),
            digest: "9f2c".into(),
        },
        disruption: Disruption::Restart,
        evidence: vec!["no answer within 5 s, 3 times".to_owned()],
    }
}

/// Facts under which it may be carried out.
pub fn facts() -> Facts {
    let mut now = Timestamp::default().plus(Duration::from_secs(100_000));
    now.wall = Wall(1_795_000_000_000_000);
    Facts {
        now,
        opt_in: OptIn {
            source: "node annotation".into(),
            version: "88213".into(),
            mode: Mode::Auto,
            allow: Disruption::Drain,
            ..OptIn::default()
        },
        max_attempts: 3,
        attempts_span: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(600),
        attempts: Some(BTreeMap::new()),
        evidence_at: BTreeMap::from([(CaseId(41), now.uptime)]),
        trusted: BTreeMap::from([(Arc::from("9f2c"), Arc::from("signed by nodemend-release-1"))]),
        capable: (Disruption::Restart, "no fleet component".into()),
        ..Facts::default()
    }
}

/// The proof, for tests of what comes after the gates.
pub fn cleared() -> Cleared {
    Gates::standard()
        .decide(proposal(), &facts())
        .expect("every gate passes")
}

mod tests {
    use super::*;
    use crate::policy::facts::Attempt;
    use crate::policy::{Window, gates};
    use jiff::tz::TimeZone;

    type Spoil = fn(&mut Proposal, &mut Facts);

    /// The gates that are not passed after `spoil`.
    fn refusing(spoil: Spoil) -> Vec<&'static str> {
        let (mut proposal, mut facts) = (proposal(), facts());
        spoil(&mut proposal, &mut facts);
        match Gates::standard().decide(proposal, &facts) {
            Ok(_) => Vec::new(),
            Err(blocked) => blocked.refusals().map(|answer| answer.gate).collect(),
        }
    }

    fn attempt(facts: &Facts, ago: u64, this_boot: bool) -> Attempt {
        let mut began = facts.now;
        began.uptime = began.uptime.minus(Duration::from_secs(ago));
        began.wall.0 -= i64::try_from(ago * 1_000_000).expect("small");
        Attempt { began, this_boot }
    }

    fn with_attempts(facts: &mut Facts, list: Vec<Attempt>) {
        facts.attempts = Some(BTreeMap::from([(
            Arc::from("systemd-bus-unresponsive"),
            list,
        )]));
    }

    #[test]
    fn each_gate_refuses_its_own_reason_and_nothing_else() {
        let table: &[(&str, Spoil, &[&str])] = &[
            ("nothing", |_, _| {}, &[]),
            ("observe", |_, f| f.opt_in.mode = Mode::Observe, &["mode"]),
            (
                "approve without approval",
                |_, f| f.opt_in.mode = Mode::Approve,
                &["mode"],
            ),
            (
                "approval of another case",
                |_, f| {
                    f.opt_in.mode = Mode::Approve;
                    f.opt_in.approved = vec![CaseId(4)];
                },
                &["mode"],
            ),
            (
                "approval",
                |_, f| {
                    f.opt_in.mode = Mode::Approve;
                    f.opt_in.approved = vec![CaseId(41)];
                },
                &[],
            ),
            (
                "malformed settings",
                |_, f| f.opt_in.trouble.push("`Auto` is not a mode".into()),
                &["mode"],
            ),
            (
                "class not allowed",
                |_, f| f.opt_in.allow = Disruption::None,
                &["allowed"],
            ),
            (
                "class not possible",
                |p, _| p.disruption = Disruption::Drain,
                &["allowed"],
            ),
            (
                "paused",
                |_, f| f.opt_in.pause = Some("maintenance".into()),
                &["pause"],
            ),
            ("unsigned", |_, f| f.trusted.clear(), &["trust"]),
            (
                "another digest",
                |p, _| p.playbook.digest = "9f2d".into(),
                &["trust"],
            ),
            (
                "outside the window",
                |_, f| {
                    f.windows = vec![
                        Window::parse("Sun 02:00-02:01 UTC", |z| TimeZone::get(z).ok())
                            .expect("window"),
                    ];
                },
                &["window"],
            ),
            (
                "outside the window, but harmless",
                |p, f| {
                    f.windows = vec![
                        Window::parse("Sun 02:00-02:01 UTC", |z| TimeZone::get(z).ok())
                            .expect("window"),
                    ];
                    p.disruption = Disruption::None;
                },
                &[],
            ),
            (
                "attempts unreadable",
                |_, f| f.attempts = None,
                &["attempts", "cooldown"],
            ),
            (
                "attempts used up",
                |_, f| {
                    let list = vec![
                        attempt(f, 80_000, true),
                        attempt(f, 70_000, true),
                        attempt(f, 60_000, true),
                    ];
                    with_attempts(f, list);
                },
                &["attempts"],
            ),
            (
                "attempts of before the reboot count",
                |_, f| {
                    let list = vec![
                        attempt(f, 80_000, false),
                        attempt(f, 70_000, false),
                        attempt(f, 60_000, false),
                    ];
                    with_attempts(f, list);
                },
                &["attempts"],
            ),
            (
                "attempts of the day before yesterday",
                |_, f| {
                    let list = vec![attempt(f, 90_000, false); 9];
                    with_attempts(f, list);
                },
                &[],
            ),
            (
                "an attempt in the future by a wrong clock",
                |_, f| {
                    let mut future = attempt(f, 0, false);
                    future.began.wall.0 += 500_000_000_000;
                    with_attempts(f, vec![future]);
                },
                &["cooldown"],
            ),
            (
                "cooling down",
                |_, f| {
                    let list = vec![attempt(f, 599, true)];
                    with_attempts(f, list);
                },
                &["cooldown"],
            ),
            (
                "cooled down",
                |_, f| {
                    let list = vec![attempt(f, 600, true)];
                    with_attempts(f, list);
                },
                &[],
            ),
            (
                "evidence of before the start",
                |_, f| f.watching_since = f.now.plus(Duration::from_secs(1)).uptime,
                &["evidence"],
            ),
            ("no evidence", |_, f| f.evidence_at.clear(), &["evidence"]),
            (
                "old evidence",
                |_, f| {
                    f.now = f.now.plus(Duration::from_secs(91));
                },
                &["evidence"],
            ),
            (
                "a symptom",
                |p, f| {
                    f.hidden.insert(p.case, "case-3".into());
                },
                &["cause"],
            ),
            (
                "left to a person",
                |p, f| f.needs_human.push(p.case),
                &["human"],
            ),
            ("another run", |_, f| f.run_in_flight = true, &["run"]),
            (
                "stop cord",
                |_, f| f.stop_cord = Some("breaker-storm".into()),
                &["stop-cord"],
            ),
            (
                "no facts at all",
                |_, f| *f = Facts::default(),
                &[
                    "mode", "allowed", "trust", "attempts", "cooldown", "evidence",
                ],
            ),
        ];
        for (name, spoil, expected) in table {
            assert_eq!(refusing(*spoil), *expected, "{name}");
        }
    }

    #[test]
    fn every_gate_is_in_the_table_of_names() {
        let blocked = Gates::standard()
            .decide(proposal(), &Facts::default())
            .expect_err("blocked");
        assert_eq!(
            blocked
                .answers
                .iter()
                .map(|answer| answer.gate)
                .collect::<Vec<_>>(),
            gates::NAMES
        );
    }

    #[test]
    fn every_refusal_says_what_to_do_or_when_it_changes() {
        let blocked = Gates::standard()
            .decide(proposal(), &Facts::default())
            .expect_err("blocked");
        for answer in blocked.refusals() {
            assert!(answer.ruling.why().len() > 10, "{answer:?}");
        }
    }
}
