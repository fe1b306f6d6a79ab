//! An API server that is not there: the objects that the product touches, with versions, conditions, label selectors, pages,
//! garbage collection, and the admission rules of `manifests/base/policies`.

use super::admission::{Who, admit};
use super::flaw::Flaw;
use crate::host::cluster::{ApiError, Call, Resource, Verb};
use crate::signal::Wall;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The true time at the beginning: 2026-01-01.
pub(super) const EPOCH_US: i64 = 1_767_225_600_000_000;
/// How long the past is kept for reads that may be stale.
const PAST: Duration = Duration::from_secs(10);
/// How old a read with resourceVersion=0 is at most; a watch cache lags seconds in bad times.
const STALE: Duration = Duration::from_secs(3);

/// A Node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeObject {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) exists: bool,
}

impl NodeObject {
    /// As the API gives it.
    pub(super) fn object(&self) -> Value {
        json!({ "kind": "Node", "apiVersion": "v1",
            "metadata": { "name": self.name, "uid": self.uid, "resourceVersion": self.version.to_string(),
                "labels": self.labels, "annotations": self.annotations },
            "spec": {}, "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] } })
    }
}

/// What a write did, for whoever judges it.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A Lease is new.
    Created(String),
    /// A Lease was written by its holder's version.
    Updated(String),
    /// A Lease is gone.
    Deleted(String),
    /// A Node was written.
    Node(String),
    /// Another object.
    Other,
}

/// What the server has.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) nodes: Vec<NodeObject>,
    pub(super) leases: BTreeMap<String, Value>,
    pub(super) maps: BTreeMap<String, Value>,
    version: u64,
    uids: u64,
    past: VecDeque<(Duration, Resource, String, Option<Value>)>,
    pub(super) flaw: Option<Flaw>,
    /// How many agents are not available, as the DaemonSet's controller sees it.
    pub(super) away: u64,
}

fn refuse(call: &Call, code: u16, reason: &str, message: String) -> ApiError {
    ApiError::Refused {
        what: call.what(),
        verb: call.verb.word(),
        code,
        reason: reason.to_owned(),
        message,
        retry_after: None,
    }
}

fn missing(call: &Call) -> ApiError {
    let why = "there is no such object".to_owned();
    refuse(call, 404, "NotFound", why)
}

fn conflict(call: &Call, why: &str) -> ApiError {
    refuse(call, 409, "Conflict", why.to_owned())
}

/// The server's time as objects carry it: whole seconds.
fn stamp(now: Duration) -> String {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let text = Wall(EPOCH_US.saturating_add(seconds.saturating_mul(1_000_000))).to_rfc3339();
    text.replace(".000Z", "Z")
}

