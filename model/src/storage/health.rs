// SPDX-License-Identifier: GPL-3.0-or-later
//! How a disk is, by what it says of itself: what counts as ill, and what is only to be known.

use serde::{Deserialize, Serialize};

use crate::table::table;

/// A disk that the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Physical {
    /// `sda`, `nvme0n1`.
    pub device: String,
    /// Its model, where somebody knows it.
    pub model: Option<String>,
    /// Its serial number, where somebody knows it.
    pub serial: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its name in host.toml, if that names it.
    pub named: Option<String>,
}

/// What a disk says of its health; what it does not say is as of a disk that is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it thinks itself: SMART's overall status.
    pub passed: Option<bool>,
    /// Why it thinks so, as disks of SCSI say.
    pub prediction: Option<String>,
    /// The bits of [`WARNINGS`], of `NVMe`.
    pub critical_warning: u64,
    /// How much of what it is made for was written, in percent; may be above 100.
    pub percentage_used: Option<u64>,
    /// How many of its spare blocks are left, and the least that it should have, in percent.
    pub spare: Option<(u64, u64)>,
    /// Sectors that were replaced.
    pub reallocated: u64,
    /// Sectors that cannot be read now and are replaced when they are written.
    pub pending: u64,
    /// Sectors, or reads, that were lost.
    pub uncorrectable: u64,
    /// Attributes that say that it is about to fail, by name.
    pub exhausted: Vec<String>,
    /// Others that are, or were, beyond their threshold.
    pub remarkable: Vec<String>,
    /// Its temperature in °C.
    pub temperature: Option<i64>,
    /// The highest that its maker allows, in °C.
    pub limit: Option<i64>,
    /// Whether it refused part of what it was asked.
    pub incomplete: bool,
}

/// Bits of the critical warning: NVM Express, SMART / Health Information (log 02h), byte 0.
const WARNINGS: [&str; 6] = [
    "its spare blocks run out",
    "it is too hot or too cold",
    "it is not reliable any more",
    "it takes no more writes",
    "its memory against power cuts has failed",
    "its persistent memory is read-only or not reliable",
];

/// Why a disk said nothing of its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mute {
    /// Disks of its kind have no SMART: those of virtio, cards.
    Kind,
    /// It could not be asked, and why.
    NotRead(String),
}

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing speaks against it.
    Healthy,
    /// It fails, or will.
    Unhealthy,
    /// It could not be asked.
    NotRead,
    /// It can say nothing, and nothing is wrong with that.
    NoSmart,
}

impl Health {
    fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "NOT HEALTHY",
            Self::NotRead => "not read",
            Self::NoSmart => "no SMART",
        }
    }
}

/// A disk of the host, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// `sda`, `nvme0n1`.
    pub device: String,
    /// Its name in host.toml, if that names it.
    pub named: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its temperature in °C.
    pub temperature: Option<i64>,
    /// How it is.
    pub health: Health,
    /// Why it is not healthy, or was not read.
    pub reasons: Vec<String>,
    /// What else there is to know.
    pub remarks: Vec<String>,
}

impl DiskStatus {
    /// Judges what the disk said, or why it said nothing.
    pub fn new(disk: Physical, said: Result<&Facts, Mute>) -> Self {
        let temperature = said.as_ref().ok().and_then(|facts| facts.temperature);
        let (health, reasons, remarks) = match said {
            Ok(facts) => match facts.ills() {
                ills if ills.is_empty() => (Health::Healthy, ills, facts.remarks()),
                ills => (Health::Unhealthy, ills, facts.remarks()),
            },
            Err(Mute::NotRead(why)) => (Health::NotRead, vec![why], Vec::new()),
            Err(Mute::Kind) => (Health::NoSmart, Vec::new(), Vec::new()),
        };
        Self {
            device: disk.device,
            named: disk.named,
            model: disk.model,
            serial: disk.serial,
            size: disk.size,
            temperature,
            health,
            reasons,
            remarks,
        }
    }

