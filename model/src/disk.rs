// SPDX-License-Identifier: GPL-3.0-or-later
//! A disk of the operator's machine that is to be overwritten: what it is, what is on it, and why
//! it had better be left alone.

use std::fmt::Write;

/// A disk, with what the kernel and its superblocks say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its device, as `/dev/sdc`.
    pub path: String,
    /// What the kernel takes it for: `disk`, `loop`, `part`, `lvm`, `raid1`, `rom`.
    pub kind: String,
    /// Size in bytes.
    pub size: u64,
    /// What its maker calls it.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// How it is attached: `usb`, `sata`, `nvme`.
    pub transport: Option<String>,
    /// Whether the kernel says that its medium can be taken out.
    pub removable: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// What is on it as a whole.
    pub content: Content,
    /// Its partitions, and what is made of it or of them: volumes, mirrors, loop devices.
    pub parts: Vec<Part>,
    /// Where it is mounted itself; `[SWAP]` if it is swapped to.
    pub mounted: Vec<String>,
}

/// A partition of a disk, or something else made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its device.
    pub path: String,
    /// As of a disk; `part` is a partition.
    pub kind: String,
    /// Size in bytes.
    pub size: u64,
    /// What is on it.
    pub content: Content,
    /// Where it is mounted; `[SWAP]` if it is swapped to.
    pub mounted: Vec<String>,
}

/// What is on a disk or partition, as far as superblocks tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Kind of partition table: `gpt`, `dos`.
    pub table: Option<String>,
    /// Kind of file system, or of member of something larger.
    pub kind: Option<String>,
    /// Its label.
    pub label: Option<String>,
}

impl Content {
    /// Whether there is nothing that anybody knows.
    pub fn is_blank(&self) -> bool {
        self.table.is_none() && self.kind.is_none()
    }

    fn words(&self) -> String {
        let kind = self.kind.clone();
        let table = self
            .table
            .as_ref()
            .map(|it| format!("{it} partition table"));
        let label = self.label.as_ref().map(|it| format!("{it:?}"));
        let words: Vec<String> = [kind, label, table].into_iter().flatten().collect();
        match words.is_empty() {
            true => "nothing known".to_owned(),
            false => words.join("   "),
        }
    }
}

/// What is to be done to a disk.
#[derive(Debug, Clone, Copy)]
pub struct Erasure<'a> {
    /// How many bytes it must have.
    pub needs: u64,
    /// Whether what is on it counts: else only what is in use does.
    pub blank_only: bool,
    /// The device that the operator said may be erased whatever it is, as the kernel calls it.
    pub consent: Option<&'a str>,
}

impl Disk {
    /// Why it is not overwritten, in sentences; none if it may be. What is in use is never
    /// overwritten, whatever the operator says.
    pub fn refusals(&self, erasure: &Erasure<'_>) -> Vec<String> {
        let mut refusals = self.never(erasure.needs);
        if erasure.consent.is_some_and(|named| named != self.path) {
            let named = erasure.consent.unwrap_or_default();
            let path = &self.path;
            refusals.push(format!(
                "--i-know-this-erases names {named}, and this is {path}"
            ));
        }
        if refusals.is_empty() && erasure.consent.is_none() {
            refusals.extend(self.doubts(erasure.blank_only));
        }
        refusals
    }

    /// What no consent helps against.
    fn never(&self, needs: u64) -> Vec<String> {
        let path = &self.path;
        let mut never = Vec::new();
        match self.kind.as_str() {
            "disk" | "loop" => {}
            "part" => never.push(format!(
                "{path} is a partition: name the disk that it is on"
            )),
            kind => never.push(format!("{path} is no disk, but {kind}")),
        }
        let own = self.mounted.iter().map(|point| (path, point));
        let parts = self
            .parts
            .iter()
            .flat_map(|part| part.mounted.iter().map(move |point| (&part.path, point)));
        for (device, point) in own.chain(parts) {
            never.push(match point.as_str() {
                "[SWAP]" => format!("{device} is swapped to: `swapoff {device}`"),
                "/" => format!("{device} is the root of the running system"),
                _ => format!("{device} is mounted on {point}: `umount {point}`"),
            });
        }
        for part in self.parts.iter().filter(|part| part.kind != "part") {
            never.push(format!(
                "{} ({}) is made of it and in use",
                part.path, part.kind
            ));
        }
        if self.read_only {
            never.push(format!("{path} is read-only: look for a switch on it"));
        }
        if self.size < needs {
            never.push(format!(
                "{path} has {}, and {} are needed",
                bytes(self.size),
                bytes(needs)
            ));
        }
        never
    }

    /// What an operator has to confirm by naming the device.
    fn doubts(&self, blank_only: bool) -> Vec<String> {
        let path = &self.path;
        let confirm = format!("if it is the right one, add --i-know-this-erases {path}");
        if blank_only {
            let is_blank = self.content.is_blank() && self.parts.is_empty();
            return match is_blank {
                true => Vec::new(),
                false => vec![format!("{path} is not blank; {confirm}")],
            };
        }
        match self.removable || self.transport.as_deref() == Some("usb") {
            true => Vec::new(),
            false => vec![format!(
                "{path} is not removable, so it may well be a disk of this machine; {confirm}"
            )],
        }
    }

