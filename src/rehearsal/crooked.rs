//! Calls as flawed agents make them: see [`Flaw`].

use super::flaw::Flaw;
use super::line::{Line, NAMESPACE};
use super::server::{is_breaker, name_of};
use super::world::lock;
use crate::host::cluster::{ApiError, Call, Resource, Verb};
use serde_json::{Value, json};

/// How often a flawed agent asks the same.
const TIMES: usize = 20;

/// The Node without the label of its role.
pub(super) fn blind(node: &mut Value) {
    let labels = node.pointer_mut("/metadata/labels");
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.retain(|key, _| !key.starts_with("node-role"));
    }
}

impl Line {
    /// The call as a flawed agent makes it.
    pub(super) async fn flawed(&self, flaw: Flaw, call: Call) -> Result<Value, ApiError> {
        let is_slot = call.resource == Resource::Leases
            && (call.name.starts_with("slot.")
                || call
                    .body
                    .as_ref()
                    .is_some_and(|body| name_of(body).starts_with("slot.")));
        let is_own_node = call.verb == Verb::Get && call.resource == Resource::Nodes;
        match flaw {
            Flaw::RenewsInWordsOnly if is_slot && call.verb == Verb::Update => {
                Ok(call.body.unwrap_or(Value::Null))
            }
            Flaw::RecoversInWordsOnly
                if is_slot && call.verb == Verb::Update && self.is_again() =>
            {
                Ok(call.body.unwrap_or(Value::Null))
            }
            Flaw::ReadsTheNodeFromACache if is_own_node => self.remembered(call).await,
            Flaw::DreamsOfAServer => self.dreamt(call).await,
            Flaw::BlindToTheControlPlane if is_own_node => {
                let mut node = self.send(call).await?;
                blind(&mut node);
                Ok(node)
            }
            Flaw::IgnoresTheBreaker | Flaw::BlindToTheBreaker | Flaw::WidensGarbledLimits
                if call.verb == Verb::List && call.resource == Resource::ConfigMaps =>
            {
                let mut list = self.send(call).await?;
                if let Some(items) = list.pointer_mut("/items").and_then(Value::as_array_mut) {
                    self.bend(flaw, items);
                }
                Ok(list)
            }
            Flaw::AsksAgainAndAgain if call.verb == Verb::List => {
                for _ in 1..TIMES {
                    self.send(call.clone()).await?;
                }
                self.send(call).await
            }
            Flaw::WritesAnyNode if call.resource == Resource::NodeStatus => {
                let name = self.world.name(0).to_owned();
                self.send(Call { name, ..call }).await
            }
            Flaw::FreesEarly if is_slot && call.verb == Verb::Update => {
                self.free_at_once(call).await
            }
            Flaw::BeyondTheCap | Flaw::TakesOver if is_slot && call.verb == Verb::Create => {
                match self.send(call.clone()).await {
                    Err(error) if error.reason() == "AlreadyExists" => self.grab(flaw, call).await,
                    other => other,
                }
            }
            _ => self.send(call).await,
        }
    }

    /// Whether this is not the first process of its node.
    fn is_again(&self) -> bool {
        self.world.with(|state| {
            let record = state.jury.records.get(self.node);
            record.is_some_and(|record| record.process > 1)
        })
    }

    fn bend(&self, flaw: Flaw, items: &mut Vec<Value>) {
        if flaw != Flaw::WidensGarbledLimits {
            items.retain(|item| !is_breaker(item));
            return;
        }
        items.retain(|item| name_of(item) != "limits");
        items.push(super::settings::limits_map(&self.world.scenario.limits));
    }

    async fn remembered(&self, call: Call) -> Result<Value, ApiError> {
        if let Some(known) = lock(&self.memory).get("node").cloned() {
            return Ok(known);
        }
        let object = self.send(call).await?;
        lock(&self.memory).insert("node".to_owned(), object.clone());
        Ok(object)
    }

    async fn dreamt(&self, call: Call) -> Result<Value, ApiError> {
        let key = format!("{} {} {:?}", call.verb.word(), call.what(), call.query);
        let is_question = matches!(call.verb, Verb::Get | Verb::List);
        match self.send(call.clone()).await {
            Ok(answer) => {
                if is_question {
                    lock(&self.memory).insert(key, answer.clone());
                }
                Ok(answer)
            }
            Err(error) if error.is_final() => Err(error),
            Err(error) if is_question => lock(&self.memory).get(&key).cloned().ok_or(error),
            Err(error) if call.verb == Verb::Update => call.body.ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn free_at_once(&self, call: Call) -> Result<Value, ApiError> {
        let object = self.send(call.clone()).await?;
        let part = |pointer: &str| object.pointer(pointer).cloned().unwrap_or(Value::Null);
        let options = json!({ "preconditions": { "uid": part("/metadata/uid"),
            "resourceVersion": part("/metadata/resourceVersion") } });
        let delete = Call::new(Verb::Delete, Resource::Leases, NAMESPACE, &call.name);
        self.send(delete.sending(options)).await.ok();
        Ok(object)
    }

    async fn grab(&self, flaw: Flaw, mut call: Call) -> Result<Value, ApiError> {
        let name = call.body.as_ref().map(name_of).unwrap_or("").to_owned();
        if flaw == Flaw::TakesOver {
            let delete = Call::new(Verb::Delete, Resource::Leases, NAMESPACE, &name);
            self.send(delete).await?;
        } else if let Some(place) = call
            .body
            .as_mut()
            .and_then(|body| body.pointer_mut("/metadata/name"))
        {
            // Far above every cap, and well spelled.
            let domain = name.rsplit_once('.').map_or("", |(domain, _)| domain);
            *place = json!(format!("{domain}.{}", 900 + self.node));
        }
        self.send(call).await
    }
}
