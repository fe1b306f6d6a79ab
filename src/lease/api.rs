//! Slots as Lease objects that the API server bounds: created and never taken over, owned by the own Node, renewed by PUT
//! with the version last seen, freed with uid and version (safety.md, section 2).
//!
//! Nothing is repeated here: the slot machine decides what an uncertain answer means.

use super::SlotWitness;
use super::breakers::{Agents, SlotFacts};
use super::domains;
use super::error::LeaseError;
use super::exchange::{Answer, Found, HOLD, Refusal, Request, Want};
use super::keeper::{Phase, SlotStore, Tag};
use super::limits::Limits;
use super::name::SlotName;
use super::objects::{
    INSTANCE, KIND_LABEL, SlotLease, micro_time, no, number_of, unproved, written,
};
use super::queue::SIGNATURE_LABEL;
use super::waiting::Standing;
use crate::host::BoxFuture;
use crate::host::clock::{Clock, HostClock};
use crate::host::cluster::{ApiError, Call, Cluster, Fields, NodeView, Resource, Verb};
use crate::policy::Cleared;
use crate::signal::Uptime;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Slots of one node in the API server.
pub struct ApiSlots {
    cluster: Arc<dyn Cluster>,
    pub(super) namespace: String,
    pub(super) node: String,
    /// Which agent of the node this is: kept in its state directory, so that a second one cannot take this one's slots.
    instance: String,
    witness: Arc<dyn SlotWitness>,
    pub(super) clock: Arc<dyn Clock>,
    scene: Mutex<Scene>,
}

/// What was read last, and what is known of the wait.
#[derive(Default)]
pub(super) struct Scene {
    owner: Option<Owner>,
    pub(super) signature: String,
    pub(super) limits: Option<Limits>,
    pub(super) slots: Vec<SlotFacts>,
    pub(super) taken: BTreeSet<SlotName>,
    /// The runs in this node's slots (`None`: not understood), and whether they took them over from one before.
    own: Vec<(Option<u64>, bool)>,
    /// The digests of runs that failed under this node's slots.
    failed: Vec<String>,
    /// This process made a claim, or found its own.
    pub(super) is_claimed: bool,
    pub(super) standing: Standing,
    /// What the last rest was for.
    pub(super) rested_in: Standing,
    pub(super) looks: u32,
    /// How many looks in a row saw a free slot that nobody took.
    pub(super) patience: u32,
    /// How many agents there are, and when that was read.
    pub(super) agents: Option<(Agents, Uptime)>,
    /// How long the server asked to be left alone.
    pub(super) leave_alone: Option<Duration>,
}

impl Scene {
    /// Whether a slot of this node carries a run other than these, or one that took it over.
    fn is_inherited(&self, runs: &RangeInclusive<u64>) -> bool {
        let is_of = |of: &Option<u64>| of.is_some_and(|of| runs.contains(&of));
        self.own
            .iter()
            .any(|(of, inherited)| *inherited || !is_of(of))
    }
}

#[derive(Clone)]
pub(super) struct Owner {
    uid: String,
    pub(super) domains: Vec<Arc<str>>,
}

impl ApiSlots {
    /// The slots of `node`, in `namespace`, for its agent `instance`. Nothing can be had before [`ApiSlots::meet`].
    pub fn new(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        node: &str,
        instance: &str,
        witness: Arc<dyn SlotWitness>,
    ) -> Self {
        Self {
            cluster,
            namespace: namespace.to_owned(),
            node: node.to_owned(),
            instance: instance.to_owned(),
            witness,
            clock: Arc::new(HostClock),
            scene: Mutex::new(Scene::default()),
        }
    }

    /// The same by another clock than the machine's.
    #[must_use]
    pub fn timed_by(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
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
        let mut limits = Limits::default();
        let call = self.call(Verb::List, Resource::ConfigMaps, "");
        self.each(call, |item| limits.take(item)).await?;
        for trouble in &limits.trouble {
            tracing::warn!(%trouble, "a limit is not understood");
        }
        Ok(limits)
    }

