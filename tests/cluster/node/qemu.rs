//! The optional kind of node: a virtual machine with a kernel, a kernel log and clocks of its own, which nodes in nspawn
//! share with this machine. Slower (a minute to Ready without hardware help), so tests that do without it do.
//!
//! Needs `qemu-system-x86_64` and, the first time, apt's archive for Debian's cloud kernel.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{await_ready, configure, root, sweep};
use crate::binaries::{cache, multi_call};
use crate::controlplane::ControlPlane;
use crate::process::{Process, until};

/// Twenty seconds on an idle machine; the translation of a busy one takes its time.
const READY_WITHIN: Duration = Duration::from_secs(300);
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
const KERNEL: &str = "linux-image-cloud-amd64";
const DISK: &str = "2000M";
/// What lies between the firmware and the root file system; ext4 is built in.
const EARLY_MODULES: [&str; 6] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
];
const INIT: &str = include_str!("qemu_init.c");

/// What the nodes' tree lacks to be a machine: path and text.
const FILES: [(&str, &str); 4] = [
    (
        "etc/modules-load.d/lab.conf",
        "virtio_net\nvirtio_rng\noverlay\nveth\nbridge\nbr_netfilter\n",
    ),
    (
        "etc/systemd/system/lab-network.service.d/qemu.conf",
        "[Unit]\nAfter=systemd-modules-load.service\nWants=systemd-modules-load.service\n[Service]\n\
         ExecStartPre=/bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9; do ip link set eth0 name host0 && break; sleep 1; done'\n",
    ),
    (
        "etc/systemd/system/lab-shell.service",
        "[Unit]\nDescription=Commands of the lab\n[Service]\nExecStart=/lab-shell\nRestart=always\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "lab-shell",
        "#!/bin/sh\n# A command a line in base64, its exit code and output back: the lab's way in.\n\
         exec 3<>/dev/ttyS1\nstty -F /dev/ttyS1 raw -echo\n\
         while read -r line <&3; do\n    echo \"$line\" | base64 -d > /run/lab-command\n    \
         sh /run/lab-command > /run/lab-output 2>&1 < /dev/null\n    \
         echo \"$? $(base64 -w0 /run/lab-output)\" >&3\ndone\n",
    ),
];

/// A node that is a virtual machine; gone with this value.
pub struct Machine {
    name: String,
    process: Process,
    folder: TempDir,
}

impl Machine {
    /// Fetches what a machine is made of, for which the control plane's network has no way out.
    pub fn prepare() {
        kernel().expect("a kernel for the machine");
    }

    /// Boots node `number`, as [`Node::boot_with`](super::Node::boot_with).
    pub fn boot(plane: &ControlPlane, number: u8, images: &Path) -> Self {
        Self::try_boot(plane, number, images).expect("a virtual machine")
    }

    fn try_boot(plane: &ControlPlane, number: u8, images: &Path) -> Result<Self> {
        let name = format!("node{number}");
        let address = format!("198.51.100.{number}");
        plane.pki().kubelet(&name, &address);
        let folder = sweep::folder(&std::env::temp_dir())?;
        let part = |name: &str| folder.path().join(name);
        let kernel = kernel()?;
        let guest = part("guest");
        run(Command::new("cp").arg("-a").arg(root::tree()?).arg(&guest))?;
        furnish(&guest, &kernel, images)?;
        configure(&guest.join("etc"), plane, &name, &address, number);
        run(Command::new("truncate")
            .args(["-s", DISK])
            .arg(part("disk")))?;
        let format = ["-q", "-F", "-O", "^has_journal", "-d"];
        run(Command::new("mkfs.ext4")
            .args(format)
            .arg(&guest)
            .arg(part("disk")))?;
        fs::remove_dir_all(&guest)?;
        write_initramfs(&part("initramfs"), &kernel, folder.path())?;
        let process = Process::start(&name, command(folder.path(), &kernel, &name)?, plane.dir());
        let tap = format!("tap{number}");
        let set = |words: &str| {
            let done = Command::new("ip")
                .args(words.split(' '))
                .stderr(Stdio::null())
                .status();
            done.is_ok_and(|status| status.success())
        };
        until("the machine has its cable", Duration::from_secs(20), || {
            set(&format!("link set {tap} master br0")) && set(&format!("link set {tap} up"))
        });
        Ok(Self {
            name,
            process,
            folder,
        })
    }

    /// The Node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until kubelet reports Ready; the time since the call.
    pub fn await_ready(&mut self, plane: &ControlPlane) -> Duration {
        await_ready(&mut self.process, &self.name, plane, READY_WITHIN)
    }

    /// Runs a line of shell inside as root: its output, whatever its exit code.
    pub fn shell(&self, script: &str) -> String {
        let (code, output) = self.try_shell(script).expect("the machine's shell answers");
        assert!(code == "0", "{script} on {}: {code}: {output}", self.name);
        output
    }

    fn try_shell(&self, script: &str) -> Result<(String, String)> {
        let mut stream = UnixStream::connect(self.folder.path().join("shell"))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        writeln!(stream, "{}", base64(&["-w0"], script.as_bytes())?)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let (code, output) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Ok((code.to_owned(), base64(&["-d"], output.as_bytes())?))
    }
}

