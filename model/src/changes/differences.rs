// SPDX-License-Identifier: GPL-3.0-or-later
//! What differs between two values, as paths of settings. Nothing can be forgotten here: whatever
//! a host or domU has is compared, known or not.

use serde::Serialize;
use serde_json::{Map, Value};

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The keys that lead to it; an item of a list is named by its name, or else counted from 0.
    pub path: Vec<String>,
    /// What it was; `None` if it was not there.
    pub from: Option<Value>,
    /// What it is to be; `None` if it is to go.
    pub to: Option<Value>,
}

/// All differences, in the order of the keys.
pub(super) fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), Some(from), Some(to), &mut found);
    found
}

fn compare(
    path: &mut Vec<String>,
    from: Option<&Value>,
    to: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    // A setting that may be left out is there as null.
    let [from, to] = [from, to].map(|value| value.filter(|value| !value.is_null()));
    if from == to {
        return;
    }
    if let (Some(from), Some(to)) = (from, to)
        && from.is_array() == to.is_array()
        && let (Some(from), Some(to), from_list, to_list) = (entries(from), entries(to), from, to)
    {
        let mut keys: Vec<&String> = from.keys().chain(to.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            path.push(key.clone());
            compare(path, from.get(key), to.get(key), found);
            path.pop();
        }
        return order(path, from_list, to_list, found);
    }
    found.push(Difference {
        path: path.clone(),
        from: from.cloned(),
        to: to.cloned(),
    });
}

/// Notes that those of two lists that both have are in another order.
fn order(path: &[String], from: &Value, to: &Value, found: &mut Vec<Difference>) {
    let names = |list: &Value| -> Vec<Value> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(|item| item.get("name").cloned()).collect()
    };
    let (from, to) = (names(from), names(to));
    let common = |of: &[Value], other: &[Value]| -> Vec<Value> {
        of.iter()
            .filter(|name| other.contains(name))
            .cloned()
            .collect()
    };
    if common(&from, &to) != common(&to, &from) {
        found.push(Difference {
            path: [path, &["order".to_owned()]].concat(),
            from: Some(Value::Array(from)),
            to: Some(Value::Array(to)),
        });
    }
}

/// What is compared part by part: a table, or a list of tables.
fn entries(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(entries) => Some(entries.clone()),
        Value::Array(items) if items.iter().all(Value::is_object) => {
            let name = |(index, item): (usize, &Value)| {
                let name = item["name"].as_str().map(str::to_owned);
                (name.unwrap_or_else(|| index.to_string()), item.clone())
            };
            Some(items.iter().enumerate().map(name).collect())
        }
        _ => None,
    }
}

/// `value` with this difference made.
#[cfg(test)]
pub(super) fn make(value: &mut Value, difference: &Difference) {
    let (last, above) = difference.path.split_last().expect("a path");
    let mut at = value;
    for key in above {
        at = match at {
            Value::Array(items) => {
                let index = key.parse().ok();
                let named = |item: &&mut Value| item["name"].as_str() == Some(key);
                match index {
                    Some(index) if items.len() > index => &mut items[index],
                    _ => items.iter_mut().find(named).expect("an item"),
                }
            }
            at => &mut at[key],
        };
    }
    match (at, &difference.to) {
        (Value::Array(items), Some(Value::Array(names))) if last == "order" => {
            let place = |item: &Value| names.iter().position(|name| *name == item["name"]);
            items.sort_by_key(place);
        }
        (Value::Array(items), to) => {
            let named = |item: &Value| item["name"].as_str() == Some(last);
            let index = items.iter().position(named).or(last.parse().ok());
            match (index.filter(|index| *index < items.len()), to) {
                (Some(index), Some(to)) => items[index] = to.clone(),
                (Some(index), None) => drop(items.remove(index)),
                (None, to) => items.extend(to.clone()),
            }
        }
        (at, Some(to)) => at[last] = to.clone(),
        (at, None) => at[last] = Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shown(from: &Value, to: &Value) -> Vec<String> {
        let line = |it: &Difference| {
            let text = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
            format!("{} {} {}", it.path.join("."), text(&it.from), text(&it.to))
        };
        differences(from, to).iter().map(line).collect()
    }

    #[test]
    fn settings_are_compared_part_by_part() {
        let from = json!({"a": 1, "b": null, "c": {"d": [1, 2], "e": "x"}, "disk": [
            {"name": "data", "size": 1}, {"name": "log", "size": 2}], "network": [{"mac": "a"}]});
        let to = json!({"a": 1, "c": {"d": [1]}, "f": true, "disk": [
            {"name": "log", "size": 3}, {"name": "new"}], "network": [{"mac": "b"}, {"mac": "c"}]});
        let expected = [
            "c.d [1,2] [1]",
            "c.e \"x\" -",
            "disk.data {\"name\":\"data\",\"size\":1} -",
            "disk.log.size 2 3",
            "disk.new - {\"name\":\"new\"}",
            "f - true",
            "network.0.mac \"a\" \"b\"",
            "network.1 - {\"mac\":\"c\"}",
        ];
        assert_eq!(shown(&from, &to), expected);
        assert_eq!(shown(&to, &to), [""; 0]);
        let other = json!({"disk": [{"name": "new"}, {"name": "log", "size": 3}]});
        let to = json!({"disk": to["disk"]});
        assert_eq!(
            shown(&to, &other),
            ["disk.order [\"log\",\"new\"] [\"new\",\"log\"]"]
        );
    }

    /// Values as hosts have them: no lists in lists, names told apart.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3_u8).prop_map(Value::from),
            prop::collection::vec(0..3_u8, 1..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let table = prop::collection::btree_map("[a-d]", inner.clone(), 0..4);
            let named = prop::collection::btree_map("[a-d]", inner, 1..4).prop_map(|items| {
                let item = |(name, of)| json!({"name": name, "of": of});
                Value::Array(items.into_iter().map(item).collect())
            });
            prop_oneof![table.prop_map(|table| json!(table)), named]
        })
    }

    /// As it is compared: nothing that is null, lists of tables in the order of their names.
    fn normal(value: &Value) -> Value {
        match value {
            Value::Object(entries) => {
                let entries = entries.iter().filter(|(_, value)| !value.is_null());
                entries
                    .map(|(key, value)| (key.clone(), normal(value)))
                    .collect()
            }
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(normal).collect();
                items.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
                Value::Array(items)
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn differences_made_to_the_old_give_the_new(from in value(), to in value()) {
            let (from, to) = (json!({"x": from}), json!({"x": to}));
            let mut made = from.clone();
            for difference in differences(&from, &to) {
                make(&mut made, &difference);
            }
            prop_assert_eq!(normal(&made), normal(&to));
            prop_assert_eq!(differences(&to, &to), vec![]);
        }
    }
}
