//! `upgrade_package`: installed packages go to the newest build that the machine's package lists know. apt only so far.
//!
//! *Effect*: exactly the named packages, to exactly the versions of a dry run, as a transient unit that outlives this agent;
//! changed configuration files stay; the packages' own scripts re-execute PID 1. *Prior state kept*: versions before, and the
//! versions to come. *Refused*: an apt that does not answer in time, is busy or broken; a dry run that would remove or newly
//! install anything or touch a package that is not named; a version that a table of faulty versions does not call fixed.
//! *Verified*: every package has its version, and PID 1 does not run from a deleted file. *Undone*: never by itself, since a
//! downgrade is not safe: a person decides. *Left if killed midway*: the unit goes on to its end by itself and is found
//! again by its name; a machine that dies meanwhile may have half-configured packages (`dpkg --audit`, `dpkg --configure -a`).

use super::apt::{Upgrade, base_name, is_name, read_installed, read_simulation};
use super::site::{HostTask, Site, TaskEnd};
use super::{Step, StepError, Ticket, Verified};
use crate::executor::{Receipt, StepShape, UndoWay};
use crate::host::BoxFuture;
use crate::lease::Permit;
use crate::playbook::{ArgError, ArgReader, Args, StepSummary};
use crate::policy::Disruption;
use crate::versions::{Assessment, Os, VersionScheme, assess, embedded_tables};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The kind's name in playbooks.
pub(super) const KIND: &str = "upgrade_package";
/// The word in the name of the upgrade's unit.
const UPGRADE: &str = "upgrade";
const APT: &str = "/usr/bin/apt-get";
const DPKG: &str = "/usr/bin/dpkg";
const DPKG_QUERY: &str = "/usr/bin/dpkg-query";
/// What ACK's check gives the package manager, too (signatures.md, 2.1 U3).
const QUERY_LIMIT: Duration = Duration::from_secs(10);
/// systemd ends the upgrade then. Far beyond the step's own time: an upgrade cut off halfway is worse than a long one.
const UPGRADE_LIMIT: Duration = Duration::from_secs(3600);
/// How much of a command's last words goes into a message.
const LAST_WORDS: usize = 600;

/// Upgrades packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UpgradePackage {
    packages: Vec<String>,
    query_limit: Duration,
}

/// Versions before and after, by package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prior {
    from: BTreeMap<String, String>,
    to: BTreeMap<String, String>,
}

/// Reads the arguments.
pub(super) fn read(args: &Args) -> Result<(UpgradePackage, StepSummary), ArgError> {
    let mut reader = ArgReader::of(KIND, args);
    let packages = reader.texts("packages");
    let query_limit = reader.optional_span("query_timeout").unwrap_or(QUERY_LIMIT);
    if let Some(bad) = packages
        .iter()
        .flatten()
        .find(|name| !is_name(name) || name.contains(':'))
    {
        let short: String = bad.chars().take(40).collect();
        reader.refuse(
            "packages",
            format!("`{short}` is not the name of a package"),
        );
    }
    let step = reader.finish(packages.map(|packages| UpgradePackage {
        packages,
        query_limit,
    }))?;
    let names = step.packages.join(", ");
    let summary = StepSummary {
        effect: format!(
            "of {names}, those that are installed go to the newest build that the package lists know"
        ),
        dry_run: "would ask apt for a dry run, and refuse anything but these packages".into(),
        verify: "every package has its new version, and PID 1 does not run from a deleted file"
            .into(),
        undo: "cannot be undone: a downgrade is not safe, so a failure goes to a person".into(),
        disruption: Disruption::Restart,
        changes: true,
        timeout: Duration::from_secs(900),
        conditions: Vec::new(),
    };
    Ok((step, summary))
}

fn refused(why: impl Into<String>) -> StepError {
    StepError::Refused { why: why.into() }
}

