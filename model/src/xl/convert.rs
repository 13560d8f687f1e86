// SPDX-License-Identifier: GPL-3.0-or-later
//! From an xl configuration to a domU's document, and what is not as it was.

use super::disk_spec::DiskSpec;
use super::document::Document;
use super::value::{Config, Kind as Form, Setting};
use super::{Imported, Note, Options, Refused, disks, others, tuning, vifs};
use crate::bad_value::{BadValue, quoted};
use crate::documents::{VCPUS, takes};
use crate::fleet::Kind;
use crate::names::Name;
use crate::units::Size;
use std::collections::BTreeMap;

/// Makes a domU's document.
///
/// # Errors
/// There is no name that a domU can have, a bridge is no network, or a value is one that xl itself
/// would not take.
pub fn convert(config: &Config, options: &Options) -> Result<Imported, Refused> {
    let mut notes = Notes::default();
    let settings = Settings::of(config, &mut notes);
    let (old, name) = settings.name(&mut notes)?;
    let vifs = match settings.get("vif") {
        Some(setting) => vifs::read(setting, options, &mut notes)?,
        None => Vec::new(),
    };
    let kind = settings.kind(&mut notes)?;
    let (memory, max_memory) = settings.memory(&mut notes)?;
    let (vcpus, max_vcpus) = settings.vcpus(&mut notes)?;
    let document = Document {
        kind,
        uuid: settings.uuid(&mut notes)?,
        image: options.image.clone(),
        memory,
        max_memory,
        vcpus,
        max_vcpus,
        tuning: tuning::read(&settings, kind, &mut notes)?,
        vifs,
        disks: settings.disks((old, &name), kind, &mut notes)?,
    };
    for setting in settings.last.values() {
        let key = setting.key.as_str();
        if CARRIED.contains(&key) || tuning::CARRIED.contains(&key) {
            continue;
        }
        if let Some(message) = others::message(setting) {
            notes.lost(setting.line, &setting.key, message);
        }
    }
    notes.0.sort();
    Ok(Imported {
        name,
        summary: document.summary(),
        document: document.render(),
        notes: notes.0,
    })
}

/// The settings that are looked at here.
const CARRIED: [&str; 12] = [
    "name", "memory", "maxmem", "vcpus", "maxvcpus", "type", "builder", "pvh", "uuid", "vif",
    "disk", "on_crash",
];

/// What is not as it was.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    /// It is in the document, otherwise than it was.
    pub(super) fn changed(&mut self, line: usize, setting: &str, message: String) {
        self.add(line, setting, message, true);
    }

    /// It is not in the document.
    pub(super) fn lost(&mut self, line: usize, setting: &str, message: impl Into<String>) {
        self.add(line, setting, message.into(), false);
    }

    fn add(&mut self, line: usize, setting: &str, message: String, carried: bool) {
        let setting = setting.to_owned();
        self.0.push(Note {
            line,
            setting,
            message,
            carried,
        });
    }
}

/// The settings that count.
pub(super) struct Settings<'c> {
    last: BTreeMap<&'c str, &'c Setting>,
}

impl<'c> Settings<'c> {
    fn of(config: &'c Config, notes: &mut Notes) -> Self {
        let mut last: BTreeMap<&str, &Setting> = BTreeMap::new();
        for setting in &config.settings {
            if let Some(before) = last.insert(&setting.key, setting) {
                let message = format!("line {} says it again, and counts", setting.line);
                notes.lost(before.line, &before.key, message);
            }
        }
        Self { last }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'c Setting> {
        self.last.get(key).copied()
    }

    fn name(&self, notes: &mut Notes) -> Result<(&'c str, Name), Refused> {
        let Some(setting) = self.get("name") else {
            let bad = BadValue::new("the domain has no name", "write name = \"web\"");
            let (line, column) = (1, 1);
            return Err(Refused { line, column, bad });
        };
        let text = setting.text()?;
        let plain = text.to_ascii_lowercase().replace('_', "-");
        let name: Name = plain.parse().map_err(|bad: BadValue| {
            let problem = format!("{} is no name for a domU", quoted(text));
            let refused = setting.value.refuse(problem, bad.advice);
            Refused {
                line: setting.line,
                ..refused
            }
        })?;
        if name.as_str() != text {
            let message = format!("{} becomes {name}", quoted(text));
            notes.changed(setting.line, "name", message);
        }
        Ok((text, name))
    }

