// SPDX-License-Identifier: GPL-3.0-or-later
//! The forms that strings in documents have: those of networks. They end up in files of
//! systemd-networkd and in rules of nftables, so each is read and written anew.

use super::forms::Form;
use crate::bad_value::{BadValue, quoted};
use crate::fleet::{Address, Bond, Opening, Protocol};
use crate::names::Port;
use ipnet::IpNet;
use std::net::IpAddr;

pub(super) const PORT: Form<Port> = Form {
    example: "eno1",
    pattern: r"^([A-Za-z0-9][A-Za-z0-9._-]{0,14}|mac:([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})$",
    parse: str::parse,
};

pub(super) const BOND: Form<Bond> = Form {
    example: "802.3ad",
    pattern: r"^(802\.3ad|active-backup|balance-xor)$",
    parse: |text| {
        let found = Bond::ALL.into_iter().find(|it| it.to_string() == text);
        found.ok_or_else(|| {
            let advice = "write \"802.3ad\" where the switch speaks LACP, \"active-backup\" where it \
                          knows nothing, or \"balance-xor\" where it has a static group";
            BadValue::new(format!("{} is no bond", quoted(text)), advice)
        })
    },
};

/// dom0's own address; `None` is written as the word.
pub(super) const ADDRESS: Form<Option<Address>> = Form {
    example: "dhcp",
    pattern: r"^(none|dhcp|[0-9a-fA-F.:]+/[0-9]+)$",
    parse: |text| match text {
        "none" => Ok(None),
        "dhcp" => Ok(Some(Address::Dhcp)),
        _ => static_address(text).map(|net| Some(Address::Static(net))),
    },
};

fn static_address(text: &str) -> Result<IpNet, BadValue> {
    let refuse = |advice: &str| {
        let problem = format!("{} is no address for a host", quoted(text));
        Err(BadValue::new(problem, advice))
    };
    let Ok(address) = text.parse::<IpNet>() else {
        return match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => refuse(&format!("add the prefix length, as \"{text}/24\"")),
            Ok(IpAddr::V6(_)) => refuse(&format!("add the prefix length, as \"{text}/64\"")),
            Err(_) => refuse("write \"dhcp\", \"none\" or one as \"192.0.2.10/24\""),
        };
    };
    let ip = address.addr();
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || address.prefix_len() == 0 {
        return refuse("write one that a host may have, as \"192.0.2.10/24\"");
    }
    // RFC 3021 and RFC 6164: where only two addresses fit, both are hosts'.
    let spare_bits = address.max_prefix_len() - address.prefix_len();
    let is_network = spare_bits > 1 && ip == address.network();
    let is_broadcast = spare_bits > 1 && ip.is_ipv4() && ip == address.broadcast();
    if is_network || is_broadcast {
        return refuse("this one stands for the whole subnet; write the host's own");
    }
    Ok(address)
}

/// An address of a machine.
pub(super) const MACHINE: Form<IpAddr> = Form {
    example: "192.0.2.1",
    pattern: r"^[0-9a-fA-F.:]+$",
    parse: |text| {
        text.parse().map_err(|_| {
            let problem = format!("{} is no IP address", quoted(text));
            BadValue::new(
                problem,
                "write one without a prefix length, as \"192.0.2.1\"",
            )
        })
    },
};

/// A machine by its address or its name in DNS (RFC 1123).
pub(super) const TIME_SERVER: Form<String> = Form {
    example: "ntp.example.net",
    pattern: r"^[0-9A-Za-z.:-]{1,253}$",
    parse: |text| {
        let is_label = |label: &str| {
            let edges = [label.chars().next(), label.chars().last()];
            let is_word = |c: char| c.is_ascii_alphanumeric();
            edges.into_iter().all(|edge| edge.is_some_and(is_word))
                && label.len() <= 63
                && label.chars().all(|c| is_word(c) || c == '-')
        };
        // What ends in a number is meant to be an address.
        let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = text.len() <= 253
            && text.split('.').all(is_label)
            && !text.rsplit('.').next().is_some_and(is_number);
        if is_name || text.parse::<IpAddr>().is_ok() {
            return Ok(text.to_owned());
        }
        let problem = format!(
            "{} is neither an address nor the name of a machine",
            quoted(text)
        );
        let advice = "write one as \"192.0.2.123\" or \"ntp.example.net\"";
        Err(BadValue::new(problem, advice))
    },
};

