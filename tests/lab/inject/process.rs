//! A process of a node stopped: for good, or in pulses, which makes it slow and leaves it alive.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::Node;

/// A process that got SIGSTOP; dropped: SIGCONT.
#[derive(Debug)]
pub struct Stopped {
    pid: Pid,
}

impl Stopped {
    /// The node's PID 1. Sent from outside, where a PID 1 has no protection from signals.
    pub fn manager(node: &Node) -> Result<Self> {
        Self::process(node.leader()?)
    }

    /// The node's bus daemon: connections still succeed (the kernel accepts), nothing is answered.
    pub fn bus_daemon(node: &Node) -> Result<Self> {
        Self::process(bus_daemon(node)?)
    }

    fn process(pid: Pid) -> Result<Self> {
        kill(pid, Signal::SIGSTOP).with_context(|| format!("SIGSTOP to {pid}"))?;
        Ok(Self { pid })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Gone already when the node was cut.
        kill(self.pid, Signal::SIGCONT).ok();
    }
}

/// A process that is stopped and let go in turn, until dropped.
#[derive(Debug)]
pub struct Slow {
    stop: Option<Sender<()>>,
    pulses: Option<JoinHandle<()>>,
}

impl Slow {
    /// PID 1 is still for `still`, then works for `awake`, again and again.
    pub fn manager(node: &Node, still: Duration, awake: Duration) -> Result<Self> {
        let pid = node.leader()?;
        // Here and not in the thread: the process is still from now on, not from when the thread gets to run.
        kill(pid, Signal::SIGSTOP).with_context(|| format!("SIGSTOP to {pid}"))?;
        let (stop, stopped) = channel();
        let pulses = thread::spawn(move || pulse(pid, still, awake, &stopped));
        Ok(Self {
            stop: Some(stop),
            pulses: Some(pulses),
        })
    }
}

fn pulse(pid: Pid, still: Duration, awake: Duration, stopped: &Receiver<()>) {
    for (signal, span) in [(Signal::SIGSTOP, still), (Signal::SIGCONT, awake)]
        .into_iter()
        .cycle()
    {
        let gone = kill(pid, signal).is_err();
        if gone || stopped.recv_timeout(span) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    kill(pid, Signal::SIGCONT).ok();
}

impl Drop for Slow {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(pulses) = self.pulses.take()
            && pulses.join().is_err()
        {
            eprintln!("the pulsing thread panicked");
        }
    }
}

/// The bus daemon's process as seen from outside the node.
fn bus_daemon(node: &Node) -> Result<Pid> {
    main_process(node, "dbus.service")
}

/// The main process of a unit, as seen from outside the node.
pub fn main_process(node: &Node, unit: &str) -> Result<Pid> {
    let inside = node
        .run(&["systemctl", "show", "--property=MainPID", "--value", unit])?
        .ok()?;
    let inside = inside.trim();
    let outside = descendants(node.leader()?)?
        .into_iter()
        .find(|pid| pid_inside(*pid).as_deref() == Some(inside));
    outside.with_context(|| format!("{unit}: its main process {inside} is not on this machine"))
}

/// All processes under `ancestor`.
fn descendants(ancestor: Pid) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(pid) = open.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            // A process may end while we look: then it has no children.
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                let child = Pid::from_raw(child.parse()?);
                found.push(child);
                open.push(child);
            }
        }
    }
    Ok(found)
}

/// The process's id in its innermost PID namespace.
fn pid_inside(pid: Pid) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_whitespace().last().map(str::to_owned)
}
