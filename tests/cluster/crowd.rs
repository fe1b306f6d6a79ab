//! Many real agents at once, all of them sick: each a process with its own Node, token, state and host tree, in two zones and two
//! pools, each reaching the server by a way of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Caller;
use crate::audit::{Call, micros};
use crate::cable::{Cable, Loss};
use crate::controlplane::ControlPlane;
use crate::fairness::{self, Scenery};
use crate::fleet::{Agent, CONFIG_MAPS, LEASES};
use crate::history;
use crate::node::sweep;
use crate::patients::{MENDED_WITHIN, Patient};
use crate::process::until;
use crate::relay::{Relay, Way};
use crate::rights::{granted, used};
use crate::troubles::Troubles;
use crate::wait::{eventually, so};
use crate::{invariants, steps};

/// The agents of a test.
pub struct Crowd {
    /// The control plane.
    pub plane: ControlPlane,
    /// In the order of their numbers.
    pub members: Vec<Member>,
    /// The ways of the agents to the server.
    pub relay: Relay,
    /// A person with all rights.
    pub admin: Caller,
    /// What the test did to the agents and the server.
    pub scenery: Scenery,
    /// Hosts and states, in memory: hundreds of agents that wait for one disk find it hanging, and rightly stop.
    hosts: TempDir,
}

/// One agent.
pub struct Member {
    /// Its host and process.
    pub patient: Patient,
    /// Whether it is known to be well: then its files are not read again.
    pub is_well: bool,
    /// Whether its Node was removed.
    pub is_removed: bool,
}

/// How many agents are started before one of them has looked at its host.
const AT_ONCE: usize = 10;
/// Of so many agents one is on a network of its own, and its way to the server is a cable. (Prime to the number of zones and
/// pools, so that they are in all of them.)
const CABLED: usize = 5;

/// The caps of a crowd: 3 at once, at most 2 of them in one zone or pool.
pub fn caps() -> Value {
    json!({ "cluster": "3", "zone-a": "2", "zone-b": "2", "pool-x": "2", "pool-y": "2",
        "storm-nodes": "999", "storm-nodes-any": "999" })
}

/// The present moment as the audit logs write it.
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 294,000")
}

impl Crowd {
    /// Starts `count` agents whose hosts differ from what they declare, under the manifests as they are shipped.
    pub fn start(name: &str, count: usize) -> Self {
        // Outside the network of the test, where crates can still be fetched.
        crate::binaries::agent();
        let plane = ControlPlane::start_without_kubelets(name);
        plane.apply("overlays/standard");
        let relay = Relay::start(&format!("{}:443", crate::controlplane::ADDRESS));
        let admin = plane.admin();
        let mut crowd = Self {
            plane,
            members: Vec::new(),
            relay,
            admin,
            scenery: Scenery::default(),
            hosts: sweep::folder(Path::new(sweep::MEMORY)).expect("a file system in memory"),
        };
        crowd.set_limits(&caps());
        let asleep: Vec<_> = (0..count).map(|number| crowd.invite(number)).collect();
        crowd.run_pods(count);
        for (number, one) in asleep.into_iter().enumerate() {
            let patient = one.wake();
            // All are sick from the first moment on. Started all at once, hundreds of agents get so little of two cores that
            // their own audit logs seem to hang, and rightly they stop.
            if number % AT_ONCE == AT_ONCE - 1 {
                until(
                    "the agent sees that its host is sick",
                    MENDED_WITHIN,
                    || !patient.told("case-opened").is_empty(),
                );
            }
            crowd.members.push(Member {
                patient,
                is_well: false,
                is_removed: false,
            });
        }
        crowd
    }

    fn invite(&mut self, number: usize) -> crate::patients::Asleep {
        let node = format!("n-{number}");
        let zone = if number.is_multiple_of(2) { "a" } else { "b" };
        let pool = if number % 4 < 2 { "x" } else { "y" };
        let labels = json!({ "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": zone,
            "nodemend.io/pool": pool });
        let domains = vec![format!("zone-{zone}"), format!("pool-{pool}")];
        self.scenery.domains.insert(node.clone(), domains);
        let agent = Agent::join_labelled(&self.plane, &node, &labels);
        let cable = number
            .is_multiple_of(CABLED)
            .then(|| Cable::lay(number, self.plane.dir()));
        let pki = self.plane.pki();
        let kubeconfig = match cable {
            Some(_) => pki.token_kubeconfig(&agent.token),
            None => pki.relayed_kubeconfig(&agent.token, &Relay::url(number)),
        };
        let notes = json!({ "nodemend.io/mode": "auto", "nodemend.io/allow": "restart" });
        let mut asleep =
            Patient::prepare_in(self.hosts.path(), &self.plane, agent, &notes, &kubeconfig);
        asleep.fall_sick();
        if let Some(cable) = cable {
            asleep.connect(cable);
        }
        asleep
    }

