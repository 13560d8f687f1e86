// SPDX-License-Identifier: GPL-3.0-or-later
//! JSON Schemas of the documents, for editors. They are what the readers of documents say of
//! themselves, so that neither knows a key that the other does not.

pub use crate::documents::Vocabulary;

use crate::documents::{Key, Keys, Shape, describe};
use crate::lock::LOCK;
use crate::media::MEDIA;
use serde_json::{Map, Value, json};

/// The dialect of the schemas.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// A kind of document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// What the kind is called: `domus`, `host`, `domU`, `etc`, `image`, `trust`, `lock` or
    /// `media`.
    pub name: &'static str,
    /// The documents of this kind, as a pattern of paths in the repository.
    pub paths: &'static str,
    /// The schema.
    pub schema: Value,
}

/// The schemas of all kinds of documents.
pub fn schemas() -> Vec<Schema> {
    let schema = |(name, keys): (&'static str, Keys)| {
        let (paths, title) = match name {
            "host" => ("pservers/*/host.toml", "A physical server"),
            "domU" => ("pservers/*/domUs/*.toml", "A guest"),
            "etc" => ("**/etc.toml", "What git does not keep of files in etc/"),
            "image" => ("images/*.toml", "The recipe of a domU image"),
            "trust" => ("trust.toml", "Who may sign what"),
            "media" => (MEDIA, "What was written to which medium"),
            "lock" => (LOCK, "What the names of images and releases stand for"),
            _ => ("domus.toml", "The fleet"),
        };
        let mut schema = table(&keys);
        schema.insert("$schema".to_owned(), json!(DIALECT));
        schema.insert("title".to_owned(), json!(title));
        Schema {
            name,
            paths,
            schema: Value::Object(schema),
        }
    };
    describe().into_iter().map(schema).collect()
}

fn table(keys: &[Key]) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in keys {
        let mut value = shape(&key.shape);
        value.insert("description".to_owned(), json!(key.about));
        properties.insert(key.name.to_owned(), Value::Object(value));
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("properties".to_owned(), Value::Object(properties));
    let required = keys.iter().filter(|key| key.required);
    let required: Vec<&str> = required.map(|key| key.name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let value = match shape {
        Shape::Text { example, pattern } => {
            json!({"type": "string", "pattern": pattern, "examples": [example]})
        }
        Shape::Number(range) => {
            json!({"type": "integer", "minimum": range.start(), "maximum": range.end()})
        }
        Shape::Flag => json!({"type": "boolean"}),
        Shape::OneOrMore(item) => {
            let item = self::shape(item);
            json!({"anyOf": [item, {"type": "array", "items": item}]})
        }
        Shape::List(item) => json!({"type": "array", "items": self::shape(item)}),
        Shape::Table(keys) => Value::Object(table(keys)),
        Shape::Tables(keys) => json!({"type": "array", "items": table(keys)}),
        Shape::Named(name, keys) => json!({
            "type": "object",
            "propertyNames": self::shape(name),
            "additionalProperties": table(keys),
        }),
        Shape::NamedTexts(name, text) => json!({
            "type": "object",
            "propertyNames": self::shape(name),
            "additionalProperties": self::shape(text),
        }),
        Shape::Vars => {
            let scalar = json!({"type": ["string", "integer", "boolean"]});
            json!({
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_]*$"},
                "additionalProperties": {"anyOf": [scalar, {"type": "array", "items": scalar}]},
            })
        }
    };
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
