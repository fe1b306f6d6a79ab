//! Asking rpm, as a command on the host.
//!
//! Its database has three formats, each with its own library; the machine's own `rpm` knows the one it uses.

use super::parse::WATCHED;
use crate::host::command::{self, CommandEnd, CommandError, HostCommand, Started};
use crate::host::systemd::Exit;
use crate::host::{BoxFuture, Deadline, Host, clock};
use crate::probes::error::ProbeError;
use crate::probes::journal::lines_of_unit;
use crate::signal::Wall;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// The unit that the command runs as. There is one agent on a machine, and it asks one question at a time.
const UNIT: &str = "nodemend-rpm-query.service";

/// Where the output is kept until it is read: in memory, gone with the boot.
const OUTPUT: &str = "/run/nodemend";

/// When systemd ends it. The whole database takes less than a second; one that is locked makes rpm wait.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// How long all of it may take: below the probe's own limit, so that the unit is removed.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// One line a package, so that no output of one package can be taken for another. A missing epoch counts as 0.
const FORMAT: &str = "%{NAME} %|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE} %{INSTALLTIME}\\n";

/// How often and how fast the journal is looked at where systemd cannot write output to files.
const JOURNAL_LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// A database that can be asked for the watched packages.
pub trait RpmDatabase: Send + Sync {
    /// rpm's answer about `names`, or about all watched packages where it is not known which are there; in the form that
    /// [`super::read_rpm_answer`] reads.
    fn answer<'a>(
        &'a self,
        host: &'a Host,
        names: Option<Vec<String>>,
    ) -> BoxFuture<'a, Result<String, ProbeError>>;
}

/// The machine's own `rpm`, run as a transient unit.
///
/// *Cost*: PID 1 starts and forgets one unit; asked when the database changed, and every ten minutes.
#[derive(Debug, Default)]
pub struct RpmCommand;

impl RpmDatabase for RpmCommand {
    fn answer<'a>(
        &'a self,
        host: &'a Host,
        names: Option<Vec<String>>,
    ) -> BoxFuture<'a, Result<String, ProbeError>> {
        Box::pin(async move { ask(host, &query(names)).await.map_err(probe_error)? })
    }
}

/// `rpm -q` returns the number of names that are not installed, and the unit would count as failed: names that may be missing
/// are asked for by `-qa`, which reads the whole database.
fn query(names: Option<Vec<String>>) -> HostCommand {
    let plain = || WATCHED.iter().filter(|name| !name.ends_with('*'));
    let (how, names) = match names {
        Some(names) if !names.is_empty() => ("-q", names),
        _ => ("-qa", plain().map(|&name| name.to_owned()).collect()),
    };
    let fixed = ["/usr/bin/rpm", how, "--qf", FORMAT].map(str::to_owned);
    HostCommand {
        unit: UNIT.to_owned(),
        description: "nodemend: versions of installed packages".to_owned(),
        arguments: fixed.into_iter().chain(names).collect(),
        environment: vec![("LC_ALL".to_owned(), "C".to_owned())],
        time_limit: TIME_LIMIT,
        output: Some(PathBuf::from(OUTPUT)),
    }
}

async fn ask(host: &Host, query: &HostCommand) -> Result<Result<String, ProbeError>, CommandError> {
    let deadline = Deadline::after(ANSWER_WITHIN);
    let began = clock::now().wall;
    if command::start(host, query, deadline).await? == Started::Before {
        // Left behind by an agent that was killed; its answer is old.
        command::remove(host, query, deadline).await?;
        command::start(host, query, deadline).await?;
    }
    let end = command::wait(host, UNIT, deadline).await;
    let output = command::output(host, query).await;
    command::remove(host, query, deadline).await?;
    let text = String::from_utf8_lossy(&output?.stdout).into_owned();
    if let Err(error) = judge(&end?) {
        return Ok(Err(error));
    }
    if text.trim().is_empty() {
        return Ok(from_journal(host, began, deadline).await);
    }
    Ok(Ok(text))
}

