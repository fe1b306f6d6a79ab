//! The way from an agent to the API server, with everything that can happen on it.

use super::admission::Who;
use super::consent::consent_of;
use super::crooked::blind;
use super::flaw::Flaw;
use super::scenario::Share;
use super::server::{Change, name_of};
use super::world::{State, World, lock};
use crate::host::BoxFuture;
use crate::host::cluster::{ApiError, CALL_LIMIT, Call, Cluster, Resource, Verb, Watching};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The namespace of the agents.
pub(super) const NAMESPACE: &str = "nodemend";

/// One node's way to the API server.
pub(super) struct Line {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
    /// What flawed agents remember of answers.
    pub(super) memory: Mutex<BTreeMap<String, Value>>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives { is_answered: bool, dies_after: bool },
    Slow(Duration),
    Lost,
    Refused(u16),
    Unreachable,
}

fn happens(state: &mut State, share: Share) -> bool {
    share.0 > 0 && state.chance.below(u64::from(Share::ALL.0)) < u64::from(share.0)
}

impl Line {
    pub(super) fn of(world: &Arc<World>, node: usize) -> Self {
        Self {
            world: Arc::clone(world),
            node,
            memory: Mutex::default(),
        }
    }

    async fn wait(&self, span: Duration) {
        self.world.hall.sleep(Some(self.node), span).await;
    }

    /// How long the way is, and what happens on it.
    fn fate(&self, call: &Call) -> (Duration, Fate) {
        let chaos = self.world.scenario.chaos;
        let now = self.world.hall.now();
        self.world.with(|state| {
            state
                .meter
                .request(now, call.verb.word(), call.resource.word());
            let way = state
                .chance
                .span(Duration::from_millis(1), Duration::from_millis(8));
            let is_cut = state.bodies.get(self.node).is_none_or(|body| body.cut > 0);
            let weather = &state.weather;
            let (down, slow) = (weather.down > 0, weather.slow > 0);
            let (busy, failing, losing) =
                (weather.busy > 0, weather.failing > 0, weather.losing > 0);
            let fate = if is_cut || happens(state, chaos.requests_lost) {
                Fate::Lost
            } else if down {
                Fate::Unreachable
            } else if busy || happens(state, chaos.refusals) {
                Fate::Refused(429)
            } else if failing && state.chance.one_in(2) {
                Fate::Refused(503)
            } else if slow || happens(state, chaos.slow) {
                let took = state
                    .chance
                    .span(Duration::from_millis(500), Duration::from_secs(9));
                Fate::Slow(took)
            } else {
                let is_lost =
                    happens(state, chaos.answers_lost) || losing && state.chance.one_in(2);
                Fate::Arrives {
                    is_answered: !is_lost,
                    dies_after: happens(state, chaos.crashes_after_write),
                }
            };
            (way, fate)
        })
    }

    pub(super) async fn send(&self, call: Call) -> Result<Value, ApiError> {
        let (way, fate) = self.fate(&call);
        let what = call.what();
        let late = || ApiError::Late {
            what: what.clone(),
            limit: CALL_LIMIT,
        };
        match fate {
            Fate::Unreachable => {
                self.wait(way).await;
                self.disturbed();
                Err(ApiError::Unreachable {
                    what,
                    why: "connection refused".to_owned(),
                })
            }
            Fate::Lost => {
                self.disturbed();
                self.wait(CALL_LIMIT).await;
                Err(late())
            }
            Fate::Refused(code) => {
                self.wait(way).await;
                self.disturbed();
                Err(self.turned_away(&call, code))
            }
            Fate::Slow(took) => self.crawl(call, took).await.unwrap_or_else(|| Err(late())),
            Fate::Arrives {
                is_answered,
                dies_after,
            } => {
                self.wait(way).await;
                let answer = arrive(&self.world, self.node, &call);
                let is_write = !matches!(call.verb, Verb::Get | Verb::List | Verb::Watch);
                if dies_after && is_write && answer.is_ok() {
                    super::people::crash(&self.world, self.node);
                    std::future::pending::<()>().await;
                }
                if !is_answered {
                    self.disturbed();
                    self.wait(CALL_LIMIT).await;
                    return Err(late());
                }
                self.wait(way).await;
                let now = self.world.hall.now();
                self.world.with(|state| state.jury.heard(now, self.node));
                answer
            }
        }
    }

    /// A call that arrives late, perhaps after its sender has given up. `None`: the sender gave up.
    async fn crawl(&self, call: Call, took: Duration) -> Option<Result<Value, ApiError>> {
        let answer: Arc<Mutex<Option<Result<Value, ApiError>>>> = Arc::default();
        let (world, node, place) = (Arc::clone(&self.world), self.node, Arc::clone(&answer));
        self.world.hall.spawn(None, async move {
            world.hall.sleep(None, took / 2).await;
            *lock(&place) = Some(arrive(&world, node, &call));
        });
        self.disturbed();
        self.wait(took.min(CALL_LIMIT)).await;
        if took > CALL_LIMIT {
            return None;
        }
        let now = self.world.hall.now();
        self.world.with(|state| state.jury.heard(now, self.node));
        lock(&answer).take()
    }

    /// Something stood between this node and the server: its claim to a free slot counts anew (I19).
    fn disturbed(&self) {
        let now = self.world.hall.now();
        self.world.body(self.node, |body| body.clear_since = now);
    }

    fn turned_away(&self, call: &Call, code: u16) -> ApiError {
        let wait = self.world.spread(self.node, Duration::from_secs(4));
        let (reason, message) = match code {
            429 => (
                "TooManyRequests",
                "too many requests, please try again later",
            ),
            _ => ("ServiceUnavailable", "etcdserver: leader changed"),
        };
        ApiError::Refused {
            what: call.what(),
            verb: call.verb.word(),
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            retry_after: (code == 429).then_some(wait),
        }
    }
}

