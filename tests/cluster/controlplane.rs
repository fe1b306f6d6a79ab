//! etcd, API server, controller-manager and scheduler in a network namespace of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::api::Caller;
use crate::audit::AuditLog;
use crate::binaries::component;
use crate::node;
use crate::pki::Pki;
use crate::process::{self, Process, until};
use crate::seats::Seat;

/// The control plane's address, and the nodes' gateway (TEST-NET-2: routed nowhere).
pub const ADDRESS: &str = "198.51.100.1";
/// The `kubernetes` service: carried by the same machine, so that pods need no kube-proxy.
pub const SERVICE_ADDRESS: &str = "10.0.0.1";
/// What an operator's server would be given at least; here it also keeps the reads of the agents,
/// because the tests count calls.
const AUDIT_POLICY: &str = include_str!("audit-policy.yaml");
/// A cold start takes 3.5 s on two idle cores; the rest is for a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A control plane that ends with this value, whatever happens.
///
/// It lives in a network namespace that the calling thread entered for it: fixed ports, several
/// side by side, nothing to clean up. Everything the thread starts from then on is inside, too.
pub struct ControlPlane {
    /// etcd, to pause or kill.
    pub etcd: Process,
    /// The API server, to pause, kill or restart.
    pub api: Process,
    controllers: Vec<Process>,
    pki: Pki,
    dir: PathBuf,
    runtime: Rc<Runtime>,
    ready_after: Duration,
    seat: Seat,
}

impl ControlPlane {
    /// etcd and API server, ready. `name` is the test's: it names the directory of its logs.
    pub fn start(name: &str) -> Self {
        // Outside, where modules and packages can still be fetched if this machine lacks them.
        component("etcd");
        let seat = Seat::take(name);
        enter_own_network();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{name}"));
        // What a failed run left to be read: the next one may be its repetition.
        let before = dir.with_extension("before");
        fs::remove_dir_all(&before).ok();
        fs::rename(&dir, &before).ok();
        fs::create_dir_all(&dir).expect("the target directory can be written");
        fs::write(dir.join("audit-policy.yaml"), AUDIT_POLICY).expect("a writable directory");
        let server = format!("https://{ADDRESS}");
        let pki = Pki::new(
            dir.join("pki"),
            &server,
            &[ADDRESS, SERVICE_ADDRESS, "127.0.0.1"],
        );
        let etcd = Process::start("etcd", etcd_command(&dir), &dir);
        let api = Process::start("kube-apiserver", api_command(&dir, &pki), &dir);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let mut plane = Self {
            etcd,
            api,
            controllers: Vec::new(),
            pki,
            dir,
            runtime: Rc::new(runtime.expect("a tokio runtime")),
            ready_after: Duration::ZERO,
            seat,
        };
        plane.ready_after = plane.await_ready();
        plane
    }

    /// The same with controller-manager and scheduler: garbage collection, DaemonSets, taints.
    pub fn start_with_controllers(name: &str) -> Self {
        Self::start_with(name, "")
    }

    /// The same for Nodes without a kubelet, which nobody finds silent.
    pub fn start_without_kubelets(name: &str) -> Self {
        Self::start_with(name, "--node-monitor-grace-period=10h")
    }

    fn start_with(name: &str, flags: &str) -> Self {
        let mut plane = Self::start(name);
        let mut controllers = controllers_command(&plane.pki);
        controllers.extend(flags.split_whitespace().map(str::to_owned));
        for command in [controllers, scheduler_command(&plane.pki)] {
            let component = command.iter().find(|word| word.starts_with("kube-"));
            let component = component
                .expect("both commands name their component")
                .clone();
            plane
                .controllers
                .push(Process::start(&component, command, &plane.dir));
        }
        // The API server is of use to a pod only once these two exist.
        let admin = plane.admin();
        until("the default service account exists", READY_WITHIN, || {
            admin
                .get("/api/v1/namespaces/default/serviceaccounts/default")
                .code
                == 200
        });
        plane
    }

    /// The same with everything ready for [`Node::boot`](crate::node::Node::boot).
    pub fn start_for_nodes(name: &str) -> Self {
        node::root::tree().expect("the nodes' file tree");
        Self::start_with_controllers(name)
    }

    /// Waits until the API server answers `/readyz`; the time that it took.
    pub fn await_ready(&mut self) -> Duration {
        let admin = self.admin();
        let (etcd, api) = (&mut self.etcd, &mut self.api);
        until("the API server is ready", READY_WITHIN, || {
            etcd.ensure_alive();
            api.ensure_alive();
            admin.get("/readyz").code == 200
        })
    }

    /// From the start of the processes to the first `ok` of `/readyz`.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// A number that no other control plane of this process has now.
    pub fn seat(&self) -> usize {
        self.seat.number()
    }

    /// A caller in group `system:masters`.
    pub fn admin(&self) -> Caller {
        self.caller("admin")
    }

    /// The caller whose certificate the PKI made under `name`.
    pub fn caller(&self, name: &str) -> Caller {
        Caller::new(&self.runtime, &self.pki.kubeconfig(name))
    }

    /// A caller that shows a bearer token.
    pub fn token_caller(&self, token: &str) -> Caller {
        Caller::new(&self.runtime, &self.pki.token_kubeconfig(token))
    }

    /// The authority of this cluster.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The server's audit log.
    pub fn audit(&self) -> AuditLog {
        AuditLog::new(self.dir.join("audit.log"))
    }

