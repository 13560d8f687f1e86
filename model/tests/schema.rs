// SPDX-License-Identifier: GPL-3.0-or-later
//! The schemas say what the readers say: what is right matches them, and the template carries
//! them as they are.

mod repository;

use domus_model::schema::schemas;
use regex::Regex;
use repository::manifest_dir;
use serde_json::Value;
use std::fs;

/// The table of keys that is meant by `path` below `schema`.
fn keys(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", &mut found);
    found
}

fn walk(schema: &Value, path: &str, found: &mut Vec<String>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (key, value) in properties {
        let path = format!("{path}{key}");
        assert!(
            value["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{path} says what it is for"
        );
        if let (Some(pattern), Some(example)) =
            (value["pattern"].as_str(), value["examples"][0].as_str())
        {
            let pattern = Regex::new(pattern).expect("a regular expression");
            assert!(pattern.is_match(example), "{path}: {example}");
        }
        for below in [value, &value["items"], &value["additionalProperties"]] {
            walk(below, &format!("{path}."), found);
        }
        found.push(path);
    }
}

#[test]
fn every_key_is_described() {
    let all: Vec<String> = schemas().iter().flat_map(|it| keys(&it.schema)).collect();
    for known in [
        "fleet",
        "defaults.domU.disk.mount",
        "groups.spare",
        "groups.host.networks.ports",
        "machine.dmi-uuid",
        "storage.domUs.volume-group",
        "domUs.strays",
        "domU.memory",
        "network.mac",
        "user.uid",
        "vars",
    ] {
        assert!(all.iter().any(|key| key == known), "{known} of {all:?}");
    }
}

#[test]
fn only_what_no_default_can_give_is_required() {
    let required = |name: &str| {
        let schema = schemas().into_iter().find(|it| it.name == name);
        schema.expect("a schema").schema["required"].clone()
    };
    assert_eq!(required("domus"), serde_json::json!(["version", "fleet"]));
    assert_eq!(required("host"), serde_json::json!(["version"]));
    assert_eq!(required("domU"), serde_json::json!(["version"]));
    assert_eq!(
        required("image"),
        serde_json::json!(["version", "revision"])
    );
}

#[test]
fn the_template_carries_them() {
    for schema in schemas() {
        let file = format!(
            "../config-repo-template/.schemas/{}.schema.json",
            schema.name
        );
        let text = serde_json::to_string_pretty(&schema.schema).expect("JSON") + "\n";
        let path = manifest_dir().join(file);
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, &text).expect("written");
        }
        let carried = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            carried == text,
            "`domus schema --output config-repo-template/.schemas`"
        );
        let rules = fs::read_to_string(manifest_dir().join("../config-repo-template/.taplo.toml"));
        let rules = rules.expect("the editor's rules");
        assert!(rules.contains(schema.paths) && rules.contains(&format!("{}.schema", schema.name)));
    }
}