fn last_words(end: &TaskEnd) -> String {
    let text = if end.stderr.trim().is_empty() {
        &end.stdout
    } else {
        &end.stderr
    };
    let text = text.trim();
    let start = text.len().saturating_sub(LAST_WORDS);
    let start = (start..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text.get(start..).unwrap_or_default().replace('\n', " · ")
}

fn task(ticket: &Ticket, what: &str, arguments: Vec<String>, time_limit: Duration) -> HostTask {
    HostTask {
        unit: format!("nodemend-{}-{}-{what}.service", ticket.run, ticket.step.0),
        description: format!("nodemend {}, step {}: {what}", ticket.run, ticket.step.0),
        arguments,
        // C, because the output is read; the others keep every script from asking a person or restarting services.
        environment: [
            ("LC_ALL", "C"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("NEEDRESTART_MODE", "l"),
            ("APT_LISTCHANGES_FRONTEND", "none"),
            ("UCF_FORCE_CONFFOLD", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        time_limit,
    }
}

fn words(fixed: &[&str]) -> Vec<String> {
    fixed.iter().map(|word| (*word).to_owned()).collect()
}

impl UpgradePackage {
    /// Runs a command that only looks, and removes its traces.
    async fn ask(
        &self,
        site: &Site,
        ticket: &Ticket,
        what: &str,
        arguments: Vec<String>,
    ) -> Result<TaskEnd, StepError> {
        let task = task(ticket, what, arguments, self.query_limit);
        let failed = |source| StepError::Port {
            doing: "running",
            on: task.arguments.join(" "),
            source,
        };
        // A question of an earlier process may have left its unit; its answer is of no use any more.
        site.commands.remove(&task).await.map_err(failed)?;
        let end = site.commands.run(&task).await.map_err(failed)?;
        site.commands.remove(&task).await.map_err(failed)?;
        if end.result == "timeout" {
            return Err(refused(format!(
                "`{}` did not end within {:?}; look at apt and the disk before anything is upgraded",
                task.arguments.join(" "),
                self.query_limit
            )));
        }
        Ok(end)
    }

    async fn must(
        &self,
        site: &Site,
        ticket: &Ticket,
        what: &str,
        arguments: Vec<String>,
    ) -> Result<String, StepError> {
        let line = arguments.join(" ");
        let end = self.ask(site, ticket, what, arguments).await?;
        if end.is_success() {
            return Ok(end.stdout);
        }
        Err(StepError::Command {
            what: format!("`{line}`"),
            how: format!("{} {}", end.result, end.status.unwrap_or(-1)),
            last_words: last_words(&end),
        })
    }

    async fn installed(
        &self,
        site: &Site,
        ticket: &Ticket,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, StepError> {
        let format = "${binary:Package}\\t${Version}\\t${db:Status-Status}\\n";
        let mut arguments = words(&[DPKG_QUERY, "-W", "-f", format]);
        arguments.extend(names.iter().cloned());
        // Status 1 only says that some of the names are not installed.
        let end = self.ask(site, ticket, "installed", arguments).await?;
        if !matches!(end.status, Some(0 | 1)) {
            return Err(refused(format!("dpkg-query failed: {}", last_words(&end))));
        }
        Ok(read_installed(&end.stdout))
    }

    /// Frees the name of the upgrade's unit: an ended one is from a life before whose journal is gone or that left no trace.
    async fn make_room(&self, site: &Site, ticket: &Ticket) -> Result<(), StepError> {
        let task = task(ticket, UPGRADE, Vec::new(), UPGRADE_LIMIT);
        let failed = |source| StepError::Port {
            doing: "asking about",
            on: task.unit.clone(),
            source,
        };
        match site.commands.is_running(&task).await.map_err(failed)? {
            Some(true) => Err(refused(format!(
                "{} already runs; wait for its end (systemctl status {0})",
                task.unit
            ))),
            // The port wants a program even to remove a unit.
            Some(false) => {
                let mut ended = task.clone();
                ended.arguments = words(&[APT]);
                site.commands.remove(&ended).await.map_err(failed)
            }
            None => Ok(()),
        }
    }

    /// The plan of the upgrade, after everything that can speak against it was asked.
    async fn survey(&self, site: &Site, ticket: &Ticket) -> Result<Prior, StepError> {
        if !site.host.path(APT).exists() {
            return Err(refused(
                "there is no apt on this machine; this build upgrades packages with apt only, so do it by hand",
            ));
        }
        self.must(site, ticket, "check", words(&[APT, "check", "-qq"]))
            .await?;
        let audit = self
            .must(site, ticket, "audit", words(&[DPKG, "--audit"]))
            .await?;
        if !audit.trim().is_empty() {
            return Err(refused(
                "dpkg has half-installed packages; run `dpkg --audit` and `dpkg --configure -a` first",
            ));
        }
        self.make_room(site, ticket).await?;
        let installed = self.installed(site, ticket, &self.packages).await?;
        if installed.is_empty() {
            return Err(refused("none of the packages is installed"));
        }
        let mut arguments = words(&[APT, "-s", "-y", "install", "--only-upgrade", "--no-remove"]);
        arguments.extend(installed.keys().cloned());
        let text = self.must(site, ticket, "dry-run", arguments).await?;
        let simulation = read_simulation(&text).map_err(refused)?;
        if let Some(name) = simulation.removed.first().or(simulation.fresh.first()) {
            return Err(refused(format!(
                "apt would also install or remove {name}; upgrade by hand, or name it in the playbook"
            )));
        }
        let is_named =
            |upgrade: &&Upgrade| !self.packages.iter().any(|p| p == base_name(&upgrade.name));
        if let Some(upgrade) = simulation.upgrades.iter().find(is_named) {
            return Err(refused(format!(
                "apt would also upgrade {}, which the playbook does not name; upgrade by hand",
                upgrade.name
            )));
        }
        if simulation.upgrades.is_empty() {
            return Err(refused(
                "the package lists know no newer build; run `apt-get update`, or look at the machine's sources",
            ));
        }
        judge(site, &simulation.upgrades)?;
        let pairs = simulation.upgrades;
        Ok(Prior {
            from: pairs
                .iter()
                .map(|u| (u.name.clone(), u.from.clone()))
                .collect(),
            to: pairs.into_iter().map(|u| (u.name, u.to)).collect(),
        })
    }

    fn upgrade_task(ticket: &Ticket, prior: &Prior) -> HostTask {
        let mut arguments = words(&[
            APT,
            "-y",
            "-o",
            "Dpkg::Options::=--force-confdef",
            "-o",
            "Dpkg::Options::=--force-confold",
            "-o",
            "DPkg::Lock::Timeout=60",
            "install",
            "--only-upgrade",
            "--no-remove",
            "--no-install-recommends",
        ]);
        arguments.extend(
            prior
                .to
                .iter()
                .map(|(name, version)| format!("{name}={version}")),
        );
        task(ticket, UPGRADE, arguments, UPGRADE_LIMIT)
    }

    async fn look(
        &self,
        site: &Site,
        ticket: &Ticket,
        prior: &Prior,
    ) -> Result<Verified, StepError> {
        let task = Self::upgrade_task(ticket, prior);
        let failed = |source| StepError::Port {
            doing: "asking about",
            on: task.unit.clone(),
            source,
        };
        if site.commands.is_running(&task).await.map_err(failed)? == Some(true) {
            return Ok(Verified::NotYet("apt still works".into()));
        }
        let names: Vec<String> = prior.to.keys().cloned().collect();
        let installed = self.installed(site, ticket, &names).await?;
        for (name, version) in &prior.to {
            let present = installed.get(name).or_else(|| {
                installed
                    .iter()
                    .find(|(n, _)| base_name(n) == name)
                    .map(|(_, v)| v)
            });
            if present != Some(version) {
                let present = present.map_or("not installed", String::as_str);
                return Ok(Verified::NotYet(format!(
                    "{name} is {present}, not {version}"
                )));
            }
        }
        let exe = site.host.path("/proc/1/exe");
        match std::fs::read_link(&exe) {
            Ok(path) if path.to_string_lossy().ends_with(" (deleted)") => Ok(Verified::NotYet(
                "PID 1 still runs from the file before the upgrade".into(),
            )),
            Ok(_) => {
                // Only its traces; if they stay, the next boot takes them.
                if let Err(error) = site.commands.remove(&task).await {
                    tracing::warn!(unit = task.unit, %error, "unit of the upgrade not removed");
                }
                Ok(Verified::Yes(format!(
                    "{} packages have their new version",
                    prior.to.len()
                )))
            }
            Err(source) => Err(StepError::File {
                doing: "reading",
                path: exe,
                source,
            }),
        }
    }
}

/// The distribution, from its os-release file.
fn os_of(site: &Site) -> Os {
    let read = |path: &str| std::fs::read_to_string(site.host.path(path));
    let text = read("/etc/os-release")
        .or_else(|_| read("/usr/lib/os-release"))
        .unwrap_or_default();
    let field = |name: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value
            .unwrap_or_default()
            .trim()
            .trim_matches(['"', '\''])
            .to_owned()
    };
    Os {
        id: field("ID"),
        version_id: field("VERSION_ID"),
    }
}

/// Refuses a version that a table of faulty versions calls affected, one that is unknown where the installed one is affected,
/// and one that no table about its package calls fixed. Unknown before and after is no reason: nothing gets worse.
fn judge(site: &Site, upgrades: &[Upgrade]) -> Result<(), StepError> {
    let tables = embedded_tables().map_err(|problems| refused(problems.to_string()))?;
    let os = os_of(site);
    for upgrade in upgrades {
        let about: Vec<_> = tables
            .iter()
            .filter(|table| table.package == base_name(&upgrade.name))
            .collect();
        let mut doubts = Vec::new();
        let mut is_fixed = about.is_empty();
        for table in about {
            let before = assess(table, &os, VersionScheme::Dpkg, &upgrade.from);
            let (because, is_worse) = match assess(table, &os, VersionScheme::Dpkg, &upgrade.to) {
                Assessment::Fixed { .. } => {
                    is_fixed = true;
                    continue;
                }
                Assessment::Affected { because, .. } => (because, true),
                Assessment::Unknown { why } => (why, matches!(before, Assessment::Affected { .. })),
            };
            doubts.push(format!("{}: {because}", table.id));
            is_fixed &= !is_worse;
            if is_worse {
                break;
            }
        }
        if !is_fixed {
            return Err(refused(format!(
                "{} {} is not known to be without a known fault ({}); upgrade by hand",
                upgrade.name,
                upgrade.to,
                doubts.join("; ")
            )));
        }
    }
    Ok(())
}

fn prior_of(receipt: &Receipt) -> Result<Prior, StepError> {
    Prior::deserialize(&receipt.0).map_err(|source| StepError::Receipt { kind: KIND, source })
}

impl Step for UpgradePackage {
    fn shape(&self) -> StepShape {
        // The same exact versions a second time change nothing, and a unit of the first time is found by its name.
        StepShape {
            repeatable: true,
            reboots: false,
            undo: UndoWay::Impossible,
        }
    }

    fn capture<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>> {
        Box::pin(async move {
            let prior = self.survey(site, ticket).await?;
            serde_json::to_value(prior)
                .map(Receipt)
                .map_err(|source| StepError::Receipt { kind: KIND, source })
        })
    }

    fn apply<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        _permit: &'a Permit,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let task = Self::upgrade_task(ticket, &prior_of(prior)?);
            let end = site
                .commands
                .run(&task)
                .await
                .map_err(|source| StepError::Port {
                    doing: "running",
                    on: task.unit.clone(),
                    source,
                })?;
            if end.is_success() {
                return Ok(());
            }
            Err(StepError::Command {
                what: "the upgrade".into(),
                how: format!("{} {}", end.result, end.status.unwrap_or(-1)),
                last_words: last_words(&end),
            })
        })
    }

    fn verify<'a>(
        &'a self,
        site: &'a Site,
        ticket: &'a Ticket,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        Box::pin(async move { self.look(site, ticket, &prior_of(prior)?).await })
    }

    fn undo<'a>(
        &'a self,
        _site: &'a Site,
        _ticket: &'a Ticket,
        _permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Err(refused("a downgrade is never done automatically")) })
    }
}
