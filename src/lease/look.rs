//! What a waiting node looks at, and what a run asks before it disturbs: limits, slots, queue, agents.
//!
//! Costs: a look while nothing changed is one list. A look that finds the way clear is the three lists and the DaemonSet; a
//! run's question before a step is two lists and the DaemonSet.

use super::api::ApiSlots;
use super::breakers::{self, Agents};
use super::domains;
use super::error::LeaseError;
use super::exchange::{Answer, Refusal};
use super::keeper::{Phase, Tag};
use super::limits::{BREAKER_LABEL, BREAKER_PREFIX, Limits};
use super::objects::{KIND_LABEL, unproved};
use super::queue::{self, Claim, Place};
use super::waiting::{Part, Standing, first_rest, next_rest};
use crate::host::cluster::{Resource, Verb};
use crate::policy::{Cleared, RunId};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The DaemonSet of the agents: how many nodes should have one.
const DAEMON_SET: &str = "nodemend";
/// How long the number of agents may be used for a storm line without being read again: the span of the line itself.
const AGENTS_FOR: Duration = Duration::from_secs(600);

/// What one look has seen so far.
#[derive(Default)]
struct Sight {
    limits: Option<Limits>,
    claims: Option<Vec<Claim>>,
    saw_slots: bool,
}

impl ApiSlots {
    /// Looks once whether this node may try for its slots. Makes the claim when nothing is closed and there is none yet.
    pub async fn look(&self, cleared: &Cleared, run: RunId) -> Standing {
        let tag = Tag {
            run,
            digest: Arc::clone(&cleared.proposal().playbook.digest),
            phase: Phase::Mending,
        };
        let (before, look) = {
            let mut scene = self.scene();
            scene.signature = cleared.proposal().signature.to_string();
            (scene.standing.clone(), scene.looks)
        };
        self.ensure_agents_known().await;
        let seen = self.look_in_order(&before, look, &tag).await;
        let now = seen.unwrap_or_else(|error| Standing::Unread {
            why: error.to_string(),
        });
        self.stand(now)
    }

    /// A new wait begins: what the one before saw does not count. How long the node rests before its first look. `draw`:
    /// from 0 up to 1, another one for each node.
    pub async fn begin_wait(&self, draw: f64) -> Duration {
        self.ensure_agents_known().await;
        let mut scene = self.scene();
        scene.standing = Standing::Fresh;
        scene.rested_in = Standing::Fresh;
        scene.looks = 0;
        scene.patience = 0;
        scene.leave_alone = None;
        first_rest(scene.agents.map(|(agents, _)| agents.wanted), draw)
    }

    /// A case may open before the answer at the start is there, or that was lost (`nodemend simulate` found that).
    async fn ensure_agents_known(&self) {
        if self.agents_known().is_none() {
            self.count_agents().await;
        }
    }

    /// Reads how many agents there are, for [`ApiSlots::agents_known`].
    pub async fn count_agents(&self) {
        if let Err(why) = self.read_agents().await {
            tracing::debug!(why, "the number of agents is not known");
        }
    }

    /// How long the node rests after a look, or a try, that ended in `now`.
    pub fn rest_in(&self, now: &Standing, draw: f64) -> Duration {
        let mut scene = self.scene();
        let before = std::mem::replace(&mut scene.rested_in, now.clone());
        let agents = scene.agents.map(|(agents, _)| agents.wanted);
        let asked = scene.leave_alone.take().unwrap_or_default();
        next_rest(now, &before, agents, draw).max(asked)
    }

    /// Takes note that a try came to nothing.
    pub fn rebuffed(&self, error: &LeaseError) -> Standing {
        self.stand(match error {
            LeaseError::Refused(Refusal::Silent(_)) | LeaseError::Unproved { .. } => {
                Standing::Unread {
                    why: error.to_string(),
                }
            }
            LeaseError::Refused(why) => Standing::Full {
                why: why.to_string(),
                before: 0,
            },
            other => Standing::Full {
                why: other.to_string(),
                before: 0,
            },
        })
    }

    /// How many agents there are, as last read.
    pub fn agents_known(&self) -> Option<u64> {
        self.scene().agents.map(|(agents, _)| agents.wanted)
    }

