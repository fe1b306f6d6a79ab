//! What a client sends and what an operator writes for the server.

use std::future::Future;
use std::pin::Pin;

use hyper::Request;
use hyper::body::Incoming;
use nodemend::collectors::TABLE;
use nodemend::collectors::settings::Settings;
use nodemend::collectors::source::roots::Roots;
use nodemend::exposition::negotiate::{Format, wants_gzip};
use nodemend::scrape::http::{Answer, MetricsRoute};
use nodemend::scrape::page::ScrapePage;
use nodemend::scrape::selection::Selection;
use nodemend::scrape::server::{Routes, Server};
use nodemend::scrape::web_config::WebConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::Entry;

/// The file of `--web.config.file`.
pub const CONFIG: Entry = Entry {
    name: "web-config",
    rounds: 400,
    seeds: || {
        let users = "basic_auth_users:\n  ann: $2y$04$RPUR2gfbzBwYvRs0H1MHlOvYdqDWbP8a1kgWrDuG8M8G3lsUKO0Hi\n";
        let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  min_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\nhttp_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n";
        vec![users.into(), tls.into()]
    },
    run: |bytes| {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("web.yml");
        std::fs::write(&path, bytes).expect("written");
        if let Err(error) = WebConfig::load(&path) {
            let said = error.to_string();
            assert!(
                !said.is_empty() && said.len() < 8192,
                "{} bytes of error",
                said.len()
            );
        }
    },
};

/// What comes in over a connection: the head of a request, and what follows.
pub const REQUEST: Entry = Entry {
    name: "request",
    rounds: 500,
    seeds: || {
        let one = "GET /metrics?collect[]=loadavg HTTP/1.1\r\nHost: node\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1\r\nAccept-Encoding: gzip\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n";
        let old = "GET /metrics HTTP/1.0\r\n\r\n";
        let body = "POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
        vec![
            one.into(),
            old.into(),
            body.into(),
            [one, one].concat().into(),
        ]
    },
    run: request,
};

/// `collect[]` and `exclude[]`.
pub const SELECTION: Entry = Entry {
    name: "selection",
    rounds: 5_000,
    seeds: || {
        let queries = [
            "collect[]=meminfo&collect%5B%5D=cpu",
            "exclude[]=zfs&a=b",
            "%zz&&=+",
        ];
        queries
            .iter()
            .map(|query| query.as_bytes().to_vec())
            .collect()
    },
    run: |bytes| {
        let settings = Settings::defaults(Roots::host(), TABLE);
        let query = String::from_utf8_lossy(bytes);
        match Selection::of_query(&query, TABLE, &settings) {
            Ok(Selection::Only(names) | Selection::Except(names)) => assert!(names.len() <= 200),
            Ok(Selection::All) => {}
            Err(error) => assert!(error.to_string().len() < 512),
        }
    },
};

/// `Accept` and `Accept-Encoding`.
pub const HEADERS: Entry = Entry {
    name: "headers",
    rounds: 5_000,
    seeds: || {
        let values = [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "gzip;q=1.0, identity; q=0.5, *;q=0",
        ];
        values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect()
    },
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _format = Format::of_accept(&text);
        let _packed = wants_gzip(&text);
    },
};

/// A server of nothing but the metrics.
pub struct Only(pub MetricsRoute);

impl Routes for Only {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let query = request.uri().query().unwrap_or_default();
            self.0
                .respond(request.method(), query, request.headers())
                .await
        })
    }
}

thread_local! {
    static SERVER: (tokio::runtime::Runtime, Server<Only>) = server();
}

fn server() -> (tokio::runtime::Runtime, Server<Only>) {
    let mut settings = Settings::defaults(Roots::host(), TABLE);
    for entry in TABLE {
        let is_quick = matches!(entry.name, "loadavg" | "time");
        settings.set(&format!("collector.{}", entry.name), &is_quick.to_string());
    }
    let page = ScrapePage::new(&settings, TABLE).expect("collectors");
    let server = Server::new(Only(MetricsRoute::new(page, settings)), None).expect("a server");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    (runtime.enable_all().build().expect("a runtime"), server)
}

fn request(bytes: &[u8]) {
    SERVER.with(|(runtime, server)| {
        let answer = runtime.block_on(async {
            let (mut client, stream) = duplex(64 * 1024);
            let talk = async {
                // The server may hang up before all is written.
                let _sent = client.write_all(bytes).await;
                let _closed = client.shutdown().await;
                let mut answer = Vec::new();
                let _ended = client.read_to_end(&mut answer).await;
                answer
            };
            let (answer, ()) = tokio::join!(talk, server.serve_stream(stream));
            answer
        });
        let heads = bytes
            .windows(2)
            .filter(|pair| pair.contains(&b'\n'))
            .count()
            + 1;
        assert!(
            answer.len() <= heads * 16 * 1024,
            "{} bytes to {heads} lines",
            answer.len()
        );
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "no status line"
        );
    });
}
