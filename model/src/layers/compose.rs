// SPDX-License-Identifier: GPL-3.0-or-later
//! From layers as written to layers as laid: templates filled for one machine.

use super::template::{Context, Engine};
use super::{Attributes, Body, File, Layer};
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::LayerDoc;
use crate::files::{LeafKind, TEMPLATE};
use crate::fleet::Vars;
use crate::names::Name;
use minijinja::Value;
use std::collections::BTreeMap;
use std::fmt::Display;

/// The machine whose `/etc` is composed, as its templates see it.
pub(crate) struct Machine<'m> {
    pub(crate) fleet: &'m Name,
    /// `host` or `domU`.
    pub(crate) kind: &'static str,
    pub(crate) name: &'m Name,
    /// The groups of a host; a domU has none.
    pub(crate) groups: &'m [Name],
    pub(crate) vars: &'m Vars,
}

impl Machine<'_> {
    fn context(&self) -> Context {
        let text = |value: &dyn Display| Value::from(value.to_string());
        let groups = self.groups.iter().map(|group| text(group));
        let own = [
            ("fleet", text(self.fleet)),
            ("kind", Value::from(self.kind)),
            ("name", text(self.name)),
            ("groups", Value::from_iter(groups)),
        ];
        Context::new(self.vars, own.into())
    }
}

/// The layers of `machine`, the lowest first. What cannot be filled in is noted and left out.
pub(crate) fn compose<'d>(
    machine: &Machine<'_>,
    stack: impl IntoIterator<Item = &'d LayerDoc>,
    notes: &mut Vec<Diagnostic>,
) -> Vec<Layer> {
    let layers = stack.into_iter().filter(|layer| !layer.is_empty());
    // Most machines have no templates.
    let mut engine = None;
    let mut fill = |text: &str| {
        let (engine, context) = engine.get_or_insert_with(|| (Engine::new(), machine.context()));
        engine.fill(text, context)
    };
    let mut laid = Vec::new();
    for doc in layers {
        let mut files = BTreeMap::new();
        for (inside, (source, leaf)) in &doc.leaves {
            let body = match leaf.kind {
                LeafKind::Link => Body::Link,
                // Noted when the layer by itself was proved.
                LeafKind::Other | LeafKind::Large => continue,
                _ if doc.is_secret(inside) => Body::Secret,
                _ if !inside.ends_with(TEMPLATE) => Body::Copy,
                _ => match doc.templates.get(inside).map(|text| fill(text)) {
                    Some(Ok(text)) => Body::Text(text),
                    Some(Err(problem)) => {
                        let place = Place::new(source, problem.span);
                        let note = place.error(problem.message);
                        let remark = format!("for {}", machine.name);
                        notes.push(note.remark(remark).help(problem.help));
                        continue;
                    }
                    None => continue,
                },
            };
            let source = source.to_string();
            let file = File {
                source,
                id: leaf.id,
                is_program: leaf.kind == LeafKind::Program,
                body,
            };
            files.insert(doc.target(inside).to_owned(), file);
        }
        laid.push(Layer {
            name: doc.name.clone(),
            directory: doc.directory.clone(),
            files,
            attributes: attributes(doc),
            remove: doc.doc.remove.iter().map(|it| it.value.clone()).collect(),
        });
    }
    laid
}

fn attributes(doc: &LayerDoc) -> BTreeMap<String, Attributes> {
    let files = doc.doc.files.iter();
    let attributes = files.map(|(path, file)| {
        let owner = file.owner.as_ref().map(|owner| owner.value.clone());
        let mode = file.mode.as_ref().map(|mode| mode.value);
        (path.value.clone(), Attributes { owner, mode })
    });
    attributes.collect()
}
