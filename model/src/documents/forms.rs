// SPDX-License-Identifier: GPL-3.0-or-later
//! The forms that strings in documents have: those with a type of their own.

use super::shape::Shape;
use crate::bad_value::{BadValue, quoted};
use crate::fleet::{Policy, SerialConsole};
use crate::lock::Sha256;
use crate::names::{Hosts, ImageRef, Name};
use crate::units::{Interval, Mac, Size};
use uuid::Uuid;

/// How a string is written, and how it is read.
pub(super) struct Form<T> {
    /// One that is right.
    pub(super) example: &'static str,
    /// A regular expression (ECMA 262) that all that are right match, for editors; `parse` alone
    /// decides.
    pub(super) pattern: &'static str,
    pub(super) parse: fn(&str) -> Result<T, BadValue>,
}

impl<T> Form<T> {
    /// What a schema says of it.
    pub(super) fn shape(&self) -> Shape {
        Shape::Text {
            example: self.example,
            pattern: self.pattern,
        }
    }
}

/// A size; as examples differ by what is measured, `example` says one.
pub(super) const fn size(example: &'static str) -> Form<Size> {
    Form {
        example,
        pattern: r"^[0-9]+[KMGT]iB$",
        parse: str::parse,
    }
}

/// How much of a disk something has.
pub(super) const PART: Form<Size> = Form {
    example: "8GiB",
    pattern: r"^[0-9]+[KMGT]iB$",
    parse: |text| {
        let size: Size = text.parse()?;
        if size < LEAST_PART {
            let problem = format!("{size} is too little to be of use");
            return Err(BadValue::new(
                problem,
                format!("write {LEAST_PART} or more"),
            ));
        }
        Ok(size)
    },
};

/// The least part of a disk: room for a file system with a journal.
const LEAST_PART: Size = Size::from_mib(64);

/// A password as crypt(5) has it. What is wrong is not shown: it may be the password itself.
pub(super) const PASSWORD: Form<String> = Form {
    example: "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    pattern: r"^\$[0-9a-z]+\$[./A-Za-z0-9$=,_-]+$",
    parse: |text| {
        let mut parts = text.strip_prefix('$').unwrap_or_default().splitn(2, '$');
        let (method, rest) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let fits = |text: &str, more: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            !text.is_empty() && text.chars().all(known)
        };
        match fits(method, "") && fits(rest, "./$=,_-") && text.len() <= 512 {
            true => Ok(text.to_owned()),
            false => Err(BadValue::new(
                "this is no password as crypt(5) has it",
                "write what `mkpasswd --method=yescrypt` or `openssl passwd -6` prints",
            )),
        }
    },
};

/// Memory that a kernel gets.
pub(super) const MEMORY: Form<Size> = memory("256MiB");

/// The same with another example.
pub(super) const fn memory(example: &'static str) -> Form<Size> {
    Form {
        example,
        pattern: r"^[0-9]+[KMGT]iB$",
        parse: parse_memory,
    }
}

fn parse_memory(text: &str) -> Result<Size, BadValue> {
    let size: Size = text.parse()?;
    if size < LEAST_MEMORY {
        let problem = format!("{size} is too little memory for Debian's kernel");
        return Err(BadValue::new(
            problem,
            format!("write {LEAST_MEMORY} or more"),
        ));
    }
    if !size.is_whole_mib() {
        let more = Size::from_mib(size.mib().saturating_add(1));
        let problem = format!("{size} is no whole number of MiB");
        return Err(BadValue::new(problem, format!("write \"{more}\"")));
    }
    Ok(size)
}

/// The least memory in which Debian's kernel starts: with 64 MiB Xen refuses to build the domain
/// ("segment kernel too large"), with 96 MiB it starts as PV and PVH.
const LEAST_MEMORY: Size = Size::from_mib(96);

/// How often something is done that costs others something, or how long it may at least take.
pub(super) const EVERY: Form<Interval> = Form {
    example: "5m",
    parse: |text| {
        let interval: Interval = text.parse()?;
        match interval < LEAST_OFTEN {
            true => {
                let problem = format!("{interval} is too short");
                Err(BadValue::new(
                    problem,
                    format!("write {LEAST_OFTEN} or more"),
                ))
            }
            false => Ok(interval),
        }
    },
    ..DELAY
};

const LEAST_OFTEN: Interval = Interval::from_seconds(10);

pub(super) const DEADLINE: Form<Interval> = Form {
    example: "10m",
    ..EVERY
};

pub(super) const DELAY: Form<Interval> = Form {
    example: "15s",
    pattern: r"^[0-9]+[smhd]$",
    parse: str::parse,
};

pub(super) const CONSOLE: Form<SerialConsole> = Form {
    example: "com2,57600",
    pattern: r"^com[12](,(9600|19200|38400|57600|115200))?$",
    parse: str::parse,
};

pub(super) const MAC: Form<Mac> = Form {
    example: "00:16:3e:5a:01:07",
    pattern: r"^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$",
    parse: str::parse,
};

/// A name; as examples differ by what is named, `example` says one.
pub(super) const fn name(example: &'static str) -> Form<Name> {
    Form {
        example,
        pattern: r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        parse: str::parse,
    }
}

pub(super) const HOSTS: Form<Hosts> = Form {
    example: "@web",
    pattern: r"^@?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    parse: str::parse,
};

pub(super) const IMAGE: Form<ImageRef> = Form {
    example: "base@1",
    pattern: r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?@[1-9][0-9]*$",
    parse: str::parse,
};

pub(super) const DIGEST: Form<Sha256> = Form {
    example: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    pattern: r"^sha256:[0-9a-f]{64}$",
    parse: str::parse,
};

pub(super) const POLICY: Form<Policy> = Form {
    example: "restart",
    pattern: r"^(live|restart|manual)$",
    parse: |text| match text {
        "live" => Ok(Policy::Live),
        "restart" => Ok(Policy::Restart),
        "manual" => Ok(Policy::Manual),
        _ => {
            let problem = format!("{} says not what hosts do with a new commit", quoted(text));
            let advice = "write \"live\", \"restart\" (domUs too), or \"manual\"";
            Err(BadValue::new(problem, advice))
        }
    },
};

pub(super) const UUID: Form<Uuid> = Form {
    example: "6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7e0001",
    pattern: r"^(urn:uuid:|\{)?[0-9a-fA-F-]{32,36}\}?$",
    parse: |text| {
        let what = "on the machine, read /sys/class/dmi/id/product_uuid";
        let Ok(uuid) = text.parse::<Uuid>() else {
            return Err(BadValue::new(format!("{} is no UUID", quoted(text)), what));
        };
        if uuid.is_nil() || uuid.is_max() || uuid == VENDORS_EXAMPLE {
            let problem = format!(
                "{} is what boards have that were given no UUID",
                quoted(text)
            );
            let advice = "recognise this machine by its serial or by the mac of a network card";
            return Err(BadValue::new(problem, advice));
        }
        Ok(uuid)
    },
};

/// The UUID in the sample firmware of a large vendor, shipped unchanged on many boards.
const VENDORS_EXAMPLE: Uuid = Uuid::from_u128(0x0300_0200_0400_0500_0006_0007_0008_0009);
