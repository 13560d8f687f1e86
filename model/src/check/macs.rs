//! Proof: no MAC address is given twice, to domUs or machines, anywhere in the fleet.
// SPDX-License-Identifier: GPL-3.0-or-later

use super::{guests, hosts};
use crate::diagnostic::Diagnostic;
use crate::documents::{At, Documents};
use crate::units::Mac;
use std::collections::BTreeMap;

/// A network card: its address, its document, and whose it is.
type Card<'d> = (&'d At<Mac>, &'d str, String);

pub(super) fn prove(documents: &Documents, notes: &mut Vec<Diagnostic>) {
    let machines = hosts(documents).filter_map(|(name, doc, host)| -> Option<Card<'_>> {
        let mac = host.machine.as_ref()?.mac.as_ref()?;
        Some((mac, &doc.path, format!("the machine of {name}")))
    });
    let vifs = guests(documents).flat_map(|guest| {
        let owner = format!("{} on {}", guest.name, guest.host);
        let macs = guest.domu.vifs.iter().filter_map(|vif| vif.mac.as_ref());
        macs.map(move |mac| -> Card<'_> { (mac, guest.path, owner.clone()) })
    });
    let cards: Vec<Card<'_>> = machines.chain(vifs).collect();
    let mut first: BTreeMap<Mac, &Card<'_>> = BTreeMap::new();
    for card in &cards {
        let (mac, path, owner) = card;
        let Some((other, other_path, other_owner)) = first.get(&mac.value) else {
            first.insert(mac.value, card);
            continue;
        };
        let free = Mac::derived(&format!("{owner} {path} {}", mac.span.start));
        let note = Diagnostic::error(
            "two network cards with one MAC address",
            path,
            mac.span.clone(),
        )
        .remark(format!("also given to {other_owner}"))
        .see(other_path, other.span.clone(), "")
        .help(format!("give one of them another, as \"{free}\""));
        notes.push(note);
    }
}