impl Server {
    /// An empty one; with a flaw, its rules have a gap.
    pub(super) fn of(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            ..Self::default()
        }
    }

    /// A number that no object had before.
    pub(super) fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("uid-{}", self.uids)
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn store(&mut self, resource: Resource) -> &mut BTreeMap<String, Value> {
        match resource {
            Resource::Leases => &mut self.leases,
            _ => &mut self.maps,
        }
    }

    fn keep_past(&mut self, now: Duration, resource: Resource, name: &str) {
        while self
            .past
            .front()
            .is_some_and(|(at, ..)| now.saturating_sub(*at) > PAST)
        {
            self.past.pop_front();
        }
        let before = self.store(resource).get(name).cloned();
        self.past
            .push_back((now, resource, name.to_owned(), before));
    }

    /// Puts an object as it is; `None` removes it. For people and the collector.
    pub(super) fn put(
        &mut self,
        now: Duration,
        resource: Resource,
        name: &str,
        object: Option<Value>,
    ) {
        self.keep_past(now, resource, name);
        let version = self.next_version().to_string();
        let uid = self.next_uid();
        let store = self.store(resource);
        match object {
            None => {
                store.remove(name);
            }
            Some(mut object) => {
                if let Some(meta) = object
                    .pointer_mut("/metadata")
                    .and_then(Value::as_object_mut)
                {
                    meta.insert("resourceVersion".to_owned(), json!(version));
                    meta.entry("uid").or_insert_with(|| json!(uid));
                }
                store.insert(name.to_owned(), object);
            }
        }
    }

    /// Answers a call that arrived.
    pub(super) fn answer(
        &mut self,
        now: Duration,
        who: &Who,
        call: &Call,
    ) -> Result<(Value, Change), ApiError> {
        if let Err(message) = admit(self, who, call) {
            return Err(refuse(call, 403, "Forbidden", message));
        }
        match call.resource {
            Resource::Nodes | Resource::NodeStatus => self.node(call),
            Resource::Leases | Resource::ConfigMaps => self.object(now, call),
            Resource::DaemonSets => {
                let wanted = self.nodes.iter().filter(|node| node.exists).count();
                let set = json!({ "metadata": { "name": call.name }, "status": { "desiredNumberScheduled": wanted, "numberUnavailable": self.away } });
                Ok((set, Change::Other))
            }
            // Events are counted, not kept.
            Resource::Events => Ok((json!({ "metadata": { "name": call.name } }), Change::Other)),
        }
    }

    fn node(&mut self, call: &Call) -> Result<(Value, Change), ApiError> {
        let version = self.version + 1;
        let node = self
            .nodes
            .iter_mut()
            .find(|node| node.name == call.name && node.exists);
        let Some(node) = node else {
            return Err(missing(call));
        };
        if call.verb != Verb::Patch {
            return Ok((node.object(), Change::Other));
        }
        node.version = version;
        let patch = call
            .body
            .as_ref()
            .and_then(|body| body.pointer("/metadata/annotations"));
        for (key, value) in patch.and_then(Value::as_object).into_iter().flatten() {
            match value.as_str() {
                Some(text) => node.annotations.insert(key.clone(), text.to_owned()),
                None => node.annotations.remove(key),
            };
        }
        let object = node.object();
        self.version = version;
        Ok((object, Change::Node(call.name.clone())))
    }

    fn object(&mut self, now: Duration, call: &Call) -> Result<(Value, Change), ApiError> {
        match call.verb {
            Verb::List => Ok((self.list(now, call), Change::Other)),
            Verb::Get => match self.store(call.resource).get(&call.name) {
                Some(object) => Ok((object.clone(), Change::Other)),
                None => Err(missing(call)),
            },
            Verb::Create => self.create(now, call),
            Verb::Update => self.update(now, call),
            Verb::Delete => self.delete(now, call),
            Verb::Patch | Verb::Watch => {
                Err(refuse(call, 405, "MethodNotAllowed", "not here".to_owned()))
            }
        }
    }

    fn create(&mut self, now: Duration, call: &Call) -> Result<(Value, Change), ApiError> {
        let mut object = call.body.clone().unwrap_or(Value::Null);
        let name = name_of(&object).to_owned();
        if self.store(call.resource).contains_key(&name) {
            return Err(refuse(
                call,
                409,
                "AlreadyExists",
                format!("{name} already exists"),
            ));
        }
        self.keep_past(now, call.resource, &name);
        let (uid, version) = (self.next_uid(), self.next_version().to_string());
        if let Some(meta) = object
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
        {
            meta.insert("uid".to_owned(), json!(uid));
            meta.insert("resourceVersion".to_owned(), json!(version));
            meta.insert("creationTimestamp".to_owned(), json!(stamp(now)));
        }
        self.store(call.resource)
            .insert(name.clone(), object.clone());
        let change = match call.resource {
            Resource::Leases => Change::Created(name),
            _ => Change::Other,
        };
        Ok((object, change))
    }

    fn update(&mut self, now: Duration, call: &Call) -> Result<(Value, Change), ApiError> {
        let Some(old) = self.store(call.resource).get(&call.name).cloned() else {
            return Err(missing(call));
        };
        let mut object = call.body.clone().unwrap_or(Value::Null);
        for field in ["/metadata/uid", "/metadata/resourceVersion"] {
            let wanted = object.pointer(field);
            if wanted.is_some() && wanted != old.pointer(field) {
                return Err(conflict(call, "the object has been modified"));
            }
        }
        self.keep_past(now, call.resource, &call.name);
        let version = self.next_version().to_string();
        let kept = |field: &str| old.pointer(field).cloned().unwrap_or(Value::Null);
        if let Some(meta) = object
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
        {
            meta.insert("uid".to_owned(), kept("/metadata/uid"));
            meta.insert(
                "creationTimestamp".to_owned(),
                kept("/metadata/creationTimestamp"),
            );
            meta.insert("resourceVersion".to_owned(), json!(version));
        }
        self.store(call.resource)
            .insert(call.name.clone(), object.clone());
        let change = match call.resource {
            Resource::Leases => Change::Updated(call.name.clone()),
            _ => Change::Other,
        };
        Ok((object, change))
    }

    fn delete(&mut self, now: Duration, call: &Call) -> Result<(Value, Change), ApiError> {
        let Some(old) = self.store(call.resource).get(&call.name).cloned() else {
            return Err(missing(call));
        };
        for field in ["uid", "resourceVersion"] {
            let wanted = call
                .body
                .as_ref()
                .and_then(|body| body.pointer(&format!("/preconditions/{field}")));
            if wanted.is_some() && wanted != old.pointer(&format!("/metadata/{field}")) {
                return Err(conflict(call, "the precondition does not hold"));
            }
        }
        self.keep_past(now, call.resource, &call.name);
        self.next_version();
        self.store(call.resource).remove(&call.name);
        let change = match call.resource {
            Resource::Leases => Change::Deleted(call.name.clone()),
            _ => Change::Other,
        };
        Ok((json!({ "kind": "Status", "status": "Success" }), change))
    }

    fn list(&self, now: Duration, call: &Call) -> Value {
        let asked = |key: &str| {
            let found = call.query.iter().find(|(known, _)| *known == key);
            found.map(|(_, value)| value.as_str())
        };
        let current = match call.resource {
            Resource::Leases => &self.leases,
            _ => &self.maps,
        };
        let stale =
            (asked("resourceVersion") == Some("0")).then(|| self.as_it_was(now, call.resource));
        let objects = stale.as_ref().unwrap_or(current);
        let limit: usize = asked("limit")
            .and_then(|text| text.parse().ok())
            .unwrap_or(usize::MAX);
        let after = asked("continue").unwrap_or("");
        let mut chosen = objects.iter().filter(|(name, object)| {
            name.as_str() > after
                && asked("labelSelector").is_none_or(|selector| selects(selector, object))
        });
        let mut items = Vec::new();
        let mut last = "";
        for (name, object) in chosen.by_ref().take(limit) {
            items.push(object.clone());
            last = name;
        }
        let mut meta = Map::new();
        meta.insert(
            "resourceVersion".to_owned(),
            json!(self.version.to_string()),
        );
        if chosen.next().is_some() {
            meta.insert("continue".to_owned(), json!(last));
        }
        json!({ "kind": format!("{}List", call.resource.kind()), "metadata": meta, "items": items })
    }

    /// The objects as a read that may be stale sees them.
    fn as_it_was(&self, now: Duration, resource: Resource) -> BTreeMap<String, Value> {
        let mut objects = match resource {
            Resource::Leases => self.leases.clone(),
            _ => self.maps.clone(),
        };
        for (at, of, name, before) in self.past.iter().rev() {
            if now.saturating_sub(*at) > STALE {
                break;
            }
            if *of == resource {
                match before {
                    Some(object) => objects.insert(name.clone(), object.clone()),
                    None => objects.remove(name),
                };
            }
        }
        objects
    }

    /// The cap of a domain as the admission policy reads it.
    pub(super) fn cap(&self, domain: &str) -> u32 {
        let text = self
            .maps
            .get("limits")
            .and_then(|map| map.pointer("/data")?.get(domain)?.as_str());
        text.filter(|text| is_plain(text))
            .and_then(|text| text.parse().ok())
            .unwrap_or(if self.flaw == Some(Flaw::WidensGarbledLimits) {
                9
            } else {
                0
            })
    }

    /// The first breaker there is.
    pub(super) fn breaker(&self) -> Option<&String> {
        self.maps
            .iter()
            .find(|(_, map)| is_breaker(map))
            .map(|(name, _)| name)
    }
}

/// The policy's spelling of a number: no sign, no leading zero, at most three digits.
fn is_plain(text: &str) -> bool {
    let digits =
        !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

pub(super) fn name_of(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("")
}

pub(super) fn is_breaker(map: &Value) -> bool {
    name_of(map).starts_with("breaker-")
        || map
            .pointer("/metadata/labels/nodemend.io~1breaker")
            .is_some()
}

fn selects(selector: &str, object: &Value) -> bool {
    selector.split(',').all(|term| match term.split_once('=') {
        Some((key, value)) => {
            let label = object
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(key));
            label.and_then(Value::as_str) == Some(value)
        }
        None => true,
    })
}
