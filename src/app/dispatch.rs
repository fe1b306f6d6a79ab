//! From the typed request to the command, and from its result to streams and exit code.

use super::cli::{Cli, Command, Common, Output, PlaybookCommand};
use super::commands::{self, Streams, playbook::Shelf};
use super::exit::Exit;
use super::{playbooks, world};
use crate::document::Problems;
use crate::host::clock;
use crate::playbook::Checks;
use crate::steps::Kinds;
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
        Command::Playbook(command) => playbook(common, command, &mut stdout),
        Command::Audit(command) => {
            let dir = world::state_dir(common).join("audit");
            Ok(written(commands::audit::run(
                &dir,
                command,
                &mut streams(common, &mut stdout, &mut std::io::stderr()),
            )))
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

fn playbook(
    common: &Common,
    command: &PlaybookCommand,
    stdout: &mut dyn Write,
) -> Result<Exit, Vec<Problems>> {
    let config = world::load_config(common).map_err(|problems| vec![problems])?;
    let (catalogue, problems) = playbooks::load(&config);
    let (root, _) = playbooks::trust_root(&config);
    let checks = Checks {
        kinds: &Kinds,
        condition: &playbooks::check_condition,
    };
    let shelf = Shelf {
        catalogue: &catalogue,
        problems: &problems,
        checks: &checks,
        keys: &root.keys,
        now: clock::now().wall,
    };
    let mut stderr = std::io::stderr();
    Ok(written(commands::playbook::run(
        &shelf,
        command,
        &mut streams(common, stdout, &mut stderr),
    )))
}

fn streams<'a>(
    common: &Common,
    out: &'a mut dyn Write,
    diagnostics: &'a mut dyn Write,
) -> Streams<'a> {
    Streams {
        out,
        diagnostics,
        is_json: common.output == Output::Json,
    }
}

/// A reader that closed its end (`| head`) has what it wanted; any other failure to write is said.
fn written(result: std::io::Result<Exit>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Fine,
        Err(error) => {
            eprintln!("nodemend: writing the output failed: {error}");
            Exit::CannotTell
        }
    }
}
