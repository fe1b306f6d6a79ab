//! Certificates of kubelet and static pods: how long they are still good. A node whose client certificate ran out drops
//! out of the cluster and cannot come back by itself.

mod parse;
mod signals;
#[cfg(test)]
mod tests;

pub use parse::{Unusable, days_left, earliest_end, share_left};
pub use signals::{DAYS_LEFT, READABLE, TOKEN_LEFT};

use super::error::ProbeError;
use super::off_thread::OffThread;
use super::text_file::{read_bytes, read_error, read_text};
use super::{Probe, ProbeSpec};
use crate::host::{BoxFuture, Host, clock};
use crate::signal::{Batch, MissingReason, Subject};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where kubelet, kubeadm, k3s, rke2, k0s, GKE and AKS keep them (EKS has kubelet's usual place). A file that is not
/// there is not missed.
pub const DEFAULT_PATHS: &[&str] = &[
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/var/lib/kubelet/pki/kubelet-server-current.pem",
    "/var/lib/kubelet/pki/kubelet.crt",
    "/etc/kubernetes/pki",
    "/etc/kubernetes/pki/etcd",
    "/etc/kubernetes/certs",
    "/etc/srv/kubernetes/pki",
    "/var/lib/rancher/k3s/agent",
    "/var/lib/rancher/k3s/server/tls",
    "/var/lib/rancher/k3s/server/tls/etcd",
    "/var/lib/rancher/rke2/agent",
    "/var/lib/rancher/rke2/server/tls",
    "/var/lib/rancher/rke2/server/tls/etcd",
    "/var/lib/k0s/pki",
];

/// Kubeconfigs of the same. One that names files or a token in place of certificates is passed over.
pub const KUBECONFIGS: &[&str] = &[
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/super-admin.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
    "/var/lib/kubelet/kubeconfig",
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/rke2/rke2.yaml",
];

/// Where a pod has its own token; read in this process's own tree and not in the host's.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What is a certificate in a directory; keys and signing requests lie beside them.
const EXTENSIONS: &[&str] = &["crt", "pem", "cer"];
/// Most files that are looked at; a control plane of kubeadm has a dozen.
const MAX_FILES: usize = 100;
/// Links that are followed, as the kernel does it.
const MAX_LINKS: usize = 40;

/// The probe's description.
pub static SPEC: ProbeSpec = ProbeSpec {
    name: "certificates",
    title: "certificates",
    period: Duration::from_secs(300),
    timeout: Duration::from_secs(10),
    keys: &[&DAYS_LEFT.spec, &READABLE.spec, &TOKEN_LEFT.spec],
    cost: "0.3 ms with 12 files (least wall time of 12 starts, release build, a busy VM of 2 cores)",
};

/// Reads certificates.
pub struct Certificates {
    off_thread: OffThread<Result<Batch, ProbeError>>,
    paths: Arc<[PathBuf]>,
    /// Whether somebody named the paths, so that one that is not there is missed.
    is_named: bool,
}

impl Certificates {
    /// A probe of these files, and of the certificates in these directories; of
    /// [`DEFAULT_PATHS`] and [`KUBECONFIGS`] if there are none.
    pub fn new(paths: &[PathBuf]) -> Self {
        let defaults = DEFAULT_PATHS.iter().chain(KUBECONFIGS).map(PathBuf::from);
        Self {
            off_thread: OffThread::new(),
            is_named: !paths.is_empty(),
            paths: if paths.is_empty() {
                defaults.collect()
            } else {
                Arc::from(paths)
            },
        }
    }
}

impl Probe for Certificates {
    fn spec(&self) -> &'static ProbeSpec {
        &SPEC
    }

    fn collect<'a>(&'a mut self, host: &'a Host) -> BoxFuture<'a, Result<Batch, ProbeError>> {
        let (host, paths, is_named) = (host.clone(), Arc::clone(&self.paths), self.is_named);
        let read = move || {
            let now = clock::since_1970();
            with_token(read(&host, &paths, is_named, now), Path::new(TOKEN), now)
        };
        Box::pin(async move { self.off_thread.run(SPEC.title, read).await? })
    }
}

