//! Real agents on machines of paper: a fixture root each, on which one kernel setting can be made to drift.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::controlplane::ControlPlane;
use crate::fleet::Agent;
use crate::process::{Process, until};

const SETTING: &str = "proc/sys/net/ipv4/ip_forward";
/// How long a loaded machine may take over detection, slot, step and soak.
pub const MENDED_WITHIN: Duration = Duration::from_secs(240);

/// One node with its agent process.
pub struct Patient {
    /// The node and its token.
    pub agent: Agent,
    /// The process.
    pub process: Process,
    root: PathBuf,
    state: PathBuf,
}

impl Patient {
    /// Registers `node` with these annotations and starts its agent.
    pub fn admit(plane: &ControlPlane, node: &str, annotations: &Value) -> Self {
        let agent = Agent::join(plane, node);
        plane
            .admin()
            .merge(
                &agent.node_path(),
                &json!({ "metadata": { "annotations": annotations } }),
            )
            .expect("annotate the node");
        let home = plane.dir().join(node);
        let root = home.join("root");
        for folder in [
            "root/etc/sysctl.d",
            "root/proc/sys/net/ipv4",
            "root/proc/sys/kernel/random",
            "state",
            "run",
            "playbooks/sysctl-restore",
            "signatures",
        ] {
            fs::create_dir_all(home.join(folder)).expect("a writable directory");
        }
        let put = |path: &Path, text: &str| fs::write(path, text).expect("a writable directory");
        put(
            &root.join("etc/sysctl.d/50-forward.conf"),
            "net.ipv4.ip_forward = 1\n",
        );
        put(&root.join(SETTING), "1\n");
        put(
            &root.join("proc/sys/kernel/random/boot_id"),
            "00000000-0000-4000-8000-000000000001\n",
        );
        put(
            &home.join("signatures/kernel-sysctl-drift.yaml"),
            &impatient_signature(),
        );
        let (playbook, digest) = impatient_playbook();
        put(&home.join("playbooks/sysctl-restore/1.0.1.yaml"), &playbook);
        let config = format!(
            "limits: {{ mode: auto, allow: restart }}\nsignatures: {{ dir: {} }}\nplaybooks: {{ dir: {} }}\n\
             trust: {{ digests: [{digest}] }}\n",
            home.join("signatures").display(),
            home.join("playbooks").display()
        );
        put(&home.join("config.yaml"), &config);
        put(
            &home.join("kubeconfig"),
            &plane.pki().token_kubeconfig(&agent.token),
        );
        let process = Process::start(&format!("agent-{node}"), command(&home, node), plane.dir());
        Self {
            agent,
            process,
            root,
            state: home.join("state"),
        }
    }

    /// Makes the setting drift.
    pub fn fall_sick(&self) {
        fs::write(self.root.join(SETTING), "0\n").expect("the fixture can be written");
    }

    /// Whether the setting is as declared.
    pub fn is_well(&self) -> bool {
        fs::read_to_string(self.root.join(SETTING))
            .expect("the fixture can be read")
            .trim()
            == "1"
    }

    /// What the agent wrote down, oldest first.
    pub fn audit(&self) -> Vec<Value> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.state.join("audit"))
            .map(|folder| folder.map(|file| file.expect("an entry").path()).collect())
            .unwrap_or_default();
        files.sort();
        let text: String = files
            .iter()
            .map(|file| fs::read_to_string(file).expect("text"))
            .collect();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Records of one kind.
    pub fn told(&self, kind: &str) -> Vec<Value> {
        self.audit()
            .into_iter()
            .filter(|record| record["kind"] == kind)
            .collect()
    }

    /// Waits until the audit log has such a record; fails with the end of the agent's log.
    pub fn await_told(&mut self, kind: &str, within: Duration) -> Value {
        let what = format!("{} says {kind}", self.agent.node);
        until(&what, within, || {
            self.process.ensure_alive();
            !self.told(kind).is_empty()
        });
        self.told(kind).pop().expect("it was there")
    }
}

/// How the agent of `node` is started.
fn command(home: &Path, node: &str) -> Vec<String> {
    let mut argv = vec![
        env!("CARGO_BIN_EXE_nodemend").to_owned(),
        "agent".to_owned(),
    ];
    for (flag, path) in [
        ("--root", home.join("root")),
        ("--state-dir", home.join("state")),
        ("--run-dir", home.join("run")),
        ("--config", home.join("config.yaml")),
        ("--kubeconfig", home.join("kubeconfig")),
    ] {
        argv.push(flag.to_owned());
        argv.push(path.display().to_string());
    }
    for word in ["--node-name", node, "--listen", "127.0.0.1:0"] {
        argv.push(word.to_owned());
    }
    argv
}

/// The released signature, confirmed by the first check: its probe looks once a minute.
fn impatient_signature() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let released = root.join("remediations/signatures/kernel/kernel-sysctl-drift.yaml");
    let text = fs::read_to_string(released).expect("the released signature");
    let (head, cases) = text.split_once("\ncases:").expect("it has cases");
    assert!(head.contains("for: 2 checks") && !cases.is_empty());
    format!(
        "{}\ncases:\n  - name: differs\n    given: {{ kernel.sysctl.matches: {{ x: [no] }} }}\n    expect: present\n",
        head.replace("for: 2 checks", "for: 1 check")
    )
}

/// The released playbook with a soak that a test can wait for, and the digest by which the configuration trusts it.
fn impatient_playbook() -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let released = root.join("remediations/playbooks/sysctl-restore/1.0.0.yaml");
    let text = fs::read_to_string(released).expect("the released playbook");
    let text = text
        .replace("version: 1.0.0", "version: 1.0.1")
        .replace("soak: 5m", "soak: 5s");
    assert!(text.contains("1.0.1") && text.contains("5s"), "{text}");
    let document: Value = serde_saphyr::from_str(&text).expect("a playbook is YAML");
    let digest = Sha256::digest(document.to_string());
    (
        text,
        digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    )
}
