//! A node: a real systemd as PID 1 on a throw-away copy of the lab's root, in namespaces and cgroups of its own.
//!
//! The copy is an overlay whose upper side lives in a temporary directory, mounted in a mount namespace that dies with
//! the node. Dropping a [`Node`] ends everything that belongs to it, also while a test panics; when the test
//! process itself is killed, the parent-death signal ends the nodes.

mod cgroup;
mod ran;
mod running;
mod sweep;

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::root::{self, Root};
use crate::wait::{eventually, so};
use cgroup::NodeGroups;
pub use ran::Ran;
use running::Running;

const BOOT: &str = include_str!("boot.sh");
/// A boot takes 0.6 s on an idle machine; four at once beside a compiler on two cores stay under 10 s.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// The longest any command inside a node is waited for, unless the caller says otherwise.
const COMMAND_LIMIT: Duration = Duration::from_secs(40);
const HTTP_LIMIT: Duration = Duration::from_secs(10);

/// A node of the lab.
#[derive(Debug)]
pub struct Node {
    name: String,
    lowerdir: String,
    nspawn_options: Vec<String>,
    folder: TempDir,
    logs: PathBuf,
    running: Option<Running>,
}

/// How a node is built.
#[derive(Debug)]
pub struct Plan {
    name: String,
    root: Root,
    nspawn_options: Vec<String>,
}

impl Plan {
    /// An ordinary node. `name` should be the test's, it names the logs.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            root: root::plain()?,
            nspawn_options: Vec::new(),
        })
    }

    /// On another root than the ordinary one.
    pub fn on(mut self, root: Root) -> Self {
        self.root = root;
        self
    }

    /// With `file` of this machine readable inside at `inside`.
    pub fn with_file(mut self, file: &Path, inside: &str) -> Self {
        self.nspawn_options
            .push(format!("--bind-ro={}:{inside}", file.display()));
        self
    }

    /// With this machine's kernel log: `/dev/kmsg` does not exist inside otherwise. Every node that has it sees the
    /// same lines, those of its neighbours' injections too.
    pub fn with_kernel_log(mut self) -> Self {
        self.nspawn_options.push("--bind=/dev/kmsg".to_owned());
        // `kernel.dmesg_restrict` asks it from readers.
        self.nspawn_options
            .push("--capability=CAP_SYSLOG".to_owned());
        self
    }

    /// Makes the node, without power yet: files may be put into it first.
    pub fn build(self) -> Result<Node> {
        let folder = sweep::folder(&std::env::temp_dir())?;
        for part in ["upper", "work", "root"] {
            fs::create_dir(folder.path().join(part))?;
        }
        let logs = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("lab")
            .join(&self.name);
        if logs.exists() {
            // Perhaps those of a failure that is repeated now.
            let before = logs.with_extension("before");
            fs::remove_dir_all(&before).ok();
            fs::rename(&logs, before)?;
        }
        fs::create_dir_all(&logs)?;
        println!("node {}: logs in {}", self.name, logs.display());
        Ok(Node {
            // Cgroups and nspawn's machine name are the machine's: two runs at once must not meet.
            name: format!("{}-{}", self.name.replace('_', "-"), std::process::id()),
            lowerdir: self.root.lowerdir(),
            nspawn_options: self.nspawn_options,
            folder,
            logs,
            running: None,
        })
    }

    /// Makes the node and boots it.
    pub fn boot(self) -> Result<Node> {
        let mut node = self.build()?;
        node.power_on()?;
        Ok(node)
    }
}

impl Node {
    /// An ordinary node, booted.
    pub fn boot(name: &str) -> Result<Self> {
        Plan::new(name)?.boot()
    }

