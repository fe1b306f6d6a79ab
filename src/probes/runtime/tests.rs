//! The probe against servers of the test's own.

use super::*;
use crate::signal::Value;
use h2::server::SendResponse;
use hyper::body::Bytes;
use hyper::{HeaderMap, Response};
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};

/// How a server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// As containerd does.
    Well,
    /// It knows only the older version of the interface.
    Old,
    /// Every call is an error.
    Fails,
    /// It takes connections and says nothing.
    Mute,
    /// It hangs up.
    HangsUp,
}

fn listen(root: &Path, index: usize) -> UnixListener {
    let path = root.join(PLACES[index].0.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::remove_file(&path).ok();
    UnixListener::bind(path).expect("a socket")
}

async fn serve(listener: &UnixListener, manner: Manner) {
    loop {
        let (stream, _) = listener.accept().await.expect("a caller");
        match manner {
            Manner::Mute => std::future::pending().await,
            Manner::HangsUp => drop(stream),
            _ => serve_one(stream, manner).await,
        }
    }
}

async fn serve_one(stream: UnixStream, manner: Manner) {
    // The first connection of a probe that knows nobody yet says nothing: it looks who listens.
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        let is_new = path.starts_with("/runtime.v1.RuntimeService/");
        match manner {
            Manner::Fails => refuse(respond, 14),
            Manner::Old if is_new => refuse(respond, UNIMPLEMENTED),
            _ if path.ends_with("/Version") => {
                answer(
                    respond,
                    b"\x0a\x050.1.0\x12\x0acontainerd\x1a\x061.6.20\x22\x02v1",
                );
            }
            _ => answer(
                respond,
                b"\x0a\x22\x0a\x10\x0a\x0cRuntimeReady\x10\x01\x0a\x0e\x0a\x0cNetworkReady",
            ),
        }
    }
}

fn refuse(mut respond: SendResponse<Bytes>, status: u16) {
    let head = Response::builder().header("content-type", "application/grpc");
    let head = head.header("grpc-status", status).body(()).expect("a head");
    respond.send_response(head, true).expect("sent");
}

fn answer(mut respond: SendResponse<Bytes>, message: &[u8]) {
    let head = Response::builder().header("content-type", "application/grpc");
    let mut body = respond
        .send_response(head.body(()).expect("a head"), false)
        .expect("sent");
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    let frame = [&[0], &length[..], message].concat();
    body.send_data(Bytes::from(frame), false).expect("sent");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    body.send_trailers(trailers).expect("sent");
}

fn value(batch: &Batch, key: &str) -> Option<(String, Result<Value, &'static str>)> {
    let sample = batch.samples.iter().find(|sample| sample.key == key)?;
    let value = sample.value.clone().map_err(|reason| reason.kind());
    Some((sample.subject.as_str().to_owned(), value))
}

