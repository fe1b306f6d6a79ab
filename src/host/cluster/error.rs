//! What can go wrong between the agent and the API server.

use std::time::Duration;

/// A call did not give what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The server said no.
    #[error("{what}: the API server refused to {verb} it ({code}): {message}{}", advice(*code))]
    Refused {
        /// What the call was about.
        what: String,
        /// RBAC's word for what was tried.
        verb: &'static str,
        /// The HTTP status.
        code: u16,
        /// The server's short word: `AlreadyExists`, `Conflict`, `Forbidden`.
        reason: String,
        /// The server's sentence, cut.
        message: String,
        /// How long to wait before asking again, where the server says so.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    #[error("{what}: the API server cannot be reached: {why}")]
    Unreachable {
        /// What the call was about.
        what: String,
        /// What the connection said.
        why: String,
    },
    /// No answer in time.
    #[error("{what}: no answer from the API server within {} s", limit.as_secs())]
    Late {
        /// What the call was about.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// An answer that is not what it should be.
    #[error("{what}: the API server's answer cannot be understood: {why}")]
    Garbled {
        /// What the call was about.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no way to the server at all.
    #[error(
        "there is no way to the API server: {why}; run it in a pod with a service account or with --kubeconfig FILE (an agent without a cluster: --standalone)"
    )]
    Setup {
        /// What is missing.
        why: String,
    },
}

fn advice(code: u16) -> &'static str {
    match code {
        401 => {
            "; the token is expired or wrong, and the kubelet of this node may be unable to refresh it"
        }
        429 => "; the server asks to slow down",
        _ => "",
    }
}

impl ApiError {
    /// A short stable word: the metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            ApiError::Refused { .. } => "refused",
            ApiError::Unreachable { .. } => "unreachable",
            ApiError::Late { .. } => "late",
            ApiError::Garbled { .. } => "garbled",
            ApiError::Setup { .. } => "setup",
        }
    }

    /// The HTTP status, if the server refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            ApiError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The server's short word, if it refused.
    pub fn reason(&self) -> &str {
        match self {
            ApiError::Refused { reason, .. } => reason,
            _ => "",
        }
    }

    /// The object is not there.
    pub fn is_missing(&self) -> bool {
        self.code() == Some(404)
    }

    /// A no that stands until somebody changes something: asking again is of no use. Everything else may pass, and a write
    /// that met it may have been made.
    pub fn is_final(&self) -> bool {
        match self {
            ApiError::Refused { code, .. } => !matches!(code, 408 | 429 | 500..),
            ApiError::Setup { .. } => true,
            _ => false,
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// An object whose field is not what it should be. It is never guessed at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {field} {why}")]
pub struct BadObject {
    /// Kind and name.
    pub object: String,
    /// The field's path.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}
