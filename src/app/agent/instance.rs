//! Which agent this is: an id that its state directory keeps, made once. Slots and claims carry it, so that a second agent on
//! the same Node, with a state directory of its own, does not take the first one's slots for its own. And whether it works in
//! a cluster, so that nobody acts by hand with a slot that does not count there.

use super::store::{StoreError, replace};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The file in the state directory.
const FILE: &str = "instance";
/// The file that names the agents' namespace, where the agent takes its slots in a cluster.
const CLUSTER: &str = "cluster";
/// Where the kernel makes ids of 122 random bits (Documentation/admin-guide/sysctl/kernel.rst, `random`).
const KERNEL_IDS: &str = "/proc/sys/kernel/random/uuid";
/// The longest id or namespace that is read: a UUID has 36 characters, a namespace at most 63.
const MAX_BYTES: u64 = 64;

/// The id of this state directory; the first call makes it.
///
/// # Errors
/// It cannot be read, made or kept, or is not an id: then this agent knows no slot as its own.
pub fn instance(state_dir: &Path) -> Result<String, StoreError> {
    let path = state_dir.join(FILE);
    let failed = |source| StoreError::File {
        tried: "reading",
        path: path.clone(),
        source,
    };
    match read(&path) {
        Ok(id) if is_id(&id) => Ok(id),
        Ok(_) => Err(failed(io::Error::other(
            "it is not an id; if no run is under way, remove the file and start again",
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = read(Path::new(KERNEL_IDS)).map_err(failed)?;
            replace(&path, &format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Remembers in the state directory that its agent takes its slots in a cluster, in this namespace.
///
/// # Errors
/// It cannot be written.
pub fn join_cluster(state_dir: &Path, namespace: &str) -> Result<(), StoreError> {
    let path = state_dir.join(CLUSTER);
    if read(&path).is_ok_and(|known| known == namespace) {
        return Ok(());
    }
    replace(&path, &format!("{namespace}\n"))
}

/// Why nobody may act here by hand: slots are taken in a cluster, and a local one would not count there.
pub fn cluster_refusal(state_dir: &Path, node: &str) -> Option<String> {
    let path = state_dir.join(CLUSTER);
    let known = match read(&path) {
        Ok(namespace) => format!("in namespace {namespace}"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => format!("but it cannot be read where ({error})"),
    };
    Some(format!(
        "the agent with this state directory takes its slots in a cluster, {known}, and a run by hand would not count there; let the agent do it (kubectl annotate node {node} nodemend.io/mode=approve nodemend.io/approve=CASE), or, if this machine has left the cluster, remove {}",
        path.display()
    ))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    text.len() == 36 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_for_each_state_directory() {
        let (one, other) = (
            tempfile::tempdir().expect("dir"),
            tempfile::tempdir().expect("dir"),
        );
        let id = instance(one.path()).expect("made");
        assert!(is_id(&id), "{id}");
        assert_eq!(instance(one.path()).expect("kept"), id);
        assert_ne!(instance(other.path()).expect("made"), id);
    }

    #[test]
    fn a_damaged_id_is_refused_and_not_replaced() {
        for text in [
            "",
            "\n",
            "7",
            "{}",
            &"a".repeat(5_000),
            "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz",
        ] {
            let dir = tempfile::tempdir().expect("dir");
            let path = dir.path().join(FILE);
            std::fs::write(&path, text).expect("writes");
            let error = instance(dir.path()).expect_err("refused").to_string();
            assert!(error.contains("instance"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
        }
    }

    #[test]
    fn nobody_acts_by_hand_where_slots_are_taken_in_a_cluster() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(cluster_refusal(dir.path(), "n"), None);
        join_cluster(dir.path(), "nodemend").expect("kept");
        join_cluster(dir.path(), "nodemend").expect("kept");
        let why = cluster_refusal(dir.path(), "n").expect("refused");
        assert!(
            why.contains("namespace nodemend") && why.contains("annotate node n"),
            "{why}"
        );
        // What cannot be read refuses, too.
        std::fs::write(dir.path().join(CLUSTER), [0xff, 0xfe]).expect("writes");
        assert!(cluster_refusal(dir.path(), "n").is_some());
    }
}