    fn stand(&self, now: Standing) -> Standing {
        let mut scene = self.scene();
        let is_same = std::mem::discriminant(&scene.standing) == std::mem::discriminant(&now);
        scene.looks = if is_same { scene.looks + 1 } else { 0 };
        scene.standing = now.clone();
        now
    }

    async fn look_in_order(
        &self,
        before: &Standing,
        look: u32,
        tag: &Tag,
    ) -> Result<Standing, LeaseError> {
        let mut sight = Sight::default();
        for (at, part) in before.order(look).into_iter().enumerate() {
            let obstacle = match part {
                Part::Limits => self.look_at_limits(before, at == 0, &mut sight).await?,
                Part::Queue => self.look_at_queue(tag, &mut sight).await?,
                Part::Slots => self.look_at_slots(before, tag, &mut sight).await?,
            };
            if let Some(standing) = obstacle {
                return Ok(standing);
            }
        }
        let claims = sight.claims.unwrap_or_default();
        if let Err(standing) = self.judge_place(&claims) {
            return Ok(standing);
        }
        let limits = sight.limits.unwrap_or_default();
        Ok(match self.absence(&limits).await {
            Some(why) => self.closed(why),
            None => Standing::Clear,
        })
    }

    /// Nobody gets a slot. Where the agents are not counted the node would rest as one of five thousand, and miss a slot that
    /// is free before (I19).
    fn closed(&self, why: String) -> Standing {
        match self.agents_known() {
            Some(_) => Standing::Stopped { why },
            None => Standing::Unread { why },
        }
    }

    async fn look_at_limits(
        &self,
        before: &Standing,
        is_first: bool,
        sight: &mut Sight,
    ) -> Result<Option<Standing>, LeaseError> {
        let owner = self.owner()?;
        let limits = self.limits().await?;
        let closed = |why| self.closed(why);
        let known = self.scene().limits.replace(limits.clone());
        if let Some(why) = &limits.breaker {
            return Ok(Some(closed(why.clone())));
        }
        // Without any slot ever there is nothing to queue for.
        if let Some(domain) = owner.domains.iter().find(|domain| limits.cap(domain) == 0) {
            let domain = Arc::clone(domain);
            let why = Refusal::Full { domain, cap: 0 }.to_string();
            return Ok(Some(closed(why)));
        }
        let waits = matches!(before, Standing::Full { .. } | Standing::Far { .. });
        // One call: the limits are as they were, so what was in the way is taken to be there still.
        let is_old = is_first && waits && known.as_ref() == Some(&limits);
        sight.limits = Some(limits);
        Ok(is_old.then(|| before.clone()))
    }

    async fn look_at_slots(
        &self,
        before: &Standing,
        tag: &Tag,
        sight: &mut Sight,
    ) -> Result<Option<Standing>, LeaseError> {
        if !self.read_slots().await?.is_empty() {
            // A node that has slots already is counted already: it does not queue again.
            return Ok(Some(Standing::Clear));
        }
        sight.saw_slots = true;
        let place = match before {
            Standing::Full { before, .. } | Standing::Far { before, .. } => *before,
            _ => 0,
        };
        if let Some(why) = self.closed_by_slots(tag) {
            return Ok(Some(Standing::Full { why, before: place }));
        }
        let (free, full) = self.free();
        if free > 0 {
            return Ok(None);
        }
        self.scene().patience = 0;
        Ok(Some(match (before, full) {
            (Standing::Far { .. }, _) => before.clone(),
            (_, Some(full)) => Standing::Full {
                why: full.to_string(),
                before: place,
            },
            (_, None) => Standing::Unread {
                why: "no slot domain is configured for this node".into(),
            },
        }))
    }

    async fn look_at_queue(
        &self,
        tag: &Tag,
        sight: &mut Sight,
    ) -> Result<Option<Standing>, LeaseError> {
        if !self.is_claimed() {
            match self.claim(tag).await? {
                Answer::Written { .. } | Answer::Taken => {}
                other => {
                    return Ok(Some(Standing::Unread { why: other.why() }));
                }
            }
        }
        let claims = self.read_claims().await?;
        if let Some(why) = self.storm(&claims).await {
            return Ok(Some(Standing::Stopped { why }));
        }
        let Some(place) = self.place(&claims) else {
            return self.claim_anew().await.map(Some);
        };
        let cap = self.smallest_cap();
        if !sight.saw_slots && place.is_far(cap) {
            return Ok(Some(far(place)));
        }
        sight.claims = Some(claims);
        Ok(None)
    }

