// SPDX-License-Identifier: GPL-3.0-or-later
//! What a domU's card may send, as a ruleset of nftables: frames of its own MAC address, and where
//! addresses are declared, packets of those. It hangs on the card's vif in dom0 and goes with it.
//! Every value is written from its type; see `docs/decisions/filter.md`.

use crate::units::Mac;
use std::fmt::Write;
use std::net::IpAddr;

/// The table of a vif.
fn table(vif: &str) -> String {
    format!("domus.{vif}")
}

/// The ruleset for nft(8) that filters what comes from `vif`, in place of one that may be there.
/// `vif`: as libxl names it, `vif5.0`.
pub fn ruleset(vif: &str, mac: Mac, addresses: &[IpAddr]) -> String {
    let mut text = removal(vif);
    let _ = write!(
        text,
        "table netdev {} {{\n\tchain in {{\n\t\t\
         type filter hook ingress device \"{vif}\" priority filter; policy drop;\n\t\t\
         ether saddr != {mac} drop\n",
        table(vif)
    );
    for rule in rules(mac, addresses) {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text + "\t}\n}\n"
}

/// What lets go of `vif`, whether anything holds it or not.
pub fn removal(vif: &str) -> String {
    let table = table(vif);
    format!("add table netdev {table}\ndelete table netdev {table}\n")
}

/// What is accepted of what has the right MAC address.
fn rules(mac: Mac, addresses: &[IpAddr]) -> Vec<String> {
    if addresses.is_empty() {
        return vec!["accept".to_owned()];
    }
    let list = |of: fn(&IpAddr) -> bool, others: &[&str]| {
        let own = addresses.iter().filter(|address| of(address));
        let own = own.map(IpAddr::to_string);
        let others = others.iter().map(|it| (*it).to_owned());
        let all: Vec<String> = others.chain(own).collect();
        all.join(", ")
    };
    let (v4, v6) = (
        list(IpAddr::is_ipv4, &[]),
        // A neighbour is looked for from no address, and from the link's (RFC 4861).
        list(IpAddr::is_ipv6, &["::", "fe80::/10"]),
    );
    let mut rules = vec![
        // Whoever has no address yet asks for one, and whether somebody has it (RFC 5227).
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept".to_owned(),
        format!("arp saddr ether {mac} arp saddr ip 0.0.0.0 accept"),
    ];
    if !v4.is_empty() {
        rules.push(format!("ip saddr {{ {v4} }} accept"));
        rules.push(format!(
            "arp saddr ether {mac} arp saddr ip {{ {v4} }} accept"
        ));
    }
    rules.push("icmpv6 type nd-router-advert drop".to_owned());
    rules.push(format!("ip6 saddr {{ {v6} }} accept"));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_sends_by_what_it_was_given() {
        let mac = "00:16:3e:5a:01:07".parse().expect("a MAC address");
        insta::assert_snapshot!(ruleset("vif5.0", mac, &[]));
        let addresses = ["192.0.2.17", "192.0.2.18", "2001:db8::17"];
        let addresses = addresses.map(|it| it.parse().expect("an address"));
        insta::assert_snapshot!(ruleset("vif5.1", mac, &addresses));
        insta::assert_snapshot!(ruleset("vif5.1", mac, &addresses[2..]));
    }
}
