// SPDX-License-Identifier: GPL-3.0-or-later
//! The forms that strings in domUs' documents have: those that no other document has.

use crate::bad_value::{BadValue, quoted};
use crate::documents::forms::{DELAY, Form};
use crate::documents::words::COMMAND;
use crate::fleet::{Clock, Fs, Kind, Restart};
use crate::units::{CpuSet, Interval, PciDevice, Rate, Size};
use std::net::IpAddr;

pub(super) const KIND: Form<Kind> = Form {
    example: "pvh",
    pattern: r"^(pv|pvh|hvm)$",
    parse: |text| match text {
        "pv" => Ok(Kind::Pv),
        "pvh" => Ok(Kind::Pvh),
        "hvm" => Ok(Kind::Hvm),
        _ => {
            let problem = format!("{} is no kind of domU", quoted(text));
            let advice = "write \"pvh\", \"pv\" where the processor has no VT-x or AMD-V, or \
                          \"hvm\" for a guest that needs emulated devices";
            Err(BadValue::new(problem, advice))
        }
    },
};

pub(super) const RESTART: Form<Restart> = Form {
    example: "on-crash",
    pattern: r"^(always|on-crash|never)$",
    parse: |text| match text {
        "always" => Ok(Restart::Always),
        "on-crash" => Ok(Restart::OnCrash),
        "never" => Ok(Restart::Never),
        _ => {
            let problem = format!("{} says not when a domU is started again", quoted(text));
            let advice = "write \"always\", \"on-crash\" or \"never\"";
            Err(BadValue::new(problem, advice))
        }
    },
};

pub(super) const CLOCK: Form<Clock> = Form {
    example: "localtime",
    pattern: r"^(utc|localtime)$",
    parse: |text| match text {
        "utc" => Ok(Clock::Utc),
        "localtime" => Ok(Clock::Localtime),
        _ => {
            let problem = format!("{} is no clock", quoted(text));
            let advice =
                "write \"utc\", or \"localtime\" for a guest that takes its clock for that";
            Err(BadValue::new(problem, advice))
        }
    },
};

pub(super) const STOP_TIMEOUT: Form<Interval> = Form {
    example: "2m",
    ..DELAY
};

pub(super) const HEALTH: Form<String> = Form {
    example: "curl -fs http://localhost/",
    ..COMMAND
};

pub(super) const PIN: Form<CpuSet> = Form {
    example: "0-3,8",
    pattern: r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$",
    parse: str::parse,
};

pub(super) const PCI: Form<PciDevice> = Form {
    example: "0000:03:00.0",
    pattern: r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]$",
    parse: str::parse,
};

pub(super) const RATE: Form<Rate> = Form {
    example: "100Mbit",
    pattern: r"^[0-9]+[KMG]bit$",
    parse: str::parse,
};

/// An argument of Linux. Domus's own are not among them.
pub(super) const KERNEL_ARG: Form<String> = Form {
    example: "loglevel=7",
    pattern: r"^[!-~]{1,200}$",
    parse: |text| {
        let fits = (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        match fits && !text.starts_with(RESERVED) {
            true => Ok(text.to_owned()),
            false => Err(BadValue::new(
                format!("{} is no argument for a domU's kernel", quoted(text)),
                "write one without blanks, as \"loglevel=7\"; those with domus. are Domus's own",
            )),
        }
    },
};

/// What Domus's own begin with.
const RESERVED: &str = "domus.";

pub(super) const CONSOLE_LOG: Form<Size> = Form {
    example: "256KiB",
    pattern: r"^[0-9]+[KMGT]iB$",
    parse: |text| {
        let size: Size = text.parse()?;
        match (LEAST_LOG..=MOST_LOG).contains(&size) {
            true => Ok(size),
            false => Err(BadValue::new(
                format!("{size} is no size for the log of a console"),
                format!("write {LEAST_LOG} to {MOST_LOG}"),
            )),
        }
    },
};

/// A kernel that starts says as much.
const LEAST_LOG: Size = Size::from_kib(16);
/// They are in memory where dom0 has no disk for `/var`.
const MOST_LOG: Size = Size::from_mib(64);

pub(super) const FS: Form<Fs> = Form {
    example: "xfs",
    pattern: r"^(ext4|xfs|swap|scratch|none)$",
    parse: |text| match text {
        "ext4" => Ok(Fs::Ext4),
        "xfs" => Ok(Fs::Xfs),
        "swap" => Ok(Fs::Swap),
        "scratch" => Ok(Fs::Scratch),
        "none" => Ok(Fs::None),
        _ => {
            let problem = format!("{} is nothing that a disk is made with", quoted(text));
            let advice = "write \"ext4\", \"xfs\", \"swap\", \"none\" if the guest fills it, or \
                          \"scratch\" if the root of a foreign image writes to it";
            Err(BadValue::new(problem, advice))
        }
    },
};

/// An address of a guest.
pub(super) const GUEST_ADDRESS: Form<IpAddr> = Form {
    example: "192.0.2.17",
    pattern: r"^[0-9a-fA-F.:]+$",
    parse: |text| {
        let refuse = |advice: &str| {
            let problem = format!("{} is no address of a guest", quoted(text));
            BadValue::new(problem, advice)
        };
        let address: IpAddr = text
            .parse()
            .map_err(|_| refuse("write it alone, without a prefix length, as \"192.0.2.17\""))?;
        let is_link_local = |address: IpAddr| match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        match address {
            _ if address.is_unspecified() || address.is_multicast() || address.is_loopback() => {
                Err(refuse(
                    "write one that a machine may have, as \"192.0.2.17\"",
                ))
            }
            _ if is_link_local(address) => Err(refuse("leave it out: it is allowed to all")),
            _ => Ok(address),
        }
    },
};