    /// Where logs and data of this control plane lie; removed at the end unless the test failed.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where images for its nodes are laid, OCI archives. There, because a run that was killed leaves them to be removed by
    /// the next one.
    pub fn images(&self) -> PathBuf {
        let images = self.dir.join("images");
        fs::create_dir_all(&images).expect("the target directory can be written");
        images
    }

    /// Runs kubectl as admin: its standard output, or its standard error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let kubectl = component("kubectl");
        let (program, first) = kubectl.split_first().expect("a command has a program");
        let output = process::command(program)
            .args(first)
            .args(arguments)
            .env("KUBECONFIG", self.pki.path("admin.kubeconfig"))
            .env("HOME", &self.dir)
            .output()
            .expect("kubectl can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Applies a kustomization of `manifests/` as the server would see it from an operator:
    /// server-side, every unknown or doubled field an error.
    pub fn apply(&self, kustomization: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("manifests")
            .join(kustomization);
        let path = path.display().to_string();
        let apply = ["apply", "-k", &path, "--server-side", "--validate=strict"];
        if let Err(errors) = self.kubectl(&apply) {
            panic!("apply -k {path}:\n{errors}");
        }
    }

    /// Resident bytes of each component.
    pub fn memory(&self) -> Vec<(String, u64)> {
        let all = [&self.etcd, &self.api].into_iter().chain(&self.controllers);
        all.map(|process| (process.name().to_owned(), process.resident_bytes()))
            .collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self
            .controllers
            .iter_mut()
            .chain([&mut self.api, &mut self.etcd])
        {
            process.kill();
        }
        if std::thread::panicking() {
            fs::remove_dir_all(self.images()).ok();
            eprintln!(
                "the control plane's logs are kept in {}",
                self.dir.display()
            );
        } else if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// Puts the calling thread, and what it starts from now on, on a network with nothing but the control plane's bridge.
pub fn enter_own_network() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("this test needs root: it makes a network namespace of its own");
    for arguments in [
        "link set lo up".to_owned(),
        "link add br0 type bridge".to_owned(),
        format!("addr add {ADDRESS}/24 dev br0"),
        format!("addr add {SERVICE_ADDRESS}/32 dev br0"),
        "link set br0 up".to_owned(),
    ] {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(
            status.expect("iproute2 is installed").success(),
            "ip {arguments}"
        );
    }
}

fn command(component_name: &str, flags: &str) -> Vec<String> {
    let mut command = component(component_name);
    command.extend(flags.split_whitespace().map(str::to_owned));
    command
}

fn etcd_command(dir: &Path) -> Vec<String> {
    let (client, peer) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    let data = dir.join("etcd");
    // No fsync: a test's etcd is never asked to survive a power cut of this machine.
    command(
        "etcd",
        &format!(
            "--data-dir {} --listen-client-urls {client} --advertise-client-urls {client} \
             --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} \
             --initial-cluster default={peer} --unsafe-no-fsync --log-level error",
            data.display()
        ),
    )
}

fn api_command(dir: &Path, pki: &Pki) -> Vec<String> {
    let file = |name: &str| pki.path(name).display().to_string();
    let flags = [
        "--etcd-servers http://127.0.0.1:2379 --secure-port 443 --bind-address 0.0.0.0".to_owned(),
        format!("--advertise-address {ADDRESS} --service-cluster-ip-range 10.0.0.0/24"),
        format!("--tls-cert-file {}", file("apiserver.crt")),
        format!("--tls-private-key-file {}", file("apiserver.key")),
        format!("--client-ca-file {}", file("ca.crt")),
        format!("--service-account-key-file {}", file("sa.key")),
        format!("--service-account-signing-key-file {}", file("sa.key")),
        "--service-account-issuer https://kubernetes.default.svc".to_owned(),
        "--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction".to_owned(),
        "--allow-privileged --kubelet-preferred-address-types InternalIP".to_owned(),
        format!("--kubelet-client-certificate {}", file("admin.crt")),
        format!("--kubelet-client-key {}", file("admin.key")),
        format!(
            "--audit-policy-file {}",
            dir.join("audit-policy.yaml").display()
        ),
        // Blocking: a call's line is written before its answer is sent. Without a size it is cut at 100 MiB.
        format!(
            "--audit-log-mode blocking --audit-log-maxsize 4096 --audit-log-path {}",
            dir.join("audit.log").display()
        ),
    ];
    command("kube-apiserver", &flags.join(" "))
}

fn controllers_command(pki: &Pki) -> Vec<String> {
    let kubeconfig = pki.path("kcm.kubeconfig").display().to_string();
    let (key, ca) = (pki.path("sa.key"), pki.path("ca.crt"));
    command(
        "kube-controller-manager",
        &format!(
            "--kubeconfig {kubeconfig} --authentication-kubeconfig {kubeconfig} \
             --authorization-kubeconfig {kubeconfig} --leader-elect=false \
             --bind-address 127.0.0.1 --use-service-account-credentials \
             --service-account-private-key-file {} --root-ca-file {}",
            key.display(),
            ca.display()
        ),
    )
}

fn scheduler_command(pki: &Pki) -> Vec<String> {
    let kubeconfig = pki.path("scheduler.kubeconfig").display().to_string();
    command(
        "kube-scheduler",
        &format!(
            "--kubeconfig {kubeconfig} --authentication-kubeconfig {kubeconfig} \
             --authorization-kubeconfig {kubeconfig} --leader-elect=false --bind-address 127.0.0.1"
        ),
    )
}
