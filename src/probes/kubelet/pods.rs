//! Which pods the kubelet took on, and which of them have neither a cgroup nor a container. Blocks: it runs on a thread of
//! its own.
//!
//! The kubelet's volume manager makes a pod's directory as soon as the pod is admitted; the pod's own worker makes its cgroup
//! first (`SyncPod` in pkg/kubelet/kubelet.go, 1.34) and a directory below `containers` for each container right before that is
//! created. So a directory without either belongs to a pod whose worker stands before the cgroup: it waits for PID 1, or for
//! the pod network. A pod without volumes has no directory and is not seen.

use crate::host::Host;
use crate::probes::error::ProbeError;
use crate::probes::text_file::read_error;
use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The kubelet's own limit is 110 pods unless configured; ended ones keep their directories for a while.
const MAX_PODS: usize = 2_048;

/// Cgroups that are looked at: a pod has one for itself and a few below.
const MAX_CGROUPS: usize = 16_384;

/// How deep below the root the pods' tree may begin: `kubelet.slice/kubelet-kubepods.slice` in kind.
const ROOT_DEPTH: u8 = 3;

/// How deep a pod lies in that tree: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podX.slice`.
const POD_DEPTH: u8 = 2;

/// The kubelet's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pods {
    /// How many it keeps a directory for.
    pub count: usize,
    /// The ids of those without a cgroup and without a container.
    pub without_cgroup: BTreeSet<Arc<str>>,
}

/// The pods of the kubelet that lives at `home`; `None` on a machine without one.
///
/// # Errors
/// The directory or the cgroups cannot be read, or pods have no cgroups here.
pub(super) fn read(host: &Host, home: &Path) -> Result<Option<Pods>, ProbeError> {
    let home = host.path(home);
    if !home.is_dir() {
        return Ok(None);
    }
    let directory = home.join("pods");
    let mut pods = Pods::default();
    for entry in list(&directory)?.take(MAX_PODS) {
        let entry = entry.map_err(|source| read_error(&directory, source))?;
        let Ok(id) = entry.file_name().into_string() else {
            continue;
        };
        pods.count += 1;
        if !entry.path().join("containers").exists() {
            pods.without_cgroup.insert(Arc::from(id));
        }
    }
    if !pods.without_cgroup.is_empty() {
        let cgroups = pod_cgroups(host)?;
        pods.without_cgroup
            .retain(|id| !cgroups.iter().any(|name| is_of_pod(name, id)));
    }
    Ok(Some(pods))
}

/// The entries of a directory; none where there is no such directory.
fn list(directory: &Path) -> Result<Box<dyn Iterator<Item = io::Result<DirEntry>>>, ProbeError> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Box::new(entries)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Box::new(std::iter::empty())),
        Err(source) => Err(read_error(directory, source)),
    }
}

/// Whether a cgroup is that of the pod: `kubepods-pod1_2.slice` by systemd's spelling, `pod1-2` by the other driver's.
fn is_of_pod(cgroup: &str, id: &str) -> bool {
    let name = cgroup.strip_suffix(".slice").unwrap_or(cgroup);
    name.replace('_', "-")
        .strip_suffix(id)
        .is_some_and(|rest| rest.ends_with("pod"))
}

/// The names of all cgroups in the pods' tree.
fn pod_cgroups(host: &Host) -> Result<Vec<String>, ProbeError> {
    let mount = host.path("/sys/fs/cgroup");
    let hierarchies = if mount.join("cgroup.controllers").exists() {
        vec![mount]
    } else {
        // Version 1: with the systemd driver a pod is in systemd's own hierarchy, with the other one in all of them.
        vec![mount.join("systemd"), mount.join("memory")]
    };
    let mut left = MAX_CGROUPS;
    for hierarchy in hierarchies {
        let mut names = Vec::new();
        for root in pod_roots(&hierarchy, ROOT_DEPTH, &mut left)? {
            collect(&root, POD_DEPTH, &mut left, &mut names)?;
        }
        if !names.is_empty() {
            return Ok(names);
        }
    }
    // With `cgroupsPerQOS: false` pods have none, and nothing follows from their absence.
    let what = "a cgroup of the kubelet's pods (kubepods)".to_owned();
    Err(ProbeError::Unsupported { what })
}

/// The trees of pods in a hierarchy: usually one at its top.
fn pod_roots(parent: &Path, depth: u8, left: &mut usize) -> Result<Vec<PathBuf>, ProbeError> {
    let mut roots = Vec::new();
    let mut others = Vec::new();
    for (name, path) in children(parent, left)? {
        let stem = name.strip_suffix(".slice").unwrap_or(&name);
        if stem == "kubepods" || stem.ends_with("-kubepods") {
            roots.push(path);
        } else {
            others.push(path);
        }
    }
    if roots.is_empty() && depth > 1 {
        for path in others {
            roots.extend(pod_roots(&path, depth - 1, left)?);
        }
    }
    Ok(roots)
}

