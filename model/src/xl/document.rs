// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU's document, written as those of the template are.

use super::tuning::Tuning;
use crate::fleet::Kind;
use crate::names::{ImageRef, Name};
use crate::units::{Mac, Rate, Size};
use std::fmt::{Display, Write};
use std::net::IpAddr;
use uuid::Uuid;

/// What is carried over.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) uuid: Option<Uuid>,
    pub(super) image: Option<ImageRef>,
    pub(super) memory: Option<Size>,
    pub(super) max_memory: Option<Size>,
    pub(super) vcpus: Option<u32>,
    pub(super) max_vcpus: Option<u32>,
    pub(super) tuning: Tuning,
    pub(super) vifs: Vec<Vif>,
    pub(super) disks: Vec<Disk>,
}

/// `[[network]]`
#[derive(Debug)]
pub(super) struct Vif {
    pub(super) bridge: Name,
    pub(super) mac: Option<Mac>,
    pub(super) rate: Option<Rate>,
    pub(super) addresses: Vec<IpAddr>,
}

/// `[[disk]]`
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) name: Name,
    pub(super) device: String,
}

impl Document {
    /// As TOML. But for arguments, values are of characters that mean nothing inside a string.
    pub(super) fn render(&self) -> String {
        let mut text = "version = 1\n".to_owned();
        line(&mut text, 7, "kind", Some(self.kind));
        line(&mut text, 7, "uuid", self.uuid);
        line(&mut text, 7, "image", self.image.as_ref());
        line(&mut text, 7, "memory", self.memory);
        line(&mut text, 7, "max-memory", self.max_memory);
        number(&mut text, "vcpus", self.vcpus);
        number(&mut text, "max-vcpus", self.max_vcpus);
        self.tuning.render(&mut text);
        for vif in &self.vifs {
            text += "\n[[network]]\n";
            line(&mut text, 6, "bridge", Some(&vif.bridge));
            line(&mut text, 6, "mac", vif.mac);
            line(&mut text, 6, "rate", vif.rate);
            list(&mut text, 6, "addresses", &vif.addresses);
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

impl Tuning {
    fn render(&self, text: &mut String) {
        line(text, 7, "pin", self.pin.as_ref());
        number(text, "weight", self.weight);
        number(text, "cap", self.cap);
        list(text, 7, "kernel-args", &self.kernel_args);
        list(text, 7, "pci", &self.pci);
        if self.localtime {
            line(text, 7, "clock", Some("localtime"));
        }
        line(text, 7, "restart", self.restart);
    }
}

fn line(text: &mut String, width: usize, key: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{key:width$} = \"{value}\"");
    }
}

fn number(text: &mut String, key: &str, value: Option<u32>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{key:7} = {value}");
    }
}

fn list(text: &mut String, width: usize, key: &str, values: &[impl Display]) {
    if values.is_empty() {
        return;
    }
    let quoted = |value: String| value.replace('\\', r"\\").replace('"', r#"\""#);
    let values = values.iter().map(|it| quoted(it.to_string()));
    let values: Vec<String> = values.map(|it| format!("\"{it}\"")).collect();
    let _ = writeln!(text, "{key:width$} = [{}]", values.join(", "));
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