    /// Takes the claim back: the node waits no longer. Without a claim it costs one call; another agent's stays.
    ///
    /// # Errors
    /// The server refused or did not answer, or the claim is another agent's.
    pub async fn withdraw(&self) -> Result<(), LeaseError> {
        let claim = match self
            .send(self.call(Verb::Get, Resource::Leases, &self.node))
            .await
        {
            Ok(claim) => claim,
            Err(error) if error.is_missing() => {
                self.scene().is_claimed = false;
                return Ok(());
            }
            Err(error) => return Err(unproved(error)),
        };
        let fields = Fields::of(&claim, "Lease");
        fields.ensure_kind().map_err(unproved)?;
        let instance = fields.maybe_text(INSTANCE).map_err(unproved)?;
        self.ensure_mine(&self.node, instance.unwrap_or_default())?;
        let uid = fields.text("/metadata/uid").map_err(unproved)?;
        // What is deleted is what was looked at.
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid },
        });
        let call = self.call(Verb::Delete, Resource::Leases, &self.node);
        match self.send(call.sending(options)).await {
            Err(error) if !error.is_missing() => Err(unproved(error)),
            _ => {
                self.scene().is_claimed = false;
                Ok(())
            }
        }
    }

    /// Whether this process has a claim standing.
    pub fn is_claimed(&self) -> bool {
        self.scene().is_claimed
    }

    /// An error unless `instance` is this agent's: a slot or claim of this Node that it did not make is never touched.
    pub(super) fn ensure_mine(&self, name: &str, instance: &str) -> Result<(), LeaseError> {
        if instance == self.instance && !instance.is_empty() {
            return Ok(());
        }
        Err(LeaseError::OtherInstance {
            object: format!("{}/{name}", self.namespace),
            theirs: instance.to_owned(),
            ours: self.instance.clone(),
        })
    }

    pub(super) fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn owner(&self) -> Result<Owner, LeaseError> {
        self.scene()
            .owner
            .clone()
            .ok_or_else(|| LeaseError::Unproved {
                why: format!("Node {} was not read yet", self.node),
            })
    }

    pub(super) fn call(&self, verb: Verb, resource: Resource, name: &str) -> Call {
        Call::new(verb, resource, &self.namespace, name)
    }

    /// Sends a call once; a wish of the server to be left alone is kept for the next rest.
    pub(super) async fn send(&self, call: Call) -> Result<Value, ApiError> {
        let answer = self.cluster.call(call).await;
        if let Err(error) = &answer
            && let Some(wait) = error.retry_after()
        {
            self.scene().leave_alone = Some(wait);
        }
        answer
    }

    async fn read_wants(&self, cleared: &Cleared) -> Result<Vec<Want>, LeaseError> {
        let owner = self.owner()?;
        let limits = self.limits().await?;
        if let Some(breaker) = &limits.breaker {
            return Err(LeaseError::Refused(Refusal::NotYourTurn(breaker.clone())));
        }
        let wants = self.wants_under(&owner, &limits);
        // Without any slot ever there is nothing to queue for.
        if let Some(none) = wants.iter().find(|want| want.cap == 0) {
            return Err(LeaseError::Refused(Refusal::Full {
                domain: Arc::clone(&none.domain),
                cap: 0,
            }));
        }
        let mut scene = self.scene();
        scene.signature = cleared.proposal().signature.to_string();
        scene.limits = Some(limits);
        Ok(wants)
    }

    /// The domains in which this node needs a slot, with their caps.
    pub(super) fn wants_under(&self, owner: &Owner, limits: &Limits) -> Vec<Want> {
        let want = |domain: &Arc<str>| {
            let cap = limits.cap(domain);
            Want {
                domain: Arc::clone(domain),
                cap,
                first: number_of(&self.node).checked_rem(cap).unwrap_or(0),
            }
        };
        owner.domains.iter().map(want).collect()
    }

    /// Reads all slots; those of this Node are given.
    ///
    /// # Errors
    /// They cannot be read, one is garbled, or one of this Node is another agent's.
    pub(super) async fn read_slots(&self) -> Result<Vec<SlotLease>, LeaseError> {
        let owner = self.owner()?;
        let call = self
            .call(Verb::List, Resource::Leases, "")
            .with("labelSelector", format!("{KIND_LABEL}=slot"));
        let (mut own, mut facts) = (Vec::new(), Vec::new());
        let take = |item: &Value| {
            let slot = SlotLease::read(item)?;
            facts.push(slot.facts());
            if slot.holder == self.node && slot.owner == owner.uid {
                own.push(slot);
            }
            Ok(())
        };
        self.each(call, take).await?;
        let mut scene = self.scene();
        scene.taken = facts.iter().map(|slot| slot.name.clone()).collect();
        scene.slots = facts;
        drop(scene);
        for slot in &own {
            self.ensure_mine(&slot.name.to_string(), &slot.instance)?;
        }
        Ok(own)
    }

    async fn read_own(&self, runs: Option<RangeInclusive<u64>>) -> Result<Vec<Found>, LeaseError> {
        let own = self.read_slots().await?;
        let mut scene = self.scene();
        scene.own = own
            .iter()
            .map(|slot| (slot.run(), slot.inherited))
            .collect();
        let longest = own.iter().map(|slot| &slot.failed).max_by_key(|f| f.len());
        scene.failed = longest.cloned().unwrap_or_default();
        Ok(own
            .iter()
            .filter(|slot| match &runs {
                None => true,
                Some(runs) => slot.run().is_some_and(|run| runs.contains(&run)),
            })
            .map(SlotLease::found)
            .collect())
    }

    /// The object that says that this node holds `name`.
    fn lease(&self, name: &str, labels: Value, tag: &Tag, uid: &str) -> Value {
        let now = micro_time(self.clock.now().wall.0);
        let (inherited, mut failed) = {
            let scene = self.scene();
            let inherited = scene.is_inherited(&(tag.run.0..=tag.run.0));
            (inherited.to_string(), scene.failed.clone())
        };
        if tag.phase == Phase::Failed {
            failed.push(tag.digest.to_string());
        }
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": name, "namespace": self.namespace, "labels": labels,
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid }],
                "annotations": {
                    "nodemend.io/run": tag.run.to_string(), "nodemend.io/digest": *tag.digest,
                    "nodemend.io/phase": tag.phase.word(), "nodemend.io/failed": failed.join(","), "nodemend.io/inherited": inherited,
                    "nodemend.io/instance": self.instance, "nodemend.io/audit-head": self.witness.audit_head(),
                },
            },
            "spec": { "holderIdentity": self.node, "leaseDurationSeconds": HOLD.as_secs(), "renewTime": now },
        })
    }

    async fn create(&self, name: &str, labels: Value, tag: &Tag) -> Result<Answer, LeaseError> {
        let owner = self.owner()?;
        let lease = self.lease(name, labels, tag, &owner.uid);
        let call = self.call(Verb::Create, Resource::Leases, "").sending(lease);
        Ok(match self.send(call).await {
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
        let answer = match self.send(call).await {
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

    async fn read(&self, name: &SlotName, tag: &Tag) -> Result<Answer, LeaseError> {
        let owner = self.owner()?;
        let call = self.call(Verb::Get, Resource::Leases, &name.to_string());
        let object = match self.send(call).await {
            Ok(object) => object,
            Err(error) => return Ok(no(&error)),
        };
        let slot = SlotLease::read(&object).map_err(unproved)?;
        let is_ours = slot.holder == self.node && slot.owner == owner.uid && slot.name == *name;
        if is_ours {
            self.ensure_mine(&name.to_string(), &slot.instance)?;
        }
        // A newer run took it over: whoever tidies up after an older one has nothing to do with it any more.
        let is_newer = slot.run().is_some_and(|run| run > tag.run.0);
        Ok(if is_ours && !is_newer {
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
        let answer = match self.send(call).await {
            Ok(_) => Answer::Deleted,
            Err(error) => no(&error),
        };
        if matches!(answer, Answer::Deleted | Answer::Gone) {
            self.witness.holds(held.name.domain(), false);
        }
        answer
    }

    /// Makes the claim; one of this Node that stands already serves.
    pub(super) async fn claim(&self, tag: &Tag) -> Result<Answer, LeaseError> {
        let signature = self.scene().signature.clone();
        let labels = json!({ KIND_LABEL: "claim", SIGNATURE_LABEL: signature });
        let answer = self.create(&self.node, labels, tag).await?;
        if matches!(answer, Answer::Written { .. } | Answer::Taken) {
            self.scene().is_claimed = true;
        }
        Ok(answer)
    }
}

impl SlotStore for ApiSlots {
    fn wants<'a>(&'a self, cleared: &'a Cleared) -> BoxFuture<'a, Result<Vec<Want>, LeaseError>> {
        Box::pin(self.read_wants(cleared))
    }

    fn own(
        &self,
        runs: Option<RangeInclusive<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Found>, LeaseError>> {
        Box::pin(self.read_own(runs))
    }

    fn is_inherited(&self, runs: RangeInclusive<u64>) -> BoxFuture<'_, Result<bool, LeaseError>> {
        // From the list that `own` has just read.
        let inherited = self.scene().is_inherited(&runs);
        Box::pin(async move { Ok(inherited) })
    }

    fn claims(&self) -> bool {
        true
    }

    fn breakers<'a>(&'a self, tag: &'a Tag) -> BoxFuture<'a, Result<Option<String>, LeaseError>> {
        Box::pin(self.read_breakers(tag))
    }

    fn send<'a>(&'a self, request: Request, tag: &'a Tag) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let answer = match request {
                Request::CreateClaim => self.claim(tag).await,
                Request::AskTurn => self.ask_turn(tag).await,
                Request::CreateSlot(name) => self.create_slot(&name, tag).await,
                Request::ReadSlot(name) => self.read(&name, tag).await,
                Request::RenewSlot(held) => self.renew(&held, tag).await,
                Request::DeleteSlot(held) => Ok(self.delete(&held).await),
                Request::DeleteClaim => self.withdraw().await.map(|()| Answer::Deleted),
            };
            answer.unwrap_or_else(|error| Answer::Silent(error.to_string()))
        })
    }
}
