// SPDX-License-Identifier: GPL-3.0-or-later
//! dom0's firewall as a ruleset of nftables: whatever is not allowed is dropped. Every value is
//! written from its type: names of networks, addresses, numbers. See `docs/decisions/firewall.md`.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::fleet::{Forward, Host, Network, Opening, Protocol, SSH};
use crate::names::Name;
use crate::rendered::RenderedFile;

/// Errors that a connection needs to hear of, and echo (RFC 4890, 4.4; ICMP: RFC 1122, 3.2.2).
const ICMP: &str = "destination-unreachable, echo-request, parameter-problem, time-exceeded";
/// The same, and what neighbours and routers say on a link.
const ICMPV6: &str = "destination-unreachable, echo-request, mld-listener-query, \
    nd-neighbor-advert, nd-neighbor-solicit, nd-redirect, nd-router-advert, packet-too-big, \
    parameter-problem, time-exceeded";

/// What goes before it: all but what filters domUs' cards, which belongs to these.
const FLUSH: &str = "flush ruleset inet\nflush ruleset ip\nflush ruleset ip6\n\
    flush ruleset arp\nflush ruleset bridge\n";

/// The ruleset that `nftables.service` loads, which replaces whatever is in force in one go.
pub(super) fn render(host: &Host) -> RenderedFile {
    let mut text = format!(
        "#!/usr/sbin/nft -f\n# [firewall], [[forward]] and nat of host.toml, by domus-boot\n\
         {FLUSH}\ntable inet domus {{\n",
    );
    text += &chain(
        "input",
        "filter hook input priority filter; policy drop;",
        &input(host),
    );
    let forwarded = "filter hook forward priority filter; policy drop;";
    text += &chain("forward", forwarded, &forward(host));
    let (into, out) = (nat_in(host), nat_out(host));
    if !into.is_empty() {
        text += &chain("prerouting", "nat hook prerouting priority dstnat;", &into);
    }
    if !out.is_empty() {
        text += &chain("postrouting", "nat hook postrouting priority srcnat;", &out);
    }
    text += "}\n";
    RenderedFile::new("nftables.conf", text)
}

fn chain(name: &str, hook: &str, rules: &[String]) -> String {
    let mut text = format!("\tchain {name} {{\n\t\ttype {hook}\n");
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text + "\t}\n"
}

/// What reaches dom0 itself.
fn input(host: &Host) -> Vec<String> {
    let mut rules = vec![
        "ct state { established, related } accept".to_owned(),
        "iifname \"lo\" accept".to_owned(),
        format!("icmp type {{ {ICMP} }} accept"),
        format!("icmpv6 type {{ {ICMPV6} }} accept"),
    ];
    // Answers to what was asked of all are no part of a connection.
    for (name, network) in &host.networks {
        if network.asks_dhcp() {
            rules.push(format!(
                "iifname \"{name}\" udp sport 67 udp dport 68 accept"
            ));
        }
        if network.router_advertisements {
            rules.push(format!(
                "iifname \"{name}\" ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"
            ));
        }
        if network.dhcp {
            rules.push(format!(
                "iifname \"{name}\" udp sport 68 udp dport 67 accept"
            ));
        }
    }
    let ssh = |from: &IpNet| Opening {
        protocol: Protocol::Tcp,
        ports: (SSH, SSH),
        from: Some(*from),
    };
    let firewall = &host.firewall;
    let all = firewall
        .ssh_from
        .iter()
        .map(ssh)
        .chain(firewall.allow.iter().copied());
    rules.extend(all.map(|opening| accept(&opening)));
    rules
}

fn accept(opening: &Opening) -> String {
    let (first, last) = opening.ports;
    let ports = match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let from = opening.from.map(|net| match (net.prefix_len(), net) {
        (0, IpNet::V4(_)) => "meta nfproto ipv4 ".to_owned(),
        (0, IpNet::V6(_)) => "meta nfproto ipv6 ".to_owned(),
        (_, IpNet::V4(net)) => format!("ip saddr {net} "),
        (_, IpNet::V6(net)) => format!("ip6 saddr {net} "),
    });
    let protocol = opening.protocol;
    format!(
        "{}{protocol} dport {ports} accept",
        from.unwrap_or_default()
    )
}

fn with_nat(host: &Host) -> impl Iterator<Item = (&Name, &Network)> {
    host.networks.iter().filter(|(_, network)| network.nat)
}

/// The networks by which dom0 reaches others, as a set of interfaces.
fn ways_out(host: &Host) -> String {
    let out = host
        .networks
        .iter()
        .filter(|(_, network)| network.leads_out());
    let out: Vec<String> = out.map(|(name, _)| format!("\"{name}\"")).collect();
    format!("{{ {} }}", out.join(", "))
}

/// What is routed through dom0. Frames that a bridge passes on are none of this.
fn forward(host: &Host) -> Vec<String> {
    let mut rules = Vec::new();
    let out = ways_out(host);
    for (name, network) in with_nat(host) {
        for net in network.statics().map(|net| net.trunc()) {
            let ip = family(net.addr());
            rules.push(format!(
                "iifname \"{name}\" oifname {out} {ip} saddr {net} accept"
            ));
        }
    }
    for (forward, address) in targets(host) {
        let Forward {
            network,
            protocol,
            to_port,
            ..
        } = forward;
        let ip = family(address);
        rules.push(format!(
            "iifname {out} oifname \"{network}\" {ip} daddr {address} {protocol} dport {to_port} \
             ct status dnat accept"
        ));
    }
    if !rules.is_empty() {
        rules.insert(0, "ct state { established, related } accept".to_owned());
    }
    rules
}

/// Ports of dom0's addresses that lead to domUs, for whoever comes from outside.
fn nat_in(host: &Host) -> Vec<String> {
    let out = ways_out(host);
    let rule = |(forward, address): (&Forward, IpAddr)| {
        let Forward {
            protocol,
            port,
            to_port,
            ..
        } = forward;
        let (nfproto, ip, to) = match address {
            IpAddr::V4(address) => ("ipv4", "ip", format!("{address}:{to_port}")),
            IpAddr::V6(address) => ("ipv6", "ip6", format!("[{address}]:{to_port}")),
        };
        format!(
            "iifname {out} meta nfproto {nfproto} fib daddr type local {protocol} dport {port} \
             dnat {ip} to {to}"
        )
    };
    targets(host).map(rule).collect()
}

/// domUs that leave the host by dom0's addresses.
fn nat_out(host: &Host) -> Vec<String> {
    let out = ways_out(host);
    let nets = with_nat(host).flat_map(|(_, network)| network.statics());
    let rule = |net: IpNet| {
        let (ip, net) = (family(net.addr()), net.trunc());
        format!("oifname {out} {ip} saddr {net} masquerade")
    };
    nets.map(rule).collect()
}

fn targets(host: &Host) -> impl Iterator<Item = (&Forward, IpAddr)> {
    let all = host.forwards.iter();
    all.flat_map(|forward| forward.address.iter().map(move |it| (forward, *it)))
}

/// nftables' word for the family of an address.
fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    }
}
