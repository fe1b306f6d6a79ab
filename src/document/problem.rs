//! What is wrong with a document, and where.

use std::fmt;

/// A place in a document. Lines and columns count from 1; 0 means "the whole document".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// One thing wrong with a document: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what would be right, in one sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line > 0 {
            write!(f, "{}:{}: ", self.place.line, self.place.column)?;
        }
        f.write_str(&self.message)
    }
}

/// All problems of one document, with the name it was read under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// File name or another name that tells the reader which document is meant.
    pub origin: String,
    /// The problems, in the order of the text once [`Problems::into_result`] ran.
    pub list: Vec<Problem>,
}

impl Problems {
    /// No problems yet, for the document that people know as `origin`.
    pub fn of(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            list: Vec::new(),
        }
    }

    /// Notes one problem.
    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        self.list.push(Problem {
            place,
            message: message.into(),
        });
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// `value` if nothing was wrong, else every problem in the order of the text.
    ///
    /// # Errors
    /// The problems themselves. A missing value without a problem is reported as one: nothing is ever half loaded.
    pub fn into_result<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        self.list.sort();
        self.list.dedup();
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => {
                if self.list.is_empty() {
                    self.add(
                        Place::default(),
                        "the document could not be read; check its form",
                    );
                }
                Err(self)
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let gap = if problem.place.line > 0 { "" } else { " " };
            write!(f, "{}:{gap}{problem}", self.origin)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
