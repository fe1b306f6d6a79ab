//! The gates, in the order in which people read their answers.
//!
//! To add one: its file here, and its line in [`Gates::standard`].

mod allowed;
mod attempts;
mod cause;
mod cooldown;
mod evidence;
mod human;
mod mode;
mod one_run;
mod pause;
mod stop_cord;
mod trust;
mod window;

use super::clearance::Gate;

/// The names of all gates, in their order: the closed set of the metric label.
pub const NAMES: &[&str] = &[
    "mode",
    "allowed",
    "pause",
    "trust",
    "window",
    "attempts",
    "cooldown",
    "evidence",
    "cause",
    "human",
    "run",
    "stop-cord",
];

/// Every gate, in the order of [`NAMES`].
pub(super) fn standard() -> Vec<Box<dyn Gate>> {
    vec![
        Box::new(mode::ModeGate),
        Box::new(allowed::AllowedGate),
        Box::new(pause::PauseGate),
        Box::new(trust::TrustGate),
        Box::new(window::WindowGate),
        Box::new(attempts::AttemptsGate),
        Box::new(cooldown::CooldownGate),
        Box::new(evidence::EvidenceGate),
        Box::new(cause::CauseGate),
        Box::new(human::HumanGate),
        Box::new(one_run::OneRunGate),
        Box::new(stop_cord::StopCordGate),
    ]
}
