//! Between an agent and the API server, somebody whose answers are cut off, late, of the wrong kind, full of unknown fields, or
//! none of the server's at all. What the agent asks for is done all the same, except where the server is said to be busy.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api::client;
use crate::background::Background;
use crate::troubles::Chance;

/// One more second than a call may take.
const LATE: Duration = Duration::from_secs(6);
/// One of so many answers is a lie.
const ONE_OF: usize = 3;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It comes after the caller gave up.
    Late,
    /// Half of it.
    Half,
    /// A page for people.
    Page,
    /// Another kind of object.
    OtherKind,
    /// The object without what names its version.
    Bare,
    /// Fields that nobody knows, at every depth.
    NewFields,
    /// The server is said to be busy, and is not asked.
    Busy,
}

type Whole = Response<UnsyncBoxBody<Bytes, kube::Error>>;

struct Mind {
    lie: Lie,
    chance: Chance,
    is_honest: bool,
    told: usize,
}

/// One agent's liar; it ends with this value.
pub struct Liar {
    url: String,
    mind: Arc<Mutex<Mind>>,
    _background: Background,
}

impl Liar {
    /// Lies like this to whoever asks it, and asks the server as `kubeconfig` says.
    pub fn start(kubeconfig: &str, lie: Lie) -> Self {
        let mind = Arc::new(Mutex::new(Mind {
            lie,
            chance: Chance::of(7),
            is_honest: false,
            told: 0,
        }));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("a port in the test's own network");
        let address = listener.local_addr().expect("an address");
        let (own, kubeconfig) = (Arc::clone(&mind), kubeconfig.to_owned());
        let background = Background::serve(listener, move |listener| async move {
            serve(listener, client(&kubeconfig).await, own).await;
        });
        Self {
            url: format!("http://{address}"),
            mind,
            _background: background,
        }
    }

    /// The URL at which an agent finds it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often it lied.
    pub fn told(&self) -> usize {
        lock(&self.mind).told
    }

    /// From now on it tells what it is told.
    pub fn be_honest(&self) {
        lock(&self.mind).is_honest = true;
    }
}

impl Mind {
    fn draw(&mut self) -> Option<Lie> {
        if self.is_honest || self.chance.below(ONE_OF) > 0 {
            return None;
        }
        self.told += 1;
        Some(self.lie)
    }
}

