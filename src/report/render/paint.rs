//! Colours, where they are wanted.

/// Writes escape sequences, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Something wrong.
    pub fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Something to look at.
    pub fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Something fine.
    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Something of less weight.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// By severity.
    pub fn severity(self, word: &str, text: &str) -> String {
        match word {
            "critical" | "high" => self.bad(text),
            "medium" => self.warn(text),
            _ => text.to_owned(),
        }
    }
}
