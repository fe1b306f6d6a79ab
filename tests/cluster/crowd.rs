//! Many real agents at once: each a process with its own Node, token, state and host tree, all of
//! them sick in a way that costs nothing to mend.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::binaries::agent;
use crate::controlplane::ControlPlane;
use crate::fleet::Agent;
use crate::process::{Process, until};

/// The agents of a test.
pub struct Crowd {
    /// In the order of their numbers.
    pub members: Vec<Member>,
}

/// One agent.
pub struct Member {
    /// Its Node and token.
    pub agent: Agent,
    /// Its process, to kill, pause or restart.
    pub process: Process,
    home: PathBuf,
}

impl Crowd {
    /// Starts `count` agents whose hosts' `net.ipv4.ip_forward` is not what they declare.
    pub fn start(plane: &ControlPlane, count: usize) -> Self {
        let rules = plane.dir().join("rules");
        let digest = write_rules(&rules);
        let member = |number| Member::start(plane, number, &rules, &digest);
        Self {
            members: (0..count).map(member).collect(),
        }
    }

    /// Waits until every host is as it declares and every run is over.
    pub fn await_mended(&mut self, limit: Duration) -> Duration {
        let members = &mut self.members;
        until("every host is mended", limit, || {
            members
                .iter_mut()
                .for_each(|member| member.process.ensure_alive());
            members.iter().all(Member::is_mended)
        })
    }
}

impl Member {
    fn start(plane: &ControlPlane, number: usize, rules: &Path, digest: &str) -> Self {
        let node = format!("n-{number}");
        let agent = Agent::join(plane, &node);
        let home = plane.dir().join(&node);
        let file = |name: &str, text: &str| {
            let path = home.join(name);
            fs::create_dir_all(path.parent().expect("a file below home")).expect("a directory");
            fs::write(&path, text).expect("a writable directory");
            path.display().to_string()
        };
        file("root/etc/sysctl.d/99-lab.conf", "net.ipv4.ip_forward = 1\n");
        file("root/proc/sys/net/ipv4/ip_forward", "0\n");
        let config = file("config.yaml", &configuration(rules, digest));
        let kubeconfig = file("kubeconfig", &plane.pki().token_kubeconfig(&agent.token));
        let argv = command(&home, &node, number, &config, &kubeconfig);
        let process = Process::start(&node, argv, plane.dir());
        Self {
            agent,
            process,
            home,
        }
    }

    /// Whether its host is mended and its run is over.
    pub fn is_mended(&self) -> bool {
        let setting = fs::read_to_string(self.home.join("root/proc/sys/net/ipv4/ip_forward"));
        setting.is_ok_and(|value| value.trim() == "1")
            && self
                .audit()
                .iter()
                .any(|record| record["kind"] == "run-closed" && record["outcome"] == "mended")
    }

    /// What it wrote down, oldest first; a record that is being written is left out.
    pub fn audit(&self) -> Vec<Value> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.home.join("state/audit"))
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("a readable directory").path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "jsonl")
            })
            .collect();
        files.sort();
        let texts = files
            .iter()
            .map(|path| fs::read_to_string(path).expect("a readable log"));
        let text: String = texts.collect();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn command(home: &Path, node: &str, number: usize, config: &str, kubeconfig: &str) -> Vec<String> {
    let at = |name: &str| home.join(name).display().to_string();
    // An address of its own on loopback each: ports are few, 127.0.0.0/8 is not.
    let listen = format!("127.1.{}.{}:9797", number / 250, number % 250 + 1);
    let mut argv = vec![
        "env".to_owned(),
        format!("KUBECONFIG={kubeconfig}"),
        agent().display().to_string(),
        "agent".to_owned(),
    ];
    argv.push("--standalone".to_owned());
    for (flag, value) in [
        ("--node-name", node.to_owned()),
        ("--listen", listen),
        ("--config", config.to_owned()),
        ("--root", at("root")),
        ("--state-dir", at("state")),
        ("--run-dir", at("run")),
    ] {
        argv.extend([flag.to_owned(), value]);
    }
    argv
}

fn configuration(rules: &Path, digest: &str) -> String {
    let node = "node: { mode: auto, allow: restart }\n";
    let rules = rules.display();
    format!(
        "limits: {{ mode: auto, allow: restart }}\n{node}signatures: {{ dir: {rules}/signatures }}\n\
         playbooks: {{ dir: {rules}/playbooks }}\ntrust: {{ digests: [{digest}] }}\n"
    )
}

/// The released rule and playbook for a drifted kernel setting, made impatient and made to need a
/// slot; the digest by which the configuration trusts the playbook.
fn write_rules(rules: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("remediations");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("a released file");
    let signature = read("signatures/kernel/kernel-sysctl-drift.yaml")
        .replace("id: kernel-sysctl-drift", "id: lab-drift")
        .replace("for: 2 checks", "for: 1 check")
        .replace("mend: sysctl-restore", "mend: lab-restore");
    let playbook = read("playbooks/sysctl-restore/1.0.0.yaml")
        .replace("id: sysctl-restore", "id: lab-restore")
        .replace("kernel-sysctl-drift", "lab-drift")
        .replace("disruption: none", "disruption: restart")
        .replace("soak: 5m", "soak: 5s");
    assert!(
        signature.contains("1 check\n") && signature.contains("lab-restore"),
        "{signature}"
    );
    assert!(
        playbook.contains("restart") && playbook.contains("soak: 5s"),
        "{playbook}"
    );
    for (file, text) in [
        ("signatures/lab-drift.yaml", &signature),
        ("playbooks/lab.yaml", &playbook),
    ] {
        let path = rules.join(file);
        fs::create_dir_all(path.parent().expect("a file below rules")).expect("a directory");
        fs::write(path, text).expect("a writable directory");
    }
    digest(&playbook)
}

/// The identity of a playbook: SHA-256 over the canonical JSON of the document.
pub fn digest(playbook: &str) -> String {
    let document: Value = serde_saphyr::from_str(playbook).expect("a playbook is YAML");
    // Objects of serde_json are sorted by key, and there are no numbers but small ones.
    let digest = Sha256::digest(document.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The crowd itself, before anybody shares anything: what it suffers from can be mended.
#[test]
fn every_agent_of_a_crowd_mends_its_own_host() {
    // Outside the network of the test, where crates can still be fetched.
    agent();
    let plane = ControlPlane::start("crowd");
    plane.apply("overlays/standard");
    let mut crowd = Crowd::start(&plane, 20);
    let took = crowd.await_mended(Duration::from_secs(120));
    let memory: u64 = crowd
        .members
        .iter()
        .map(|member| member.process.resident_bytes())
        .sum();
    eprintln!(
        "20 agents mended {took:?} after the last one's start; {} MiB each",
        (memory / 20) >> 20
    );
    for member in &crowd.members {
        let opened = member
            .audit()
            .into_iter()
            .filter(|record| record["kind"] == "run-opened");
        assert_eq!(
            opened.count(),
            1,
            "{} needed more than one run",
            member.agent.node
        );
    }
}
