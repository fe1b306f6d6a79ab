//! Which kubelet this machine runs, and where its runtime, its health check and its pods are. Read from the running process
//! (its command line, the file that this names), else from the places where distributions keep the same.

use super::told::Told;
use crate::host::{Deadline, Host};
use crate::probes::off_thread::OffThread;
use crate::probes::text_file::read_text;
use crate::signal::Uptime;
use std::fs::read_dir;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The unit of a kubelet that is a program of its own, and the subject of its signals.
const UNIT: &str = "kubelet.service";
/// Where a kubelet lives, and its health check, unless it was told otherwise. In its pod the agent is on the host's network.
const HOME: &str = "/var/lib/kubelet";
const HEALTHZ_PORT: u16 = 10_248;
/// How a process with a kubelet in it is called (`comm`): alone, as a part of k3s, of microk8s.
const PROGRAMS: [&str; 4] = ["kubelet", "k3s-server", "k3s-agent", "kubelite"];
/// Configuration files of kubeadm, EKS (AL2023 and AL2), GKE and OpenShift; asked when no process says which one is read.
const CONFIGS: [&str; 5] = [
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/kubelet/kubelet-config.json",
    "/home/kubernetes/kubelet-config.yaml",
    "/etc/kubernetes/kubelet.conf",
];
/// Where kubeadm keeps flags for the unit.
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// Programs that have a kubelet in them, by a directory that their agent makes, and where they change its configuration.
const WHOLES: [(&str, &str, &str); 2] = [
    (
        "k3s",
        "/var/lib/rancher/k3s/agent",
        "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d",
    ),
    (
        "rke2",
        "/var/lib/rancher/rke2/agent",
        "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d",
    ),
];
/// How often the process is looked at, so that a restart with other flags is seen.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a look may take: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most processes that are looked at.
const MAX_PROCESSES: usize = 100_000;
/// Most files that change a configuration.
const MAX_CHANGES: usize = 32;

/// A kubelet's places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probes) struct Setup {
    /// The subject of its signals: its unit, or words that are no unit where it is a part of another program, so that
    /// nobody restarts that one for it.
    pub subject: Arc<str>,
    /// The program that it is a part of: a unit, or a name.
    pub part_of: Option<Arc<str>>,
    /// Its health check; `None` where that is switched off.
    pub healthz: Option<SocketAddr>,
    /// Where it keeps its pods.
    pub home: PathBuf,
    /// The socket of its runtime; `None` where nobody says.
    pub runtime: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup::of(None, Told::default())
    }
}

impl Setup {
    fn of(part_of: Option<Arc<str>>, told: Told) -> Setup {
        let subject = match &part_of {
            None => Arc::from(UNIT),
            Some(whole) => Arc::from(format!("kubelet in {whole}")),
        };
        let address = match told.address {
            Some(address) if !address.is_unspecified() => address,
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let port = told.port.unwrap_or(HEALTHZ_PORT);
        Setup {
            subject,
            part_of,
            healthz: (port != 0).then_some(SocketAddr::new(address, port)),
            home: PathBuf::from(told.home.as_deref().unwrap_or(HOME)),
            runtime: told.runtime,
        }
    }
}

/// Finds the kubelet, and keeps what it found while the process lives.
#[derive(Debug)]
pub(in crate::probes) struct Finder {
    off_thread: OffThread<(Option<u32>, Option<Setup>)>,
    process: Option<u32>,
    setup: Arc<Setup>,
    looked: Option<Uptime>,
}

impl Finder {
    /// A finder that has not looked yet.
    pub(in crate::probes) fn new() -> Finder {
        Finder {
            off_thread: OffThread::new(),
            process: None,
            setup: Arc::new(Setup::default()),
            looked: None,
        }
    }

    /// The same that never looks: for tests.
    #[cfg(test)]
    pub(in crate::probes) fn fixed(setup: Setup) -> Finder {
        Finder {
            setup: Arc::new(setup),
            looked: Some(Uptime::new(Duration::from_secs(1 << 40))),
            ..Finder::new()
        }
    }

