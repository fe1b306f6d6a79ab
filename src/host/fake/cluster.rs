//! An API server in memory: conflicts, preconditions and label selectors as the real one has them, and failures on request.

use crate::host::BoxFuture;
use crate::host::cluster::{ApiError, Call, Cluster, Resource, Verb, Watching};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How a call is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A refusal with this status and short word.
    Refuse(u16, &'static str),
    /// No answer, and nothing was done.
    Lost,
    /// No answer, and yet it was done.
    DoneInSilence,
    /// An answer that is no object.
    Garbled,
    /// This answer, whatever was asked.
    Says(Value),
}

#[derive(Default)]
struct World {
    objects: BTreeMap<(Resource, String), Value>,
    version: u64,
    failures: VecDeque<(Verb, Resource, Failure)>,
    calls: Vec<Call>,
}

/// The server.
#[derive(Default)]
pub struct FakeCluster {
    world: Mutex<World>,
}

impl FakeCluster {
    fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next call of this kind fails like this.
    pub fn fail(&self, verb: Verb, resource: Resource, failure: Failure) {
        self.with(|world| world.failures.push_back((verb, resource, failure)));
    }

    /// Puts an object there as it is, garbage or not.
    pub fn plant(&self, resource: Resource, object: Value) {
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or("garbage").to_owned();
        self.with(|world| world.objects.insert((resource, name), object));
    }

    /// Takes an object away, as garbage collection or a person does.
    pub fn remove(&self, resource: Resource, name: &str) {
        self.with(|world| world.objects.remove(&(resource, name.to_owned())));
    }

    /// The object, if it is there.
    pub fn find(&self, resource: Resource, name: &str) -> Option<Value> {
        self.with(|world| world.objects.get(&(resource, name.to_owned())).cloned())
    }

    /// Names of all objects of a resource.
    pub fn names(&self, resource: Resource) -> Vec<String> {
        self.with(|world| {
            let keys = world.objects.keys();
            keys.filter(|(kind, _)| *kind == resource)
                .map(|(_, name)| name.clone())
                .collect()
        })
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.with(|world| world.calls.clone())
    }
}

fn refuse(call: &Call, code: u16, reason: &str) -> ApiError {
    ApiError::Refused {
        what: call.what(),
        verb: call.verb.word(),
        code,
        reason: reason.to_owned(),
        message: format!("the fake says {reason}"),
        retry_after: None,
    }
}

impl World {
    fn stamp(&mut self, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    fn answer(&mut self, call: &Call) -> Result<Value, ApiError> {
        let key = (call.resource, call.name.clone());
        let body = call.body.clone().unwrap_or_default();
        match call.verb {
            Verb::Get => {
                let found = self.objects.get(&key).cloned();
                found.ok_or_else(|| refuse(call, 404, "NotFound"))
            }
            Verb::List => Ok(json!({ "items": self.select(call) })),
            Verb::Create => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let key = (call.resource, name.to_owned());
                if self.objects.contains_key(&key) {
                    return Err(refuse(call, 409, "AlreadyExists"));
                }
                let mut object = body;
                self.stamp(&mut object);
                object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
                let second = self.version % 60;
                object["metadata"]["creationTimestamp"] =
                    json!(format!("2026-11-22T09:00:{second:02}Z"));
                self.objects.insert(key, object.clone());
                Ok(object)
            }
            Verb::Update => {
                let Some(present) = self.objects.get(&key) else {
                    return Err(refuse(call, 404, "NotFound"));
                };
                let is_same = ["uid", "resourceVersion"]
                    .iter()
                    .all(|field| present["metadata"][field] == body["metadata"][field]);
                if !is_same {
                    return Err(refuse(call, 409, "Conflict"));
                }
                let mut object = body;
                self.stamp(&mut object);
                self.objects.insert(key, object.clone());
                Ok(object)
            }
            Verb::Delete => {
                let Some(present) = self.objects.get(&key) else {
                    return Err(refuse(call, 404, "NotFound"));
                };
                let wanted = &body["preconditions"];
                let is_same = ["uid", "resourceVersion"].iter().all(|field| {
                    wanted[field].is_null() || present["metadata"][field] == wanted[field]
                });
                if !is_same {
                    return Err(refuse(call, 409, "Conflict"));
                }
                self.objects.remove(&key);
                Ok(json!({ "kind": "Status", "status": "Success" }))
            }
            Verb::Patch | Verb::Watch => Err(refuse(call, 405, "MethodNotAllowed")),
        }
    }

    fn select(&self, call: &Call) -> Vec<Value> {
        let selector = call.query.iter().find(|(key, _)| *key == "labelSelector");
        let selector = selector.and_then(|(_, text)| text.split_once('='));
        let wanted = |object: &Value| {
            selector.is_none_or(|(key, value)| object["metadata"]["labels"][key] == value)
        };
        self.objects
            .iter()
            .filter(|((resource, _), object)| *resource == call.resource && wanted(object))
            .map(|(_, object)| object.clone())
            .collect()
    }
}

impl Cluster for FakeCluster {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, ApiError>> {
        let answer = self.with(|world| {
            world.calls.push(call.clone());
            let at = world
                .failures
                .iter()
                .position(|(verb, resource, _)| *verb == call.verb && *resource == call.resource);
            match at
                .and_then(|at| world.failures.remove(at))
                .map(|found| found.2)
            {
                None => world.answer(&call),
                Some(Failure::Refuse(code, reason)) => Err(refuse(&call, code, reason)),
                Some(Failure::Says(answer)) => Ok(answer),
                Some(Failure::Garbled) => Ok(json!({ "items": "none", "metadata": 7 })),
                Some(failure) => {
                    if failure == Failure::DoneInSilence {
                        // The answer is what gets lost.
                        world.answer(&call).ok();
                    }
                    Err(ApiError::Late {
                        what: call.what(),
                        limit: crate::host::cluster::CALL_LIMIT,
                    })
                }
            }
        });
        Box::pin(async move { answer })
    }

    fn watch(&self, call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>> {
        Box::pin(async move { Err(refuse(&call, 405, "MethodNotAllowed")) })
    }
}
