use super::playbook::Shelf;
use super::{Streams, audit, playbook};
use crate::app::Exit;
use crate::app::cli::{AuditCommand, PlaybookCommand};
use crate::playbook::testing::{GOOD, Kinds, any_condition, load_shipped};
use crate::playbook::{Catalogue, Checks, PinnedKey, release_keys};
use crate::report::audit::{AuditLog, Entry, Limits, RecordKind};
use crate::signal::{Timestamp, Wall};
use std::path::{Path, PathBuf};

/// What a command said: results, diagnostics, exit code.
type Said = (String, String, Exit);

fn said(run: impl FnOnce(&mut Streams<'_>) -> std::io::Result<Exit>, is_json: bool) -> Said {
    let (mut out, mut diagnostics) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        out: &mut out,
        diagnostics: &mut diagnostics,
        is_json,
    };
    let exit = run(&mut streams).expect("memory takes everything");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(out), text(diagnostics), exit)
}

fn on_shelf(catalogue: &Catalogue, keys: &[PinnedKey], command: &PlaybookCommand) -> Said {
    let checks = Checks {
        kinds: &Kinds,
        condition: &any_condition,
    };
    let shelf = Shelf {
        catalogue,
        problems: &[],
        checks: &checks,
        keys,
        now: Wall(0),
    };
    said(|streams| playbook::run(&shelf, command, streams), false)
}

fn shipped(command: &PlaybookCommand) -> Said {
    on_shelf(&load_shipped().0, &release_keys().expect("keys"), command)
}

#[test]
fn a_playbook_is_listed_shown_and_planned() {
    let (out, _, exit) = shipped(&PlaybookCommand::List);
    assert!(
        out.contains("✓ systemd-reexec") && out.contains("signed by nodemend-release-1"),
        "{out}"
    );
    assert_eq!(exit, Exit::Fine);
    let (out, _, exit) = shipped(&PlaybookCommand::Show {
        playbook: "unit-restart@1.0.0".into(),
    });
    assert!(
        out.contains("# sha256 43d37b17") && out.contains("\nid: unit-restart\n"),
        "{out}"
    );
    assert_eq!(exit, Exit::Fine);
    let plan = |id: &str, subject: &str| {
        shipped(&PlaybookCommand::Plan {
            playbook: id.into(),
            subject: subject.into(),
        })
    };
    assert!(
        plan("unit-restart", "kubelet.service")
            .0
            .contains("kubelet.service is restarted")
    );
    assert!(
        plan("sysctl-restore", "a.b")
            .0
            .contains("a.b becomes <kernel.sysctl.wanted>")
    );
    for (id, subject, words) in [
        ("unit-restart", "", "--subject"),
        ("unit-restart", "a b", "not a plain name"),
        ("no-such", "", "`nodemend playbook list`"),
        ("unit-restart@9.9.9", "x", "it has 1.0.0"),
    ] {
        let (out, diagnostics, exit) = plan(id, subject);
        assert_eq!((out.as_str(), exit), ("", Exit::BadInput), "{id}");
        assert!(diagnostics.contains(words), "{id}: {diagnostics}");
    }
}

#[test]
fn a_key_is_made_a_playbook_signed_and_the_signature_verified() {
    let temp = tempfile::tempdir().expect("temp dir");
    let at = |name: &str| -> PathBuf { temp.path().join(name) };
    let (key, file) = (at("secret.key"), at("p.yaml"));
    std::fs::write(&file, GOOD).expect("write");
    let make = PlaybookCommand::Keygen {
        name: "ours".into(),
        private: key.clone(),
    };
    let (public, _, exit) = shipped(&make);
    assert_eq!(exit, Exit::Fine);
    assert_eq!(
        shipped(&make).2,
        Exit::BadInput,
        "a key is never written over"
    );
    let sign = PlaybookCommand::Sign {
        file: file.clone(),
        key,
        expires: Some("2028-12-31".into()),
    };
    assert_eq!(shipped(&sign).2, Exit::Fine);
    let (_, diagnostics, exit) = shipped(&sign);
    assert!(
        exit == Exit::BadInput && diagnostics.contains("new version"),
        "{diagnostics}"
    );

    let verify = PlaybookCommand::Verify { file: file.clone() };
    let pinned = [PinnedKey::parse(public.trim_end()).expect("a key")];
    let (out, _, exit) = on_shelf(&Catalogue::default(), &pinned, &verify);
    assert!(
        exit == Exit::Fine && out.contains("signed by ours"),
        "{out}"
    );
    let (_, diagnostics, exit) = shipped(&verify);
    assert!(
        exit == Exit::Found && diagnostics.contains("not trusted here"),
        "{diagnostics}"
    );
    std::fs::write(&file, format!("{GOOD}# more\n")).expect("write");
    let (_, diagnostics, exit) = on_shelf(&Catalogue::default(), &pinned, &verify);
    assert!(
        exit == Exit::Found && diagnostics.contains("another content"),
        "{diagnostics}"
    );
}

