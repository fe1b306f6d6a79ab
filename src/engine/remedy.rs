//! What the engine needs to know of playbooks.

use super::turn::Engine;
use crate::diagnosis::Case;
use crate::playbook::Catalogue;
use crate::policy::{Disruption, PlaybookRef};
use crate::signal::Wall;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A playbook, as far as decisions are concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Remedy {
    /// Which playbook, exactly.
    pub playbook: PlaybookRef,
    /// What it does to the node's work.
    pub disruption: Disruption,
    /// Its own limit of attempts in its span.
    pub max_attempts: u32,
    /// The span over which it counts attempts.
    pub attempts_span: Duration,
    /// How long it wants to wait after an attempt.
    pub cooldown: Duration,
    /// Who vouches for it; `None`: nobody, so it never runs.
    pub voucher: Option<Arc<str>>,
    /// The moment from which on nobody vouches for it, by the wall clock: a signature can expire under a running agent.
    pub expires: Option<Wall>,
}

/// All playbooks by id.
pub type Remedies = BTreeMap<Arc<str>, Remedy>;

/// The newest trusted version of every playbook; one that nobody vouches for is listed too, so that the gate can say so.
pub fn remedies_of(playbooks: &Catalogue, now: Wall) -> Remedies {
    let mut remedies = Remedies::new();
    for listed in playbooks.iter() {
        let trust = listed.trust(now);
        let playbook = &listed.playbook;
        let remedy = Remedy {
            playbook: playbook.reference(),
            disruption: playbook.disruption,
            max_attempts: playbook.attempts.max,
            attempts_span: playbook.attempts.span,
            cooldown: playbook.attempts.cooldown,
            voucher: trust
                .is_trusted()
                .then(|| Arc::from(trust.to_string().as_str())),
            expires: listed.expires(),
        };
        let keeps_older = remedies
            .get(&playbook.id)
            .is_some_and(|older: &Remedy| older.voucher.is_some() && remedy.voucher.is_none());
        if !keeps_older {
            remedies.insert(playbook.id.clone(), remedy);
        }
    }
    remedies
}

impl Engine {
    /// The playbook that the case's signature names, if both are there.
    pub(super) fn remedy_of(&self, case: &Case) -> Option<&Remedy> {
        let signature = self.judge().rulebook().find(&case.signature)?;
        self.remedies.get(signature.mend.as_deref()?)
    }
}
