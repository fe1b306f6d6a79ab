//! Whether people allowed what is done: the node's own settings (I12, I14), and approvals, each of which is for one run.

use super::chronicle::Announcement;
use super::jury::Jury;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a Node's annotations allowed when they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consent {
    /// Anything of class restart.
    Any,
    /// These cases.
    Cases(Vec<u64>),
    /// Nothing.
    Nothing,
    /// Nothing, because something is missing or not understood.
    Garbled,
}

/// Reads the annotations, apart from the product's own reading of them.
pub(super) fn consent_of(node: &Value) -> Consent {
    let notes = node.pointer("/metadata/annotations");
    let note = |key: &str| notes.and_then(|notes| notes.get(key)?.as_str());
    let approved = note("nodemend.io/approve").map_or(Some(Vec::new()), |text| {
        let cases = text
            .split(',')
            .map(|case| case.trim().strip_prefix("case-")?.parse().ok());
        cases.collect::<Option<Vec<u64>>>()
    });
    match (
        note("nodemend.io/mode"),
        note("nodemend.io/allow"),
        approved,
    ) {
        (Some("observe"), _, _) => Consent::Nothing,
        (Some("auto"), Some("restart"), Some(_)) => Consent::Any,
        (Some("approve"), Some("restart"), Some(cases)) => Consent::Cases(cases),
        (Some("auto" | "approve"), Some("none"), Some(_)) => Consent::Nothing,
        _ => Consent::Garbled,
    }
}

/// What people approved on a node, and which runs rested on it.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    given: BTreeMap<u64, usize>,
    used: BTreeMap<u64, BTreeSet<u64>>,
}

impl Jury {
    /// A person approved a case.
    pub(super) fn approved(&mut self, node: usize, case: u64) {
        if let Some(record) = self.records.get_mut(node) {
            *record.approvals.given.entry(case).or_default() += 1;
        }
    }

    /// A record announces a step: the settings that it names must have been read in this run and allow it.
    pub(super) fn announced(&mut self, now: Duration, node: usize, what: &Announcement) {
        let Announcement {
            run,
            step,
            case,
            opt_in,
        } = what;
        let Some(record) = self.records.get_mut(node) else {
            return;
        };
        let Some(consent) = record.reads.get(opt_in) else {
            let what = format!(
                "run-{run} step {step} rests on version `{opt_in}` of its Node, which was not read in this run"
            );
            return self.blame(now, node, "I12", what);
        };
        match consent {
            Consent::Any => return,
            Consent::Cases(cases) if cases.contains(case) => {}
            consent => {
                let is_garbled = *consent == Consent::Garbled;
                let what = format!(
                    "run-{run} for case-{case} rests on version {opt_in} of its Node, which does not allow it: {consent:?}"
                );
                if is_garbled {
                    self.blame(now, node, "I14", what.clone());
                }
                return self.blame(now, node, "I12", what);
            }
        }
        let approvals = &mut record.approvals;
        let given = approvals.given.get(case).copied().unwrap_or(0);
        let used = approvals.used.entry(*case).or_default();
        used.insert(*run);
        let used = used.len();
        if used > given {
            let what = format!(
                "case-{case} was approved {given} times, and run-{run} is the {used}. run that rests on it"
            );
            self.blame(now, node, "I12", what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_whole_and_well_spelled_settings_allow_anything() {
        for (mode, allow, approve, expected) in [
            (Some("auto"), Some("restart"), None, Consent::Any),
            (
                Some("approve"),
                Some("restart"),
                Some("case-3, case-4"),
                Consent::Cases(vec![3, 4]),
            ),
            (
                Some("approve"),
                Some("restart"),
                None,
                Consent::Cases(vec![]),
            ),
            (Some("observe"), Some("restart"), None, Consent::Nothing),
            (Some("auto"), Some("none"), None, Consent::Nothing),
            (Some("Auto"), Some("restart"), None, Consent::Garbled),
            (None, Some("restart"), None, Consent::Garbled),
            (Some("auto"), None, None, Consent::Garbled),
            (Some("auto"), Some("restart"), Some("*"), Consent::Garbled),
        ] {
            let node = json!({ "metadata": { "annotations": {
                "nodemend.io/mode": mode, "nodemend.io/allow": allow, "nodemend.io/approve": approve } } });
            assert_eq!(consent_of(&node), expected, "{node}");
        }
    }
}
