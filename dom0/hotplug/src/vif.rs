// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU's network card: its vif joins the bridge that the domU's document names, and sends what
//! it may.

use std::net::IpAddr;

use anyhow::{Context, Result};
use domus_model::filter;
use domus_model::units::Mac;
use domus_system::link::{self, Link};
use domus_system::program::Program;

use crate::Backend;

const NFT: &str = "/usr/sbin/nft";

/// Joins the vif to its bridge; before that, lets nothing from it pass but what its card may send,
/// if that is `filtered`.
pub(crate) fn online(backend: &Backend, filtered: bool) -> Result<()> {
    let bridge = backend.require("bridge")?;
    let name = name()?;
    if filtered {
        let mac = backend.require("mac")?;
        let addresses = backend.read("ip")?.unwrap_or_default();
        load(&ruleset(&name, &mac, &addresses)?)
            .with_context(|| format!("filtering what {name} sends"))?;
    }
    Link::open(&name)?.join(&bridge)?;
    backend.connected()
}

/// Takes the vif out of its bridge. A vif that is gone already has left it.
pub(crate) fn offline(filtered: bool) -> Result<()> {
    let name = name()?;
    if link::exists(&name) {
        Link::open(&name)?.leave()?;
    }
    match filtered {
        true => load(&filter::removal(&name))
            .with_context(|| format!("letting go of what filtered {name}")),
        false => Ok(()),
    }
}

/// The ruleset for a vif, from what libxl wrote of its card.
fn ruleset(vif: &str, mac: &str, addresses: &str) -> Result<String> {
    let mac: Mac = mac.parse()?;
    let addresses = addresses.split_whitespace();
    let addresses: Vec<IpAddr> = addresses
        .map(|it| it.parse().with_context(|| format!("{it:?} is no address")))
        .collect::<Result<_>>()?;
    Ok(filter::ruleset(vif, mac, &addresses))
}

fn load(ruleset: &str) -> Result<()> {
    Program::new(NFT).args(["-f", "-"]).input(ruleset).run()
}

fn name() -> Result<String> {
    std::env::var("vif").context("`vif` is not set: this program is called by libxl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_made_of_what_libxl_writes() {
        let mac = "00:16:3e:5a:01:07";
        let plain = ruleset("vif5.0", mac, "").expect("rules");
        assert!(plain.contains("\t\taccept\n"), "{plain}");
        let both = ruleset("vif5.0", mac, "192.0.2.17 2001:db8::17").expect("rules");
        assert!(
            both.contains("192.0.2.17") && both.contains("2001:db8::17"),
            "{both}"
        );
        assert!(ruleset("vif5.0", mac, "192.0.2.17 x").is_err());
        assert!(ruleset("vif5.0", "x", "").is_err());
    }

    /// In a network namespace of its own, in place of the vif its loopback.
    #[test]
    fn nft_takes_the_rules_twice_and_lets_go() {
        let rules = ruleset("lo", "00:16:3e:5a:01:07", "192.0.2.17 2001:db8::17").expect("rules");
        let script = format!("{rules}{rules}{}", filter::removal("lo").repeat(2));
        Program::new("unshare")
            .args(["-n", NFT, "-f", "-"])
            .input(script)
            .run()
            .expect("nft, as root");
    }
}
