//! One child process that never outlives its test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{self, eventually, so};

/// How `program` is started in the network of a test, of which the proxies of this machine know nothing, nor the pod that it may
/// be itself.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    const FOREIGN: [&str; 5] = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "POD_NAMESPACE",
    ];
    let mut command = Command::new(program);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// A running program with its output in a file.
pub struct Process {
    name: String,
    argv: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts `argv`, appending its output to `<name>.log` in `dir`.
    pub fn start(name: &str, argv: Vec<String>, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let mut process = Self {
            name: name.to_owned(),
            argv,
            log,
            child: None,
        };
        process.restart();
        process
    }

    /// Ends it if it runs, and starts it again with the same arguments.
    pub fn restart(&mut self) {
        self.kill();
        let out = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        let err = out.try_clone().expect("a second handle of the log file");
        // setpriv: if the test is killed and no `Drop` runs, the kernel ends the child all the same.
        let child = command("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.argv)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn();
        self.child = Some(child.expect("setpriv (util-linux) is installed"));
    }

    /// Power cut: SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; both calls then have nothing left to do.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Waits until it has ended by itself, and kills it if it has not after `limit`.
    pub fn end_within(&mut self, limit: Duration) {
        if let Some(child) = self.child.as_mut() {
            let ended = eventually("it ends by itself", limit, || {
                so(!matches!(child.try_wait(), Ok(None)), || "it runs".into())
            });
            // One that did not is killed all the same.
            drop(ended);
            self.kill();
        }
    }

    /// Stops it in its tracks; it keeps its sockets and answers nobody.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process runs");
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the process was started");
        Pid::from_raw(i32::try_from(child.id()).expect("a process id fits pid_t"))
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .expect("VmRSS is in kB");
        kib.trim().parse::<u64>().expect("VmRSS is a number") * 1024
    }

    /// Fails the test with the end of the log if the process has ended.
    pub fn ensure_alive(&mut self) {
        let child = self.child.as_mut().expect("the process was started");
        if let Some(status) = child.try_wait().expect("its own child can be asked") {
            panic!(
                "{} ended ({status}); the end of its log:\n{}",
                self.name,
                self.tail()
            );
        }
    }

    /// The last lines of its output.
    pub fn tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks `claim` again and again until it holds; fails the test with `what` after `limit`.
///
/// This waits for other programs, whose time cannot be injected.
pub fn until(what: &str, limit: Duration, mut claim: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    let held = eventually(what, limit, || so(claim(), || "not so".to_owned()));
    if let Err(late) = held {
        panic!("{late:#}");
    }
    start.elapsed()
}

/// Asks `claim` for the whole of `span`, and fails the test with `what` as soon as it does not hold: for what must *not* happen.
pub fn throughout(what: &str, span: Duration, mut claim: impl FnMut() -> bool) {
    let held = wait::throughout(what, span, || so(claim(), || "not so".to_owned()));
    if let Err(broken) = held {
        panic!("{broken:#}");
    }
}