fn base64(arguments: &[&str], input: &[u8]) -> Result<String> {
    let mut child = Command::new("base64")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The kernel's files (`boot`, `lib/modules`), fetched once per machine.
fn kernel() -> Result<PathBuf> {
    let folder = cache();
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("kernel.lock"))?;
    lock.lock()?;
    let depends = output(
        Command::new("apt-cache")
            .args(["depends", KERNEL])
            .env("LC_ALL", "C"),
    )?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("apt knows no {KERNEL}: run apt-get update"))?;
    let tree = folder.join(format!("kernel-{package}"));
    if tree.is_dir() {
        return Ok(tree);
    }
    let work = tempfile::tempdir_in(&folder)?;
    run(Command::new("apt-get")
        .args(["-q", "download", package])
        .current_dir(work.path()))?;
    let deb = files(work.path())?
        .into_iter()
        .next()
        .context("a package")?;
    let unpacked = work.path().join("tree");
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&unpacked))?;
    fs::rename(&unpacked, &tree)?;
    Ok(tree)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    Ok(found)
}

/// Modules, programs and images: nothing of this machine is mounted in that one.
fn furnish(guest: &Path, kernel: &Path, images: &Path) -> Result<()> {
    for (inside, text) in FILES {
        let path = guest.join(inside);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(path, text)?;
    }
    run(Command::new("chmod")
        .arg("0755")
        .arg(guest.join("lab-shell")))?;
    let wanted = guest.join("etc/systemd/system/multi-user.target.wants/lab-shell.service");
    std::os::unix::fs::symlink("/etc/systemd/system/lab-shell.service", wanted)?;
    let lib = guest.join("lib");
    run(Command::new("cp")
        .arg("-a")
        .arg(kernel.join("lib/modules"))
        .arg(&lib))?;
    for version in files(&lib.join("modules"))? {
        for useless in [
            "sound",
            "drivers/gpu",
            "drivers/infiniband",
            "fs/btrfs",
            "fs/xfs",
        ] {
            // Not every kernel has all of them.
            fs::remove_dir_all(version.join("kernel").join(useless)).ok();
        }
        let version = version.file_name().context("a version")?.to_owned();
        run(Command::new("chroot")
            .arg(guest)
            .arg("/sbin/depmod")
            .arg(version))?;
    }
    fs::copy(multi_call(), guest.join("opt/lab/controlplane"))?;
    for image in files(images)? {
        let name = image.file_name().context("a file")?.to_owned();
        fs::copy(&image, guest.join("opt/lab/images").join(name))?;
    }
    Ok(())
}

/// A first root that loads the disk's driver and hands over: `newc` archives are simple enough to write by hand.
fn write_initramfs(to: &Path, kernel: &Path, work: &Path) -> Result<()> {
    let (source, init) = (work.join("init.c"), work.join("init"));
    fs::write(&source, INIT)?;
    run(Command::new("cc")
        .args(["-static", "-Os", "-o"])
        .arg(&init)
        .arg(&source))?;
    let mut archive = Vec::new();
    for folder in ["dev", "root", "m"] {
        add(&mut archive, folder, 0o040_755, &[])?;
    }
    add(&mut archive, "init", 0o100_755, &fs::read(&init)?)?;
    for module in EARLY_MODULES {
        let file = format!("{module}.ko");
        let found = output(Command::new("find").arg(kernel).args(["-name", &file]))?;
        // Built in, if there is no file.
        if let Some(path) = found.lines().next() {
            add(
                &mut archive,
                &format!("m/{file}"),
                0o100_644,
                &fs::read(path)?,
            )?;
        }
    }
    add(&mut archive, "TRAILER!!!", 0, &[])?;
    fs::write(to, archive)?;
    Ok(())
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let (size, length) = (u32::try_from(bytes.len())?, u32::try_from(name.len() + 1)?);
    write!(archive, "070701")?;
    for field in [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0] {
        write!(archive, "{field:08x}")?;
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(4), 0);
    Ok(())
}

fn command(folder: &Path, kernel: &Path, name: &str) -> Result<Vec<String>> {
    let part = |name: &str| folder.join(name).display().to_string();
    let image = files(&kernel.join("boot"))?.into_iter().find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("vmlinuz-")
    });
    let image = image
        .context("the package has a kernel")?
        .display()
        .to_string();
    let tap = format!("tap{}", name.trim_start_matches("node"));
    // `-accel tcg`: KVM opens here, but Debian's kernel does not boot on it.
    let fixed = "nice qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 1500 -smp 2 -nographic -no-reboot";
    let mut argv: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    let kernel_line = "console=ttyS0 panic=-1 loglevel=4 net.ifnames=0 random.trust_cpu=1";
    for (option, value) in [
        ("-kernel", image),
        ("-initrd", part("initramfs")),
        ("-append", kernel_line.to_owned()),
        (
            "-drive",
            format!("file={},if=virtio,format=raw,cache=unsafe", part("disk")),
        ),
        (
            "-netdev",
            format!("tap,id=n,ifname={tap},script=no,downscript=no"),
        ),
        ("-device", "virtio-net-pci,netdev=n".to_owned()),
        ("-device", "virtio-rng-pci".to_owned()),
        ("-serial", "mon:stdio".to_owned()),
        (
            "-serial",
            format!("unix:{},server=on,wait=off", part("shell")),
        ),
    ] {
        argv.extend([option.to_owned(), value]);
    }
    Ok(argv)
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output();
    let output = output.with_context(|| format!("start {:?}", command.get_program()))?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}: {errors}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
