//! A command that ran inside a node, and how it ended.

use std::process::Output;

use anyhow::{Result, ensure};

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    pub argv: String,
    /// The exit code; 124 = over its limit and killed, `None` = ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub(super) fn of(argv: &[&str], output: &Output) -> Self {
        Self {
            argv: argv.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The standard output of a command that succeeded.
    pub fn ok(self) -> Result<String> {
        ensure!(
            self.is_ok(),
            "`{}` ended with {:?}: {}{}",
            self.argv,
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self.stdout)
    }
}
