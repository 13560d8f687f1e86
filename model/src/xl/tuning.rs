// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings of xl that a domU has by another name: scheduling, arguments, devices, what happens
//! when it ends.

use super::Refused;
use super::convert::{Notes, Settings};
use super::value::{Kind as Form, Setting};
use crate::bad_value::quoted;
use crate::documents::takes;
use crate::fleet::Kind;
use crate::units::{CpuSet, PciDevice};

/// What is carried over of them.
#[derive(Debug, Default)]
pub(super) struct Tuning {
    pub(super) pin: Option<CpuSet>,
    pub(super) weight: Option<u32>,
    pub(super) cap: Option<u32>,
    pub(super) kernel_args: Vec<String>,
    pub(super) pci: Vec<PciDevice>,
    pub(super) localtime: bool,
    pub(super) restart: Option<&'static str>,
}

/// The settings that are looked at here.
pub(super) const CARRIED: [&str; 8] = [
    "cpus",
    "cpu_weight",
    "cap",
    "extra",
    "cmdline",
    "pci",
    "localtime",
    "on_poweroff",
];

/// What of `settings` a domU of this kind has.
pub(super) fn read(
    settings: &Settings<'_>,
    kind: Kind,
    notes: &mut Notes,
) -> Result<Tuning, Refused> {
    let number = |key: &str, most: u32| -> Result<Option<u32>, Refused> {
        let Some(setting) = settings.get(key) else {
            return Ok(None);
        };
        // 0 is no cap, and no weight that was given.
        let number = u32::try_from(setting.number()?).unwrap_or(u32::MAX);
        Ok((number > 0).then_some(number.min(most)))
    };
    let localtime = match settings.get("localtime") {
        Some(setting) => setting.number()? != 0,
        None => false,
    };
    Ok(Tuning {
        pin: settings.get("cpus").and_then(|cpus| pin(cpus, notes)),
        weight: number("cpu_weight", 65_535)?,
        cap: number("cap", 12_800)?,
        kernel_args: arguments(settings, notes)?,
        pci: devices(settings, kind, notes)?,
        localtime,
        restart: restart(settings, notes)?,
    })
}

fn pin(setting: &Setting, notes: &mut Notes) -> Option<CpuSet> {
    let text = match &setting.value.kind {
        Form::Text(text) if text.trim() == "all" => return None,
        Form::Text(text) => text.replace(' ', ""),
        Form::Number(number) => number.to_string(),
        Form::List(_) => {
            let message = "each vCPU has CPUs of its own: `pin` is for all of a domU's";
            notes.lost(setting.line, "cpus", message);
            return None;
        }
    };
    let pin = text.parse().ok();
    if pin.is_none() {
        let message = format!("{}: `pin` takes numbers and ranges", quoted(&text));
        notes.lost(setting.line, "cpus", message);
    }
    pin
}

/// What the image and Domus say of themselves.
const THEIRS: [&str; 6] = ["root=", "console=", "init=", "ro", "rw", "quiet"];

/// The arguments of its kernel that go on.
fn arguments(settings: &Settings<'_>, notes: &mut Notes) -> Result<Vec<String>, Refused> {
    if let (Some(_), Some(extra)) = (settings.get("cmdline"), settings.get("extra")) {
        notes.lost(extra.line, "extra", "`cmdline` counts in its place");
    }
    let Some(setting) = settings.get("cmdline").or(settings.get("extra")) else {
        return Ok(Vec::new());
    };
    let is_theirs = |word: &&str| {
        let is_it = |theirs: &&str| match theirs.ends_with('=') {
            true => word.starts_with(theirs),
            false => word == theirs,
        };
        THEIRS.iter().any(is_it) || takes::kernel_arg(word).is_err()
    };
    let text = setting.text()?;
    let (theirs, own): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(is_theirs);
    if !theirs.is_empty() {
        let message = format!(
            "{}: the image and Domus say that themselves",
            quoted(&theirs.join(" "))
        );
        notes.lost(setting.line, &setting.key, message);
    }
    Ok(own.into_iter().map(str::to_owned).collect())
}

fn devices(
    settings: &Settings<'_>,
    kind: Kind,
    notes: &mut Notes,
) -> Result<Vec<PciDevice>, Refused> {
    let Some(setting) = settings.get("pci") else {
        return Ok(Vec::new());
    };
    let mut found: Vec<PciDevice> = Vec::new();
    for (value, text) in setting.texts()? {
        let (place, options) = text.split_once(',').unwrap_or((text, ""));
        let place = match place.matches(':').count() {
            1 => format!("0000:{}", place.trim()),
            _ => place.trim().to_owned(),
        };
        let line = value.line;
        let message = match place.parse::<PciDevice>() {
            Ok(_) if kind == Kind::Pvh => "a domU of kind pvh has none: write kind = \"pv\"",
            Ok(device) if found.contains(&device) => continue,
            Ok(device) => {
                found.push(device);
                match options.is_empty() {
                    true => continue,
                    false => "its options are left to Xen's defaults",
                }
            }
            Err(_) => "it is no device by its place, as 0000:03:00.0",
        };
        notes.lost(line, "pci", format!("{}: {message}", quoted(text)));
    }
    Ok(found)
}

/// When it is started again, if the configuration says so.
fn restart(settings: &Settings<'_>, notes: &mut Notes) -> Result<Option<&'static str>, Refused> {
    let said = |key| settings.get(key).map(Setting::text).transpose();
    let (poweroff, crash) = (said("on_poweroff")?, said("on_crash")?);
    if poweroff.is_none() && crash.is_none() {
        return Ok(None);
    }
    // xl.cfg(5): what is not said is destroy.
    match (poweroff.unwrap_or("destroy"), crash.unwrap_or("destroy")) {
        ("restart", "restart") => Ok(None),
        ("destroy", "restart") => Ok(Some("on-crash")),
        ("destroy", "destroy") => Ok(Some("never")),
        (poweroff, crash) => {
            for (key, text) in [("on_poweroff", poweroff), ("on_crash", crash)] {
                if let Some(setting) = settings.get(key) {
                    let message = format!(
                        "{}: a domU is started again always, after a crash, or never; now always",
                        quoted(text)
                    );
                    notes.lost(setting.line, key, message);
                }
            }
            Ok(None)
        }
    }
}
