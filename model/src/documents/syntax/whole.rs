// SPDX-License-Identifier: GPL-3.0-or-later
//! Documents as the `toml` crate reads them.

use super::{Body, Children, Node, Span, Toml};
use std::borrow::Cow;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The TOML of a document.
///
/// # Errors
/// It is none.
pub(super) fn read(text: &str) -> Result<Toml<'_>, toml::de::Error> {
    let table = DeTable::parse(text)?.into_inner();
    let mut toml = Toml::with_room(text.len() / 8);
    add_table(&mut toml, 0, table);
    Ok(toml)
}

/// The crate has entries in the order of their keys, too, and does not go deeper than 80 arrays or
/// tables.
fn add_table<'t>(toml: &mut Toml<'t>, parent: u32, table: DeTable<'t>) {
    for (key, value) in table {
        let key_span = Span::new(key.span());
        add(toml, parent, key.into_inner(), key_span, value);
    }
}

fn add<'t>(
    toml: &mut Toml<'t>,
    parent: u32,
    key: Cow<'t, str>,
    key_span: Span,
    value: Spanned<DeValue<'t>>,
) {
    let span = Span::new(value.span());
    let value = value.into_inner();
    let body = match &value {
        DeValue::String(text) => Body::Text(text.clone()),
        DeValue::Integer(it) => Body::Integer(Cow::Owned(it.as_str().to_owned()), it.radix()),
        DeValue::Boolean(flag) => Body::Boolean(*flag),
        DeValue::Float(_) | DeValue::Datetime(_) => Body::Other(value.type_str()),
        DeValue::Array(_) => Body::Array(Children::default()),
        DeValue::Table(_) => Body::Table(Children::default()),
    };
    let at = toml.push(Node {
        key,
        key_span,
        span,
        body,
        next: None,
    });
    toml.append(parent, at);
    match value {
        DeValue::Table(table) => add_table(toml, at, table),
        DeValue::Array(items) => {
            for item in items {
                let nowhere = Span { start: 0, end: 0 };
                add(toml, at, Cow::Borrowed(""), nowhere, item);
            }
        }
        _ => {}
    }
}