/// One run at the wall clock `now`.
fn read(
    host: &Host,
    paths: &[PathBuf],
    is_named: bool,
    now: Duration,
) -> Result<Batch, ProbeError> {
    let mut batch = Batch::of(SPEC.name);
    for path in files(host, paths)? {
        let subject = Subject::named(&path.to_string_lossy());
        let bytes = match resolve(host, &path).and_then(|place| read_bytes(&place)) {
            Err(ProbeError::Unsupported { .. }) if !is_named => continue,
            Err(error) => {
                batch.set_for(&READABLE, subject.clone(), false);
                batch.missing_for(&DAYS_LEFT.spec, subject, error.missing_reason());
                continue;
            }
            Ok(bytes) => bytes,
        };
        let end = earliest_end(&bytes);
        // Nothing but ends and names leaves this place: a kubeconfig holds a key as well.
        drop(bytes);
        if !is_named && end == Err(Unusable::NoCertificate) && is_kubeconfig(&path) {
            continue;
        }
        batch.set_for(&READABLE, subject.clone(), end.is_ok());
        match end {
            Ok(end) => batch.set_for(&DAYS_LEFT, subject, days_left(end, now)),
            Err(why) => {
                let text = format!("{}: {why}; put the certificate back", path.display());
                let why = MissingReason::Unreadable(text.into());
                batch.missing_for(&DAYS_LEFT.spec, subject, why);
            }
        }
    }
    if batch.samples.is_empty() {
        let what = "a certificate of kubelet or a static pod".to_owned();
        return Err(ProbeError::Unsupported { what });
    }
    batch.lists_all(&DAYS_LEFT);
    batch.lists_all(&READABLE);
    Ok(batch)
}

fn is_kubeconfig(path: &Path) -> bool {
    KUBECONFIGS.iter().any(|known| path == Path::new(known))
}

/// The same with the agent's own token, where it has one. Nothing of the token but its times leaves this place.
fn with_token(
    batch: Result<Batch, ProbeError>,
    token: &Path,
    now: Duration,
) -> Result<Batch, ProbeError> {
    let text = match read_text(token) {
        Err(ProbeError::Unsupported { .. }) => return batch,
        text => text,
    };
    let mut batch = match batch {
        Err(ProbeError::Unsupported { .. }) => Batch::of(SPEC.name),
        batch => batch?,
    };
    match text.map(|text| share_left(&text, now)) {
        Ok(Some(left)) => batch.set(&TOKEN_LEFT, left),
        Ok(None) => {
            let why = MissingReason::NotHere("a token that ends".into());
            batch.missing(&TOKEN_LEFT.spec, why);
        }
        Err(error) => batch.missing(&TOKEN_LEFT.spec, error.missing_reason()),
    }
    Ok(batch)
}

/// The files that the paths mean: themselves, or the certificates in a directory.
fn files(host: &Host, paths: &[PathBuf]) -> Result<Vec<PathBuf>, ProbeError> {
    let mut files = Vec::new();
    for path in paths {
        let place = host.path(path);
        if !place.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(&place).map_err(|error| read_error(&place, error))?;
        let mut found = Vec::new();
        for entry in entries.take(MAX_FILES * 10) {
            let entry = entry.map_err(|error| read_error(&place, error))?;
            let name = PathBuf::from(entry.file_name());
            let extension = name.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                found.push(path.join(name));
            }
        }
        found.sort_unstable();
        files.append(&mut found);
    }
    files.truncate(MAX_FILES);
    Ok(files)
}

/// Where a file lies as seen from here. kubelet's current certificate is a link with an absolute path, which means a
/// place below the machine's root and not below ours.
fn resolve(host: &Host, path: &Path) -> Result<PathBuf, ProbeError> {
    let mut inside = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Ok(target) = std::fs::read_link(host.path(&inside)) else {
            return Ok(host.path(&inside));
        };
        let parent = inside.parent().unwrap_or(Path::new("/"));
        inside = parent.join(target);
    }
    let place = host.path(path);
    let source = io::Error::other("a link that leads to itself");
    Err(read_error(&place, source))
}