/// The call is at the server: it is done now, whatever becomes of its answer.
pub(super) fn arrive(world: &World, node: usize, call: &Call) -> Result<Value, ApiError> {
    let who = world.agent(node);
    let answer = serve(world, node, &who, call);
    if let Ok((_, Change::Node(name))) = &answer
        && let Some(index) = world.names.iter().position(|known| known == name)
    {
        let lag = world.spread(node, Duration::from_millis(200));
        world.announce(index, "MODIFIED", lag);
    }
    answer.map(|(object, _)| object)
}

/// Answers a call of `who`, and lets the jury see what it did.
pub(super) fn serve(
    world: &World,
    node: usize,
    who: &Who,
    call: &Call,
) -> Result<(Value, Change), ApiError> {
    let now = world.hall.now();
    let name = world.name(node);
    world.with(|state| {
        let answer = state.server.answer(now, who, call);
        let code = match &answer {
            Ok(_) => 200,
            Err(error) => error.code().unwrap_or(0),
        };
        let object = match call.verb {
            Verb::Create => call.body.as_ref().map(name_of).unwrap_or(""),
            _ => call.name.as_str(),
        };
        let line = format!(
            "{} {} {object} {code}",
            call.verb.word(),
            call.resource.word()
        );
        state.log.note(now, name, &line);
        match &answer {
            Ok((object, change)) => {
                state.jury.wrote(now, who, node, change, &state.server);
                let is_own = call.resource == Resource::Nodes && call.name == name;
                if call.verb == Verb::Get && is_own {
                    let version = object
                        .pointer("/metadata/resourceVersion")
                        .and_then(Value::as_str);
                    let version = version.unwrap_or("").to_owned();
                    state.jury.read_node(node, version, consent_of(object));
                }
            }
            Err(ApiError::Refused {
                code: 403, message, ..
            }) => {
                let why = format!("server: {message}");
                state.meter.refused(&why);
            }
            Err(_) => {}
        }
        answer
    })
}

impl Cluster for Line {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, ApiError>> {
        match self.world.flaw {
            Some(flaw) => Box::pin(self.flawed(flaw, call)),
            None => Box::pin(self.send(call)),
        }
    }

    fn watch(&self, call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>> {
        Box::pin(async move {
            let span = call
                .query
                .iter()
                .find(|(key, _)| *key == "timeoutSeconds")
                .and_then(|(_, value)| value.parse().ok())
                .map_or(Duration::from_secs(1800), Duration::from_secs);
            // What happened since the version that was read is told first; here that is what is still under way.
            let get = Call::new(Verb::Watch, Resource::Nodes, "", self.world.name(self.node));
            let feed = self.world.feeds.get(self.node);
            if let Some(feed) = feed {
                // What comes from now on is told, also what comes while the answer is on its way.
                *lock(&feed.broken) = false;
                lock(&feed.events).clear();
            }
            let object = self.send(get).await?;
            let known = call.query.iter().find(|(key, _)| *key == "resourceVersion");
            let version = object
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str);
            if let Some(feed) = feed
                && version != known.map(|(_, value)| value.as_str())
            {
                let event = json!({ "type": "MODIFIED", "object": object });
                lock(&feed.events).push_back((self.world.hall.now(), event));
            }
            let watching: Box<dyn Watching> = Box::new(OpenWatch {
                world: Arc::clone(&self.world),
                node: self.node,
                until: self.world.hall.now().saturating_add(span),
            });
            Ok(watching)
        })
    }
}

struct OpenWatch {
    world: Arc<World>,
    node: usize,
    until: Duration,
}

/// What an open watch does next.
enum News {
    Told(Option<Result<Value, ApiError>>),
    Wait(Duration),
}

impl OpenWatch {
    fn news(&self) -> News {
        let Some(feed) = self.world.feeds.get(self.node) else {
            return News::Told(None);
        };
        if *lock(&feed.broken) {
            return News::Told(Some(Err(ApiError::Unreachable {
                what: "the watch".to_owned(),
                why: "connection reset by peer".to_owned(),
            })));
        }
        let now = self.world.hall.now();
        let is_cut = self
            .world
            .body(self.node, |body| body.cut > 0)
            .unwrap_or(true);
        let mut events = lock(&feed.events);
        let first = events.front().map(|(due, _)| *due);
        if !is_cut && first.is_some_and(|due| due <= now) {
            let mut event = events.pop_front().map(|(_, event)| event);
            let object = event.as_mut().and_then(|event| event.get_mut("object"));
            if let (Some(Flaw::BlindToTheControlPlane), Some(object)) = (self.world.flaw, object) {
                blind(object);
            }
            return News::Told(event.map(Ok));
        }
        if now >= self.until {
            return News::Told(None);
        }
        let next = first
            .filter(|due| *due > now)
            .unwrap_or(self.until)
            .min(self.until);
        News::Wait(next.saturating_sub(now))
    }

    async fn wait_for_news(&mut self) -> Option<Result<Value, ApiError>> {
        let world = Arc::clone(&self.world);
        let feed = world.feeds.get(self.node)?;
        loop {
            let span = match self.news() {
                News::Told(news) => return news,
                News::Wait(span) => span,
            };
            tokio::select! {
                biased;
                () = feed.news.notified() => {}
                () = world.hall.sleep(Some(self.node), span) => {}
            }
        }
    }
}

impl Watching for OpenWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Value, ApiError>>> {
        Box::pin(self.wait_for_news())
    }
}