    /// The kubelet's places, looked up anew once a minute. What cannot be looked up in time stays what it was.
    ///
    /// *Cost*: one small file while the process lives; else one for each process of the machine.
    pub(in crate::probes) async fn setup(&mut self, host: &Host, deadline: Deadline) -> Arc<Setup> {
        let now = deadline.began();
        if self.looked.is_none_or(|looked| now.since(looked) >= AGAIN) {
            self.looked = Some(now);
            let (host, known) = (host.clone(), self.process);
            let look = self
                .off_thread
                .run("the kubelet's setup", move || find(&host, known));
            // Reading a command line waits for that process's memory, which another thread may hold.
            if let Ok(Ok((process, setup))) = deadline.at_most(PATIENCE).bound(look).await {
                self.process = process;
                if let Some(setup) = setup {
                    self.setup = Arc::new(setup);
                }
            }
        }
        Arc::clone(&self.setup)
    }
}

/// The kubelet's process and its setup; no setup where the process is the `known` one, or where it is gone and was there.
fn find(host: &Host, known: Option<u32>) -> (Option<u32>, Option<Setup>) {
    if known.is_some_and(|process| is_kubelet(host, process)) {
        return (known, None);
    }
    match processes(host).find(|process| is_kubelet(host, *process)) {
        Some(process) => (Some(process), Some(of_process(host, process))),
        None if known.is_some() => (known, None),
        None => (None, Some(of_files(host))),
    }
}

fn of_process(host: &Host, process: u32) -> Setup {
    let read = |file: &str| read_text(&host.path(format!("/proc/{process}/{file}"))).ok();
    let line = read("cmdline").unwrap_or_default();
    let flags = Told::by_arguments(line.split('\0'));
    let cgroup = read("cgroup").unwrap_or_default();
    let is_alone = read("comm").is_some_and(|comm| comm.trim_end() == "kubelet");
    let unit = unit_of(&cgroup);
    // rke2 starts a kubelet of its own inside its own unit.
    let part_of = match unit {
        None if cgroup.is_empty() && is_alone => None,
        None => Some(Arc::from("no unit")),
        Some(unit) if is_alone && unit.contains("kubelet") => None,
        Some(unit) => Some(Arc::from(unit)),
    };
    let file = flags
        .config
        .as_deref()
        .map(|path| by_file(host, Path::new(path)));
    let file = file.unwrap_or_default();
    let whole = whole(host).filter(|_| part_of.is_some());
    let changes = flags.config_dir.as_deref().or(whole.map(|(_, dir)| dir));
    let changes = changes.map(|dir| by_directory(host, Path::new(dir)));
    let setup = Setup::of(part_of, flags.or(changes.unwrap_or_default()).or(file));
    match unit {
        // A snap's unit has another name (snap.kubelet-eks.daemon.service).
        Some(unit) if setup.part_of.is_none() => Setup {
            subject: Arc::from(unit),
            ..setup
        },
        _ => setup,
    }
}

/// Where no process is seen: it is not running, or the agent does not see the host's processes.
fn of_files(host: &Host) -> Setup {
    let whole = whole(host);
    let changes = whole.map(|(_, dir)| by_directory(host, Path::new(dir)));
    let flags = read_text(&host.path(FLAGS)).unwrap_or_default();
    let flags = flags
        .split_once('=')
        .map_or("", |(_, flags)| flags.trim().trim_matches('"'));
    let files = CONFIGS.map(|path| by_file(host, Path::new(path)));
    let told = Told::by_arguments(flags.split_ascii_whitespace()).or(changes.unwrap_or_default());
    let told = files.into_iter().fold(told, Told::or);
    Setup::of(whole.map(|(name, _)| Arc::from(name)), told)
}

fn whole(host: &Host) -> Option<(&'static str, &'static str)> {
    let mut wholes = WHOLES.iter();
    let (name, _, changes) = wholes.find(|(_, agent, _)| host.path(agent).is_dir())?;
    Some((name, changes))
}

fn by_file(host: &Host, path: &Path) -> Told {
    Told::by_file(&read_text(&host.path(path)).unwrap_or_default())
}

/// The files of a directory in the order of their names; the last one that says something counts.
fn by_directory(host: &Host, path: &Path) -> Told {
    let Ok(entries) = read_dir(host.path(path)) else {
        return Told::default();
    };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .take(MAX_CHANGES)
        .collect();
    names.sort_unstable();
    let files = names.iter().map(|name| by_file(host, &path.join(name)));
    files.fold(Told::default(), |told, file| file.or(told))
}

fn processes(host: &Host) -> impl Iterator<Item = u32> {
    let entries = read_dir(host.path("/proc"))
        .into_iter()
        .flatten()
        .take(MAX_PROCESSES);
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether a process is a kubelet of this machine and not one in a container of it (a kind cluster).
fn is_kubelet(host: &Host, process: u32) -> bool {
    let read = |file: &str| read_text(&host.path(format!("/proc/{process}/{file}")));
    let named = read("comm").is_ok_and(|comm| PROGRAMS.contains(&comm.trim_end()));
    named
        && read("status").is_ok_and(|status| {
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            ids.is_none_or(|ids| ids.split_ascii_whitespace().count() < 2)
        })
}

/// The service that a process belongs to, by its `/proc/PID/cgroup`: systemd's own hierarchy, or the only one.
fn unit_of(cgroups: &str) -> Option<&str> {
    let paths = cgroups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        (controllers.is_empty() || controllers == "name=systemd").then_some(path)
    });
    let mut parts = paths.flat_map(|path| path.split('/'));
    parts.find(|part| part.ends_with(".service"))
}

#[cfg(test)]
mod tests;
