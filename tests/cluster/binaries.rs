//! The programs of the control plane: `KUBEBUILDER_ASSETS` where it is set, else our multi-call
//! binary, built once and kept in the user's cache under the hash of what it is built from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// What the multi-call binary is built from; a change of any of them is another binary.
const INPUTS: [&str; 3] = ["go.mod", "go.sum", "main.go"];

/// Without these `/version` answers something that is not SemVer, and clients refuse it.
const LDFLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34";

/// The command that starts `component`, without its flags. The first call on a machine builds.
pub fn component(component: &str) -> Vec<String> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    asset(assets.as_deref(), component)
        .map(|own| vec![own.display().to_string()])
        .unwrap_or_else(|| vec![multi_call().display().to_string(), component.to_owned()])
}

/// The program `component` among `assets`, if there is one: envtest brings etcd, the API server and
/// kubectl, but no controllers and no kubelet.
fn asset(assets: Option<&Path>, component: &str) -> Option<PathBuf> {
    assets
        .map(|assets| assets.join(component))
        .filter(|program| program.is_file())
}

#[test]
fn a_component_is_taken_from_the_assets_where_they_have_it() {
    let assets = tempfile::tempdir().expect("a temporary directory");
    let etcd = assets.path().join("etcd");
    fs::write(&etcd, "").expect("a temporary directory");
    assert_eq!(asset(Some(assets.path()), "etcd"), Some(etcd));
    assert_eq!(asset(Some(assets.path()), "kubelet"), None);
    assert_eq!(asset(None, "etcd"), None);
}

/// The multi-call binary, built if this machine's user never built it from these inputs.
pub fn multi_call() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/controlplane");
        let home = cache().join(digest(&source));
        let binary = home.join("controlplane");
        fs::create_dir_all(&home).expect("the user's cache directory can be written");
        // Two test binaries may want it at once: the second waits for the first one's build.
        let lock = File::create(home.join("lock")).expect("a lock file beside the binary");
        lock.lock().expect("the lock of the build");
        if !binary.is_file() {
            build(&source, &home, &binary);
        }
        binary
    })
}

/// The agent as it is shipped: static, as `.cargo/config.toml` says, but without the optimiser's minutes.
///
/// `NODEMEND_STATIC_BINARY` names a finished one, for example of a release.
pub fn agent() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var_os("NODEMEND_STATIC_BINARY").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_nodemend")),
            PathBuf::from,
        )
    })
}

/// The user's cache of everything that the lab builds.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .expect("HOME or XDG_CACHE_HOME names the user's cache")
        .join("nodemend/lab")
}

fn digest(source: &Path) -> String {
    let mut hash = Sha256::new();
    for input in INPUTS {
        let text = fs::read(source.join(input)).expect("the control plane's source is complete");
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.update(LDFLAGS);
    let go = Command::new("go")
        .args(["env", "GOVERSION", "GOARCH"])
        .output();
    hash.update(
        go.expect("Go is installed (https://go.dev/dl, 1.24 or newer)")
            .stdout,
    );
    hash.finalize()
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn build(source: &Path, home: &Path, binary: &Path) {
    eprintln!(
        "building the control plane into {} (once, about 5 minutes)",
        home.display()
    );
    let partial = home.join("partial");
    // Ends with its test, whose lock it builds under.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "nice"])
        .args([
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            LDFLAGS,
            "-o",
        ])
        .arg(&partial)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .status()
        .expect("setpriv (util-linux) is installed");
    assert!(
        status.success(),
        "go build of {} failed: {status}",
        source.display()
    );
    // A build cut off half way must never be found by the next run.
    fs::rename(&partial, binary).expect("a rename within one directory");
}
