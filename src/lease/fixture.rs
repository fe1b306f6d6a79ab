//! A clearance for tests: facts that every real gate passes.

use crate::policy::{CaseId, Cleared, Disruption, Facts, Gates, Mode, PlaybookRef, Proposal};
use crate::signal::{Subject, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Leave from every gate for a run of a playbook with this digest.
pub fn cleared() -> Cleared {
    let case = CaseId(41);
    let proposal = Proposal {
        case,
        signature: Arc::from("test-signature"),
        subject: Subject::NODE,
        playbook: PlaybookRef {
            id: Arc::from("test-playbook"),
            version: Arc::from("1.0.0"),
            digest: Arc::from("d1"),
        },
        disruption: Disruption::Restart,
        evidence: Vec::new(),
    };
    let now = Timestamp::default().plus(Duration::from_secs(3600));
    let mut facts = Facts {
        now,
        max_attempts: 3,
        attempts_span: Duration::from_secs(86_400),
        attempts: Some(BTreeMap::new()),
        evidence_at: BTreeMap::from([(case, now.uptime)]),
        trusted: BTreeMap::from([(Arc::from("d1"), Arc::from("test key"))]),
        capable: (Disruption::Reboot, Arc::from("a test can do anything")),
        ..Facts::default()
    };
    facts.opt_in.version = Arc::from("88213");
    facts.opt_in.mode = Mode::Auto;
    facts.opt_in.allow = Disruption::Reboot;
    Gates::standard()
        .decide(proposal, &facts)
        .unwrap_or_else(|blocked| panic!("{:?}", blocked.answers))
}
