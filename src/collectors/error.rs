//! Why a collector has nothing to show.

use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use thiserror::Error;

/// A file or directory could not be read.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// Opening or reading failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: Arc<Path>,
        /// What the kernel said.
        source: Errno,
    },
    /// The file is larger than any file of its kind.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: Arc<Path>,
        /// The most that is read.
        limit: usize,
    },
}

impl ReadError {
    /// The kernel's reason, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            ReadError::Read { source, .. } => Some(*source),
            ReadError::TooLarge { .. } => None,
        }
    }

    /// Whether the file is not there, or has nothing to say, which is usual for hardware that
    /// this machine does not have.
    pub fn is_absent(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::ENOTDIR)
        )
    }
}

/// Why a collector failed in one turn; its `node_scrape_collector_success` is 0 then.
#[derive(Debug, Clone, Error)]
pub enum CollectError {
    /// There is nothing of this kind on the machine.
    #[error("this machine has no {0}")]
    NoData(&'static str),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file holds something else than its format says.
    #[error("{0} is not in the format that the kernel documents")]
    Parse(&'static str),
    /// A system call failed.
    #[error("{call} failed")]
    System {
        /// The call.
        call: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// The source did not answer before its deadline and still holds a thread.
    #[error("no answer before the deadline; the reading thread is still stuck in the kernel")]
    Stuck,
}

impl CollectError {
    /// What a source that cannot be read means where its absence means that this machine has no `what`.
    pub fn without(what: &'static str) -> impl FnOnce(ReadError) -> CollectError {
        move |error| match error {
            error if error.is_absent() => CollectError::NoData(what),
            error => CollectError::Read(error),
        }
    }

    /// A short stable word for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            CollectError::NoData(_) => "no-data",
            CollectError::Read(_) => "read",
            CollectError::Parse(_) => "parse",
            CollectError::System { .. } => "system",
            CollectError::Stuck => "stuck",
        }
    }
}

/// Why a collector could not be set up: the operator's settings are wrong.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A flag's value is no regular expression.
    #[error("--{flag} is not a regular expression; correct it or leave it out")]
    Pattern {
        /// The flag without its dashes.
        flag: String,
        /// What is wrong with it.
        #[source]
        source: regex::Error,
    },
    /// Two flags exclude each other.
    #[error("--{one} and --{other} cannot be given together; leave one of them out")]
    Both {
        /// One flag.
        one: &'static str,
        /// The other flag.
        other: &'static str,
    },
    /// A flag's value is not of its kind.
    #[error("--{flag}={value}: expected {expected}")]
    Value {
        /// The flag without its dashes.
        flag: String,
        /// What was given.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
    /// No collector has this name.
    #[error("no collector is called {name}; `nodemend metrics --help` lists them")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The collector exists and is switched off.
    #[error("the collector {name} is switched off; give --collector.{name}")]
    Disabled {
        /// The name asked for.
        name: String,
    },
    /// No thread could be started.
    #[error("cannot start a collecting thread")]
    Thread(#[source] std::io::Error),
}

impl SetupError {
    /// A short stable word for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            SetupError::Pattern { .. } => "pattern",
            SetupError::Both { .. } => "both",
            SetupError::Value { .. } => "value",
            SetupError::Unknown { .. } => "unknown",
            SetupError::Disabled { .. } => "disabled",
            SetupError::Thread(_) => "thread",
        }
    }
}
