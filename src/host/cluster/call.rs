//! One call to the API server, as data.

use hyper::Method;
use serde_json::Value;
use std::fmt::Write;

/// What is done. The words are those of RBAC and of the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Make one.
    Create,
    /// Replace one whole.
    Update,
    /// Change some fields.
    Patch,
    /// Remove one.
    Delete,
}

impl Verb {
    /// RBAC's word.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }

    /// The HTTP method.
    pub fn method(self) -> Method {
        match self {
            Verb::Get | Verb::List | Verb::Watch => Method::GET,
            Verb::Create => Method::POST,
            Verb::Update => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        }
    }
}

/// What it is done to: every resource that an agent or a person with this program may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Nodes.
    Nodes,
    /// The status of Nodes.
    NodeStatus,
    /// Leases: slots and claims.
    Leases,
    /// ConfigMaps: limits, breakers, the list of condition types.
    ConfigMaps,
    /// DaemonSets: how many agents there should be.
    DaemonSets,
    /// Events of events.k8s.io.
    Events,
}

impl Resource {
    /// RBAC's word.
    pub fn word(self) -> &'static str {
        match self {
            Resource::Nodes => "nodes",
            Resource::NodeStatus => "nodes/status",
            Resource::Leases => "leases",
            Resource::ConfigMaps => "configmaps",
            Resource::DaemonSets => "daemonsets",
            Resource::Events => "events",
        }
    }

    /// The kind of one of them, for messages.
    pub fn kind(self) -> &'static str {
        match self {
            Resource::Nodes | Resource::NodeStatus => "Node",
            Resource::Leases => "Lease",
            Resource::ConfigMaps => "ConfigMap",
            Resource::DaemonSets => "DaemonSet",
            Resource::Events => "Event",
        }
    }

    /// Group and version in the path, and the plural.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Resource::Nodes | Resource::NodeStatus => ("/api/v1", "nodes"),
            Resource::Leases => ("/apis/coordination.k8s.io/v1", "leases"),
            Resource::ConfigMaps => ("/api/v1", "configmaps"),
            Resource::DaemonSets => ("/apis/apps/v1", "daemonsets"),
            Resource::Events => ("/apis/events.k8s.io/v1", "events"),
        }
    }
}

/// How a patch is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// JSON merge patch: `null` removes a key, lists are replaced whole.
    Merge,
    /// Strategic merge patch: lists with keys, such as conditions, are merged by them.
    Strategic,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub resource: Resource,
    /// In which namespace; empty for Nodes.
    pub namespace: String,
    /// The object; empty for lists, watches and creations.
    pub name: String,
    /// The query, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// What is sent along.
    pub body: Option<Value>,
    /// For patches: which kind.
    pub patch: PatchKind,
}

impl Call {
    /// A call without query and body.
    pub fn new(verb: Verb, resource: Resource, namespace: &str, name: &str) -> Self {
        Self {
            verb,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            query: Vec::new(),
            body: None,
            patch: PatchKind::Merge,
        }
    }

    /// The same with one more parameter in the query.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// The same with something sent along.
    #[must_use]
    pub fn sending(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The same as a strategic merge patch.
    #[must_use]
    pub fn strategically(mut self) -> Self {
        self.patch = PatchKind::Strategic;
        self
    }

    /// The object or list that it is about, for messages: `Lease nodemend/slot.cluster.0`.
    pub fn what(&self) -> String {
        let kind = self.resource.kind();
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", "") => format!("{kind}s"),
            ("", name) => format!("{kind} {name}"),
            (namespace, "") => format!("{kind}s in {namespace}"),
            (namespace, name) => format!("{kind} {namespace}/{name}"),
        }
    }

    /// The value of `content-type` for its body.
    pub fn content_type(&self) -> &'static str {
        match (self.verb, self.patch) {
            (Verb::Patch, PatchKind::Merge) => "application/merge-patch+json",
            (Verb::Patch, PatchKind::Strategic) => "application/strategic-merge-patch+json",
            _ => "application/json",
        }
    }

    /// Path and query.
    pub fn uri(&self) -> String {
        let (group, plural) = self.resource.place();
        let mut uri = group.to_owned();
        if !self.namespace.is_empty() {
            uri.push_str("/namespaces/");
            encode(&self.namespace, &mut uri);
        }
        uri.push('/');
        uri.push_str(plural);
        if !self.name.is_empty() {
            uri.push('/');
            encode(&self.name, &mut uri);
        }
        if self.resource == Resource::NodeStatus {
            uri.push_str("/status");
        }
        for (index, (key, value)) in self.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            encode(value, &mut uri);
        }
        uri
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api_and_names_cannot_leave_them() {
        for (call, uri) in [
            (
                Call::new(Verb::Get, Resource::Nodes, "", "a"),
                "/api/v1/nodes/a",
            ),
            (
                Call::new(Verb::Patch, Resource::NodeStatus, "", "a"),
                "/api/v1/nodes/a/status",
            ),
            (
                Call::new(Verb::Create, Resource::Leases, "nodemend", ""),
                "/apis/coordination.k8s.io/v1/namespaces/nodemend/leases",
            ),
            (
                Call::new(Verb::List, Resource::Leases, "n", "").with("labelSelector", "a/b=c,d"),
                "/apis/coordination.k8s.io/v1/namespaces/n/leases?labelSelector=a%2Fb%3Dc%2Cd",
            ),
            (
                Call::new(Verb::Get, Resource::Nodes, "", "../secrets?x"),
                "/api/v1/nodes/..%2Fsecrets%3Fx",
            ),
        ] {
            assert_eq!(call.uri(), uri);
        }
    }
}
