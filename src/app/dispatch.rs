//! From the typed request to the command, and from its result to streams and exit code.

use super::agent::{self, Control};
use super::cli::{Cli, Command, Common, LogFormat, Output, PlaybookCommand};
use super::commands::{self, Streams, playbook::Shelf};
use super::exit::Exit;
use super::{playbooks, world};
use crate::document::{Place, Problems};
use crate::host::clock;
use crate::playbook::Checks;
use crate::steps::Kinds;
use std::io::Write;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
        Command::Metrics(args) => commands::metrics::run(common, args),
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
        Command::Playbook(PlaybookCommand::Run {
            playbook,
            subject,
            dry_run,
        }) => agent::run_by_hand(common, playbook, subject, *dry_run).await,
        Command::Playbook(command) => playbook(common, command).map(|exit| (String::new(), exit)),
        Command::Slot(command) => commands::slot::run(common, command).await,
        Command::Simulate(args) => commands::simulate::run(common, args),
        Command::Audit(command) => {
            let dir = world::state_dir(common).join("audit");
            let exit = with_streams(common, |streams| {
                commands::audit::run(&dir, command, streams)
            });
            Ok((String::new(), exit))
        }
    }
}

fn playbook(common: &Common, command: &PlaybookCommand) -> Result<Exit, Vec<Problems>> {
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
    Ok(with_streams(common, |streams| {
        commands::playbook::run(&shelf, command, streams)
    }))
}

/// Runs a command that writes as it goes. A reader that closed its end (`| head`) has what it wanted; any other failure to
/// write is said.
fn with_streams(
    common: &Common,
    command: impl FnOnce(&mut Streams<'_>) -> std::io::Result<Exit>,
) -> Exit {
    let (mut out, mut diagnostics) = (std::io::stdout().lock(), std::io::stderr());
    let is_json = common.output == Output::Json;
    let mut streams = Streams {
        out: &mut out,
        diagnostics: &mut diagnostics,
        is_json,
    };
    match command(&mut streams) {
        Ok(exit) => exit,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Fine,
        Err(error) => {
            eprintln!("nodemend: writing the output failed: {error}");
            Exit::CannotTell
        }
    }
}

/// Logs go to stderr. Levels by target, without regular expressions: `info`, or `info,kube=warn`.
fn begin_log(common: &Common) -> Result<(), Vec<Problems>> {
    let levels: Targets = common.log_level.parse().map_err(|error| {
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
    // It logs each failed call without saying which; ours is logged with its object and what becomes of it.
    let levels = match common.log_level.contains("kube_client") {
        true => levels,
        false => levels.with_target("kube_client", LevelFilter::OFF),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(levels);
    let begun = match common.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    // A second logger can only come from a test that runs in this process.
    if begun.is_err() {
        tracing::debug!("logging was begun before");
    }
    Ok(())
}
