//! Proof: no two hosts are recognised by the same thing. (MAC addresses are `macs`' to prove.)
// SPDX-License-Identifier: GPL-3.0-or-later

use super::hosts;
use crate::diagnostic::Diagnostic;
use crate::documents::{At, Documents, MachineDoc};
use std::collections::BTreeMap;
use std::ops::Range;

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    let uuid = |machine: &MachineDoc| machine.dmi_uuid.as_ref().map(text);
    distinct(documents, "DMI UUID", uuid, notes);
    let serial = |machine: &MachineDoc| machine.serial.as_ref().map(text);
    distinct(documents, "serial number", serial, notes);
}

fn text<T: ToString>(at: &At<T>) -> At<String> {
    At {
        value: at.value.to_string(),
        span: at.span.clone(),
    }
}

fn distinct(
    documents: &Documents,
    what: &str,
    identity: impl Fn(&MachineDoc) -> Option<At<String>>,
    notes: &mut Vec<Diagnostic>,
) {
    let mut seen = BTreeMap::new();
    for (name, doc, host) in hosts(documents) {
        let Some(At { value, span }) = host.machine.as_ref().and_then(&identity) else {
            continue;
        };
        let Some((other, path, first)) = seen.get(&value) else {
            seen.insert(value, (name, &doc.path, span));
            continue;
        };
        let message = format!("two hosts with one {what}");
        let help =
            format!("read it on both machines; neither could tell if it is {other} or {name}");
        let note = Diagnostic::error(message, &doc.path, span)
            .remark(format!("also given to {other}"))
            .see(path, Range::clone(first), "")
            .help(help);
        notes.push(note);
    }
}
