// SPDX-License-Identifier: GPL-3.0-or-later
//! A difference in words.

use super::Difference;
use serde_json::Value;

/// A setting as `show` names it: `network[0].bridge`.
pub(super) fn setting(path: &[&str]) -> String {
    let mut name = String::new();
    for key in path {
        name += &match key.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) if name.is_empty() => (*key).to_owned(),
            Err(_) => format!(".{key}"),
        };
    }
    name
}

/// Long values, as keys are, need not be shown whole.
fn cut(text: String) -> String {
    const LONGEST: usize = 40;
    match text.chars().count() > LONGEST {
        true => text.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => text,
    }
}

/// `memory 512MiB -> 768MiB`
pub(super) fn words(difference: &Difference, name: &str) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items = items.iter().map(|item| match item {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            items.collect::<Vec<_>>().join(", ")
        }
        Value::Object(_) => String::new(),
        other => other.to_string(),
    };
    let text = |value: &Value| cut(text(value));
    match (&difference.from, &difference.to) {
        (Some(from), Some(to)) => format!("{name} {} -> {}", text(from), text(to)),
        (None, Some(to)) => format!("{name} added {}", text(to)).trim_end().to_owned(),
        (Some(from), None) => format!("{name} removed {}", text(from))
            .trim_end()
            .to_owned(),
        (None, None) => name.to_owned(),
    }
}
