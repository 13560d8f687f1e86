// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU's document, written as those of the template are.

use crate::fleet::Kind;
use crate::names::{ImageRef, Name};
use crate::units::{Mac, Size};
use std::fmt::{Display, Write};
use uuid::Uuid;

/// What is carried over.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) uuid: Option<Uuid>,
    pub(super) image: Option<ImageRef>,
    pub(super) memory: Option<Size>,
    pub(super) vcpus: Option<u32>,
    pub(super) vifs: Vec<Vif>,
    pub(super) disks: Vec<Disk>,
}

/// `[[network]]`
#[derive(Debug)]
pub(super) struct Vif {
    pub(super) bridge: Name,
    pub(super) mac: Option<Mac>,
}

/// `[[disk]]`
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) name: Name,
    pub(super) device: String,
}

impl Document {
    /// As TOML. Every value is of characters that mean nothing inside a string.
    pub(super) fn render(&self) -> String {
        let mut text = "version = 1\n".to_owned();
        line(&mut text, 7, "kind", Some(self.kind));
        line(&mut text, 7, "uuid", self.uuid);
        line(&mut text, 7, "image", self.image.as_ref());
        line(&mut text, 7, "memory", self.memory);
        if let Some(vcpus) = self.vcpus {
            let _ = writeln!(text, "vcpus   = {vcpus}");
        }
        for vif in &self.vifs {
            text += "\n[[network]]\n";
            line(&mut text, 6, "bridge", Some(&vif.bridge));
            line(&mut text, 6, "mac", vif.mac);
        }
        for disk in &self.disks {
            text += "\n[[disk]]\n";
            line(&mut text, 6, "name", Some(&disk.name));
            line(&mut text, 6, "device", Some(&disk.device));
        }
        text
    }

    /// What it has: `pv, 512MiB, 2 vCPUs, 1 network card, no disks`.
    pub(super) fn summary(&self) -> String {
        let mut parts = vec![self.kind.to_string()];
        parts.extend(self.memory.map(|memory| memory.to_string()));
        parts.extend(self.vcpus.map(|vcpus| count(vcpus as usize, "vCPU")));
        parts.push(count(self.vifs.len(), "network card"));
        parts.push(count(self.disks.len(), "data disk"));
        parts.join(", ")
    }
}

fn line(text: &mut String, width: usize, key: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{key:width$} = \"{value}\"");
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
