// SPDX-License-Identifier: GPL-3.0-or-later
//! What a host or domU comes to when all that it takes from elsewhere is in, and where each
//! setting is written.

use crate::diagnostic::Place;
use crate::documents::HostDocs;
use crate::files::Documents;
use crate::fleet::{DomU, Host};
use crate::load::Frame;
use serde::Serialize;
use serde_json::Value;

/// A setting that is written somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its path in the document: `memory`, `network[0].bridge`, `networks.lan.ports`.
    pub(crate) setting: String,
    pub(crate) place: Place,
}

/// A setting with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path in the document: `memory`, `network[0].bridge`, `networks.lan.ports`.
    pub path: String,
    /// What it is, for people.
    pub value: String,
    /// Where it is written; `None` for what Domus fills in by itself.
    pub place: Option<Place>,
}

/// The settings of a host, but not of its domUs.
pub fn host(frame: &Frame<'_>, documents: &Documents, host: &Host) -> Vec<Setting> {
    let origins = HostDocs::trace(frame.shared(), documents, None);
    settings(host, &["name", "domUs"], &origins)
}

/// The settings of a domU of the host of these documents.
pub fn domu(frame: &Frame<'_>, documents: &Documents, domu: &DomU) -> Vec<Setting> {
    let origins = HostDocs::trace(frame.shared(), documents, Some(domu.name.as_str()));
    settings(domu, &["name"], &origins)
}

fn settings(of: &impl Serialize, without: &[&str], origins: &[Origin]) -> Vec<Setting> {
    let mut found = Vec::new();
    if let Ok(Value::Object(object)) = serde_json::to_value(of) {
        for (key, value) in object
            .iter()
            .filter(|(key, _)| !without.contains(&key.as_str()))
        {
            flatten(key.clone(), value, &mut found);
        }
    }
    for setting in &mut found {
        // A list is written as a whole, a table key by key.
        let is_it = |origin: &&Origin| origin.setting == setting.path;
        let written = origins.iter().find(is_it);
        setting.place = written.map(|origin| origin.place.clone());
    }
    found
}

fn flatten(path: String, value: &Value, found: &mut Vec<Setting>) {
    match value {
        Value::Null => {}
        Value::Object(entries) => {
            for (key, value) in entries {
                flatten(format!("{path}.{key}"), value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, value) in items.iter().enumerate() {
                flatten(format!("{path}[{index}]"), value, found);
            }
        }
        value => found.push(Setting {
            path,
            value: words(value),
            place: None,
        }),
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
