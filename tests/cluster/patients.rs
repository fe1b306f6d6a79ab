//! Real agents on machines of paper: a fixture root each, on which one kernel setting can be made to drift.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::binaries::agent;
use crate::cable::Cable;
use crate::controlplane::ControlPlane;
use crate::fleet::Agent;
use crate::process::{Process, until};
use crate::wait::audit_so_far;

/// The setting that is well as declared and sick as small as this; both are small beside what makes a released signature speak.
const KEY: &str = "net.netfilter.nf_conntrack_max";
const SETTING: &str = "proc/sys/net/netfilter/nf_conntrack_max";
const DECLARED: &str = "262144";
const SMALL: &str = "2000";
const IN_USE: &str = "1000";
/// Free share of the table above which a node is well.
const ENOUGH: &str = "0.75";
/// How long a loaded machine may take over detection, slot, step and soak.
pub const MENDED_WITHIN: Duration = Duration::from_secs(240);

/// One node with its agent process.
pub struct Patient {
    /// The node and its token.
    pub agent: Agent,
    /// The process.
    pub process: Process,
    /// The cable to the server, if its agent is on a network of its own.
    pub cable: Option<Cable>,
    root: PathBuf,
    state: PathBuf,
}

impl Patient {
    /// Registers `node` with these annotations and starts its agent.
    pub fn admit(plane: &ControlPlane, node: &str, annotations: &Value) -> Self {
        let agent = Agent::join(plane, node);
        let kubeconfig = plane.pki().token_kubeconfig(&agent.token);
        Self::prepare(plane, agent, annotations, &kubeconfig).wake()
    }

    /// Everything but the start of the process, for an agent that reaches the server as `kubeconfig` says.
    pub fn prepare(
        plane: &ControlPlane,
        agent: Agent,
        annotations: &Value,
        kubeconfig: &str,
    ) -> Asleep {
        Self::prepare_in(plane.dir(), plane, agent, annotations, kubeconfig)
    }

    /// The same with host and state below `hosts`.
    pub fn prepare_in(
        hosts: &Path,
        plane: &ControlPlane,
        agent: Agent,
        annotations: &Value,
        kubeconfig: &str,
    ) -> Asleep {
        let notes = json!({ "metadata": { "annotations": annotations } });
        plane
            .admin()
            .merge(&agent.node_path(), &notes)
            .expect("annotate the node");
        let home = hosts.join(&agent.node);
        let asleep = Asleep {
            agent,
            home,
            logs: plane.dir().to_owned(),
            cable: None,
        };
        asleep.furnish(kubeconfig);
        asleep
    }

    /// Makes the setting drift.
    pub fn fall_sick(&self) {
        fs::write(self.root.join(SETTING), SMALL).expect("the fixture can be written");
    }

    /// Puts a file into the home of the agent: `root/` is its host.
    pub fn put(&self, file: &str, text: &str) {
        let home = self.root.parent().expect("the host lies in a home");
        fs::write(home.join(file), text).expect("the fixture can be written");
    }

    /// Whether the setting is as declared.
    pub fn is_well(&self) -> bool {
        fs::read_to_string(self.root.join(SETTING))
            .expect("the fixture can be read")
            .trim()
            == DECLARED
    }

    /// Whether the setting is as declared and a run that made it so is over.
    pub fn is_mended(&self) -> bool {
        self.is_well()
            && self
                .told("run-closed")
                .iter()
                .any(|record| record["outcome"] == "mended")
    }

