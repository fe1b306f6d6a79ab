//! Signals of certificates.

use crate::signal::{Key, Unit};
use std::time::Duration;

/// Three runs of the probe.
const MAX_AGE: Duration = Duration::from_secs(900);

/// How long a certificate is still good.
pub const DAYS_LEFT: Key<f64> = Key::<f64>::new(
    "certificate.days_left",
    Unit::None,
    MAX_AGE,
    "Days until the first certificate in a file runs out, by this node's wall clock; negative after that.",
    "notAfter of the certificates of kubelet and control plane (X.509), in files of their own and in kubeconfigs",
)
.per("file");

/// Whether a certificate could be read.
pub const READABLE: Key<bool> = Key::<bool>::new(
    "certificate.readable",
    Unit::None,
    MAX_AGE,
    "Whether a file that should hold certificates can be read and holds at least one.",
    "the files of kubelet and control plane",
)
.per("file");

/// How much of the life of the agent's own token is left.
pub const TOKEN_LEFT: Key<f64> = Key::<f64>::new(
    "agent.token.left",
    Unit::Ratio,
    MAX_AGE,
    "Share of the life of the agent's own token that is left, by this node's wall clock; the kubelet renews it after a day or after four fifths of its life.",
    "iat and exp of /var/run/secrets/kubernetes.io/serviceaccount/token",
);
