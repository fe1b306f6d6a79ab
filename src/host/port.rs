//! The machine as the agent sees it.

use std::path::{Path, PathBuf};

/// The machine: where its root is, as seen from here (`/`, or `/host` in a pod).
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The machine whose file tree begins at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where its file tree begins.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The place of an absolute path of the machine, as seen from here.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