#[test]
fn lint_says_every_problem_of_every_file() {
    let temp = tempfile::tempdir().expect("temp dir");
    std::fs::write(temp.path().join("good.yaml"), GOOD).expect("write");
    let bad = GOOD
        .replace("max: 3", "max: 9")
        .replace("soak: 5m", "soak: no");
    std::fs::write(temp.path().join("bad.yaml"), bad).expect("write");
    let lint = PlaybookCommand::Lint {
        path: Some(temp.path().to_owned()),
    };
    let (out, diagnostics, exit) = shipped(&lint);
    assert_eq!(
        (exit, diagnostics.lines().count()),
        (Exit::BadInput, 2),
        "{diagnostics}"
    );
    assert!(out.contains("good.yaml: fix-it 1.2.3 is fine"), "{out}");
    assert!(diagnostics.contains("bad.yaml:7:11: ") && diagnostics.contains("bad.yaml:12:67: "));
    assert_eq!(shipped(&PlaybookCommand::Lint { path: None }).2, Exit::Fine);
    let gone = PlaybookCommand::Lint {
        path: Some("/nonexistent".into()),
    };
    assert_eq!(shipped(&gone).2, Exit::BadInput);
}

fn on_log(dir: &Path, command: &AuditCommand) -> Said {
    said(|streams| audit::run(dir, command, streams), false)
}

fn list(kind: Option<&str>, since: Option<&str>, last: Option<usize>) -> AuditCommand {
    let own = |text: Option<&str>| text.map(str::to_owned);
    AuditCommand::List {
        kind: own(kind),
        case: None,
        since: own(since),
        last,
    }
}

#[test]
fn the_audit_log_is_listed_shown_exported_and_proved() {
    let temp = tempfile::tempdir().expect("temp dir");
    let now = Timestamp::default();
    let head = {
        let (mut log, _) =
            AuditLog::open(temp.path(), "n", "b", Limits::default(), now).expect("opens");
        for kind in [
            RecordKind::AgentStarted,
            RecordKind::CaseOpened,
            RecordKind::AgentStopped,
        ] {
            log.append(now, &Entry::of(kind)).expect("appends");
        }
        log.head().to_string()
    };
    let lines = |command: &AuditCommand| {
        let (out, _, exit) = on_log(temp.path(), command);
        assert_eq!(exit, Exit::Fine);
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&list(None, None, None)).len(), 3);
    assert_eq!(lines(&list(Some("case-opened"), None, None)).len(), 1);
    assert!(lines(&list(None, None, Some(1)))[0].contains("agent-stopped"));
    assert!(lines(&list(None, Some("2026-11-22"), None)).is_empty());
    let export = AuditCommand::Export {
        kind: None,
        case: None,
        since: None,
    };
    let file = std::fs::read_to_string(temp.path().join("000000000001-1970-01-01.jsonl"));
    assert_eq!(
        on_log(temp.path(), &export).0,
        file.expect("file"),
        "byte for byte"
    );
    assert!(lines(&AuditCommand::Show { seq: 2 })[4].contains("case-opened"));
    assert_eq!(
        on_log(temp.path(), &AuditCommand::Show { seq: 9 }).2,
        Exit::BadInput
    );
    assert!(
        lines(&AuditCommand::Verify { head: vec![head] })[0]
            .contains("as it was written: 3 records")
    );
}

#[test]
fn wrong_flags_and_a_missing_or_edited_log_have_their_exit_codes() {
    let temp = tempfile::tempdir().expect("temp dir");
    let gone = temp.path().join("gone");
    assert_eq!(on_log(&gone, &list(None, None, None)).2, Exit::CannotTell);
    assert_eq!(
        on_log(&gone, &AuditCommand::Verify { head: Vec::new() }).2,
        Exit::CannotTell
    );
    for command in [
        list(Some("step-begun"), None, None),
        list(None, Some("yesterday"), None),
        list(None, Some("2026-11-2"), None),
        AuditCommand::Export {
            kind: None,
            case: Some("41".into()),
            since: None,
        },
        AuditCommand::Verify {
            head: vec!["812".into()],
        },
    ] {
        let (_, diagnostics, exit) = on_log(temp.path(), &command);
        assert_eq!(exit, Exit::BadInput, "{command:?}");
        assert!(diagnostics.starts_with("nodemend: `"), "{diagnostics}");
    }
    std::fs::write(temp.path().join("000000000001-2026-11-22.jsonl"), "{}\n").expect("write");
    let (out, _, exit) = on_log(temp.path(), &AuditCommand::Verify { head: Vec::new() });
    assert!(
        exit == Exit::Found && out.contains("✗ 000000000001-2026-11-22.jsonl:1: seq 1: foreign"),
        "{out}"
    );
    assert_eq!(on_log(temp.path(), &list(None, None, None)).2, Exit::Found);
}
