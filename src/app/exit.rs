//! Exit codes of the command line (interface.md, section 1).

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Fine.
    Fine,
    /// The command ran and found something wrong.
    Found,
    /// Wrong usage or bad input.
    BadInput,
    /// It cannot tell: rights or a source are missing.
    CannotTell,
}

impl Exit {
    /// The number for the shell.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Found => 1,
            Exit::BadInput => 2,
            Exit::CannotTell => 3,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let codes = [Exit::Fine, Exit::Found, Exit::BadInput, Exit::CannotTell].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3]);
    }
}