    /// What the agent wrote down, oldest first.
    pub fn audit(&self) -> Vec<Value> {
        let folder = self.state.join("audit");
        if !folder.exists() {
            return Vec::new();
        }
        let text = audit_so_far(&folder).expect("the audit log can be read");
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

/// A node whose agent was not started yet.
pub struct Asleep {
    agent: Agent,
    home: PathBuf,
    logs: PathBuf,
    cable: Option<Cable>,
}

impl Asleep {
    fn furnish(&self, kubeconfig: &str) {
        let home = &self.home;
        for folder in [
            "root/proc/sys/kernel/random",
            "state",
            "run",
            "playbooks/sysctl-restore",
        ] {
            fs::create_dir_all(home.join(folder)).expect("a writable directory");
        }
        self.put(&format!("root/{SETTING}"), DECLARED);
        self.put("root/proc/sys/net/netfilter/nf_conntrack_count", IN_USE);
        self.put(
            "root/proc/sys/kernel/random/boot_id",
            "00000000-0000-4000-8000-000000000001\n",
        );
        self.put(
            "signatures/kernel-sysctl-drift.yaml",
            &impatient_signature(),
        );
        self.prescribe(&impatient_playbook());
        self.put("kubeconfig", kubeconfig);
    }

    /// Lets the agent mend by this playbook alone.
    pub fn prescribe(&self, playbook: &str) {
        let (home, digest) = (&self.home, digest(playbook));
        self.put("playbooks/sysctl-restore/1.0.1.yaml", playbook);
        let config = format!(
            "limits: {{ mode: auto, allow: restart }}\nsignatures: {{ dir: {} }}\nplaybooks: {{ dir: {} }}\n\
             trust: {{ digests: [{digest}] }}\nattempts: {{ cooldown: 5s }}\n",
            home.join("signatures").display(),
            home.join("playbooks").display()
        );
        self.put("config.yaml", &config);
    }

    /// Puts the agent on a network of its own at the end of this cable.
    pub fn connect(&mut self, cable: Cable) {
        self.cable = Some(cable);
    }

    /// Puts a file into the home of the agent: `root/` is its host, `signatures/` its rules.
    pub fn put(&self, file: &str, text: &str) {
        let path = self.home.join(file);
        fs::create_dir_all(path.parent().expect("a file below home")).expect("a directory");
        fs::write(path, text).expect("a writable directory");
    }

    /// Lets the host have this machine's `device`.
    pub fn link(&self, device: &str) {
        let path = self.home.join("root").join(device.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a file below root")).expect("a directory");
        std::os::unix::fs::symlink(device, path).expect("a writable directory");
    }

    /// Makes the setting drift, so that the agent finds it so.
    pub fn fall_sick(&self) {
        self.put(&format!("root/{SETTING}"), SMALL);
    }

    /// Starts the agent.
    pub fn wake(self) -> Patient {
        let mut argv = command(&self.home, &self.agent.node);
        if let Some(cable) = &self.cable {
            argv = cable.inside(&argv);
        }
        let name = format!("agent-{}", self.agent.node);
        Patient {
            process: Process::start(&name, argv, &self.logs),
            root: self.home.join("root"),
            state: self.home.join("state"),
            cable: self.cable,
            agent: self.agent,
        }
    }
}

/// How the agent of `node` is started.
fn command(home: &Path, node: &str) -> Vec<String> {
    let mut argv = vec![agent().display().to_string(), "agent".to_owned()];
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

/// The released signature's name for a setting whose effect another probe sees, four times a minute instead of once: a connection
/// table that is smaller than declared. Confirmed by the first check.
fn impatient_signature() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let released = root.join("remediations/signatures/kernel/kernel-sysctl-drift.yaml");
    let text = fs::read_to_string(released).expect("the released signature");
    let mut signature: Value = serde_saphyr::from_str(&text).expect("a signature is YAML");
    signature["when"] = json!(format!("signal(\"headroom.conntrack\") < {ENOUGH}"));
    signature["for"] = json!("1 check");
    signature["evidence"] = json!(["{{ signal(\"headroom.conntrack\") }} of the table is free"]);
    signature["cases"] =
        json!([{ "name": "small", "given": { "headroom.conntrack": [0.5] }, "expect": "present" }]);
    let keys = signature.as_object_mut().expect("a signature is a map");
    keys.remove("each").expect("the released one has subjects");
    signature.to_string()
}

/// The released playbook made disruptive, with a soak and a rest that a test can wait for.
fn impatient_playbook() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let released = root.join("remediations/playbooks/sysctl-restore/1.0.0.yaml");
    let text = fs::read_to_string(released).expect("the released playbook");
    let text = text
        .replace("version: 1.0.0", "version: 1.0.1")
        .replace("disruption: none", "disruption: restart")
        .replace("cooldown: 10m", "cooldown: 5s")
        .replace("soak: 5m", "soak: 5s")
        .replace("'{{subject}}'", KEY)
        .replace(
            "'{{ signal(\"kernel.sysctl.wanted\") }}'",
            &format!("'{DECLARED}'"),
        );
    for word in [
        "1.0.1",
        "soak: 5s",
        "disruption: restart",
        "cooldown: 5s",
        &format!("key: {KEY}, value: '{DECLARED}'"),
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    text
}

/// What a playbook waits for that a test decides on.
pub struct Gate {
    /// In the home of the agent.
    pub file: &'static str,
    /// It waits.
    pub closed: &'static str,
    /// It goes on.
    pub open: &'static str,
}

/// File handles in use, free ones, and most: a run goes on once most of them are free, which is seen within 15 s.
pub const WAITS: Gate = Gate {
    file: "root/proc/sys/fs/file-nr",
    closed: "500\t0\t1000\n",
    open: "100\t0\t1000\n",
};

/// The same playbook that does its step, waits at [`WAITS`], and does it again.
pub fn waiting_playbook() -> String {
    let playbook = impatient_playbook();
    let known = playbook.lines().find(|line| line.contains("write_sysctl"));
    let known = known
        .expect("the released playbook has one step")
        .to_owned();
    let gate = r#"signal("headroom.file_handles") > 0.7"#;
    let always = r#"signal("headroom.file_handles") >= 0.0"#;
    let wait = format!("  - wait_until: {{ condition: '{gate}', within: 10m, if: '{always}' }}");
    let again = known.replace(" }", &format!(", if: '{always}' }}"));
    playbook.replace(&known, &[known.as_str(), &wait, &again].join("\n"))
}

/// The identity of a playbook: SHA-256 over the canonical JSON of the document.
pub fn digest(playbook: &str) -> String {
    let document: Value = serde_saphyr::from_str(playbook).expect("a playbook is YAML");
    // Objects of serde_json are sorted by key, and there are no numbers but small ones.
    let digest = Sha256::digest(document.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
