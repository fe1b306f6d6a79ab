//! A Node as the agent needs it; everything else, managedFields above all, is dropped on arrival.

use super::error::BadObject;
use super::fields::Fields;
use serde_json::Value;
use std::collections::BTreeMap;

/// A condition of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCondition {
    /// Its type.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Its short reason.
    pub reason: String,
}

/// A Node at one resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its uid: who owns the slots.
    pub uid: String,
    /// The resourceVersion of what was read.
    pub version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keys of its taints.
    pub taints: Vec<String>,
    /// Its conditions.
    pub conditions: Vec<NodeCondition>,
    /// Whether it is being deleted.
    pub is_going: bool,
}

impl NodeView {
    /// Reads a Node.
    ///
    /// # Errors
    /// A field that is needed is missing or of the wrong form.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let fields = Fields::of(object, "Node");
        fields.ensure_kind()?;
        let taints = fields
            .list("/spec/taints")?
            .iter()
            .map(|taint| match taint.get("key").and_then(Value::as_str) {
                Some(key) => Ok(key.to_owned()),
                None => Err(fields.bad("/spec/taints", "has a taint without a key")),
            })
            .collect::<Result<_, _>>()?;
        let conditions = fields
            .list("/status/conditions")?
            .iter()
            .map(|one| {
                let text = |key: &str| one.get(key).and_then(Value::as_str).map(str::to_owned);
                match (text("type"), text("status")) {
                    (Some(kind), Some(status)) => Ok(NodeCondition {
                        kind,
                        status,
                        reason: text("reason").unwrap_or_default(),
                    }),
                    _ => Err(fields.bad(
                        "/status/conditions",
                        "has a condition without type or status",
                    )),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: fields.text("/metadata/name")?.to_owned(),
            uid: fields.text("/metadata/uid")?.to_owned(),
            version: fields.text("/metadata/resourceVersion")?.to_owned(),
            labels: fields.texts("/metadata/labels")?,
            annotations: fields.texts("/metadata/annotations")?,
            taints,
            conditions,
            is_going: fields.maybe_text("/metadata/deletionTimestamp")?.is_some(),
        })
    }

    /// Whether this is an older state of the Node than `other`. Versions are numbers that grow: that is how every released API
    /// server makes them, and since Kubernetes 1.35 it is promised (KEP 5504). Others are taken as they come.
    pub fn is_older_than(&self, other: &NodeView) -> bool {
        let number = |view: &NodeView| view.version.parse::<u64>().ok();
        matches!((number(self), number(other)), (Some(own), Some(other)) if own < other)
    }

    /// Whether the kubelet says that it is ready. `None`: it says nothing, or the control plane lost sight of it.
    pub fn ready(&self) -> Option<bool> {
        self.conditions
            .iter()
            .find(|one| one.kind == "Ready")
            .and_then(|one| match one.status.as_str() {
                "True" => Some(true),
                // Unknown: the node controller has not heard from the kubelet for its grace period (40 s).
                "False" | "Unknown" => Some(false),
                _ => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> Value {
        json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7",
            "labels": {"l": "1"}, "annotations": {"nodemend.io/mode": "auto"}, "managedFields": [1]},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "r"}]}})
    }

    #[test]
    fn of_two_states_the_lower_number_is_the_older_one_and_what_is_no_number_is_not() {
        let at = |version: &str| NodeView {
            version: version.to_owned(),
            ..NodeView::default()
        };
        for (one, other, is_older) in [
            ("9", "10", true),
            ("10", "9", false),
            ("7", "7", false),
            ("a", "10", false),
            ("9", "b", false),
            ("", "1", false),
        ] {
            assert_eq!(at(one).is_older_than(&at(other)), is_older, "{one} {other}");
        }
    }

    #[test]
    fn a_node_is_read() {
        let view = NodeView::read(&node()).expect("reads");
        assert_eq!((view.uid.as_str(), view.version.as_str()), ("u", "7"));
        assert_eq!(view.ready(), Some(true));
        assert_eq!(view.taints, ["k"]);
    }

    #[test]
    fn a_garbled_node_is_refused_by_object_and_field() {
        for (pointer, value, field) in [
            ("/kind", json!("Pod"), "kind"),
            ("/kind", json!(["Node"]), "kind"),
            ("/apiVersion", json!("v2"), "apiVersion"),
            ("/apiVersion", json!(1), "apiVersion"),
            ("/metadata/uid", json!(null), "metadata.uid"),
            ("/metadata/uid", json!(""), "metadata.uid"),
            (
                "/metadata/resourceVersion",
                json!(7),
                "metadata.resourceVersion",
            ),
            ("/metadata/annotations", json!([]), "metadata.annotations"),
            (
                "/metadata/annotations/nodemend.io~1mode",
                json!(true),
                "metadata.annotations[nodemend.io.mode]",
            ),
            ("/metadata/labels", json!("x"), "metadata.labels"),
            ("/metadata/labels/l", json!({}), "metadata.labels[l]"),
            ("/spec/taints", json!({}), "spec.taints"),
            ("/spec/taints/0/key", json!(3), "spec.taints"),
            ("/status/conditions", json!("no"), "status.conditions"),
            (
                "/status/conditions/0/status",
                json!(true),
                "status.conditions",
            ),
        ] {
            let mut object = node();
            *object.pointer_mut(pointer).expect("is there") = value;
            let error = NodeView::read(&object).expect_err(pointer);
            assert_eq!(
                (error.object.as_str(), error.field.as_str()),
                ("Node a", field)
            );
        }
        assert!(NodeView::read(&json!(null)).is_err());
        assert!(NodeView::read(&json!([])).is_err());
    }

    #[test]
    fn ready_is_unknown_without_a_word_of_it() {
        let mut object = node();
        object["status"]["conditions"] = json!([]);
        assert_eq!(NodeView::read(&object).expect("reads").ready(), None);
        object["status"]["conditions"] = json!([{"type": "Ready", "status": "Maybe"}]);
        assert_eq!(NodeView::read(&object).expect("reads").ready(), None);
    }
}