    /// Nothing gets from this agent to the server or back; in words how that was done.
    pub fn cut_off(&self, number: usize) -> &'static str {
        match &self.members[number].patient.cable {
            Some(cable) => {
                cable.lose(Loss::Both);
                "cable pulled"
            }
            None => {
                self.relay.set(number, Way::Cut);
                "cut off"
            }
        }
    }

    /// This agent's way to the server is slow by `delay`, or, where it is a cable, carries one way only; in words which.
    pub fn hamper(&self, number: usize, delay: Duration) -> &'static str {
        match &self.members[number].patient.cable {
            Some(cable) if number.is_multiple_of(2) => {
                cable.lose(Loss::Answers);
                "deaf"
            }
            Some(cable) => {
                cable.lose(Loss::Calls);
                "mute"
            }
            None => {
                self.relay.set(number, Way::Slow(delay));
                "slowed down"
            }
        }
    }

    /// This agent's way to the server is as it was at first.
    pub fn reconnect(&self, number: usize) {
        match &self.members[number].patient.cable {
            Some(cable) => cable.mend(),
            None => self.relay.set(number, Way::Open),
        }
    }

    /// Reports the pods of the DaemonSet as running, as the kubelets of these nodes would: agents that are away are a reason to
    /// stop.
    fn run_pods(&self, count: usize) {
        let pods = "/api/v1/namespaces/nodemend/pods";
        let mut running = BTreeSet::new();
        until("every node has its pod", Duration::from_secs(120), || {
            let list = self.admin.get(pods).expect("list the pods");
            let owned = |pod: &&Value| pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet";
            for pod in list["items"].as_array().into_iter().flatten().filter(owned) {
                let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
                if running.contains(&name) {
                    continue;
                }
                let ready = json!({ "type": "Ready", "status": "True" });
                let status = json!({ "status": { "phase": "Running", "conditions": [ready] } });
                let path = format!("{pods}/{name}/status");
                self.admin.patch(&path, &status).expect("report the pod");
                running.insert(name);
            }
            running.len() == count
        });
        let set = "/apis/apps/v1/namespaces/nodemend/daemonsets/nodemend";
        until("every agent is available", Duration::from_secs(60), || {
            self.admin.get(set).body["status"]["numberAvailable"] == json!(count)
        });
    }

    /// The limits as people set them.
    pub fn set_limits(&self, data: &Value) {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "limits", "namespace": "nodemend" }, "data": data });
        let path = format!("{CONFIG_MAPS}/limits");
        self.admin.replace(&path, &object).expect("set the limits");
    }

    /// How many nodes are neither well nor removed, by a look at those that were not well before.
    pub fn count_sick(&mut self) -> usize {
        for member in &mut self.members {
            member.is_well = member.is_well || member.patient.is_mended();
        }
        let sick = |member: &&Member| !member.is_well && !member.is_removed;
        self.members.iter().filter(sick).count()
    }

    /// The number of the agent on this node.
    pub fn number_of(&self, node: &str) -> Option<usize> {
        let is_it = |member: &Member| member.patient.agent.node == node;
        self.members.iter().position(is_it)
    }

    /// The nodes that hold a slot of the cluster now.
    pub fn holders(&self) -> Vec<String> {
        let list = self.admin.get(LEASES);
        let items = list.body["items"].as_array().cloned().unwrap_or_default();
        let slot = |item: &&Value| {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            name.starts_with("slot.cluster.")
        };
        let holder = |item: &Value| item["spec"]["holderIdentity"].as_str().map(str::to_owned);
        items.iter().filter(slot).filter_map(holder).collect()
    }

    /// The breakers that stand.
    pub fn breakers(&self) -> Vec<Value> {
        let list = self.admin.get(CONFIG_MAPS);
        let items = list.body["items"].as_array().cloned().unwrap_or_default();
        let is_breaker = |item: &Value| {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            name.starts_with("breaker-")
        };
        items.into_iter().filter(is_breaker).collect()
    }

    /// Nodes that are neither mended nor say that they wait and why.
    pub fn without_a_reason(&mut self) -> Vec<String> {
        self.count_sick();
        let sick = |member: &&Member| !member.is_well && !member.is_removed;
        let silent = |member: &Member| {
            let node = self.admin.get(&member.patient.agent.node_path());
            let notes = &node.body["metadata"]["annotations"];
            let state = notes["nodemend.io/state"].as_str().unwrap_or_default();
            let blocked = notes["nodemend.io/blocked"].as_str().unwrap_or_default();
            let is_said = state == "mending"
                || (matches!(state, "waiting" | "needs-human") && !blocked.is_empty());
            (!is_said).then(|| format!("{}: «{state}» «{blocked}»", member.patient.agent.node))
        };
        self.members
            .iter()
            .filter(sick)
            .filter_map(silent)
            .collect()
    }

    /// Every breach of an invariant that the server's and the agents' own logs show.
    pub fn breaches(&self, calls: &[Call]) -> Vec<String> {
        let mut found = history::breaches(calls);
        // The caps change in time, which `history` knows; here only who did what to whose objects.
        let open = BTreeMap::from([("cluster", 999), ("zone-a", 999), ("zone-b", 999)]);
        let open = open
            .into_iter()
            .chain([("pool-x", 999), ("pool-y", 999)])
            .collect();
        found.extend(invariants::breaches(calls, &open));
        let mut steps_seen = 0;
        for member in &self.members {
            let records = member.patient.audit();
            steps_seen += records
                .iter()
                .filter(|record| record["kind"] == "step-began")
                .count();
            found.extend(steps::breaches(&member.patient.agent.node, &records, calls));
        }
        let mended = self.members.iter().filter(|member| member.is_well).count();
        assert!(
            steps_seen >= mended,
            "{steps_seen} steps mended {mended} nodes"
        );
        found
    }

    /// When each run's effect may have been felt: from its first step to its end.
    fn disruptions(&self) -> Vec<(i64, i64)> {
        let mut spans = Vec::new();
        for member in &self.members {
            let mut open: Option<(String, i64)> = None;
            let records = member.patient.audit();
            for (at, record) in records.iter().enumerate() {
                let run = record["run"].as_str().unwrap_or_default().to_owned();
                match record["kind"].as_str() {
                    Some("step-began")
                        if open.as_ref().is_none_or(|(of, _)| *of != run)
                            && !steps::is_withheld(&records, at) =>
                    {
                        open = Some((run, micros(&record["time"])));
                    }
                    Some("run-closed") => {
                        if let Some((_, from)) = open.take_if(|(of, _)| *of == run) {
                            spans.push((from, micros(&record["time"])));
                        }
                    }
                    _ => {}
                }
            }
            spans.extend(open.map(|(_, from)| (from, i64::MAX)));
        }
        spans
    }

    /// From the first case to the end of the run that mended, in seconds, shortest first.
    fn times_to_heal(&self) -> Vec<f64> {
        let mut times: Vec<f64> = self
            .members
            .iter()
            .filter_map(|member| {
                let records = member.patient.audit();
                let time = |kind: &str| {
                    let is_it = |record: &&Value| record["kind"] == kind;
                    let is_mended =
                        |record: &&Value| kind == "case-opened" || record["outcome"] == "mended";
                    let record = records.iter().find(|one| is_it(one) && is_mended(one));
                    record.map(|record| micros(&record["time"]))
                };
                Some((time("run-closed")? - time("case-opened")?) as f64 / 1e6)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Judges the whole run and prints its figures; fails on any breach.
    pub fn judge(&self) {
        let calls = self.plane.audit().calls();
        let requests = self.plane.audit().requests();
        let found = self.breaches(&calls);
        let most_held = history::most_held(&calls, "cluster");
        let most_disrupted = history::most_at_once(&self.disruptions());
        let mut unused: Vec<f64> = fairness::unused(&calls, &self.scenery)
            .into_iter()
            .map(|micros| micros as f64 / 1e6)
            .collect();
        unused.sort_by(f64::total_cmp);
        let heal = self.times_to_heal();
        let minutes = history::by_minute(&requests);
        eprintln!(
            "{} agents, {} healed; at once: {most_held} slots held, {most_disrupted} nodes disrupted (cap 3)\n\
             time to heal p50 {:.0} s, p99 {:.0} s; a free slot unused p50 {:.1} s, p99 {:.1} s, most {:.1} s\n\
             requests per minute of all agents: {minutes:?}",
            self.members.len(),
            heal.len(),
            share(&heal, 0.50),
            share(&heal, 0.99),
            share(&unused, 0.50),
            share(&unused, 0.99),
            share(&unused, 1.0),
        );
        assert_eq!(found, Vec::<String>::new());
        assert!(most_held <= 3 && most_disrupted <= 3);
        assert!(
            most_disrupted > 0 && heal.len() > self.members.len() / 2,
            "something happened"
        );
        let longest = share(&unused, 1.0);
        assert!(
            longest <= 300.0,
            "I19: a slot stayed unused for {longest} s"
        );
        let (_, refused) = used(&requests);
        assert_eq!(refused, Vec::<String>::new(), "RBAC refused an agent");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let copied = Command::new("cp")
                .arg("-r")
                .args([self.hosts.path(), self.plane.dir()])
                .status();
            eprintln!("hosts and states of the agents beside the logs: {copied:?}");
        }
    }
}

/// The value below which this share of the sorted `values` lies; 0 without any.
pub fn share(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    let at = (last as f64 * share).ceil() as usize;
    values.get(at).copied().unwrap_or(0.0)
}

/// How many agents: fewer than the 200 of the full proof, unless the caller has the time for it.
fn size(short: usize) -> usize {
    std::env::var("NODEMEND_CROWD").map_or(short, |text| {
        text.parse().expect("NODEMEND_CROWD is a number of agents")
    })
}

/// With 3 at once, a handful of seconds for each and a busy machine; and 5 minutes in which nothing needs to happen.
fn limit(agents: usize) -> Duration {
    Duration::from_secs(300 + 15 * agents as u64)
}

#[test]
fn a_crowd_that_is_sick_at_once_is_mended_three_at_a_time() {
    let mut crowd = Crowd::start("crowd", size(24));
    let started = Instant::now();
    until("every node is well", limit(crowd.members.len()), || {
        for member in &mut crowd.members {
            member.patient.process.ensure_alive();
        }
        crowd.count_sick() == 0
    });
    eprintln!(
        "all well {:?} after the last agent's start",
        started.elapsed()
    );
    until(
        "every slot and claim is freed",
        Duration::from_secs(60),
        || crowd.admin.get(LEASES).body["items"] == json!([]),
    );
    crowd.judge();
}

#[test]
fn a_crowd_keeps_every_invariant_whatever_is_killed_paused_cut_off_or_slow() {
    let seed = std::env::var("NODEMEND_SEED").map_or_else(
        |_| now().unsigned_abs(),
        |text| text.parse().expect("NODEMEND_SEED is a number"),
    );
    eprintln!("NODEMEND_SEED={seed} draws the same troubles again");
    let mut crowd = Crowd::start("troubled", size(26));
    let mut troubles = Troubles::draw(seed, crowd.members.len());
    let limit = 2 * limit(crowd.members.len());
    let began = Instant::now();
    let ended = eventually("the troubles are over", limit, || {
        let sick = troubles.go_on(&mut crowd);
        so(troubles.are_over() && sick == 0, || format!("{sick} sick"))
    });
    if let Err(late) = ended {
        let silent = crowd.without_a_reason();
        panic!("{late:#}, NODEMEND_SEED={seed}: {troubles}\nwithout a reason: {silent:?}");
    }
    until("who fell sick again is well again", limit, || {
        let mut present = crowd.members.iter().filter(|member| !member.is_removed);
        present.all(|member| member.patient.is_well())
    });
    until(
        "every slot and claim is freed",
        Duration::from_secs(120),
        || crowd.admin.get(LEASES).body["items"] == json!([]),
    );
    eprintln!("{troubles}; all well after {:?}", began.elapsed());
    crowd.judge();
    // A storm, breakers, uncertain answers, series of events: nothing of what is granted is left to be used.
    let (rights, _) = used(&crowd.plane.audit().requests());
    assert_eq!(
        rights,
        granted(),
        "what was used and what manifests/base/rbac.yaml grants"
    );
}
