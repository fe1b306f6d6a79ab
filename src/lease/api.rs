//! Slots as Lease objects that the API server bounds: created and never taken over, owned by the own Node, renewed by PUT
//! with the version last seen, freed with uid and version (safety.md, section 2).
//!
//! Nothing is repeated here: the slot machine decides what an uncertain answer means.

use super::domains::{self, Claim, KIND_LABEL, Limits, SIGNATURE_LABEL, Turn};
use super::error::LeaseError;
use super::exchange::{Answer, Found, HOLD, Refusal, Request, Want};
use super::keeper::{SlotStore, Tag};
use super::name::SlotName;
use super::objects::{SlotLease, micro_time, no, number_of, unproved, written};
use crate::host::cluster::{ApiError, Call, Cluster, Fields, NodeView, Resource, Verb};
use crate::host::{BoxFuture, clock};
use crate::policy::{Cleared, RunId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many objects one page of a list holds.
const PAGE: &str = "500";
/// How many pages are read: 10,000 claims. More means that nobody should start anything.
const MAX_PAGES: usize = 20;
/// The DaemonSet of the agents: how many nodes should have one.
const DAEMON_SET: &str = "nodemend";

/// Who hears of slots beside the run, and what the slot carries for it.
pub trait SlotWitness: Send + Sync {
    /// A write that takes or renews a slot was `written`, `refused` or `failed`.
    fn wrote(&self, outcome: &'static str);

    /// A slot of this domain is held now, or not any more.
    fn holds(&self, domain: &str, held: bool);

    /// The head of the audit log as `SEQ:HASH`, to be anchored in the slot (safety.md, T14).
    fn audit_head(&self) -> String;
}

/// Slots of one node in the API server.
pub struct ApiSlots {
    cluster: Arc<dyn Cluster>,
    namespace: String,
    node: String,
    witness: Arc<dyn SlotWitness>,
    scene: Mutex<Scene>,
}

/// What this attempt has read so far.
#[derive(Default)]
struct Scene {
    owner: Option<Owner>,
    signature: String,
    limits: Limits,
    wants: Vec<Want>,
    taken: BTreeSet<SlotName>,
    /// The runs in this node's slots, and whether they took them over from one before.
    own: Vec<(String, bool)>,
    inherited: bool,
}

#[derive(Clone)]
struct Owner {
    uid: String,
    domains: Vec<Arc<str>>,
}

impl ApiSlots {
    /// The slots of `node`, in `namespace`. Nothing can be had before [`ApiSlots::meet`].
    pub fn new(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        node: &str,
        witness: Arc<dyn SlotWitness>,
    ) -> Self {
        Self {
            cluster,
            namespace: namespace.to_owned(),
            node: node.to_owned(),
            witness,
            scene: Mutex::new(Scene::default()),
        }
    }

    /// Takes uid and domains from the own Node as it was just read.
    pub fn meet(&self, view: &NodeView) {
        self.scene().owner = Some(Owner {
            uid: view.uid.clone(),
            domains: domains::domains_of(&view.labels),
        });
    }

    /// The limits and breakers, read now.
    ///
    /// # Errors
    /// They could not be read or not understood.
    pub async fn limits(&self) -> Result<Limits, LeaseError> {
        let items = self
            .list(self.call(Verb::List, Resource::ConfigMaps, ""))
            .await;
        let limits = Limits::read(&items.map_err(unproved)?).map_err(unproved)?;
        for trouble in &limits.trouble {
            tracing::warn!(%trouble, "a limit is not understood");
        }
        Ok(limits)
    }

    /// Takes the claim back: the node waits no longer.
    ///
    /// # Errors
    /// The server refused or did not answer; the next claim of this node finds the old one.
    pub async fn withdraw(&self) -> Result<(), ApiError> {
        let call = self.call(Verb::Delete, Resource::Leases, &self.node);
        match self.cluster.call(call).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self) -> Result<Owner, LeaseError> {
        self.scene()
            .owner
            .clone()
            .ok_or_else(|| LeaseError::Unproved {
                why: format!("Node {} was not read yet", self.node),
            })
    }

    fn call(&self, verb: Verb, resource: Resource, name: &str) -> Call {
        Call::new(verb, resource, &self.namespace, name)
    }

    /// All objects of a list, page by page.
    async fn list(&self, call: Call) -> Result<Vec<Value>, ApiError> {
        let mut all = Vec::new();
        let mut next = call.clone().with("limit", PAGE);
        for _ in 0..MAX_PAGES {
            let mut page = self.cluster.call(next).await?;
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                return Err(ApiError::Garbled {
                    what: call.what(),
                    why: "items is missing or no list".to_owned(),
                });
            };
            all.extend(items);
            let rest = page.pointer("/metadata/continue").and_then(Value::as_str);
            match rest {
                None | Some("") => return Ok(all),
                Some(rest) => next = call.clone().with("limit", PAGE).with("continue", rest),
            }
        }
        Err(ApiError::Garbled {
            what: call.what(),
            why: format!("more than {} objects", all.len()),
        })
    }

    async fn read_wants(&self, cleared: &Cleared) -> Result<Vec<Want>, LeaseError> {
        let owner = self.owner()?;
        let limits = self.limits().await?;
        if let Some(breaker) = &limits.breaker {
            return Err(LeaseError::Refused(Refusal::NotYourTurn(breaker.clone())));
        }
        let wants: Vec<Want> = owner
            .domains
            .iter()
            .map(|domain| {
                let cap = limits.cap(domain);
                Want {
                    domain: Arc::clone(domain),
                    cap,
                    first: number_of(&self.node).checked_rem(cap).unwrap_or(0),
                }
            })
            .collect();
        // Without any slot ever there is nothing to queue for.
        if let Some(none) = wants.iter().find(|want| want.cap == 0) {
            return Err(LeaseError::Refused(Refusal::Full {
                domain: Arc::clone(&none.domain),
                cap: 0,
            }));
        }
        let mut scene = self.scene();
        scene.signature = cleared.proposal().signature.to_string();
        scene.limits = limits;
        scene.wants = wants.clone();
        Ok(wants)
    }

    async fn read_own(&self, run: Option<RunId>) -> Result<Vec<Found>, LeaseError> {
        let owner = self.owner()?;
        let call = self
            .call(Verb::List, Resource::Leases, "")
            .with("labelSelector", format!("{KIND_LABEL}=slot"));
        let items = self.list(call).await.map_err(unproved)?;
        let mut taken = BTreeSet::new();
        let (mut own, mut runs) = (Vec::new(), Vec::new());
        for item in &items {
            let slot = SlotLease::read(item).map_err(unproved)?;
            if slot.holder == self.node && slot.owner == owner.uid {
                runs.push((slot.run.clone(), slot.inherited));
                if run.is_none_or(|run| slot.run == run.to_string()) {
                    own.push(slot.found());
                }
            }
            taken.insert(slot.name);
        }
        let mut scene = self.scene();
        scene.taken = taken;
        scene.own = runs;
        Ok(own)
    }

    /// The object that says that this node holds `name`.
    fn lease(&self, name: &str, labels: Value, tag: &Tag, uid: &str) -> Value {
        let now = micro_time(clock::now().wall.0);
        let inherited = self.scene().inherited.to_string();
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": name, "namespace": self.namespace, "labels": labels,
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid }],
                "annotations": {
                    "nodemend.io/run": tag.run.to_string(), "nodemend.io/digest": *tag.digest,
                    "nodemend.io/phase": "mending", "nodemend.io/inherited": inherited, "nodemend.io/audit-head": self.witness.audit_head(),
                },
            },
            "spec": { "holderIdentity": self.node, "leaseDurationSeconds": HOLD.as_secs(), "renewTime": now },
        })
    }

    async fn create(&self, name: &str, labels: Value, tag: &Tag) -> Result<Answer, LeaseError> {
        let owner = self.owner()?;
        let lease = self.lease(name, labels, tag, &owner.uid);
        let call = self.call(Verb::Create, Resource::Leases, "").sending(lease);
        Ok(match self.cluster.call(call).await {
            Ok(object) => written(&object),
            Err(error) if error.reason() == "AlreadyExists" => Answer::Taken,
            Err(error) if error.is_final() => Answer::Denied(error.to_string()),
            Err(error) => Answer::Silent(error.to_string()),
        })
    }

    async fn create_slot(&self, name: &SlotName, tag: &Tag) -> Result<Answer, LeaseError> {
        let labels = json!({ KIND_LABEL: "slot" });
        let answer = self.create(&name.to_string(), labels, tag).await?;
        self.note(name, &answer);
        Ok(answer)
    }

    async fn renew(&self, held: &Found, tag: &Tag) -> Result<Answer, LeaseError> {
        let owner = self.owner()?;
        let labels = json!({ KIND_LABEL: "slot" });
        let mut lease = self.lease(&held.name.to_string(), labels, tag, &owner.uid);
        if let Some(meta) = lease
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
        {
            // Both are conditions: a PUT without them would overwrite, or create anew.
            meta.insert("uid".to_owned(), json!(*held.uid));
            meta.insert("resourceVersion".to_owned(), json!(*held.version));
        }
        let call = self
            .call(Verb::Update, Resource::Leases, &held.name.to_string())
            .sending(lease);
        let answer = match self.cluster.call(call).await {
            Ok(object) => written(&object),
            Err(error) => no(&error),
        };
        self.note(&held.name, &answer);
        Ok(answer)
    }

    fn note(&self, name: &SlotName, answer: &Answer) {
        match answer {
            Answer::Written { .. } => {
                self.witness.wrote("written");
                self.witness.holds(name.domain(), true);
            }
            Answer::Silent(_) => self.witness.wrote("failed"),
            Answer::Gone => {
                self.witness.wrote("refused");
                self.witness.holds(name.domain(), false);
            }
            _ => self.witness.wrote("refused"),
        }
    }

    async fn read(&self, name: &SlotName) -> Result<Answer, LeaseError> {
        let owner = self.owner()?;
        let call = self.call(Verb::Get, Resource::Leases, &name.to_string());
        let object = match self.cluster.call(call).await {
            Ok(object) => object,
            Err(error) => return Ok(no(&error)),
        };
        let slot = SlotLease::read(&object).map_err(unproved)?;
        let is_ours = slot.holder == self.node && slot.owner == owner.uid && slot.name == *name;
        Ok(if is_ours {
            Answer::Ours(slot.found())
        } else {
            Answer::Gone
        })
    }

    async fn delete(&self, held: &Found) -> Answer {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": { "uid": *held.uid, "resourceVersion": *held.version },
        });
        let call = self
            .call(Verb::Delete, Resource::Leases, &held.name.to_string())
            .sending(options);
        let answer = match self.cluster.call(call).await {
            Ok(_) => Answer::Deleted,
            Err(error) => no(&error),
        };
        if matches!(answer, Answer::Deleted | Answer::Gone) {
            self.witness.holds(held.name.domain(), false);
        }
        answer
    }

    async fn claim(&self, tag: &Tag) -> Result<Answer, LeaseError> {
        let signature = self.scene().signature.clone();
        let labels = json!({ KIND_LABEL: "claim", SIGNATURE_LABEL: signature });
        self.create(&self.node, labels, tag).await
    }

    async fn ask_turn(&self) -> Result<Answer, LeaseError> {
        let (signature, limits, free, full) = {
            let scene = self.scene();
            let scarcest = domains::free_slots(&scene.wants, &scene.taken);
            let full = scarcest.filter(|(free, _)| *free == 0).map(|(_, want)| {
                let domain = Arc::clone(&want.domain);
                Refusal::Full {
                    domain,
                    cap: want.cap,
                }
            });
            let free = scarcest.map_or(0, |(free, _)| free);
            (scene.signature.clone(), scene.limits.clone(), free, full)
        };
        let call = self
            .call(Verb::List, Resource::Leases, "")
            .with("labelSelector", format!("{KIND_LABEL}=claim"));
        let items = self.list(call).await.map_err(unproved)?;
        let claims: Vec<Claim> = items
            .iter()
            .map(Claim::read)
            .collect::<Result<_, _>>()
            .map_err(unproved)?;
        let line = self
            .storm_line(&limits, domains::sick_together(&claims, &signature))
            .await;
        let turn = domains::turn_of(&self.node, &signature, &claims, free, line);
        Ok(Answer::Turn(match turn {
            Turn::Go => Ok(()),
            Turn::Wait(why) => Err(full.map_or(why, |full| full.to_string())),
            Turn::Storm(why) => {
                self.open_breaker(&signature, &why).await;
                Err(why)
            }
            Turn::NoClaim => {
                // Left over from another case: without it the next attempt makes the right one.
                self.withdraw().await.map_err(unproved)?;
                Err("the claim of this node was for something else and is made anew".to_owned())
            }
        }))
    }

    /// The number of nodes is asked for only where it could matter.
    async fn storm_line(&self, limits: &Limits, together: u64) -> u64 {
        if limits.storm_nodes.is_some() || together <= domains::MIN_STORM_NODES {
            return limits.storm_line(0);
        }
        let call = self.call(Verb::Get, Resource::DaemonSets, DAEMON_SET);
        let nodes = match self.cluster.call(call).await {
            Ok(object) => Fields::of(&object, "DaemonSet")
                .count("/status/desiredNumberScheduled")
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        limits.storm_line(nodes.unwrap_or_else(|error| {
            tracing::warn!(
                error,
                "the number of agents is not known; the strictest storm line counts"
            );
            0
        }))
    }

    async fn open_breaker(&self, signature: &str, why: &str) {
        let name = format!("{}storm-{signature}", domains::BREAKER_PREFIX);
        let breaker = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": self.namespace, "labels": { domains::BREAKER_LABEL: "storm" } },
            "data": { "reason": why, "signature": signature, "opened-by": self.node },
        });
        let call = self
            .call(Verb::Create, Resource::ConfigMaps, "")
            .sending(breaker);
        match self.cluster.call(call).await {
            Ok(_) => tracing::error!(
                breaker = name,
                why,
                "storm: the breaker is open, no node gets a slot until a person removes it"
            ),
            Err(error) if error.reason() == "AlreadyExists" => {}
            Err(error) => tracing::error!(%error, why, "storm, but the breaker cannot be opened"),
        }
    }
}

