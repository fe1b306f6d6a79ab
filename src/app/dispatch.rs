//! From the typed request to the command, and from its result to streams and exit code.

use super::agent::{self, Control};
use super::cli::{Cli, Command, Common, LogFormat};
use super::commands;
use super::exit::Exit;
use crate::document::{Place, Problems};
use std::io::Write;
use tracing_subscriber::EnvFilter;

/// Runs the command. Results go to stdout, problems to stderr.
pub async fn dispatch(cli: Cli) -> Exit {
    let common = &cli.common;
    let result = match begin_log(common) {
        Ok(()) => run(common, &cli.command).await,
        Err(problems) => Err(problems),
    };
    match result {
        Ok((text, exit)) => {
            // A reader that closed its end (`| head`) has what it wanted.
            std::io::stdout().write_all(text.as_bytes()).ok();
            exit
        }
        Err(reports) => {
            for report in &reports {
                eprintln!("{report}");
            }
            Exit::BadInput
        }
    }
}

async fn run(common: &Common, command: &Command) -> Result<(String, Exit), Vec<Problems>> {
    match command {
        Command::Agent(args) => agent::run(common, args)
            .await
            .map(|exit| (String::new(), exit)),
        Command::Check { signatures } => commands::check::run(common, signatures).await,
        Command::Status => commands::remote::status(common).await,
        Command::Cases => commands::remote::cases(common).await,
        Command::Explain { case } => commands::remote::explain(common, case.as_deref()).await,
        Command::Approve { case } => {
            commands::remote::control(common, &Control::Approve { case: case.clone() }).await
        }
        Command::Pause { reason } => {
            commands::remote::control(
                common,
                &Control::Pause {
                    reason: reason.clone(),
                },
            )
            .await
        }
        Command::Resume => commands::remote::control(common, &Control::Resume).await,
        Command::Signature(command) => commands::signature::run(common, command),
        Command::Playbook(_) | Command::Audit(_) => Ok((String::new(), Exit::BadInput)),
    }
}

/// Logs go to stderr; commands that print a result log only warnings unless told otherwise.
fn begin_log(common: &Common) -> Result<(), Vec<Problems>> {
    let filter = EnvFilter::try_new(&common.log_level).map_err(|error| {
        let mut problems = Problems::of("--log-level");
        problems.add(
            Place::default(),
            format!(
                "`{}` is no level: {error}; write error, warn, info, debug or trace",
                common.log_level
            ),
        );
        vec![problems]
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let begun = match common.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // A second logger can only come from a test that runs in this process.
    if begun.is_err() {
        tracing::debug!("logging was begun before");
    }
    Ok(())
}
