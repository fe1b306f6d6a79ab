//! Where a command writes.

use std::io::{self, Write};

/// What a command writes to: results for people and programs, diagnostics for people (interface.md, section 1).
pub struct Streams<'a> {
    /// Results: standard output.
    pub out: &'a mut dyn Write,
    /// Diagnostics: standard error.
    pub diagnostics: &'a mut dyn Write,
    /// Whether results are JSON instead of text.
    pub is_json: bool,
}

impl Streams<'_> {
    /// Writes one JSON document and the end of its line.
    ///
    /// # Errors
    /// What the stream says.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, value)?;
        writeln!(self.out)
    }

    /// Writes an error with its causes to the diagnostics.
    ///
    /// # Errors
    /// What the stream says.
    pub fn complain(&mut self, error: &dyn std::error::Error) -> io::Result<()> {
        write!(self.diagnostics, "nodemend: {error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(self.diagnostics, ": {error}")?;
            cause = error.source();
        }
        writeln!(self.diagnostics)
    }
}
