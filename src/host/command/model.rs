//! What to run, and how it ended.

use super::error::CommandError;
use crate::host::systemd::{Exit, Settings};
use crate::signal::Uptime;
use std::path::PathBuf;
use std::time::Duration;
use zvariant::Value;

/// Every unit of ours begins so: people can tell them apart, and nothing else is ever adopted or removed.
const PREFIX: &str = "nodemend-";

/// systemd's limit is 255 with suffix.
const MAX_UNIT_BYTES: usize = 200;

/// The kernel takes more; a package command line is below 4 KiB.
const MAX_ARGUMENT_BYTES: usize = 32 * 1024;

/// How long the processes of a command that is over its time get between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCommand {
    /// Its unit: `nodemend-<run>-<step>.service`, letters, digits and `-_.:` only.
    pub unit: String,
    /// What people see in `systemctl status`.
    pub description: String,
    /// Program (an absolute path on the host) and arguments. Nothing in them is expanded.
    pub arguments: Vec<String>,
    /// Environment variables beyond systemd's few.
    pub environment: Vec<(String, String)>,
    /// When systemd ends it.
    pub time_limit: Duration,
    /// The directory on the host where its output is kept until it is read; without one it goes to the journal only.
    pub output: Option<PathBuf>,
}

/// Whether [`super::start`] started the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// Just now.
    Now,
    /// Before: a unit of this name exists, running or ended.
    Before,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// It runs.
    Running {
        /// Since when, once its process exists.
        since: Option<Uptime>,
    },
    /// It has ended.
    Ended(CommandEnd),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// How its process ended; `None` if it never ran (no such program is status 203).
    pub exit: Option<Exit>,
    /// systemd's word for it: `success`, `exit-code`, `signal`, `timeout` and so on.
    pub result: String,
    /// When its process was started.
    pub started: Option<Uptime>,
    /// When its process ended.
    pub ended: Option<Uptime>,
}

impl CommandEnd {
    /// Whether it returned 0 within its time.
    pub fn is_success(&self) -> bool {
        self.exit == Some(Exit::Code(0)) && self.result == "success"
    }

    /// Whether it was ended because its time was up.
    pub fn is_timed_out(&self) -> bool {
        self.result == "timeout"
    }
}

/// What a command wrote, each at most its last [`super::MAX_OUTPUT_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl HostCommand {
    /// Whether it may be given to systemd.
    ///
    /// *Errors*: [`CommandError::Invalid`].
    pub fn check(&self) -> Result<(), CommandError> {
        let refuse = |reason| {
            Err(CommandError::Invalid {
                unit: self.unit.clone(),
                reason,
            })
        };
        check_unit(&self.unit)?;
        let Some(program) = self.arguments.first() else {
            return refuse("it has no program");
        };
        if !program.starts_with('/') {
            return refuse("its program is not an absolute path");
        }
        let pairs = self
            .environment
            .iter()
            .flat_map(|(name, value)| [name, value]);
        let texts = || self.arguments.iter().chain(pairs.clone());
        if texts().any(|text| text.contains('\0')) {
            return refuse("it contains a zero byte");
        }
        // systemd 252 writes `;` to the transient unit file in a form that it reads back as `\;`: re-executed before the
        // start, it ran `sleep 4; echo done` as `sleep '4;' echo done` (tried).
        if self.arguments.iter().any(|text| text.contains(';')) {
            return refuse(
                "an argument contains ';', which systemd garbles when it is re-executed",
            );
        }
        if texts().map(String::len).sum::<usize>() > MAX_ARGUMENT_BYTES {
            return refuse("its arguments are longer than 32 KiB");
        }
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !self.environment.iter().all(|(name, _)| is_name(name)) {
            return refuse("the name of an environment variable is not acceptable");
        }
        if self.time_limit.is_zero() {
            return refuse("it has no time limit");
        }
        if self.output.as_ref().is_some_and(|dir| !dir.is_absolute()) {
            return refuse("its output directory is not an absolute path");
        }
        Ok(())
    }

    /// The output files on the host.
    pub(super) fn output_files(&self) -> Option<[PathBuf; 2]> {
        let directory = self.output.as_ref()?;
        Some(["out", "err"].map(|kind| directory.join(format!("{}.{kind}", self.unit))))
    }

    pub(super) fn settings(&self, with_files: bool) -> Settings<'_> {
        let program = self.arguments.first().map_or("", String::as_str);
        // systemd expands $NAME in arguments also of transient units; a doubled $ is a $.
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| argument.replace('$', "$$"))
            .collect();
        let environment: Vec<String> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut settings: Settings<'_> = vec![
            ("Description", Value::from(self.description.as_str())),
            // Not oneshot: RuntimeMaxUSec does not limit it. Not exec: younger than RHEL 7's and 8's systemd.
            ("Type", Value::from("simple")),
            // Keeps the unit, and with it the exit status, until we have read it.
            ("RemainAfterExit", Value::from(true)),
            ("RuntimeMaxUSec", Value::from(micros(self.time_limit))),
            ("TimeoutStopUSec", Value::from(micros(STOP_GRACE))),
            ("ExecStart", Value::from(vec![(program, arguments, false)])),
        ];
        if !environment.is_empty() {
            settings.push(("Environment", Value::from(environment)));
        }
        if let (true, Some([out, err])) = (with_files, self.output_files()) {
            let text = |path: PathBuf| Value::from(path.to_string_lossy().into_owned());
            settings.push(("StandardOutputFile", text(out)));
            settings.push(("StandardErrorFile", text(err)));
        }
        settings
    }
}

/// Only names of ours, so that nothing else is ever adopted, stopped or removed.
pub(super) fn check_unit(unit: &str) -> Result<(), CommandError> {
    let is_ours = unit
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(".service"))
        .is_some_and(|middle| {
            !middle.is_empty()
                && middle
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        });
    if is_ours && unit.len() <= MAX_UNIT_BYTES {
        Ok(())
    } else {
        Err(CommandError::Invalid {
            unit: unit.to_owned(),
            reason: "its unit is not named nodemend-<run>-<step>.service",
        })
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
