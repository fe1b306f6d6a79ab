//! Reading an object field by field, so that every complaint names object and field.

use super::error::BadObject;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest text that is shown of a field that is wrong.
const MAX_SHOWN_CHARS: usize = 60;
/// The longest path of a field that is shown: the longest of ours, an annotation's, has 44.
const MAX_FIELD_CHARS: usize = 100;

/// One object of the API, or a part of it.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    object: &'a Value,
    kind: &'static str,
    name: &'a str,
}

impl<'a> Fields<'a> {
    /// An object of this kind. It is called by the name it gives itself.
    pub fn of(object: &'a Value, kind: &'static str) -> Self {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("(no name)");
        Self { object, kind, name }
    }

    /// The name it gives itself.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// A complaint about a field.
    pub fn bad(&self, pointer: &str, why: impl Into<String>) -> BadObject {
        // `~1` is a slash within a key (RFC 6901).
        let field = pointer.trim_start_matches('/').replace('/', ".");
        BadObject {
            object: format!("{} {}", self.kind, shown(self.name, MAX_SHOWN_CHARS)),
            field: shown(&field.replace("~1", "/"), MAX_FIELD_CHARS),
            why: why.into(),
        }
    }

    /// An object that says its kind and version is of those that were asked for; the items of lists do not say it.
    ///
    /// # Errors
    /// It is of another kind, or of a version whose fields may mean something else.
    pub fn ensure_kind(&self) -> Result<(), BadObject> {
        let wanted = [
            ("/kind", Some(self.kind)),
            ("/apiVersion", version_of(self.kind)),
        ];
        for (pointer, wanted) in wanted {
            if let (Some(said), Some(wanted)) = (self.maybe_text(pointer)?, wanted)
                && said != wanted
            {
                let said = shown(said, MAX_SHOWN_CHARS);
                return Err(self.bad(pointer, format!("is {said}, not {wanted}")));
            }
        }
        Ok(())
    }

    /// A text that must be there and not empty.
    ///
    /// # Errors
    /// It is missing, empty, or no text.
    pub fn text(&self, pointer: &str) -> Result<&'a str, BadObject> {
        match self.object.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            Some(Value::String(_)) => Err(self.bad(pointer, "is empty")),
            None | Some(Value::Null) => Err(self.bad(pointer, "is missing")),
            Some(other) => Err(self.bad(pointer, format!("is {}, not text", form(other)))),
        }
    }

    /// A text that may be missing.
    ///
    /// # Errors
    /// It is something else than text.
    pub fn maybe_text(&self, pointer: &str) -> Result<Option<&'a str>, BadObject> {
        match self.object.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(pointer, format!("is {}, not text", form(other)))),
        }
    }

    /// A map from text to text; one that is missing is empty.
    ///
    /// # Errors
    /// It is no map, or a value is no text.
    pub fn texts(&self, pointer: &str) -> Result<BTreeMap<String, String>, BadObject> {
        let Some(map) = self.map(pointer)? else {
            return Ok(BTreeMap::new());
        };
        map.iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                other => {
                    let field = format!("{pointer}[{key}]");
                    Err(self.bad(&field, format!("is {}, not text", form(other))))
                }
            })
            .collect()
    }

    fn map(&self, pointer: &str) -> Result<Option<&'a Map<String, Value>>, BadObject> {
        match self.object.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(self.bad(pointer, format!("is {}, not a map", form(other)))),
        }
    }

    /// A list; one that is missing is empty.
    ///
    /// # Errors
    /// It is something else than a list.
    pub fn list(&self, pointer: &str) -> Result<&'a [Value], BadObject> {
        match self.object.pointer(pointer) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.bad(pointer, format!("is {}, not a list", form(other)))),
        }
    }

    /// A count that must be there.
    ///
    /// # Errors
    /// It is missing or no whole number from 0.
    pub fn count(&self, pointer: &str) -> Result<u64, BadObject> {
        match self.object.pointer(pointer) {
            None | Some(Value::Null) => Err(self.bad(pointer, "is missing")),
            Some(value) => value
                .as_u64()
                .ok_or_else(|| self.bad(pointer, format!("is {}, not a count", form(value)))),
        }
    }
}

/// The version in which this program reads a kind.
fn version_of(kind: &str) -> Option<&'static str> {
    match kind {
        "Node" | "ConfigMap" => Some("v1"),
        "Lease" => Some("coordination.k8s.io/v1"),
        "DaemonSet" => Some("apps/v1"),
        _ => None,
    }
}

fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
