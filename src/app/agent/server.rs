//! The pages over HTTP: read-only on TCP (`scrape::server`), and with control on the private socket.

use super::core::{Core, Message};
use super::face::{Control, ControlAnswer};
use crate::report::audit::Reader;
use crate::report::metrics::Present;
use crate::scrape::http::{Answer, MetricsRoute, refusal};
use crate::scrape::page::Contributor;
use crate::scrape::server::Routes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// The families of this program, on the page of the node's metrics.
pub struct OwnFamilies(pub Weak<Core>);

impl Contributor for OwnFamilies {
    fn contribute(&mut self, page: &mut String) {
        let Some(core) = self.0.upgrade() else { return };
        let probes = core.vision.views();
        let (audit, is_stopped) = (core.scribe.counts(), !core.trouble().is_empty());
        let engine = core.engine();
        core.metrics.write(
            &Present {
                engine: &engine,
                probes: &probes,
                audit,
                late: core.scribe.waiting(),
                is_stopped,
            },
            page,
        );
    }
}

/// How many connections are served at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send its request's head.
const MAX_HEAD: Duration = Duration::from_secs(10);
/// Where the metrics page is, unless its door has another place for it.
const METRICS: &str = "/metrics";
/// The largest body of a control request.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// How many audit records one page holds.
const MAX_AUDIT_RECORDS: usize = 200;

/// Answers the requests of one door: TCP, or the private socket.
#[derive(Clone)]
pub struct Pages {
    core: Arc<Core>,
    metrics: MetricsRoute,
    metrics_path: Arc<str>,
    /// `None` on doors that take no orders.
    orders: Option<mpsc::Sender<Message>>,
}

impl Routes for Pages {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(self.respond(request))
    }
}

impl Pages {
    /// A door that only shows.
    pub fn showing(core: Arc<Core>, metrics: MetricsRoute, metrics_path: &str) -> Self {
        Self {
            core,
            metrics,
            metrics_path: Arc::from(metrics_path),
            orders: None,
        }
    }

    /// A door that takes orders too.
    pub fn commanding(
        core: Arc<Core>,
        metrics: MetricsRoute,
        orders: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            core,
            metrics,
            metrics_path: Arc::from(METRICS),
            orders: Some(orders),
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        match (&method, path.as_str(), &self.orders) {
            (&Method::POST, "/api/v1/control", Some(orders)) => control(request, orders).await,
            (&Method::GET | &Method::HEAD, path, _) if path == &*self.metrics_path => {
                let query = request.uri().query().unwrap_or_default();
                self.metrics
                    .respond(&method, query, request.headers())
                    .await
            }
            (&Method::GET | &Method::HEAD, path, _) => self.show(path).await,
            _ => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are served here",
            ),
        }
    }

    async fn show(&self, path: &str) -> Answer {
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.core.vision.has_looked() => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the first full pass is not done\n",
            ),
            "/api/v1/status" => json(&self.core.status()),
            "/api/v1/cases" => json(&self.core.cases()),
            "/api/v1/signatures" => json(&self.core.signatures()),
            "/api/v1/runs" => self.records(true).await,
            "/api/v1/audit" => self.records(false).await,
            "/" => text(
                StatusCode::OK,
                &format!(
                    "nodemend: {} /healthz /readyz /api/v1/{{status,cases,signatures,runs,audit}}\n",
                    self.metrics_path
                ),
            ),
            _ => text(StatusCode::NOT_FOUND, "not here; / lists what is\n"),
        }
    }

    /// The newest audit records, or those of them that are about runs; read off the async thread.
    async fn records(&self, runs_only: bool) -> Answer {
        let dir = self.core.audit_dir.clone();
        let read = tokio::task::spawn_blocking(move || {
            let lines = Reader::open(&dir).map_err(|error| error.to_string())?;
            // Only the page is kept: the log may be larger than the agent's memory.
            let mut newest = VecDeque::with_capacity(MAX_AUDIT_RECORDS);
            let records = lines.filter_map(|line| line.record.ok());
            for record in records.filter(|record| !runs_only || record.run.is_some()) {
                if newest.len() == MAX_AUDIT_RECORDS {
                    newest.pop_front();
                }
                newest.push_back(record);
            }
            Ok::<_, String>(newest)
        });
        match read.await {
            Ok(Ok(records)) => json(&records),
            Ok(Err(why)) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("the audit log cannot be read: {why}\n"),
            ),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }
}

async fn control(request: Request<Incoming>, orders: &mpsc::Sender<Message>) -> Answer {
    let body = match Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::PAYLOAD_TOO_LARGE, &format!("{error}\n")),
    };
    let control: Control = match serde_json::from_slice(&body) {
        Ok(control) => control,
        Err(error) => {
            return text(
                StatusCode::BAD_REQUEST,
                &format!("not a control: {error}\n"),
            );
        }
    };
    let (reply, answer) = oneshot::channel();
    if orders.send(Message::Control(control, reply)).await.is_err() {
        return json(&ControlAnswer::refused("the agent is ending"));
    }
    match answer.await {
        Ok(answer) => json(&answer),
        Err(_) => json(&ControlAnswer::refused("the agent is ending")),
    }
}

fn text(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(message.to_owned())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut answer = Response::new(Full::new(Bytes::from(body)));
            answer
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

/// How long to wait after an accept that failed (no file descriptors left), so that it does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(200);

async fn serve_one(stream: UnixStream, pages: Pages) {
    let service = service_fn(move |request| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.respond(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client's connection failed");
    }
}

/// Serves the private socket for ever.
pub async fn serve_unix(listener: UnixListener, pages: Pages) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = pages.clone();
                tokio::spawn(async move {
                    serve_one(stream, pages).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Opens the private socket, for its owner only. A socket that nobody answers on is left over and replaced.
///
/// # Errors
/// The folder cannot be used, or another agent answers there.
pub async fn bind_private(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    if path.exists() {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AddrInUse,
                "another agent answers there",
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