impl SlotStore for ApiSlots {
    fn wants<'a>(&'a self, cleared: &'a Cleared) -> BoxFuture<'a, Result<Vec<Want>, LeaseError>> {
        Box::pin(self.read_wants(cleared))
    }

    fn own(&self, run: Option<RunId>) -> BoxFuture<'_, Result<Vec<Found>, LeaseError>> {
        Box::pin(self.read_own(run))
    }

    fn is_inherited(&self, run: RunId) -> BoxFuture<'_, Result<bool, LeaseError>> {
        // From the list that `own` has just read.
        let run = run.to_string();
        let mut scene = self.scene();
        let inherited = scene
            .own
            .iter()
            .any(|(of, inherited)| *inherited || *of != run);
        scene.inherited = inherited;
        Box::pin(async move { Ok(inherited) })
    }

    fn claims(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, request: Request, tag: &'a Tag) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let answer = match request {
                Request::CreateClaim => self.claim(tag).await,
                Request::AskTurn => self.ask_turn().await,
                Request::CreateSlot(name) => self.create_slot(&name, tag).await,
                Request::ReadSlot(name) => self.read(&name).await,
                Request::RenewSlot(held) => self.renew(&held, tag).await,
                Request::DeleteSlot(held) => Ok(self.delete(&held).await),
                Request::DeleteClaim => Ok(match self.withdraw().await {
                    Ok(()) => Answer::Deleted,
                    Err(error) => no(&error),
                }),
            };
            answer.unwrap_or_else(|error| Answer::Silent(error.to_string()))
        })
    }
}
