//! The API server's own account of what was asked and answered.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::wait::lines_so_far;

/// An audit log in JSON lines.
pub struct AuditLog {
    path: PathBuf,
}

/// One call, as far as the tests ask.
pub struct Call {
    /// `get`, `patch`, ...
    pub verb: String,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// The resource's API group, empty for the core.
    pub group: String,
    /// The object's name, empty for a collection.
    pub name: String,
    /// Who called.
    pub user: String,
    /// The node in the caller's token, if it is bound to one.
    pub node: Option<String>,
    /// HTTP status of the answer.
    pub code: u64,
    /// When the server had the request, in microseconds since 1970.
    pub received: i64,
    /// When it had answered, in microseconds since 1970.
    pub finished: i64,
    /// The whole record.
    pub record: Value,
}

impl Call {
    /// Whether the server did it.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether the server may have done it without saying so: it broke down or was given up while it was at it.
    pub fn is_perhaps_done(&self) -> bool {
        self.is_done() || self.code == 0 || self.code >= 500
    }

    /// The text at `pointer`, empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.record.pointer(pointer);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it was only tried out.
    pub fn is_dry(&self) -> bool {
        self.record["requestURI"]
            .as_str()
            .is_some_and(|uri| uri.contains("dryRun="))
    }

    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// The caller, in words.
    pub fn who(&self) -> String {
        format!(
            "{} on node {}",
            self.user,
            self.node.as_deref().unwrap_or("-")
        )
    }
}

impl AuditLog {
    /// The log at `path`; it may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Every finished call so far, in the order in which they finished.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = self.records();
        calls.retain(|call| call.record["stage"] != "ResponseStarted");
        calls
    }

    /// Every request so far, also those that are still being answered, as a watch is for half an hour.
    pub fn requests(&self) -> Vec<Call> {
        let mut known = BTreeSet::new();
        let mut calls = self.records();
        calls.retain(|call| known.insert(call.text("/auditID").to_owned()));
        calls
    }

    fn records(&self) -> Vec<Call> {
        // It is not there before the first request.
        let text = lines_so_far(&self.path).unwrap_or_default();
        text.lines().map(parse).collect()
    }
}

/// The call that one line of the log records.
pub fn parse(line: &str) -> Call {
    let record: Value = serde_json::from_str(line).expect("the audit log is JSON lines");
    let text = |pointer: &str| {
        record
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut resource = text("/objectRef/resource");
    if let Some(part) = record
        .pointer("/objectRef/subresource")
        .and_then(Value::as_str)
    {
        resource = format!("{resource}/{part}");
    }
    let node = record.pointer("/user/extra/authentication.kubernetes.io~1node-name/0");
    Call {
        verb: text("/verb"),
        resource,
        group: text("/objectRef/apiGroup"),
        name: text("/objectRef/name"),
        user: text("/user/username"),
        node: node.and_then(Value::as_str).map(str::to_owned),
        code: record
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        received: micros(&record["requestReceivedTimestamp"]),
        finished: micros(&record["stageTimestamp"]),
        record,
    }
}

/// A timestamp in microseconds since 1970; 0 if it is none.
pub fn micros(value: &Value) -> i64 {
    let time = value.as_str().and_then(|text| text.parse().ok());
    time.map_or(0, |time: jiff::Timestamp| time.as_microsecond())
}
