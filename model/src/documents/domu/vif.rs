// SPDX-License-Identifier: GPL-3.0-or-later
//! `[[network]]` of a domU: a card.

use super::forms::{GUEST_ADDRESS, RATE};
use crate::documents::forms::{MAC, name};
use crate::documents::place::At;
use crate::documents::table::Table;
use crate::names::Name;
use crate::units::{Mac, Rate};
use std::net::IpAddr;

/// `[[network]]`
#[derive(Debug)]
pub(crate) struct VifDoc {
    pub(crate) bridge: Option<At<Name>>,
    pub(crate) mac: Option<At<Mac>>,
    /// Whether `mac` is there, readable or not: where it is not, one is derived.
    pub(crate) has_mac: bool,
    pub(crate) rate: Option<At<Rate>>,
    pub(crate) filter: Option<At<bool>>,
    pub(crate) addresses: Vec<At<IpAddr>>,
}

impl VifDoc {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let bridge = "the host's network it is joined to";
        let about = "its address, if not one derived from the domU's name";
        let mac = table.read("mac", about, &MAC);
        if let Some(At { value, place }) = mac.as_ref().filter(|mac| !mac.value.is_free_to_give()) {
            let message = format!("{value} may belong to a network card somebody sells");
            let help = "leave `mac` out and Domus derives one, or take one with 00:16:3e";
            table.notes().warning(place, message, help);
        }
        let vif = Self {
            bridge: table.require("bridge", bridge, &name("lan")),
            has_mac: table.has("mac"),
            mac,
            rate: table.read("rate", "the most that it sends in a second", &RATE),
            filter: table.flag("filter", "whether it sends by its own mac only"),
            addresses: table.list(
                "addresses",
                "the only IP addresses that it sends by",
                &GUEST_ADDRESS,
            ),
        };
        let open = vif.filter.as_ref().filter(|filter| !filter.value);
        if let (Some(filter), false) = (open, vif.addresses.is_empty()) {
            let message = "what is not filtered may send by any address".to_owned();
            let help = "take `filter` out, or `addresses`";
            table.notes().error(&filter.place, message, help);
        }
        vif
    }
}