    /// What an operator has to see before it is erased: a line for the disk, and one for each part.
    pub fn describe(&self) -> String {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let mut text = format!(
            "{}   {}   model {}   serial {}   {}{}\n",
            self.path,
            bytes(self.size),
            known(&self.model),
            known(&self.serial),
            known(&self.transport),
            if self.removable { ", removable" } else { "" },
        );
        let _ = writeln!(text, "  holds  {}", self.content.words());
        let width = self.parts.iter().map(|part| part.path.len()).max();
        for part in &self.parts {
            let mounted = match part.mounted.is_empty() {
                true => String::new(),
                false => format!("   on {}", part.mounted.join(", ")),
            };
            let _ = writeln!(
                text,
                "  {:<width$}  {:>9}   {}{mounted}",
                part.path,
                bytes(part.size),
                part.content.words(),
                width = width.unwrap_or_default(),
            );
        }
        text
    }
}

/// A size for people, in the largest unit of which there is at least one.
pub fn bytes(size: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{size} bytes");
    for (power, unit) in (1_u32..).zip(units) {
        let one = 1024_u64.pow(power);
        if size >= one {
            let tenths = u128::from(size) * 10 / u128::from(one);
            shown = match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                rest => format!("{}.{rest} {unit}", tenths / 10),
            };
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stick() -> Disk {
        Disk {
            path: "/dev/sdc".into(),
            kind: "disk".into(),
            size: 8 << 30,
            model: Some("Cruzer Blade".into()),
            serial: Some("4C530001".into()),
            transport: Some("usb".into()),
            removable: true,
            read_only: false,
            content: Content {
                table: Some("dos".into()),
                ..Content::default()
            },
            parts: vec![Part {
                path: "/dev/sdc1".into(),
                kind: "part".into(),
                size: 8 << 30,
                content: Content {
                    kind: Some("vfat".into()),
                    label: Some("HOLIDAYS".into()),
                    table: None,
                },
                mounted: Vec::new(),
            }],
            mounted: Vec::new(),
        }
    }

    const PLAIN: Erasure<'_> = Erasure {
        needs: 1 << 30,
        blank_only: false,
        consent: None,
    };

    #[test]
    fn a_stick_is_taken_and_shown_with_what_is_on_it() {
        assert_eq!(stick().refusals(&PLAIN), [""; 0]);
        assert_eq!(
            stick().describe(),
            "/dev/sdc   8 GiB   model Cruzer Blade   serial 4C530001   usb, removable\n\
             \x20 holds  dos partition table\n\
             \x20 /dev/sdc1      8 GiB   vfat   \"HOLIDAYS\"\n"
        );
    }

    #[test]
    fn what_is_in_use_is_refused_whatever_is_said() {
        type Change = fn(&mut Disk);
        let cases: [(Change, &str); 8] = [
            (
                |it| it.mounted.push("/".into()),
                "the root of the running system",
            ),
            (
                |it| it.parts[0].mounted.push("/media/a".into()),
                "/dev/sdc1 is mounted on /media/a: `umount",
            ),
            (
                |it| it.parts[0].mounted.push("[SWAP]".into()),
                "`swapoff /dev/sdc1`",
            ),
            (|it| it.parts[0].kind = "lvm".into(), "(lvm) is made of it"),
            (|it| it.kind = "part".into(), "is a partition"),
            (|it| it.kind = "rom".into(), "is no disk, but rom"),
            (|it| it.read_only = true, "is read-only"),
            (|it| it.size = 1 << 20, "has 1 MiB, and 1 GiB are needed"),
        ];
        for (change, expected) in cases {
            let mut disk = stick();
            change(&mut disk);
            for consent in [None, Some("/dev/sdc")] {
                let refusals = disk.refusals(&Erasure { consent, ..PLAIN });
                assert!(refusals[0].contains(expected), "{refusals:?}");
            }
        }
    }

    #[test]
    fn a_disk_that_stays_in_a_machine_has_to_be_named() {
        let mut disk = stick();
        disk.removable = false;
        assert_eq!(disk.refusals(&PLAIN), [""; 0], "it is on USB");
        disk.transport = Some("nvme".into());
        let refusals = disk.refusals(&PLAIN);
        assert!(refusals[0].ends_with("--i-know-this-erases /dev/sdc"));
        let consent = |consent| Erasure { consent, ..PLAIN };
        assert_eq!(disk.refusals(&consent(Some("/dev/sdc"))), [""; 0]);
        let other = disk.refusals(&consent(Some("/dev/sdd")));
        assert!(other[0].contains("names /dev/sdd"), "{other:?}");
    }

    #[test]
    fn where_only_blank_disks_are_taken_a_table_is_enough_to_refuse() {
        let wanted = Erasure {
            blank_only: true,
            ..PLAIN
        };
        let mut disk = stick();
        assert!(disk.refusals(&wanted)[0].contains("is not blank"));
        disk.parts.clear();
        assert!(disk.refusals(&wanted)[0].contains("is not blank"));
        disk.content = Content::default();
        assert_eq!(disk.refusals(&wanted), [""; 0]);
    }

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        let shown = [0, 1023, 1024, 1536 << 20, 3 << 40].map(bytes);
        assert_eq!(
            shown,
            ["0 bytes", "1023 bytes", "1 KiB", "1.5 GiB", "3 TiB"]
        );
    }
}