fn lock(mind: &Mutex<Mind>) -> MutexGuard<'_, Mind> {
    mind.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, client: Client, mind: Arc<Mutex<Mind>>) {
    loop {
        let Ok((line, _)) = listener.accept().await else {
            continue;
        };
        let (client, mind) = (client.clone(), Arc::clone(&mind));
        let service = service_fn(move |request| {
            let (client, lie) = (client.clone(), lock(&mind).draw());
            async move { Ok::<_, Infallible>(answer(&client, request, lie).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(line), service);
        tokio::spawn(async move {
            // The agent gave it up.
            connection.await.ok();
        });
    }
}

async fn answer(client: &Client, request: Request<Incoming>, lie: Option<Lie>) -> Whole {
    if lie == Some(Lie::Busy) {
        let busy = Response::builder().status(429).header(RETRY_AFTER, "1");
        return busy.body(full("")).expect("a sound answer");
    }
    let is_watch = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    let (head, body) = request.into_parts();
    let mut forward = Request::builder().method(head.method).uri(head.uri);
    for name in [ACCEPT, CONTENT_TYPE] {
        if let Some(value) = head.headers.get(&name) {
            forward = forward.header(name, value);
        }
    }
    let body = body.collect().await.map(|body| body.to_bytes());
    let forward = forward.body(Body::from(body.unwrap_or_default().to_vec()));
    let forward = forward.expect("what came can be sent on");
    let Ok(response) = client.send(forward).await else {
        let away = Response::builder().status(502);
        return away.body(full("")).expect("a sound answer");
    };
    let (head, body) = response.into_parts();
    let mut answer = Response::builder().status(head.status);
    if let Some(kind) = head.headers.get(CONTENT_TYPE) {
        answer = answer.header(CONTENT_TYPE, kind);
    }
    let body = match lie {
        None => body.boxed_unsync(),
        Some(lie) if is_watch => full(&event(lie)),
        Some(lie) => {
            let whole = body.collect().await.map(|body| body.to_bytes());
            let whole = String::from_utf8_lossy(&whole.unwrap_or_default()).into_owned();
            if lie == Lie::Late {
                tokio::time::sleep(LATE).await;
            }
            full(&twisted(&whole, lie))
        }
    };
    answer.body(body).expect("a sound answer")
}

fn full(text: &str) -> UnsyncBoxBody<Bytes, kube::Error> {
    let whole = Full::new(Bytes::from(text.to_owned()));
    whole.map_err(|never| match never {}).boxed_unsync()
}

/// What a watch says instead of what happened; it ends after it.
fn event(lie: Lie) -> String {
    let pod = json!({ "kind": "Pod", "metadata": { "name": "x" } });
    match lie {
        Lie::Half => "{\"type\":\"MODIF".to_owned(),
        Lie::Page => "<html>\n".to_owned(),
        Lie::OtherKind => format!("{}\n", json!({ "type": "MODIFIED", "object": pod })),
        Lie::Bare => format!("{}\n", json!({ "type": "MODIFIED", "object": {} })),
        Lie::NewFields => format!("{}\n", json!({ "type": "RENAMED", "object": pod })),
        Lie::Late | Lie::Busy => String::new(),
    }
}

fn twisted(text: &str, lie: Lie) -> String {
    let mut object: Value = serde_json::from_str(text).unwrap_or_default();
    match lie {
        Lie::Half => text.chars().take(text.chars().count() / 2).collect(),
        Lie::Page => "<html><body>Please log in</body></html>".to_owned(),
        Lie::OtherKind => json!({ "kind": "Pod", "apiVersion": "v1", "items": 7,
            "metadata": { "name": "x", "uid": "u", "resourceVersion": "1" } })
        .to_string(),
        Lie::Bare => {
            strip(&mut object);
            object.to_string()
        }
        Lie::NewFields => {
            swell(&mut object);
            object.to_string()
        }
        Lie::Late | Lie::Busy => text.to_owned(),
    }
}

/// Takes uid and version out of every object.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("uid");
            map.remove("resourceVersion");
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Puts a field of the future into every object, but not into maps of text.
fn swell(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(swell);
            let is_of_text = map.values().all(Value::is_string);
            if !is_of_text {
                map.insert("future".to_owned(), json!({ "deep": [[{ "x": 1e300 }]] }));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(swell),
        _ => {}
    }
}

#[test]
fn every_lie_but_new_fields_takes_something_away_that_matters() {
    let lease = json!({ "kind": "Lease", "metadata": { "name": "a", "uid": "u",
        "resourceVersion": "7", "labels": { "l": "1" } } });
    let read = |lie| serde_json::from_str::<Value>(&twisted(&lease.to_string(), lie));
    assert!(read(Lie::Half).is_err() && read(Lie::Page).is_err());
    assert_eq!(read(Lie::OtherKind).expect("JSON")["kind"], "Pod");
    let bare = read(Lie::Bare).expect("JSON");
    assert_eq!(
        bare["metadata"],
        json!({ "name": "a", "labels": { "l": "1" } })
    );
    let mut swollen = read(Lie::NewFields).expect("JSON");
    assert_ne!(swollen, lease);
    assert_eq!(swollen["metadata"]["labels"], json!({ "l": "1" }));
    for at in ["", "/metadata"] {
        let part = swollen.pointer_mut(at).and_then(Value::as_object_mut);
        part.expect("it is there")
            .remove("future")
            .expect("it was put there");
    }
    assert_eq!(swollen, lease);
}
