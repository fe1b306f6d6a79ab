//! `write_sysctl`: a kernel setting below `/proc/sys` gets a value, until the next boot.
//!
//! *Effect*: one write to one file below `/proc/sys`. *Prior state kept*: the value before. *Verified*: the kernel gives the value
//! back. *Undone*: the prior value is written if ours still stands there; a value that somebody else wrote meanwhile stays.
//! *Left if killed midway*: the old or the new value, both whole; reading tells which.

use super::site::Site;
use super::{Step, StepError, Ticket, Verified};
use crate::executor::{Receipt, StepShape, UndoWay};
use crate::host::BoxFuture;
use crate::lease::Permit;
use crate::playbook::{ArgError, ArgReader, Args, StepSummary};
use crate::policy::Disruption;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The kind's name in playbooks.
pub(super) const KIND: &str = "write_sysctl";
/// Sysctls are lines; a page is the most that the kernel gives.
const MAX_VALUE_BYTES: usize = 4096;
/// The longest key that makes sense: `net/ipv6/conf/<15>/accept_ra_rt_info_max_plen` has 55.
const MAX_KEY_BYTES: usize = 200;
/// Keys through which a value becomes a program that root runs, or that stop the machine.
const REFUSED: [&str; 9] = [
    "kernel/core_pattern",
    "kernel/modprobe",
    "kernel/hotplug",
    "kernel/poweroff_cmd",
    "kernel/usermodehelper",
    "kernel/sysrq",
    "kernel/modules_disabled",
    "kernel/kexec_load_disabled",
    "fs/binfmt_misc",
];

/// Writes a kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteSysctl {
    key: String,
    value: String,
}

/// The value before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prior {
    value: String,
}

/// Reads the arguments.
pub(super) fn read(args: &Args) -> Result<(WriteSysctl, StepSummary), ArgError> {
    let mut reader = ArgReader::of(KIND, args);
    let key = reader.subject_text("key", |key| below_proc_sys(key).map(drop));
    let value = reader.scalar("value");
    if let Some(value) = &value
        && (value.trim().is_empty()
            || value.len() > MAX_VALUE_BYTES
            || value.contains(char::is_control))
    {
        reader.refuse("value", "`value` must be one line that is not empty");
    }
    let step = reader.finish(key.zip(value).map(|(key, value)| WriteSysctl {
        key: key.to_owned(),
        value,
    }))?;
    let (key, value) = (&step.key, &step.value);
    let summary = StepSummary {
        effect: format!("the kernel setting {key} becomes {value} until the next boot"),
        dry_run: format!("would write {value} to {key}"),
        verify: format!("the kernel gives {value} back for {key}"),
        undo: "the value before is written back, unless somebody else changed it meanwhile".into(),
        disruption: Disruption::None,
        changes: true,
        timeout: Duration::from_secs(10),
        conditions: Vec::new(),
    };
    Ok((step, summary))
}

/// The path below `/proc/sys` of a key: `net.ipv4.ip_forward`, or `net/ipv4/conf/eth0.100/forwarding` where a name has dots.
fn below_proc_sys(key: &str) -> Result<String, String> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._/-".contains(&c);
    if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(allowed) {
        return Err("a sysctl has lower-case letters, digits and ._/- only".into());
    }
    let path = if key.contains('/') {
        key.to_owned()
    } else {
        key.replace('.', "/")
    };
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !path.split('/').all(is_part) || path.contains("..") {
        return Err(
            "a sysctl is a path below /proc/sys without empty parts and without `..`".into(),
        );
    }
    let is_refused = |refused: &&str| {
        let rest = path.strip_prefix(*refused);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match REFUSED.iter().copied().find(is_refused) {
        Some(refused) => Err(format!(
            "{refused} is never written: it decides which programs root runs, or whether the machine lives"
        )),
        None => Ok(path),
    }
}

/// The words of a value: the kernel separates them by tabs, people by spaces.
fn words(value: &str) -> Vec<&str> {
    value.split_whitespace().collect()
}

impl WriteSysctl {
    fn path(&self, site: &Site) -> Result<PathBuf, StepError> {
        let below = below_proc_sys(&self.key).map_err(|why| StepError::Refused { why })?;
        Ok(site.host.path("/proc/sys").join(below))
    }

    fn present(&self, site: &Site) -> Result<String, StepError> {
        let path = self.path(site)?;
        let mut text = String::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(MAX_VALUE_BYTES as u64).read_to_string(&mut text))
            .map_err(|source| StepError::File {
                doing: "reading",
                path,
                source,
            })?;
        Ok(text.trim_end().to_owned())
    }

    fn write(&self, site: &Site, value: &str) -> Result<(), StepError> {
        let path = self.path(site)?;
        std::fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            // One write: the kernel parses each write by itself.
            .and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()))
            .map_err(|source| StepError::File {
                doing: "writing",
                path,
                source,
            })
    }

    fn take_back(&self, site: &Site, prior: &Receipt) -> Result<(), StepError> {
        let prior = Prior::deserialize(&prior.0)
            .map_err(|source| StepError::Receipt { kind: KIND, source })?;
        let present = self.present(site)?;
        if words(&present) == words(&prior.value) {
            return Ok(());
        }
        if words(&present) != words(&self.value) {
            tracing::warn!(
                key = self.key,
                "somebody else changed the sysctl meanwhile, left as it is"
            );
            return Ok(());
        }
        self.write(site, &prior.value)?;
        let present = self.present(site)?;
        if words(&present) == words(&prior.value) {
            return Ok(());
        }
        Err(StepError::Refused {
            why: format!(
                "the kernel did not take {} back for {}",
                prior.value, self.key
            ),
        })
    }
}

impl Step for WriteSysctl {
    fn shape(&self) -> StepShape {
        StepShape {
            repeatable: true,
            reboots: false,
            undo: UndoWay::Receipt,
        }
    }

    fn capture<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
    ) -> BoxFuture<'a, Result<Receipt, StepError>> {
        Box::pin(async move {
            let prior = Prior {
                value: self.present(site)?,
            };
            serde_json::to_value(prior)
                .map(Receipt)
                .map_err(|source| StepError::Receipt { kind: KIND, source })
        })
    }

    fn apply<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
        _permit: &'a Permit,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move { self.write(site, &self.value) })
    }

    fn verify<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
        _prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<Verified, StepError>> {
        Box::pin(async move {
            let present = self.present(site)?;
            Ok(if words(&present) == words(&self.value) {
                Verified::Yes(format!("{} is {present}", self.key))
            } else {
                Verified::NotYet(format!("{} is {present}, not {}", self.key, self.value))
            })
        })
    }

    fn undo<'a>(
        &'a self,
        site: &'a Site,
        _ticket: &'a Ticket,
        _permit: &'a Permit,
        prior: &'a Receipt,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move { self.take_back(site, prior) })
    }
}