    fn row(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or("-".into());
        vec![
            self.device.clone(),
            or_none(&self.model),
            or_none(&self.serial),
            or_none(&self.temperature.map(|it| it.to_string())),
            self.health.word().to_owned(),
        ]
    }
}

impl Facts {
    /// What makes it ill.
    fn ills(&self) -> Vec<String> {
        let mut ills = Vec::new();
        match (self.passed, &self.prediction) {
            // NVMe has no other reasons than its warnings, and not all of them are a failure.
            (Some(false), _) if self.critical_warning != 0 => {}
            (Some(false), Some(why)) => ills.push(format!("SMART says {why}")),
            (Some(false), None) => ills.push("SMART says that it fails: replace it".to_owned()),
            _ => {}
        }
        for (bit, warning) in WARNINGS.iter().enumerate() {
            if self.critical_warning >> bit & 1 == 1 {
                ills.push((*warning).to_owned());
            }
        }
        // Bits that the standard had no meaning for yet are warnings, too.
        if self.critical_warning >> WARNINGS.len() != 0 {
            ills.push(format!(
                "its critical warning is {:#x}",
                self.critical_warning
            ));
        }
        if let Some(used) = self.percentage_used.filter(|used| *used >= 100) {
            ills.push(format!(
                "it is worn out: {used}% of what it is made for was written"
            ));
        }
        if let Some((left, least)) = self.spare.filter(|(left, least)| left < least) {
            ills.push(format!(
                "{left}% of its spare blocks are left, its limit is {least}%"
            ));
        }
        for name in &self.exhausted {
            ills.push(format!("{name} is at its threshold"));
        }
        if let (Some(has), Some(limit)) = (self.temperature, self.limit)
            && has > limit
        {
            ills.push(format!("it has {has} °C, its limit is {limit} °C"));
        }
        ills
    }

