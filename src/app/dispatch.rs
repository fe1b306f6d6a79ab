//! From the typed request to the command, and from its result to streams and exit code.

use super::cli::{Cli, Command};
use super::commands;
use super::exit::Exit;
use crate::document::Problems;
use std::io::Write;

/// Runs the command. Results go to stdout, problems to stderr.
pub async fn dispatch(cli: Cli) -> Exit {
    let common = &cli.common;
    let mut stdout = std::io::stdout().lock();
    let result = match &cli.command {
        Command::Check { signatures } => {
            commands::check::run(common, signatures, &mut stdout).await
        }
        Command::Signature(command) => {
            print(&mut stdout, commands::signature::run(common, command))
        }
        _ => Ok(Exit::BadInput),
    };
    result.unwrap_or_else(|reports| {
        for report in &reports {
            eprintln!("{report}");
        }
        Exit::BadInput
    })
}

fn print(
    out: &mut dyn Write,
    result: Result<(String, Exit), Vec<Problems>>,
) -> Result<Exit, Vec<Problems>> {
    result.map(|(text, exit)| match out.write_all(text.as_bytes()) {
        Ok(()) => exit,
        // A reader that closed its end (`| head`) has what it wanted.
        Err(_) => exit,
    })
}
