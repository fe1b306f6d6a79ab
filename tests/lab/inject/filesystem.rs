//! Filesystems of a node: an ext4 that hit an error, one that is frozen under a writer, a full one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::inject::process::main_process;
use crate::node::Node;

/// An ext4 on a loop device, mounted in the node; dropped: unmounted.
///
/// Image and device are given up as soon as the mount holds them: whatever ends the node ends them too.
#[derive(Debug)]
pub struct LoopExt4<'node> {
    node: &'node Node,
    /// Where it is mounted in the node.
    pub at: &'static str,
    /// `loop0`
    device: String,
}

impl<'node> LoopExt4<'node> {
    /// `errors=remount-ro` as most distributions mount it.
    pub fn mount(node: &'node Node, at: &'static str) -> Result<Self> {
        let image = tempfile::NamedTempFile::new()?;
        image.as_file().set_len(16 << 20)?;
        let path = image.path().display().to_string();
        run("mkfs.ext4", &["-q", "-F", &path])?;
        let device = run("losetup", &["--find", "--show", &path])?;
        let device = device.trim();
        let mounted = mount(node, device, at);
        run("losetup", &["--detach", device])?;
        mounted?;
        let device = device.trim_start_matches("/dev/").to_owned();
        Ok(Self { node, at, device })
    }

    /// Reports an error to ext4 through its own test file, as if it had read broken metadata.
    pub fn hit_error(&self) -> Result<()> {
        let trigger = Path::new("/sys/fs/ext4")
            .join(&self.device)
            .join("trigger_fs_error");
        fs::write(&trigger, "nodemend lab").with_context(|| format!("write {}", trigger.display()))
    }
}

/// The node's /dev is its own and lacks the device: makes one there, as udev would, and mounts it.
fn mount(node: &Node, device: &str, at: &str) -> Result<()> {
    let name = device.trim_start_matches("/dev/");
    let number = fs::read_to_string(format!("/sys/block/{name}/dev"))?;
    let (major, minor) = number.trim().split_once(':').context("a device number")?;
    // Left by an earlier disk of this node, perhaps.
    node.run(&["rm", "-f", device])?.ok()?;
    node.run(&["mknod", device, "b", major, minor])?.ok()?;
    node.run(&["mkdir", "-p", at])?.ok()?;
    let options = ["-t", "ext4", "-o", "errors=remount-ro", device, at];
    node.run(&[&["mount"], options.as_slice()].concat())?
        .ok()
        .map(drop)
}

impl Drop for LoopExt4<'_> {
    fn drop(&mut self) {
        // Where the node is off already, its mounts are gone with it.
        if self.node.leader().is_ok() {
            report(
                self.node
                    .run(&["umount", "--lazy", self.at])
                    .and_then(|ran| ran.ok()),
            );
        }
    }
}

/// Thaws at the end of its input: when it is told to, and when the test that holds it is killed. What waits for a frozen
/// filesystem cannot be killed, so a node that ended before the thaw would never be gone.
const KEEPER: &str =
    r#"fsfreeze --freeze "$0" && echo frozen && read -r _; fsfreeze --unfreeze "$0""#;

/// A frozen filesystem with a process of the node waiting for it; dropped: thawed.
#[derive(Debug)]
pub struct Frozen<'node, 'disk> {
    disk: &'disk LoopExt4<'node>,
    keeper: Child,
}

impl<'node, 'disk> Frozen<'node, 'disk> {
    pub const WRITER: &'static str = "lab-writer.service";

    /// Freezes `disk` and starts a writer, which hangs in the kernel (state D) until the thaw.
    pub fn on(disk: &'disk LoopExt4<'node>) -> Result<Self> {
        let keeper = disk
            .node
            .spawn_beside(&["sh", "-c", KEEPER, disk.at])
            .context("freeze")?;
        let mut frozen = Self { disk, keeper };
        let output = frozen.keeper.stdout.take().context("a pipe")?;
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        ensure!(said == "frozen\n", "{} could not be frozen", disk.at);
        let unit = format!("--unit={}", Self::WRITER);
        let file = format!("{}/stuck", disk.at);
        disk.node
            .run(&["systemd-run", "--collect", &unit, "touch", &file])?
            .ok()?;
        Ok(frozen)
    }