    /// Whether it is this node's turn, with everything freshly read.
    fn judge_place(&self, claims: &[Claim]) -> Result<(), Standing> {
        let Some(place) = self.place(claims) else {
            return Err(Standing::Full {
                why: "the claim of this node is gone".into(),
                before: 0,
            });
        };
        let (free, _) = self.free();
        let patience = {
            let mut scene = self.scene();
            scene.patience = scene.patience.saturating_add(1);
            scene.patience - 1
        };
        if place.is_next(free, patience) {
            Ok(())
        } else if free == 0 || !place.is_next(free, patience.saturating_add(1)) {
            Err(far(place))
        } else {
            // With one more slot left lying it is this node's turn: it looks at the slots next time.
            Err(Standing::Full {
                why: place.told(free),
                before: place.before,
            })
        }
    }

    fn place(&self, claims: &[Claim]) -> Option<Place> {
        let scene = self.scene();
        let holders: BTreeSet<String> = scene.slots.iter().map(|s| s.holder.clone()).collect();
        queue::place_of(&self.node, &scene.signature, claims, &holders)
    }

    fn smallest_cap(&self) -> u32 {
        let Ok(owner) = self.owner() else { return 0 };
        let scene = self.scene();
        let limits = scene.limits.as_ref();
        let caps = owner
            .domains
            .iter()
            .map(|domain| limits.map_or(0, |limits| limits.cap(domain)));
        caps.min().unwrap_or(0)
    }

    /// How many slots are free where they are scarcest; if none, which domain is full.
    fn free(&self) -> (u64, Option<Refusal>) {
        let Ok(owner) = self.owner() else {
            return (0, None);
        };
        let limits = self.scene().limits.clone().unwrap_or_default();
        let wants = self.wants_under(&owner, &limits);
        let scene = self.scene();
        match domains::free_slots(&wants, &scene.taken) {
            Some((0, want)) => {
                let domain = Arc::clone(&want.domain);
                let cap = want.cap;
                (0, Some(Refusal::Full { domain, cap }))
            }
            Some((free, _)) => (free, None),
            None => (0, None),
        }
    }

    fn closed_by_slots(&self, tag: &Tag) -> Option<String> {
        let scene = self.scene();
        let limits = scene.limits.clone().unwrap_or_default();
        breakers::casualties(&scene.slots, &self.node, &limits)
            .or_else(|| breakers::failed_version(&scene.slots, &tag.digest, &limits))
    }

    /// All claims; this Node's must be this agent's.
    async fn read_claims(&self) -> Result<Vec<Claim>, LeaseError> {
        let call = self
            .call(Verb::List, Resource::Leases, "")
            .with("labelSelector", format!("{KIND_LABEL}=claim"));
        let mut claims = Vec::new();
        let take = |item: &_| {
            claims.push(Claim::read(item)?);
            Ok(())
        };
        self.each(call, take).await?;
        if let Some(own) = claims.iter().find(|claim| claim.node == self.node) {
            self.ensure_mine(&self.node, &own.instance)?;
        }
        Ok(claims)
    }

    /// The claim was for another case, or is gone: without it the next look makes the right one.
    async fn claim_anew(&self) -> Result<Standing, LeaseError> {
        self.withdraw().await?;
        Ok(Standing::Full {
            why: "the claim of this node was for something else and is made anew".to_owned(),
            before: 0,
        })
    }

