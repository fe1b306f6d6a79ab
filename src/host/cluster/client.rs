//! The kube client behind the port: its own retries are off, every answer is bounded in time and size.

use super::call::{Call, Resource, Verb};
use super::error::ApiError;
use super::{CALL_LIMIT, Cluster, Watching};
use crate::host::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Request, Response};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The largest answer that is read: a page of 500 leases is half a megabyte, a Node with many images 60 KiB.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// The longest sentence that is kept of a refusal.
const MAX_MESSAGE_CHARS: usize = 400;
/// The longest that a server's Retry-After is obeyed for: garbage in that header must not silence an agent for years.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// How long a watch may be silent. The server sends a bookmark every minute; a line that is dead says nothing, and until that is
/// noticed a person's pause is not heard. Two bookmarks that did not come, and half a minute for a busy server.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(150);

/// How to get to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// By the pod's service account.
    InCluster,
    /// By a kubeconfig file.
    Kubeconfig(PathBuf),
}

/// Told of every call: verb, resource, HTTP status (0: no answer).
pub type Tally = Arc<dyn Fn(Verb, Resource, u16) + Send + Sync>;

/// The API server by way of the kube client.
pub struct KubeCluster {
    client: Client,
    tally: Tally,
    silence: Duration,
}

impl KubeCluster {
    /// Reads the configuration and builds the client. Sends nothing yet.
    ///
    /// # Errors
    /// [`ApiError::Setup`]: no service account, or a kubeconfig that cannot be used.
    pub async fn connect(access: &Access, tally: Tally) -> Result<Self, ApiError> {
        let mut config = match access {
            Access::InCluster => Config::incluster().map_err(|error| setup(&error))?,
            Access::Kubeconfig(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| setup(&error))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| setup(&error))?
            }
        };
        // A repeated lease write could hide that the first one was made (safety.md, section 2).
        config.default_retry = false;
        config.connect_timeout = Some(CALL_LIMIT);
        let client = Client::try_from(config).map_err(|error| setup(&error))?;
        Ok(Self {
            client,
            tally,
            silence: MAX_SILENCE,
        })
    }

    /// The same with watches that may be silent for so long only.
    #[cfg(test)]
    pub(super) fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// The namespace of the service account or of the kubeconfig's context.
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    fn note(&self, call: &Call, code: u16) {
        (self.tally)(call.verb, call.resource, code);
    }

    async fn send(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let content = match &call.body {
            Some(body) => serde_json::to_vec(body).map_err(|error| garbled(call, &error))?,
            None => Vec::new(),
        };
        let mut request = Request::builder()
            .method(call.verb.method())
            .uri(call.uri())
            .header(ACCEPT, "application/json");
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, call.content_type());
        }
        let request = request
            .body(Body::from(content))
            .map_err(|error| garbled(call, &error))?;
        let response = self.client.send(request).await.map_err(|error| {
            self.note(call, 0);
            ApiError::Unreachable {
                what: call.what(),
                why: chain(&error),
            }
        })?;
        self.note(call, response.status().as_u16());
        Ok(response)
    }

    async fn ask(&self, call: &Call) -> Result<Value, ApiError> {
        let response = self.send(call).await?;
        let code = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| ApiError::Garbled {
                what: call.what(),
                why: error.to_string(),
            })?
            .to_bytes();
        if (200..300).contains(&code) {
            serde_json::from_slice(&bytes).map_err(|error| garbled(call, &error))
        } else {
            Err(refused(call, code, &headers, &bytes))
        }
    }

    async fn open(&self, call: &Call) -> Result<Box<dyn Watching>, ApiError> {
        let response = self.send(call).await?;
        let code = response.status().as_u16();
        if !(200..300).contains(&code) {
            let headers = response.headers().clone();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            // A refusal whose reason cannot be read is still a refusal.
            let bytes = body.collect().await.map(|body| body.to_bytes());
            return Err(refused(call, code, &headers, &bytes.unwrap_or_default()));
        }
        Ok(Box::new(OpenWatch {
            what: call.what(),
            body: response.into_body(),
            kept: Vec::new(),
            silence: self.silence,
        }))
    }

    fn late(&self, call: &Call) -> ApiError {
        self.note(call, 0);
        ApiError::Late {
            what: call.what(),
            limit: CALL_LIMIT,
        }
    }
}

impl Cluster for KubeCluster {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, ApiError>> {
        Box::pin(async move {
            tokio::time::timeout(CALL_LIMIT, self.ask(&call))
                .await
                .unwrap_or_else(|_| Err(self.late(&call)))
        })
    }

    fn watch(&self, call: Call) -> BoxFuture<'_, Result<Box<dyn Watching>, ApiError>> {
        Box::pin(async move {
            tokio::time::timeout(CALL_LIMIT, self.open(&call))
                .await
                .unwrap_or_else(|_| Err(self.late(&call)))
        })
    }
}

/// A watch over HTTP: one JSON document a line.
struct OpenWatch {
    what: String,
    body: Body,
    kept: Vec<u8>,
    silence: Duration,
}

impl OpenWatch {
    /// Takes a whole line out of what has arrived.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.kept.iter().position(|byte| *byte == b'\n')?;
        let rest = self.kept.split_off(end + 1);
        Some(std::mem::replace(&mut self.kept, rest))
    }

    async fn read(&mut self) -> Option<Result<Value, ApiError>> {
        loop {
            if let Some(line) = self.line() {
                let read = serde_json::from_slice(&line).map_err(|error| self.garbled(&error));
                return Some(read);
            }
            if self.kept.len() > MAX_ANSWER_BYTES {
                let why = format!("an event of more than {MAX_ANSWER_BYTES} bytes");
                return Some(Err(self.garbled(&why)));
            }
            let Ok(frame) = tokio::time::timeout(self.silence, self.body.frame()).await else {
                return Some(Err(ApiError::Late {
                    what: self.what.clone(),
                    limit: self.silence,
                }));
            };
            match frame? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.kept.extend_from_slice(&bytes);
                    }
                }
                Err(error) => {
                    return Some(Err(ApiError::Unreachable {
                        what: self.what.clone(),
                        why: chain(&error),
                    }));
                }
            }
        }
    }

    fn garbled(&self, why: &dyn std::fmt::Display) -> ApiError {
        ApiError::Garbled {
            what: self.what.clone(),
            why: why.to_string(),
        }
    }
}

impl Watching for OpenWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Value, ApiError>>> {
        Box::pin(self.read())
    }
}

fn setup(error: &dyn std::error::Error) -> ApiError {
    ApiError::Setup { why: chain(error) }
}

fn garbled(call: &Call, why: &dyn std::fmt::Display) -> ApiError {
    ApiError::Garbled {
        what: call.what(),
        why: why.to_string(),
    }
}

fn refused(call: &Call, code: u16, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default();
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let message = match text("message") {
        "" => "no reason given",
        message => message,
    };
    ApiError::Refused {
        what: call.what(),
        verb: call.verb.word(),
        code,
        reason: text("reason").to_owned(),
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
    }
}

/// An error with its causes in one line: the kube client hides what matters in the last of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