    /// The kernel's letter for the writer's state: `D` while it hangs.
    pub fn writer_state(&self) -> Result<String> {
        let pid = main_process(self.disk.node, Self::WRITER)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(") ").context("a stat line")?.1;
        Ok(after_name.chars().take(1).collect())
    }
}

impl Drop for Frozen<'_, '_> {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let ended = self.keeper.wait().map_err(anyhow::Error::from);
        report(ended.and_then(|status| {
            ensure!(status.success(), "the thaw of {}: {status}", self.disk.at);
            Ok(())
        }));
    }
}

/// Sees to it that the kernel reports a hung task: how long that may take.
///
/// After `hung_task_warnings` reports (10 by default, counted since the boot of the machine that the nodes share) it is
/// silent: gives it as many again where few are left.
pub fn let_hung_tasks_be_reported() -> Result<Duration> {
    ensure!(
        hung_task_setting("panic")? == 0,
        "a hung task would bring this machine down: sysctl kernel.hung_task_panic=0"
    );
    let left = hung_task_setting("warnings")?;
    // -1: without end.
    if (0..5).contains(&left) {
        fs::write(hung_task_file("warnings"), "10").with_context(|| {
            format!("the kernel reports {left} more hung tasks, and that cannot be raised")
        })?;
    }
    let timeout = hung_task_setting("timeout_secs")?;
    ensure!(
        timeout > 0,
        "this machine's kernel does not look for hung tasks: sysctl kernel.hung_task_timeout_secs=120"
    );
    // 0: every `timeout` seconds.
    let between = match hung_task_setting("check_interval_secs")? {
        0 => timeout,
        interval => interval.min(timeout),
    };
    let rest = Duration::from_secs(20);
    Ok(rest + Duration::from_secs(u64::try_from(timeout + between)?))
}

fn hung_task_file(name: &str) -> String {
    format!("/proc/sys/kernel/hung_task_{name}")
}

fn hung_task_setting(name: &str) -> Result<i64> {
    let file = hung_task_file(name);
    let text = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    Ok(text.trim().parse()?)
}

/// A small tmpfs over a directory of the node, and a file that takes all of it; dropped: the file goes, the
/// tmpfs (with what the agent wrote there) stays until the node ends.
#[derive(Debug)]
pub struct FullDisk<'node> {
    node: &'node Node,
    filler: String,
}

/// Mounts the small tmpfs: to be done before the agent starts.
pub fn small_disk(node: &Node, at: &str) -> Result<()> {
    node.run(&["mkdir", "-p", at])?.ok()?;
    node.run(&[
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=1m,mode=700",
        "tmpfs",
        at,
    ])?
    .ok()
    .map(drop)
}

impl<'node> FullDisk<'node> {
    /// Fills the disk under `at`.
    pub fn on(node: &'node Node, at: &str) -> Result<Self> {
        let filler = format!("{at}/lab-filler");
        let guard = Self {
            node,
            filler: filler.clone(),
        };
        let filled = node.run(&[
            "dd",
            "if=/dev/zero",
            &format!("of={filler}"),
            "bs=4k",
            "status=none",
        ])?;
        ensure!(
            filled.stderr.contains("No space left"),
            "the disk did not fill up: {filled:?}"
        );
        Ok(guard)
    }
}

impl Drop for FullDisk<'_> {
    fn drop(&mut self) {
        report(
            self.node
                .run(&["rm", "-f", &self.filler])
                .and_then(|ran| ran.ok()),
        );
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn report<T>(released: Result<T>) {
    if let Err(error) = released {
        eprintln!("an injection could not be taken back: {error:#}");
    }
}