/// Every cgroup below `parent`, and `parent` itself.
fn collect(
    parent: &Path,
    depth: u8,
    left: &mut usize,
    names: &mut Vec<String>,
) -> Result<(), ProbeError> {
    let own = parent.file_name().unwrap_or_default();
    names.push(own.to_string_lossy().into_owned());
    if depth == 0 {
        return Ok(());
    }
    for (_, path) in children(parent, left)? {
        collect(&path, depth - 1, left, names)?;
    }
    Ok(())
}

/// The cgroups right below one. One that goes away meanwhile has none.
fn children(parent: &Path, left: &mut usize) -> Result<Vec<(String, PathBuf)>, ProbeError> {
    let mut found = Vec::new();
    for entry in list(parent)? {
        let entry = entry.map_err(|source| read_error(parent, source))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        *left = left.checked_sub(1).ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::FileTooLarge, "more than 16,384 cgroups");
            read_error(parent, source)
        })?;
        found.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods_of(host: &Host) -> Result<Option<Pods>, ProbeError> {
        read(host, Path::new("/var/lib/kubelet"))
    }
    use std::fs::{create_dir_all, write};

    const A: &str = "0a1b2c3d-1111-2222-3333-444455556666";
    const B: &str = "0a1b2c3d-1111-2222-3333-444455557777";
    /// Static pods have the hash of their file for an id.
    const STATIC: &str = "3c1d2e0f00112233445566778899aabb";

    fn machine(directories: &[&str]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().expect("a directory");
        for directory in directories {
            let path = directory.replace("{A}", A).replace("{B}", B);
            let path = path
                .replace("{a}", &A.replace('-', "_"))
                .replace("{S}", STATIC);
            create_dir_all(root.path().join(path)).expect("made");
        }
        let host = Host::at(root.path());
        (root, host)
    }

    #[test]
    fn a_pod_waits_if_it_has_neither_container_nor_cgroup() {
        let slice = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{a}.slice";
        let burstable = "kubepods.slice/kubepods-burstable.slice";
        for (what, tree, waits) in [
            ("its cgroup by systemd", vec![slice], false),
            ("no cgroup", vec![burstable], true),
            (
                "a guaranteed pod",
                vec!["kubepods.slice/kubepods-pod{a}.slice"],
                false,
            ),
            (
                "the other driver",
                vec!["kubepods/besteffort/pod{A}"],
                false,
            ),
            ("another pod's", vec!["kubepods/besteffort/pod{B}"], true),
            ("a longer name", vec!["kubepods/besteffort/pod0{A}"], true),
            (
                "in kind",
                vec!["kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{a}.slice"],
                false,
            ),
            (
                "a container",
                vec![
                    burstable,
                    "../../../var/lib/kubelet/pods/{A}/containers/web",
                ],
                false,
            ),
        ] {
            for hierarchy in [
                "sys/fs/cgroup",
                "sys/fs/cgroup/systemd",
                "sys/fs/cgroup/memory",
            ] {
                let mut directories = vec![
                    "var/lib/kubelet/pods/{A}/volumes".to_owned(),
                    "sys/fs/cgroup".to_owned(),
                ];
                directories.extend(
                    tree.iter()
                        .map(|path| match path.strip_prefix("../../../") {
                            Some(path) => path.to_owned(),
                            None => format!("{hierarchy}/{path}"),
                        }),
                );
                let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
                let (root, host) = machine(&directories);
                if hierarchy == "sys/fs/cgroup" {
                    write(root.path().join("sys/fs/cgroup/cgroup.controllers"), "cpu")
                        .expect("written");
                }
                let pods = pods_of(&host).expect("read").expect("a kubelet");
                assert_eq!(pods.count, 1);
                assert_eq!(
                    pods.without_cgroup.contains(A),
                    waits,
                    "{what} in {hierarchy}"
                );
            }
        }
    }

    #[test]
    fn a_static_pod_is_known_by_its_hash() {
        let slice = "sys/fs/cgroup/systemd/kubepods.slice/kubepods-pod{S}.slice";
        let (_root, host) = machine(&["var/lib/kubelet/pods/{S}", slice]);
        let pods = pods_of(&host).expect("read").expect("a kubelet");
        assert_eq!((pods.count, pods.without_cgroup.len()), (1, 0));
    }

    #[test]
    fn without_a_kubelet_there_is_nothing_and_without_pods_nothing_waits() {
        let (_root, host) = machine(&["var/lib"]);
        assert_eq!(pods_of(&host).expect("read"), None);
        let (_root, host) = machine(&["var/lib/kubelet"]);
        assert_eq!(pods_of(&host).expect("read"), Some(Pods::default()));
    }

    #[test]
    fn where_pods_have_no_cgroups_nobody_can_tell_who_waits() {
        let (_root, host) = machine(&[
            "var/lib/kubelet/pods/{A}",
            "sys/fs/cgroup/systemd/system.slice",
        ]);
        assert_eq!(
            pods_of(&host).expect_err("no kubepods").kind(),
            "unsupported"
        );
    }
}