    /// Boots the node and waits until systemd calls itself `running`.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "{} is on already", self.name);
        let groups = NodeGroups::make(&self.name)?;
        let groups_file = self.folder.path().join("cgroups");
        fs::write(&groups_file, groups.procs_files())?;
        let console = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.logs.join("console.log"))?;
        let part = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--propagation",
                "slave",
            ])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", BOOT, "boot.sh", &self.lowerdir])
            .args([part("upper"), part("work"), part("root"), groups_file])
            .args([
                "--quiet",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--private-network",
            ])
            .args([
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
                "--console=pipe",
            ])
            .arg(format!("--machine={}", self.name))
            .args(&self.nspawn_options)
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .process_group(0);
        let nspawn = command.spawn().context("start setpriv")?;
        self.running = Some(Running::new(nspawn, groups));
        self.wait_until_running()
    }

    /// Waits until systemd has finished its boot with no failed unit.
    pub fn wait_until_running(&self) -> Result<()> {
        eventually(&format!("boot of {}", self.name), BOOT_LIMIT, || {
            let state = self.run(&["systemctl", "is-system-running"])?;
            so(state.stdout.trim() == "running", || {
                let failed = self.run(&["systemctl", "--failed", "--no-legend"]);
                format!(
                    "{state:?}, failed units: {failed:?}, see {}",
                    self.logs.display()
                )
            })
        })
    }

    /// An orderly shutdown.
    pub fn power_off(&mut self) -> Result<()> {
        self.running.take().context("the node is off")?.power_off()
    }

    /// Everything on the node dies at once, as when the plug is pulled; what was written stays.
    pub fn power_cut(&mut self) -> Result<()> {
        self.running.take().context("the node is off").map(drop)
    }

    /// The node's PID 1 as this machine sees it.
    pub fn leader(&self) -> Result<Pid> {
        let running = self.running.as_ref().context("the node is off")?;
        running.leader()
    }

    /// Runs a command inside the node, as root, and waits for it.
    pub fn run(&self, argv: &[&str]) -> Result<Ran> {
        self.run_within(COMMAND_LIMIT, argv)
    }

    /// As [`Node::run`], with a limit of its own; a command over its limit is killed and ends with code 124.
    pub fn run_within(&self, limit: Duration, argv: &[&str]) -> Result<Ran> {
        let leader = self.leader()?.to_string();
        let output = Command::new("timeout")
            .args(["--kill-after=1", &limit.as_secs_f64().to_string()])
            .args([
                "nsenter", "--target", &leader, "--mount", "--uts", "--ipc", "--net", "--pid",
            ])
            .args([
                "--root",
                "--wd",
                "env",
                "--ignore-environment",
                "LC_ALL=C",
                "TERM=dumb",
            ])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(argv)
            .stdin(Stdio::null())
            .output()
            .context("start timeout")?;
        Ok(Ran::of(argv, &output))
    }

    /// Starts a command that sees the node's files and is none of its processes: what ends the node does not end it. Its
    /// input and output are pipes.
    pub fn spawn_beside(&self, argv: &[&str]) -> Result<Child> {
        let leader = self.leader()?.to_string();
        Command::new("nsenter")
            .args(["--target", &leader, "--mount", "--root", "--wd"])
            .args(argv)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start nsenter")
    }

    /// Where `inside` (an absolute path in the node) is found from outside: through PID 1's root while the node is on,
    /// in the overlay's upper side (what this node itself wrote) while it is off.
    pub fn path(&self, inside: &str) -> Result<PathBuf> {
        let relative = inside.trim_start_matches('/');
        Ok(match &self.running {
            Some(running) => {
                PathBuf::from(format!("/proc/{}/root", running.leader()?)).join(relative)
            }
            None => self.folder.path().join("upper").join(relative),
        })
    }

    /// The whole text of a file of the node.
    pub fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.path(inside)?)
            .with_context(|| format!("read {inside} of {}", self.name))
    }

    /// Writes a file of the node, with the directories above it.
    pub fn write(&self, inside: &str, text: &str) -> Result<()> {
        let path = self.path(inside)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("write {inside} of {}", self.name))
    }

    /// The overlay's upper side: all that this node wrote.
    pub fn upper(&self) -> PathBuf {
        self.folder.path().join("upper")
    }

    /// The node's hostname as seen inside.
    pub fn hostname(&self) -> &str {
        &self.name
    }

    /// The body of an HTTP GET on the node's own loopback.
    pub fn http_get(&self, port: u16, path: &str) -> Result<String> {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.leader()?))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        // A thread that enters the node's network is not brought back: it ends here.
        let fetch = std::thread::spawn(move || -> Result<String> {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let mut stream = TcpStream::connect_timeout(&address, HTTP_LIMIT)?;
            stream.set_read_timeout(Some(HTTP_LIMIT))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        let Ok(answer) = fetch.join() else {
            bail!("the fetching thread panicked")
        };
        let answer = answer.with_context(|| format!("GET {path} on port {port}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP head")?;
        ensure!(head.contains(" 200 "), "GET {path}: {head}");
        Ok(body.to_owned())
    }

    fn keep_journal(&self) -> Result<()> {
        let journal = self.upper().join("var/log/journal");
        if journal.exists() {
            let mut command = Command::new("journalctl");
            command
                .arg("--directory")
                .arg(journal)
                .args(["--no-pager", "--output=short-precise"]);
            fs::write(self.logs.join("journal.log"), command.output()?.stdout)?;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Err(error) = self.keep_journal() {
            eprintln!("{}: its journal could not be kept: {error:#}", self.name);
        }
    }
}
