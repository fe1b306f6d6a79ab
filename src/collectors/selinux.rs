//! `selinux`: whether SELinux enforces, from selinuxfs and `/etc/selinux/config`.

use crate::collectors::entry::{Collector, Entry, Lane, Sources, Turn};
use crate::collectors::error::{CollectError, SetupError};
use crate::collectors::settings::Settings;
use crate::collectors::source::held::{HeldFile, Shape, read_once};
use crate::collectors::source::roots::Root;
use crate::collectors::source::scan::{cut, lines, signed};
use crate::exposition::family::{Family, Head};
use crate::exposition::label::Labels;

const CONFIGURED: Family = Family::gauge(
    "node_selinux_config_mode",
    "Configured SELinux enforcement mode",
)
.from("/etc/selinux/config below --path.rootfs: 1 enforcing, 0 permissive, -1 disabled");
const CURRENT: Family = Family::gauge(
    "node_selinux_current_mode",
    "Current SELinux enforcement mode",
)
.from("/sys/fs/selinux/enforce");
const ENABLED: Family = Family::gauge(
    "node_selinux_enabled",
    "SELinux is enabled, 1 is true, 0 is false",
)
.from("/sys/fs/selinux")
.differs("honours --path.sysfs and --path.rootfs, which node_exporter does not here");

/// The table's line.
pub const ENTRY: Entry = Entry {
    name: "selinux",
    enabled: true,
    lane: Lane::Page,
    flags: &[],
    families: &[CONFIGURED, CURRENT, ENABLED],
    open,
};

struct SeLinux {
    enforce: HeldFile,
    rootfs: Root,
    keep: bool,
    epoch: u64,
    configured: i64,
    heads: [Head; 3],
    labels: Labels,
}

fn open(_: &Settings, sources: &Sources) -> Result<Box<dyn Collector>, SetupError> {
    let sysfs = &sources.roots.sysfs;
    Ok(Box::new(SeLinux {
        enforce: HeldFile::new(sysfs, "fs/selinux/enforce", Shape::Whole),
        rootfs: sources.roots.rootfs.clone(),
        keep: sysfs.is_kernel(),
        epoch: 0,
        configured: -1,
        heads: [CONFIGURED, CURRENT, ENABLED].each_ref().map(Head::of),
        labels: Labels::none(),
    }))
}

impl Collector for SeLinux {
    fn collect(&mut self, turn: &mut Turn<'_>) -> Result<(), CollectError> {
        let [configured, current, enabled] = &self.heads;
        let mode = match self.enforce.read_trimmed(turn.epoch, turn.scratch) {
            Ok(text) => Some(signed(text).ok_or(CollectError::Parse("selinux/enforce"))?),
            Err(error) if error.is_absent() => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(mode) = mode {
            if self.epoch != turn.epoch || !self.keep {
                self.epoch = turn.epoch;
                self.configured = configured_mode(&self.rootfs);
            }
            turn.page
                .family(configured)
                .signed(&self.labels, self.configured);
            turn.page.family(current).signed(&self.labels, mode);
        }
        turn.page.family(enabled).flag(&self.labels, mode.is_some());
        Ok(())
    }
}

/// What the configuration file asks for at the next boot; -1 where it says nothing.
fn configured_mode(rootfs: &Root) -> i64 {
    let text = read_once(rootfs.join("etc/selinux/config")).unwrap_or_default();
    let value = lines(&text).find_map(|line| {
        let (key, value) = cut(line.trim_ascii(), b'=')?;
        (key.trim_ascii() == b"SELINUX").then(|| value.trim_ascii())
    });
    match value {
        Some(b"enforcing") => 1,
        Some(b"permissive") => 0,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::configured_mode;
    use crate::collectors::source::roots::Root;

    #[test]
    fn mode_is_the_one_configured_and_disabled_when_unclear() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(configured_mode(&root), -1);
        std::fs::create_dir_all(dir.path().join("etc/selinux")).unwrap();
        for (text, want) in [
            (
                "# SELINUX=permissive\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
                1,
            ),
            ("SELINUXTYPE=x\n SELINUX = permissive \n", 0),
            ("SELINUX=disabled", -1),
            ("\u{0}", -1),
        ] {
            std::fs::write(dir.path().join("etc/selinux/config"), text).unwrap();
            assert_eq!(configured_mode(&root), want, "{text}");
        }
    }
}