    /// What is no illness yet, and may become one.
    fn remarks(&self) -> Vec<String> {
        let counts = [
            (self.reallocated, "reallocated sectors"),
            (
                self.pending,
                "sectors that cannot be read and wait to be written",
            ),
            (self.uncorrectable, "errors that were not corrected"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let mut remarks: Vec<String> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        for name in &self.remarkable {
            remarks.push(format!("{name} is or was beyond its threshold"));
        }
        if self.incomplete {
            remarks.push("it refused part of what it was asked".to_owned());
        }
        remarks
    }
}

/// The table of disks, and a line for each that is not healthy or has remarks; nothing of no disks.
pub fn render(disks: &[DiskStatus]) -> String {
    if disks.is_empty() {
        return String::new();
    }
    let header = ["disk", "model", "serial", "°C", "health"];
    let rows: Vec<Vec<String>> = disks.iter().map(DiskStatus::row).collect();
    let mut text = table(&header, &rows);
    let mut lines = String::new();
    for disk in disks {
        let all: Vec<&str> = disk
            .reasons
            .iter()
            .chain(&disk.remarks)
            .map(String::as_str)
            .collect();
        if !all.is_empty() {
            lines += &format!("{}: {}\n", disk.device, all.join("; "));
        }
    }
    if !lines.is_empty() {
        text += "\n";
    }
    text + &lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Facts {
        Facts {
            passed: Some(true),
            percentage_used: Some(99),
            spare: Some((10, 10)),
            temperature: Some(60),
            limit: Some(60),
            ..Facts::default()
        }
    }

    fn judged(facts: &Facts) -> DiskStatus {
        let disk = Physical {
            device: "sda".into(),
            ..Physical::default()
        };
        DiskStatus::new(disk, Ok(facts))
    }

    #[test]
    fn what_makes_a_disk_ill_is_said_and_nothing_else_does() {
        type Change = fn(&mut Facts);
        let cases: [(Change, &str); 11] = [
            (
                |it| it.passed = Some(false),
                "SMART says that it fails: replace it",
            ),
            (
                |it| {
                    it.passed = Some(false);
                    it.prediction = Some("WARNING: TEMPERATURE EXCEEDED".into());
                },
                "SMART says WARNING: TEMPERATURE EXCEEDED",
            ),
            (
                |it| (it.passed, it.critical_warning) = (Some(false), 0b10),
                "it is too hot or too cold",
            ),
            (|it| it.critical_warning = 0b1, "its spare blocks run out"),
            (
                |it| it.critical_warning = 0b1100,
                "it is not reliable any more; it takes no more writes",
            ),
            (
                |it| it.critical_warning = 0b100_0000,
                "its critical warning is 0x40",
            ),
            (
                |it| it.percentage_used = Some(100),
                "it is worn out: 100% of what it is made for was written",
            ),
            (
                |it| it.percentage_used = Some(255),
                "it is worn out: 255% of what it is made for was written",
            ),
            (
                |it| it.spare = Some((9, 10)),
                "9% of its spare blocks are left, its limit is 10%",
            ),
            (
                |it| it.exhausted = vec!["Reallocated_Sector_Ct".into()],
                "Reallocated_Sector_Ct is at its threshold",
            ),
            (
                |it| it.temperature = Some(61),
                "it has 61 °C, its limit is 60 °C",
            ),
        ];
        assert_eq!(judged(&well()).health, Health::Healthy);
        for (change, reasons) in cases {
            let mut facts = well();
            change(&mut facts);
            let judged = judged(&facts);
            assert_eq!(judged.health, Health::Unhealthy, "{reasons}");
            assert_eq!(judged.reasons.join("; "), reasons);
        }
        // A limit that nobody knows is none.
        let mut hot = well();
        (hot.temperature, hot.limit) = (Some(90), None);
        assert_eq!(judged(&hot).health, Health::Healthy);
    }

    #[test]
    fn sectors_are_remarked_and_are_no_illness() {
        let facts = Facts {
            reallocated: 12,
            pending: 8,
            uncorrectable: 1,
            remarkable: vec!["Airflow_Temperature_Cel".into()],
            incomplete: true,
            ..well()
        };
        let judged = judged(&facts);
        assert_eq!(judged.health, Health::Healthy);
        let remarks = "12 reallocated sectors; 8 sectors that cannot be read and wait to be \
                       written; 1 errors that were not corrected; Airflow_Temperature_Cel is or \
                       was beyond its threshold; it refused part of what it was asked";
        assert_eq!(judged.remarks.join("; "), remarks);
    }

    #[test]
    fn a_table_says_what_is_not_well_below_it() {
        assert_eq!(render(&[]), "");
        let disk = |device: &str, model: &str, serial: &str| Physical {
            device: device.into(),
            model: Some(model.into()),
            serial: Some(serial.into()),
            ..Physical::default()
        };
        let one = DiskStatus::new(disk("nvme0n1", "MZQL2", "S64G"), Ok(&well()));
        let alone = "\
disk     model  serial  °C  health
nvme0n1  MZQL2  S64G    60  healthy
";
        assert_eq!(render(std::slice::from_ref(&one)), alone);
        let facts = Facts {
            passed: Some(false),
            pending: 8,
            ..Facts::default()
        };
        let bad = DiskStatus::new(disk("sda", "HDS72", "MSK4"), Ok(&facts));
        let why = Mute::NotRead("it sleeps, and is not woken for this".into());
        let mute = DiskStatus::new(disk("sdb", "HDS72", "MSK5"), Err(why));
        let made = DiskStatus::new(disk("vda", "-", "virtio-1"), Err(Mute::Kind));
        let all = "\
disk     model  serial    °C  health
nvme0n1  MZQL2  S64G      60  healthy
sda      HDS72  MSK4      -   NOT HEALTHY
sdb      HDS72  MSK5      -   not read
vda      -      virtio-1  -   no SMART

sda: SMART says that it fails: replace it; 8 sectors that cannot be read and wait to be written
sdb: it sleeps, and is not woken for this
";
        assert_eq!(render(&[one, bad, mute, made]), all);
    }
}