/// Where others are: a subnet, or one address.
pub(super) const SUBNET: Form<IpNet> = Form {
    example: "192.0.2.0/24",
    pattern: r"^[0-9a-fA-F.:]+(/[0-9]+)?$",
    parse: subnet,
};

fn subnet(text: &str) -> Result<IpNet, BadValue> {
    let read = text.parse::<IpNet>();
    let Ok(net) = read.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) else {
        let advice = "write one as \"192.0.2.0/24\", or an address";
        return Err(BadValue::new(
            format!("{} is no subnet", quoted(text)),
            advice,
        ));
    };
    match net.trunc() == net {
        true => Ok(net),
        false => Err(BadValue::new(
            format!("{} is an address inside a subnet", quoted(text)),
            format!(
                "write \"{}\" for all of it, or \"{}\" for the one",
                net.trunc(),
                net.addr()
            ),
        )),
    }
}

pub(super) const PROTOCOL: Form<Protocol> = Form {
    example: "tcp",
    pattern: r"^(tcp|udp)$",
    parse: |text| {
        let found = Protocol::ALL.into_iter().find(|it| it.to_string() == text);
        found.ok_or_else(|| {
            let problem = format!("{} has no ports", quoted(text));
            BadValue::new(problem, "write \"tcp\" or \"udp\"")
        })
    },
};

pub(super) const OPENING: Form<Opening> = Form {
    example: "tcp/9100",
    pattern: r"^(tcp|udp)/[0-9]+(-[0-9]+)?( from [0-9a-fA-F.:]+(/[0-9]+)?)?$",
    parse: |text| {
        let (what, from) = match text.split_once(" from ") {
            Some((what, from)) => (what, Some(subnet(from)?)),
            None => (text, None),
        };
        let opening = || {
            let (protocol, ports) = what.split_once('/')?;
            let protocol = (PROTOCOL.parse)(protocol).ok()?;
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let ports = (port(first)?, port(last)?);
            let opening = Opening {
                protocol,
                ports,
                from,
            };
            (ports.0 <= ports.1).then_some(opening)
        };
        opening().ok_or_else(|| {
            let advice = "write it as \"tcp/9100\", \"udp/6000-6010\" or \
                          \"tcp/9100 from 192.0.2.0/24\"";
            BadValue::new(format!("{} says not what is reached", quoted(text)), advice)
        })
    },
};

/// A port number, which is never 0.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_server_is_an_address_or_a_name() {
        for good in [
            "192.0.2.1",
            "2001:db8::1",
            "ntp",
            "a-1.example.net",
            "0.pool.example.net",
        ] {
            assert_eq!((TIME_SERVER.parse)(good), Ok(good.to_owned()));
        }
        let long = format!("{}.net", "a".repeat(64));
        for bad in [
            "",
            ".",
            "a.",
            "-a",
            "a-",
            "192.0.2",
            "192.0.2.256",
            "a b",
            "a\nb",
            "a_b",
            &long,
        ] {
            assert!((TIME_SERVER.parse)(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_reached_is_read_and_written() {
        for text in [
            "tcp/9100",
            "udp/1-65535",
            "tcp/80 from 192.0.2.0/24",
            "tcp/80 from 2001:db8::/32",
        ] {
            let opening = (OPENING.parse)(text).map(|it| it.to_string());
            assert_eq!(opening, Ok(text.to_owned()));
        }
        let one = (OPENING.parse)("tcp/80 from 192.0.2.7").map(|it| it.to_string());
        assert_eq!(one, Ok("tcp/80 from 192.0.2.7/32".to_owned()));
        for bad in [
            "",
            "tcp",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/+1",
            "tcp/2-1",
            "icmp/1",
            "tcp/1 from",
            "tcp/1 from x",
            "tcp/1 from 192.0.2.7/24",
            "tcp/22; accept",
            "tcp/22\naccept",
            "TCP/22",
        ] {
            assert!((OPENING.parse)(bad).is_err(), "{bad}");
        }
    }
}
