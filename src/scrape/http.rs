//! `/metrics` as an answer to an HTTP request; to be mounted beside other routes.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use hyper::{Method, Response, StatusCode};
use tokio::sync::{Mutex, Semaphore};

use crate::collectors::TABLE;
use crate::collectors::settings::Settings;
use crate::collectors::source::apart::Next;
use crate::exposition::gzip::Gzip;
use crate::exposition::negotiate::{Format, wants_gzip};
use crate::exposition::openmetrics;
use crate::scrape::page::ScrapePage;
use crate::scrape::selection::Selection;

/// An answer, whole.
pub type Answer = Response<Full<Bytes>>;

/// Most scrapes waiting at once, as node_exporter's `--web.max-requests`; more are told to come
/// back.
pub const MAX_SCRAPES: usize = 40;

/// Serves the page.
#[derive(Debug, Clone)]
pub struct MetricsRoute {
    served: Arc<Mutex<Served>>,
    settings: Arc<Settings>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Served {
    page: ScrapePage,
    openmetrics: Vec<u8>,
    gzip: Gzip,
}

impl MetricsRoute {
    /// Serves `page`, whose collectors were opened with `settings`.
    pub fn new(page: ScrapePage, settings: Settings) -> MetricsRoute {
        let served = Served {
            page,
            openmetrics: Vec::new(),
            gzip: Gzip::default(),
        };
        MetricsRoute {
            served: Arc::new(Mutex::new(served)),
            settings: Arc::new(settings),
            turns: Arc::new(Semaphore::new(MAX_SCRAPES)),
        }
    }

    /// Answers a request for the page: 200 with it, 400 for a selection that makes no sense, 405
    /// for anything but GET and HEAD, 503 when too many scrapes wait.
    ///
    /// *Cancel safety*: dropping it leaves a page half written; the next one starts anew.
    pub async fn respond(&self, method: &Method, query: &str, headers: &HeaderMap) -> Answer {
        if method != Method::GET && method != Method::HEAD {
            return refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are served here",
            );
        }
        let selection = match Selection::of_query(query, TABLE, &self.settings) {
            Ok(selection) => selection,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let Ok(_turn) = self.turns.try_acquire() else {
            return refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many scrapes at once; come back",
            );
        };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let format = Format::of_accept(text(ACCEPT).unwrap_or_default());
        let gzip = wants_gzip(text(ACCEPT_ENCODING).unwrap_or_default());
        let mut served = self.served.lock().await;
        let Served {
            page,
            openmetrics,
            gzip: packer,
        } = &mut *served;
        page.begin(&selection);
        let told = page.told();
        while let Next::Wait(time) = page.what_next() {
            wait(&told, time).await;
        }
        let mut body = page.finish();
        if format == Format::OpenMetrics {
            openmetrics::convert(body, openmetrics);
            body = openmetrics;
        }
        let packed = if gzip { packer.compress(body) } else { None };
        let answer = Response::new(Full::new(Bytes::copy_from_slice(packed.unwrap_or(body))));
        let is_packed = packed.is_some();
        drop(served);
        with_headers(answer, format, is_packed)
    }
}

/// Waits until told, but not longer than `time`; the caller looks for itself either way.
async fn wait(told: &tokio::sync::Notify, time: Duration) {
    tokio::select! {
        () = told.notified() => {}
        () = tokio::time::sleep(time) => {}
    }
}

fn with_headers(mut answer: Answer, format: Format, is_packed: bool) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// A short answer in plain text that says why not.
pub fn refusal(status: StatusCode, why: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}