    fn kind(&self, notes: &mut Notes) -> Result<Kind, Refused> {
        if let (None, Some(setting)) = (self.get("type"), self.get("pvh"))
            && setting.number()? != 0
        {
            return Ok(Kind::Pvh);
        }
        let Some(setting) = self.get("type").or(self.get("builder")) else {
            return Ok(Kind::Pv);
        };
        match setting.text()? {
            "pv" | "generic" | "linux" => Ok(Kind::Pv),
            "pvh" => Ok(Kind::Pvh),
            "hvm" => {
                let message = "\"hvm\" becomes pvh: domUs boot the kernel of their image; one that \
                               needs emulated devices is of kind hvm";
                notes.lost(setting.line, &setting.key, message);
                Ok(Kind::Pvh)
            }
            other => {
                let problem = format!("{} is no type of domain", quoted(other));
                Err(setting
                    .value
                    .refuse(problem, "write type = \"pvh\" or \"pv\""))
            }
        }
    }

    fn uuid(&self, notes: &mut Notes) -> Result<Option<uuid::Uuid>, Refused> {
        let Some(setting) = self.get("uuid") else {
            return Ok(None);
        };
        let text = setting.text()?;
        let uuid = takes::uuid(text).ok();
        if uuid.is_none() {
            let message = format!("{} is no domU's own; Domus derives one", quoted(text));
            notes.lost(setting.line, "uuid", message);
        }
        Ok(uuid)
    }

    /// The number of `key`, or of `most` in its place as xl does; and that of `most`, if it is more.
    fn amount(&self, key: &str, most: &str) -> Result<Option<Amount<'c>>, Refused> {
        let (own, limit) = (self.get(key), self.get(most));
        let Some(setting) = own.or(limit) else {
            return Ok(None);
        };
        let value = setting.number()?;
        let most = match limit {
            Some(limit) => Some((limit, limit.number()?)).filter(|(_, most)| *most > value),
            None => None,
        };
        Ok(Some(Amount {
            setting,
            value,
            most,
        }))
    }

    /// Its memory, and the most that it can have.
    fn memory(&self, notes: &mut Notes) -> Result<(Option<Size>, Option<Size>), Refused> {
        let Some(amount) = self.amount("memory", "maxmem")? else {
            return Ok((None, None));
        };
        let size = Size::from_mib(amount.value);
        let most = amount.most.map(|(_, most)| Size::from_mib(most));
        match takes::memory(&size.to_string()) {
            Ok(()) => Ok((Some(size), most)),
            Err(bad) => {
                let message = format!("{}; the domU has what is default", bad.problem);
                let setting = amount.setting;
                notes.lost(setting.line, &setting.key, message);
                Ok((None, None))
            }
        }
    }

    /// Its virtual CPUs, and the most that it can have.
    fn vcpus(&self, notes: &mut Notes) -> Result<(Option<u32>, Option<u32>), Refused> {
        let Some(amount) = self.amount("vcpus", "maxvcpus")? else {
            return Ok((None, None));
        };
        let mut number = |setting: &Setting, number: u64| {
            let vcpus = u32::try_from(number).ok().filter(|it| VCPUS.contains(it));
            if vcpus.is_none() {
                let (least, most) = (VCPUS.start(), VCPUS.end());
                let message =
                    format!("{number}: a domU has {least} to {most}, and now the default");
                notes.lost(setting.line, &setting.key, message);
            }
            vcpus
        };
        let own = number(amount.setting, amount.value);
        let most = own.and(amount.most);
        let most = most.and_then(|(setting, most)| number(setting, most));
        Ok((own, most))
    }

    fn disks(
        &self,
        domu: (&str, &Name),
        kind: Kind,
        notes: &mut Notes,
    ) -> Result<Vec<super::document::Disk>, Refused> {
        let Some(setting) = self.get("disk") else {
            return Ok(Vec::new());
        };
        let texts = setting.texts()?.into_iter();
        let specs = texts.map(|(value, text)| (value.line, DiskSpec::read(text)));
        let specs: Vec<_> = specs.collect();
        Ok(disks::read(&specs, self.root(), domu, kind, notes))
    }

    /// The device that holds the root: of `root`, or of `root=` on the kernel's command line.
    fn root(&self) -> Option<&'c str> {
        let text = |key| match &self.get(key)?.value.kind {
            Form::Text(text) => Some(text.as_str()),
            _ => None,
        };
        let of_line = |line: &'c str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix("root="))
        };
        let root = text("root").and_then(|root| root.split_whitespace().next());
        let root = root
            .or_else(|| text("cmdline").and_then(of_line))
            .or_else(|| text("extra").and_then(of_line))?;
        root.strip_prefix("/dev/")
    }
}

/// What there is of something, and the most that there may be.
struct Amount<'c> {
    setting: &'c Setting,
    value: u64,
    most: Option<(&'c Setting, u64)>,
}
