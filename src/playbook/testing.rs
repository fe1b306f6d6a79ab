//! Kinds and texts for the tests of this folder.

use super::{
    ArgError, ArgReader, Args, Catalogue, Checks, Playbook, PrivateKey, SHIPPED, Source, StepKinds,
    StepSummary, TrustRoot, release_keys,
};
use crate::document::Problems;
use crate::policy::Disruption;
use std::time::Duration;

/// The kinds of the shipped playbooks, with the arguments and classes of the real ones and nothing behind them.
pub struct Kinds;

impl StepKinds for Kinds {
    fn check(&self, kind: &str, args: &Args) -> Result<StepSummary, ArgError> {
        let summary = |effect: String, disruption, changes| StepSummary {
            effect,
            dry_run: "would do that".into(),
            verify: "looks".into(),
            undo: "puts back".into(),
            disruption,
            changes,
            timeout: Duration::from_secs(30),
            conditions: Vec::new(),
        };
        match kind {
            "reexec_systemd" => {
                let mut reader = ArgReader::of("reexec_systemd", args);
                let via = reader.word("via", &["private-socket", "private-socket-or-signal"]);
                reader
                    .finish(via)
                    .map(|via| summary(format!("re-executes via {via}"), Disruption::Restart, true))
            }
            "restart_unit" => {
                let mut reader = ArgReader::of("restart_unit", args);
                let unit = reader.subject_text("unit", check_unit);
                let unit = reader.finish(unit)?;
                let class = if unit == "docker.service" {
                    Disruption::Drain
                } else {
                    Disruption::Restart
                };
                Ok(summary(format!("{unit} is restarted"), class, true))
            }
            "write_sysctl" => {
                let mut reader = ArgReader::of("write_sysctl", args);
                let key = reader.subject_text("key", check_unit);
                let value = reader.scalar("value");
                let (key, value) = reader.finish(key.zip(value))?;
                Ok(summary(
                    format!("{key} becomes {value}"),
                    Disruption::None,
                    true,
                ))
            }
            "upgrade_package" => {
                let mut reader = ArgReader::of("upgrade_package", args);
                let packages = reader.texts("packages");
                reader.optional_span("query_timeout");
                let packages = reader.finish(packages)?;
                Ok(summary(
                    format!("upgrades {}", packages.join(", ")),
                    Disruption::Restart,
                    true,
                ))
            }
            "wait_until" => {
                let mut reader = ArgReader::of("wait_until", args);
                let condition = reader.text("condition");
                let within = reader.span("within");
                let (condition, _) = reader.finish(condition.zip(within))?;
                let mut summary =
                    summary(format!("waits until {condition}"), Disruption::None, false);
                summary.conditions = vec![("condition", condition.to_owned())];
                Ok(summary)
            }
            _ => Err(ArgError::whole(format!("no step kind `{kind}`"))),
        }
    }

    fn known(&self) -> Vec<&'static str> {
        vec![
            "reexec_systemd",
            "restart_unit",
            "write_sysctl",
            "upgrade_package",
            "wait_until",
        ]
    }
}

fn check_unit(name: &str) -> Result<(), String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(format!("`{name}` is not a plain name")),
    }
}

/// Every text is a condition but `BROKEN`.
pub fn any_condition(text: &str) -> Result<(), String> {
    if text.contains("BROKEN") {
        Err("the condition is broken".into())
    } else {
        Ok(())
    }
}

/// The shipped playbooks under the release keys.
pub fn load_shipped() -> (Catalogue, Vec<Problems>) {
    let trust = TrustRoot {
        keys: release_keys().expect("keys"),
        ..TrustRoot::default()
    };
    Catalogue::load(
        SHIPPED,
        &[],
        &trust,
        &Checks {
            kinds: &Kinds,
            condition: &any_condition,
        },
    )
}

/// A playbook document; `{}`-free so that tests change it by replacing texts.
pub const GOOD: &str = r#"id: fix-it
version: 1.2.3
title: Mends it
disruption: restart
explain: Because it is broken.
requires: 'verdict("it-is-broken") == "present"'
attempts: { max: 3, in: 24h, cooldown: 10m }
steps:
  - reexec_systemd: { via: private-socket, timeout: 30s }
  - wait_until: { condition: 'signal("it.answers")', within: 30s }
  - restart_unit: { unit: '{{subject}}', if: 'verdict("other") == "present"', timeout: 60s }
verify: { condition: 'verdict("it-is-broken") == "absent"', soak: 5m }
onFailure: { needsHuman: true }
"#;

/// Reads a document with the kinds above.
pub fn read(text: &str) -> Result<Playbook, Problems> {
    Playbook::parse(
        "p.yaml",
        text,
        &Checks {
            kinds: &Kinds,
            condition: &any_condition,
        },
    )
}

/// A key from a fixed seed.
pub fn key(name: &str, seed: u8) -> PrivateKey {
    PrivateKey::from_seed(name, &[seed; 32]).expect("a key")
}

/// `text` as a source without signature.
pub fn unsigned(text: &str) -> Source<'_> {
    Source {
        name: "d.yaml",
        text,
        signature: None,
    }
}
