//! What people do to an agent.

use super::chance::Chance;
use crate::engine::{Limits, Remedies};
use crate::policy::{CaseId, Disruption, Mode, OptIn};
use std::sync::Arc;
use std::time::Duration;

/// Something that a person does.
#[derive(Debug)]
pub(super) enum Deed {
    /// Sets mode, allowed class, trouble in the settings.
    Settings(OptIn),
    /// Pauses or resumes.
    Pause(Option<String>),
    /// Approves a case.
    Approve(CaseId),
    /// Loads the rules anew without the one of this number.
    Rules(Option<usize>),
    /// Sets limits.
    Limits(Limits),
    /// Takes away or gives back the signature of the playbooks.
    Vouch(bool),
    /// Pulls or lets go the stop cord.
    Cord(Option<Arc<str>>),
    /// Edits the list of declared settings.
    Declare(usize),
}

/// What a person does next, with cases that are open.
pub(super) fn next_deed(chance: &mut Chance, open: &[CaseId], rules: usize) -> Deed {
    match chance.below(16) {
        0..=4 => Deed::Settings(settings(chance)),
        5 => Deed::Pause(chance.one_in(4).then(|| "maintenance".to_owned())),
        6..=10 => match chance.pick(open) {
            Some(case) => Deed::Approve(*case),
            // People also name cases that are not there.
            None => Deed::Approve(CaseId(chance.below(1_000))),
        },
        11 => Deed::Rules(chance.one_in(3).then(|| place(chance, rules))),
        12 => Deed::Limits(limits(chance)),
        13 => Deed::Vouch(!chance.one_in(8)),
        14 => Deed::Cord(chance.one_in(6).then(|| Arc::from("a person pulled it"))),
        _ => Deed::Declare(place(chance, 4)),
    }
}

fn place(chance: &mut Chance, count: usize) -> usize {
    let bound = u64::try_from(count).unwrap_or(u64::MAX);
    usize::try_from(chance.below(bound)).unwrap_or(0)
}

/// Settings as a node may have them; mostly such that something happens.
pub(super) fn settings(chance: &mut Chance) -> OptIn {
    let mode = match chance.below(6) {
        0 => Mode::Observe,
        1 | 2 => Mode::Approve,
        _ => Mode::Auto,
    };
    let allow = match chance.below(8) {
        0 => Disruption::None,
        1 => Disruption::Reboot,
        _ => Disruption::Restart,
    };
    OptIn {
        source: Arc::from("config"),
        version: Arc::from("1"),
        mode,
        allow,
        trouble: match chance.one_in(12) {
            true => vec![Arc::from("`Auto` is not a mode")],
            false => Vec::new(),
        },
        ..OptIn::default()
    }
}

fn limits(chance: &mut Chance) -> Limits {
    Limits {
        max_attempts: u32::try_from(chance.below(8)).unwrap_or(0),
        cooldown: chance.span(Duration::ZERO, Duration::from_secs(1_800)),
        ..Limits::default()
    }
}

/// The playbooks, with or without somebody who vouches for them.
pub(super) fn vouched(remedies: &Remedies, is_vouched: bool) -> Remedies {
    let mut remedies = remedies.clone();
    if !is_vouched {
        remedies
            .values_mut()
            .for_each(|remedy| remedy.voucher = None);
    }
    remedies
}
