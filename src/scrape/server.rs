//! The HTTP/1 server: bounded in connections, header bytes and patience, with TLS and users by
//! `--web.config.file`.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::collectors::source::shared::lock;
use crate::document::in_full;
use crate::host::clock;
use crate::scrape::auth::Doorkeeper;
use crate::scrape::http::{Answer, refusal};
use crate::scrape::web_config::{Rate, Stamp, WebConfig, WebConfigError};

/// Most connections at once. A Prometheus keeps one; a node is scraped by a handful.
pub const MAX_CONNECTIONS: usize = 256;
/// Most bytes of a request's head; more is answered with 431.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long a head may take to arrive, and how long a connection may stay silent between
/// requests: longer than any sensible scrape interval.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// How long a client may take no byte of its answer.
const STALL_TIME: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How often the web configuration is looked at for changes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the server answers with.
pub trait Routes: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;
}

/// The server's settings; those of one may serve several listeners.
#[derive(Debug)]
pub struct Server<R> {
    routes: Arc<R>,
    door: Arc<Door>,
}

/// TLS and users, read again when their file or one that it names changed.
#[derive(Debug)]
struct Door {
    path: Option<PathBuf>,
    state: Mutex<DoorState>,
}

#[derive(Debug, Clone)]
struct DoorState {
    web: WebConfig,
    keeper: Arc<Doorkeeper>,
    valve: Option<Arc<Valve>>,
    looked: Duration,
}

/// Answers no more requests than the web configuration's `rate_limit` allows: a bucket that fills with time.
#[derive(Debug)]
struct Valve {
    rate: Rate,
    /// Requests that may be answered at once, and when that was so.
    level: Mutex<(f64, Duration)>,
}

impl Valve {
    fn of(rate: Rate) -> Valve {
        let level = Mutex::new((f64::from(rate.burst), clock::monotonic()));
        Valve { rate, level }
    }

    fn admits(&self, now: Duration) -> bool {
        let mut level = lock(&self.level);
        let more = now.saturating_sub(level.1).as_secs_f64() / self.rate.interval.as_secs_f64();
        let full = (level.0 + more).min(f64::from(self.rate.burst));
        let admits = full >= 1.0;
        *level = (if admits { full - 1.0 } else { full }, now);
        admits
    }
}

impl<R> Clone for Server<R> {
    fn clone(&self) -> Server<R> {
        Server {
            routes: Arc::clone(&self.routes),
            door: Arc::clone(&self.door),
        }
    }
}

impl<R: Routes> Server<R> {
    /// A server of `routes`; `web_config` is the path of `--web.config.file`.
    ///
    /// *Errors*: the web configuration cannot be used.
    pub fn new(routes: R, web_config: Option<&Path>) -> Result<Server<R>, WebConfigError> {
        let web = web_config
            .map(WebConfig::load)
            .transpose()?
            .unwrap_or_default();
        let state = DoorState::new(web);
        let path = web_config.map(Path::to_path_buf);
        let door = Door {
            path,
            state: Mutex::new(state),
        };
        Ok(Server {
            routes: Arc::new(routes),
            door: Arc::new(door),
        })
    }

    /// Serves one connection that is already there and needs no TLS, until its client is done.
    ///
    /// *Cancel safety*: dropping it ends the connection.
    pub async fn serve_stream<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let state = self.door.state();
        http(Unstalled::new(stream), &*self.routes, &state).await;
    }

    /// Serves until the future is dropped.
    ///
    /// *Errors*: the listener broke; running out of descriptors is waited out.
    /// *Cancel safety*: dropping it ends all connections.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut open = JoinSet::new();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_passing(&error) => {
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            while open.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                refuse(&stream);
                continue;
            };
            let (routes, door) = (Arc::clone(&self.routes), Arc::clone(&self.door));
            open.spawn(async move {
                connection(stream, &*routes, &door).await;
                drop(place);
            });
        }
    }
}

/// One connection from its handshake to its end. What goes wrong with a client ends its
/// connection and concerns nobody else.
async fn connection<R: Routes>(stream: TcpStream, routes: &R, door: &Door) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let state = door.state();
    let stream = Unstalled::new(stream);
    match &state.web.tls {
        None => http(stream, routes, &state).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(tls));
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
                http(stream, routes, &state).await;
            }
        }
    }
}

async fn http<R, S>(stream: S, routes: &R, state: &DoorState)
where
    R: Routes,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(|request: Request<Incoming>| async move {
        let is_shut = |valve: &Arc<Valve>| !valve.admits(clock::monotonic());
        if state.valve.as_ref().is_some_and(is_shut) {
            return Ok(refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"));
        }
        let header = request
            .headers()
            .get(AUTHORIZATION)
            .map(|value| value.to_str());
        let admitted = match header {
            None => state.keeper.admits(None).await,
            Some(Ok(text)) => state.keeper.admits(Some(text)).await,
            Some(Err(_)) => false,
        };
        let mut answer = if admitted {
            routes.answer(request).await
        } else {
            unauthorized()
        };
        for (name, value) in &state.web.headers {
            let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
            if let (Ok(name), Ok(value)) = pair {
                answer.headers_mut().insert(name, value);
            }
        }
        Ok::<_, std::convert::Infallible>(answer)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection ended");
    }
}

fn unauthorized() -> Answer {
    let mut answer = refusal(StatusCode::UNAUTHORIZED, "Unauthorized");
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    answer
}

/// Tells a client that there is no room, as far as its socket takes it without waiting.
fn refuse(stream: &TcpStream) {
    let answer =
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    if let Err(error) = stream.try_write(answer) {
        tracing::debug!(error = %error, "refused a connection without a word");
    }
}

/// Whether accepting works again once others closed something.
fn is_passing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::ECONNABORTED)
    )
}

impl Door {
    /// The present state; a changed file is read again, and if it cannot be used the old state
    /// stays and the log says so.
    fn state(&self) -> DoorState {
        let mut state = lock(&self.state);
        let now = clock::monotonic();
        if let Some(path) = &self.path
            && now.saturating_sub(state.looked) >= LOOK_AGAIN
        {
            state.looked = now;
            let files: Vec<_> = state.web.files.iter().map(Stamp::again).collect();
            if files != state.web.files {
                match WebConfig::load(path) {
                    Ok(web) => *state = DoorState::new(web),
                    Err(error) => {
                        state.web.files = files;
                        tracing::warn!(
                            error = in_full(&error),
                            "web configuration not taken; the old one stays"
                        );
                    }
                }
            }
        }
        state.clone()
    }
}

impl DoorState {
    fn new(web: WebConfig) -> DoorState {
        DoorState {
            keeper: Arc::new(Doorkeeper::new(web.users.clone())),
            valve: web.rate.map(|rate| Arc::new(Valve::of(rate))),
            web,
            looked: clock::monotonic(),
        }
    }
}

/// A stream that breaks when the other side takes nothing for [`STALL_TIME`].
struct Unstalled<S> {
    stream: S,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Unstalled<S> {
    fn new(stream: S) -> Unstalled<S> {
        Unstalled {
            stream,
            stalled: None,
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(STALL_TIME)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