    /// The last question before slots are created: everything that may stand in the way, fresh.
    pub(super) async fn ask_turn(&self, tag: &Tag) -> Result<Answer, LeaseError> {
        let no = |why: String| Ok(Answer::Turn(Err(why)));
        if let Some(why) = self.closed_by_slots(tag) {
            return no(why);
        }
        let claims = self.read_claims().await?;
        if let Some(why) = self.storm(&claims).await {
            return no(why);
        }
        let Some(place) = self.place(&claims) else {
            return no(self.claim_anew().await?.why().to_owned());
        };
        let (free, full) = self.free();
        let patience = self.scene().patience;
        if !place.is_next(free, patience) {
            return no(full.map_or_else(|| place.told(free), |full| full.to_string()));
        }
        let limits = self.scene().limits.clone().unwrap_or_default();
        match self.absence(&limits).await {
            Some(why) => no(why),
            None => Ok(Answer::Turn(Ok(()))),
        }
    }

    /// Whether a breaker is open for a run that holds its slot.
    pub(super) async fn read_breakers(&self, tag: &Tag) -> Result<Option<String>, LeaseError> {
        let limits = self.limits().await?;
        if limits.breaker.is_some() {
            return Ok(limits.breaker);
        }
        self.scene().limits = Some(limits.clone());
        self.read_slots().await?;
        if let Some(why) = self.closed_by_slots(tag) {
            return Ok(Some(why));
        }
        if limits
            .set_absence_line()
            .is_some_and(|line| line >= ANY_NUMBER)
        {
            return Ok(None);
        }
        let agents = self.read_agents().await.map_err(|why| unproved(&why))?;
        Ok(breakers::absence(&Ok(agents), &limits))
    }

    async fn absence(&self, limits: &Limits) -> Option<String> {
        if limits
            .set_absence_line()
            .is_some_and(|line| line >= ANY_NUMBER)
        {
            return None;
        }
        breakers::absence(&self.read_agents().await, limits)
    }

    /// Reads how many agents there are, and how many are unavailable.
    ///
    /// # Errors
    /// A sentence: nobody can tell.
    pub async fn read_agents(&self) -> Result<Agents, String> {
        let call = self.call(Verb::Get, Resource::DaemonSets, DAEMON_SET);
        let object = self.send(call).await.map_err(|error| error.to_string())?;
        let agents = Agents::read(&object).map_err(|error| error.to_string())?;
        self.scene().agents = Some((agents, self.clock.now().uptime));
        Ok(agents)
    }

    /// Opens the breaker if so many are sick that the detector is suspected; why.
    async fn storm(&self, claims: &[Claim]) -> Option<String> {
        let (limits, signature) = {
            let scene = self.scene();
            (
                scene.limits.clone().unwrap_or_default(),
                scene.signature.clone(),
            )
        };
        // The strictest lines first: only beyond them it matters how many nodes there are.
        queue::storm(claims, &signature, &limits, 0)?;
        let nodes = if limits.asks_nodes() {
            self.nodes().await
        } else {
            0
        };
        let (name, why) = queue::storm(claims, &signature, &limits, nodes)?;
        self.open_breaker(&name, &signature, &why).await;
        Some(why)
    }

    /// How many nodes should have an agent; 0 where nobody can tell, which gives the strictest line.
    async fn nodes(&self) -> u64 {
        let now = self.clock.now().uptime;
        let known = self.scene().agents;
        if let Some((agents, at)) = known
            && now.since(at) < AGENTS_FOR
        {
            return agents.wanted;
        }
        match self.read_agents().await {
            Ok(agents) => agents.wanted,
            Err(why) => {
                tracing::warn!(
                    why,
                    "the number of agents is not known; the strictest storm lines count"
                );
                0
            }
        }
    }

    async fn open_breaker(&self, name: &str, signature: &str, why: &str) {
        let name = format!("{BREAKER_PREFIX}{name}");
        let breaker = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": self.namespace, "labels": { BREAKER_LABEL: "storm" } },
            "data": { "reason": why, "signature": signature, "opened-by": self.node },
        });
        let call = self
            .call(Verb::Create, Resource::ConfigMaps, "")
            .sending(breaker);
        match self.send(call).await {
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

/// So many unavailable agents that the line says: do not ask at all (the largest number that the key takes).
const ANY_NUMBER: u64 = 999;

fn far(place: Place) -> Standing {
    Standing::Far {
        why: format!(
            "{} of {} waiting nodes are first",
            place.before, place.waiting
        ),
        before: place.before,
        waiting: place.waiting,
    }
}
