//! What machines can fall ill with: every shipped signature that names a playbook, and what its probes read then.

use crate::simulate::Fault;

/// An illness by the signature that it shows.
#[derive(Debug)]
pub(super) struct Ailment {
    pub(super) signature: &'static str,
    /// What is wrong with the machine.
    pub(super) fault: Fault,
    /// The probes that see it, or that its rule asks as well.
    pub(super) probes: &'static [&'static str],
    /// Whether it lives in memory only.
    pub(super) ends_with_boot: bool,
}

/// All of them.
pub(super) const AILMENTS: [Ailment; 6] = [
    Ailment {
        signature: "systemd-bus-unresponsive",
        fault: Fault::BusMute,
        probes: &["systemd-bus"],
        ends_with_boot: true,
    },
    Ailment {
        signature: "kernel-sysctl-drift",
        fault: Fault::Drift(0),
        probes: &["kernel"],
        // Whatever sets the value does so again.
        ends_with_boot: false,
    },
    Ailment {
        signature: "runtime-unresponsive",
        fault: Fault::RuntimeMute,
        probes: &["systemd-units", "runtime"],
        ends_with_boot: true,
    },
    Ailment {
        signature: "kubelet-pod-workers-wedged",
        fault: Fault::WorkersWedged,
        probes: &["systemd-bus", "systemd-units", "kubelet"],
        ends_with_boot: true,
    },
    Ailment {
        signature: "systemd-cookie-near-overrun",
        fault: Fault::NearOverrun,
        probes: &["systemd-bus", "packages"],
        ends_with_boot: true,
    },
    Ailment {
        signature: "systemd-outdated-flapping",
        fault: Fault::Unsupported,
        probes: &["systemd-bus", "packages", "journal"],
        ends_with_boot: true,
    },
];

/// The probes, in the order in which they look.
pub(super) const PROBES: [&str; 7] = [
    "systemd-bus",
    "systemd-units",
    "journal",
    "packages",
    "kernel",
    "runtime",
    "kubelet",
];

/// The illness that shows by this signature.
pub(super) fn ailment(signature: &str) -> Option<&'static Ailment> {
    AILMENTS
        .iter()
        .find(|ailment| ailment.signature == signature)
}

/// The signatures, for messages.
pub(super) fn signatures() -> Vec<&'static str> {
    AILMENTS.iter().map(|ailment| ailment.signature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::{Signature, shipped};

    #[test]
    fn every_shipped_signature_that_names_a_playbook_can_be_rehearsed() {
        let mut mended: Vec<String> = shipped::sources()
            .iter()
            .filter_map(|source| {
                let signature = Signature::parse(&source.origin, &source.text).expect("sound");
                signature.mend.is_some().then(|| signature.id.to_string())
            })
            .collect();
        mended.sort();
        let mut known = signatures();
        known.sort_unstable();
        assert_eq!(mended, known);
    }
}