async fn look(probe: &mut Runtime, root: &Path, listener: &UnixListener, manner: Manner) -> Batch {
    let host = Host::at(root);
    tokio::select! {
        batch = probe.look(&host) => batch,
        () = serve(listener, manner) => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn every_manner_of_answering_is_told_from_silence() {
    let root = tempfile::tempdir().expect("a directory");
    let listener = listen(root.path(), 0);
    let yes = |truth| Ok(Value::Bool(truth));
    let said = |text: &str| Ok(Value::Text(text.into()));
    for (manner, answers, error, ready, network, version) in [
        (
            Manner::Well,
            true,
            "",
            yes(true),
            yes(false),
            said("containerd 1.6.20"),
        ),
        (
            Manner::Old,
            true,
            "",
            yes(true),
            yes(false),
            said("containerd 1.6.20"),
        ),
        (
            Manner::Fails,
            true,
            "status-14",
            Err("unreadable"),
            Err("unreadable"),
            Err("unreadable"),
        ),
        (
            Manner::Mute,
            false,
            "late",
            Err("late"),
            Err("late"),
            Err("late"),
        ),
        (
            Manner::HangsUp,
            false,
            "closed",
            Err("late"),
            Err("late"),
            Err("late"),
        ),
    ] {
        let is_mute = manner == Manner::Mute;
        let patience = if is_mute { 40 } else { 5_000 };
        let mut probe = Runtime::with_patience(Duration::from_millis(patience));
        let batch = look(&mut probe, root.path(), &listener, manner).await;
        let unit = || "containerd.service".to_owned();
        for (key, expected) in [
            ("runtime.answers", yes(answers)),
            ("runtime.error", said(error)),
            ("runtime.ready", ready),
            ("runtime.network_ready", network),
            ("runtime.version", version),
        ] {
            assert_eq!(
                value(&batch, key),
                Some((unit(), expected)),
                "{key} {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_machine_without_a_runtime_is_silence() {
    let root = tempfile::tempdir().expect("a directory");
    let batch = Runtime::new().look(&Host::at(root.path())).await;
    assert!(batch.samples.is_empty(), "{batch:?}");
    assert_eq!(batch.complete.len(), SPEC.keys.len());
}

#[tokio::test]
async fn a_socket_that_somebody_left_behind_is_no_silent_runtime() {
    let root = tempfile::tempdir().expect("a directory");
    // Closed, and its file stays.
    drop(listen(root.path(), 0));
    let mut probe = Runtime::new();
    let batch = probe.look(&Host::at(root.path())).await;
    let left = value(&batch, "runtime.answers");
    assert_eq!(
        left,
        Some(("containerd.service".to_owned(), Err("not-here")))
    );

    let crio = listen(root.path(), 1);
    let batch = look(&mut probe, root.path(), &crio, Manner::Well).await;
    let found = value(&batch, "runtime.answers");
    assert_eq!(
        found,
        Some(("crio.service".to_owned(), Ok(Value::Bool(true))))
    );
    assert!(
        batch
            .samples
            .iter()
            .all(|sample| sample.subject.as_str() == "crio.service")
    );

    // The one that answered is now gone: that is silence.
    drop(crio);
    let batch = probe.look(&Host::at(root.path())).await;
    let gone = value(&batch, "runtime.answers");
    assert_eq!(
        gone,
        Some(("crio.service".to_owned(), Ok(Value::Bool(false))))
    );
}

/// A probe whose kubelet was told this socket, and is a part of this program.
fn told(runtime: Option<&str>, part_of: Option<&str>) -> Runtime {
    let mut probe = Runtime::new();
    probe.finder = Finder::fixed(Setup {
        runtime: runtime.map(str::to_owned),
        part_of: part_of.map(Arc::from),
        ..Setup::default()
    });
    probe
}

#[tokio::test]
async fn of_two_runtimes_the_one_that_the_kubelet_uses_is_asked() {
    let root = tempfile::tempdir().expect("a directory");
    let (docker, crio) = (listen(root.path(), 0), listen(root.path(), 1));
    let mut probe = told(Some("/run/crio/crio.sock"), None);
    let batch = look(&mut probe, root.path(), &crio, Manner::Well).await;
    let answers = ("crio.service".to_owned(), Ok(Value::Bool(true)));
    assert_eq!(value(&batch, "runtime.answers"), Some(answers));

    // Nothing says which one it is: neither counts, and both say so.
    let mut probe = told(None, None);
    let batch = look(&mut probe, root.path(), &docker, Manner::Well).await;
    let answers = batch
        .samples
        .iter()
        .filter(|sample| sample.key == "runtime.answers");
    let said: Vec<String> = answers
        .map(|sample| {
            let why = sample.value.as_ref().expect_err("missing").to_string();
            assert!(why.contains("containerd.service and crio.service"), "{why}");
            sample.subject.as_str().to_owned()
        })
        .collect();
    assert_eq!(said, ["containerd.service", "crio.service"]);

    // The kubelet is moved to the other one: the first one's silence is none of this node's then.
    let mut probe = told(Some("/run/crio/crio.sock"), None);
    look(&mut probe, root.path(), &crio, Manner::Well).await;
    let place = probe.known.clone().expect("known");
    let setup = Setup {
        runtime: Some("/run/containerd/containerd.sock".to_owned()),
        ..Setup::default()
    };
    probe.finder = Finder::fixed(setup);
    let batch = look(&mut probe, root.path(), &docker, Manner::Well).await;
    let answers = ("containerd.service".to_owned(), Ok(Value::Bool(true)));
    assert_eq!(value(&batch, "runtime.answers"), Some(answers));
    assert_ne!(probe.known, Some(place));
}

#[tokio::test]
async fn a_runtime_that_is_a_part_of_another_program_has_a_subject_that_is_no_unit() {
    for (part_of, subject) in [
        (Some("k3s-agent.service"), "containerd in k3s-agent.service"),
        (None, "containerd in k3s or rke2"),
    ] {
        let root = tempfile::tempdir().expect("a directory");
        let inside = listen(root.path(), 3);
        let mut probe = told(
            part_of.map(|_| "/run/k3s/containerd/containerd.sock"),
            part_of,
        );
        let batch = look(&mut probe, root.path(), &inside, Manner::Well).await;
        let answers = (subject.to_owned(), Ok(Value::Bool(true)));
        assert_eq!(value(&batch, "runtime.answers"), Some(answers));
    }
    assert_eq!(
        Place::of("/run/k0s/containerd.sock", None).subject,
        "runtime at /run/k0s/containerd.sock"
    );
}