/// systemd before 236 (RHEL 7) writes output to the journal only.
async fn from_journal(host: &Host, began: Wall, deadline: Deadline) -> Result<String, ProbeError> {
    for _ in 0..JOURNAL_LOOKS {
        let place = host.clone();
        let look = spawn_blocking(move || lines_of_unit(&place, UNIT, began));
        let lines = look.await.map_err(|source| ProbeError::Read {
            what: "rpm's answer in the journal".to_owned(),
            source: Box::new(source),
        })??;
        if !lines.is_empty() {
            return Ok(lines.join("\n"));
        }
        if deadline.remaining().is_zero() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let what = "rpm's answer".to_owned();
    let source = Box::new(io::Error::from(io::ErrorKind::UnexpectedEof));
    Err(ProbeError::Read { what, source })
}

/// rpm returns the number of packages that are gone since they were last seen, which is fine.
fn judge(end: &CommandEnd) -> Result<(), ProbeError> {
    let what = || "rpm on the host".to_owned();
    match &end.exit {
        // systemd's own status for a program that is not there.
        Some(Exit::Code(203)) => Err(ProbeError::Unsupported { what: what() }),
        Some(Exit::Code(status)) if usize::try_from(*status).is_ok_and(|n| n <= WATCHED.len()) => {
            Ok(())
        }
        _ if end.is_timed_out() => Err(ProbeError::Late { what: what() }),
        _ => Err(ProbeError::Read {
            what: what(),
            source: format!("it ended with {:?} ({})", end.exit, end.result).into(),
        }),
    }
}

fn probe_error(error: CommandError) -> ProbeError {
    let what = "the packages by rpm on the host".to_owned();
    match error.kind() {
        "no-socket" => ProbeError::Unsupported {
            what: "systemd, which would run rpm on the host,".to_owned(),
        },
        "no-rights" => ProbeError::NoRights {
            what,
            source: io::Error::new(io::ErrorKind::PermissionDenied, error),
        },
        "late" | "still-running" => ProbeError::Late { what },
        _ => ProbeError::Read {
            what,
            source: Box::new(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Option<Exit>, result: &str) -> CommandEnd {
        CommandEnd {
            exit,
            result: result.to_owned(),
            started: None,
            ended: None,
        }
    }

    #[test]
    fn the_question_is_one_that_systemd_accepts() {
        let first = query(None);
        first.check().expect("acceptable");
        assert_eq!(first.arguments[1], "-qa");
        assert!(first.arguments.iter().any(|word| word == "systemd"));
        assert!(!first.arguments.iter().any(|word| word.ends_with('*')));
        let later = query(Some(vec!["runc".to_owned()]));
        later.check().expect("acceptable");
        assert_eq!((&*later.arguments[1], &*later.arguments[4]), ("-q", "runc"));
    }

    #[test]
    fn packages_that_are_not_installed_are_no_failure_and_others_are() {
        for (exit, result, kind) in [
            (Some(Exit::Code(0)), "success", None),
            (Some(Exit::Code(9)), "exit-code", None),
            (Some(Exit::Code(203)), "exit-code", Some("unsupported")),
            (Some(Exit::Code(127)), "exit-code", Some("failed")),
            (Some(Exit::Code(-1)), "exit-code", Some("failed")),
            (None, "timeout", Some("late")),
            (None, "resources", Some("failed")),
        ] {
            let found = judge(&ended(exit, result)).err();
            assert_eq!(found.map(|error| error.kind()), kind, "{exit:?} {result}");
        }
    }

    #[tokio::test]
    async fn a_machine_without_systemd_cannot_be_asked() {
        let root = tempfile::tempdir().expect("a directory");
        let error = RpmCommand
            .answer(&Host::at(root.path()), None)
            .await
            .expect_err("no systemd");
        assert_eq!(error.kind(), "unsupported", "{error:?}");
    }
}
