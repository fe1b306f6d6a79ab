//! One caller of the API server, and what it was answered.

use std::rc::Rc;

use http_body_util::BodyExt;
use hyper::{Method, Request};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A caller with one identity.
pub struct Caller {
    runtime: Rc<Runtime>,
    client: Client,
}

/// The answer to one call.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status; 0 where the server could not be reached.
    pub code: u16,
    /// The body, as a JSON string where it is not JSON.
    pub body: Value,
}

impl Answer {
    /// Whether the server did what was asked.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The server's words, where it refused.
    pub fn message(&self) -> &str {
        self.body["message"]
            .as_str()
            .or(self.body.as_str())
            .unwrap_or_default()
    }

    /// The body of a call that must succeed.
    pub fn expect(self, what: &str) -> Value {
        assert!(
            self.is_success(),
            "{what}: {} {}",
            self.code,
            self.message()
        );
        self.body
    }
}

impl Caller {
    /// A caller by the text of a kubeconfig.
    pub fn new(runtime: &Rc<Runtime>, kubeconfig: &str) -> Self {
        let client = runtime.block_on(client(kubeconfig));
        Self {
            runtime: Rc::clone(runtime),
            client,
        }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None)
    }

    /// POST.
    pub fn create(&self, path: &str, object: &Value) -> Answer {
        self.call(Method::POST, path, Some(("application/json", object)))
    }

    /// PUT.
    pub fn replace(&self, path: &str, object: &Value) -> Answer {
        self.call(Method::PUT, path, Some(("application/json", object)))
    }

    /// PATCH, strategic merge: lists with keys are merged by them, as agents must do.
    pub fn patch(&self, path: &str, patch: &Value) -> Answer {
        self.call(
            Method::PATCH,
            path,
            Some(("application/strategic-merge-patch+json", patch)),
        )
    }

    /// PATCH, JSON merge: lists are replaced whole.
    pub fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.call(
            Method::PATCH,
            path,
            Some(("application/merge-patch+json", patch)),
        )
    }

    /// DELETE with the preconditions that free a slot.
    pub fn delete_exactly(&self, path: &str, object: &Value) -> Answer {
        let meta = &object["metadata"];
        let preconditions =
            json!({ "uid": meta["uid"], "resourceVersion": meta["resourceVersion"] });
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": preconditions });
        self.call(Method::DELETE, path, Some(("application/json", &options)))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None)
    }

    /// One call and its answer; a call that got none has code 0 and says why.
    pub fn call(&self, method: Method, path: &str, body: Option<(&str, &Value)>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let mut content = Vec::new();
        if let Some((kind, value)) = body {
            request = request.header("content-type", kind);
            content = value.to_string().into_bytes();
        }
        let request = request
            .body(Body::from(content))
            .expect("a test's path is a URI");
        self.runtime.block_on(async {
            let response = match self.client.send(request).await {
                Ok(response) => response,
                Err(error) => {
                    return Answer {
                        code: 0,
                        body: json!(chain(&error)),
                    };
                }
            };
            let code = response.status().as_u16();
            let bytes = match response.into_body().collect().await {
                Ok(bytes) => bytes.to_bytes(),
                Err(error) => {
                    return Answer {
                        code: 0,
                        body: json!(chain(&error)),
                    };
                }
            };
            let body = serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
            Answer { code, body }
        })
    }
}

/// A client by the text of a kubeconfig.
pub async fn client(kubeconfig: &str) -> Client {
    let document = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig of ours");
    let config = Config::from_custom_kubeconfig(document, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a kubeconfig of ours");
    // A repeated call would hide the first answer, which is what a test is about.
    config.default_retry = false;
    // That of this machine knows nothing of a test's network.
    config.proxy_url = None;
    Client::try_from(config).expect("a client of a sound configuration")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
