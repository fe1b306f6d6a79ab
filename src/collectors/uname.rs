//! `uname`: names of the kernel and the machine.

use std::os::unix::ffi::OsStrExt;

use nix::sys::utsname::{UtsName, uname};

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const INFO: Family = Family::gauge(
    "node_uname_info",
    "Labeled system information as provided by the uname system call.",
)
.from("uname(2)");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "uname",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[INFO],
    open,
};

struct Uname {
    head: Head,
    known: Option<(UtsName, Labels)>,
}

fn open(_: &Settings, _: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    Ok(Box::new(Uname {
        head: Head::of(&INFO),
        known: None,
    }))
}

impl Collector for Uname {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let now = uname().map_err(|source| CollectError::System {
            call: "uname",
            source,
        })?;
        if self.known.as_ref().is_none_or(|(known, _)| *known != now) {
            let labels = Labels::new(&[
                ("domainname", now.domainname().as_bytes()),
                ("machine", now.machine().as_bytes()),
                ("nodename", now.nodename().as_bytes()),
                ("release", now.release().as_bytes()),
                ("sysname", now.sysname().as_bytes()),
                ("version", now.version().as_bytes()),
            ]);
            self.known = Some((now, labels));
        }
        if let Some((_, labels)) = &self.known {
            turn.page.family(&self.head).flag(labels, true);
        }
        Ok(())
    }
}
