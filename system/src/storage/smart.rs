// SPDX-License-Identifier: GPL-3.0-or-later
//! What disks say of themselves, by smartctl(8) of smartmontools 7.4. It is asked nothing that
//! spins a disk up, and never waited for longer than [`LIMIT`].

use std::path::Path;
use std::time::Duration;

use domus_model::storage::health::Facts;
use serde_json::Value;

use crate::disks::words;
use crate::program::Program;

/// How long a disk may take to answer. One that dies takes minutes, in which the kernel lets nobody
/// end who asked it.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Why a disk is not asked that does not spin.
pub(super) const SLEEPS: &str = "it sleeps, and is not woken for this";

/// The exit code that smartctl is told to have for a disk that sleeps: as a sum of its own bits
/// it cannot be.
const ASLEEP: i32 = 3;
// Bits of the exit code, smartctl(8), EXIT STATUS. Of 16 and 32 the table of attributes says more;
// 64 and 128 are about logs, which are not asked for.
const MISUSED: i32 = 1;
const NOT_OPENED: i32 = 2;
const REFUSED: i32 = 4;
const FAILING: i32 = 8;

/// What came of asking a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its model, if it said that.
    pub model: Option<String>,
    /// Its serial number, if it said that.
    pub serial: Option<String>,
    /// Its health, or why that is not known.
    pub health: Result<Facts, String>,
}

impl Answer {
    fn nothing(why: impl Into<String>) -> Self {
        Self {
            model: None,
            serial: None,
            health: Err(why.into()),
        }
    }
}

/// Asks the disk `device`, a node in `/dev`.
pub fn ask(device: &Path) -> Answer {
    let any: Vec<i32> = (1..=255).collect();
    let said = Program::new("smartctl")
        .args(["--json=c", "--info", "--health", "--attributes"])
        // With it disks of SATA tell the limit of their temperature.
        .arg("--log=scttempsts")
        .arg(format!("--nocheck=standby,{ASLEEP}"))
        .arg("--")
        .arg(device)
        .within(LIMIT)
        .answer(&any);
    match said {
        Ok((code, output)) => parse(code, &String::from_utf8_lossy(&output.stdout)),
        Err(error) => Answer::nothing(format!("{error:#}")),
    }
}

/// What smartctl wrote, and what it ended with.
fn parse(code: i32, text: &str) -> Answer {
    if code == ASLEEP {
        return Answer::nothing(SLEEPS);
    }
    let Ok(said) = serde_json::from_str::<Value>(text).map(Said) else {
        return Answer::nothing(format!("smartctl ended with {code} and wrote no JSON"));
    };
    let answer = |health| Answer {
        model: said
            .words("/model_name")
            .or_else(|| said.words("/scsi_model_name")),
        serial: said.words("/serial_number"),
        health,
    };
    if code & (MISUSED | NOT_OPENED) != 0 {
        return answer(Err(said.complaint().unwrap_or_else(|| {
            format!("smartctl cannot ask it (it ended with {code})")
        })));
    }
    let facts = facts(code, &said);
    let has_health = facts.passed.is_some() || said.0.pointer(NVME).is_some();
    answer(match has_health {
        true => Ok(facts),
        false => Err(said.why_mute()),
    })
}

const NVME: &str = "/nvme_smart_health_information_log";

fn facts(code: i32, said: &Said) -> Facts {
    let nvme = |name: &str| said.number(&format!("{NVME}/{name}"));
    let count = |id: u64| said.count(id);
    let (exhausted, remarkable) = said.beyond();
    let passed = said.0.pointer("/smart_status/passed");
    let limit = ["op_limit_max", "drive_trip"];
    let limit = limit.map(|name| said.0.pointer(&format!("/temperature/{name}")));
    Facts {
        passed: match code & FAILING {
            0 => passed.and_then(Value::as_bool),
            _ => Some(false),
        },
        prediction: said.words("/smart_status/scsi/ie_string"),
        critical_warning: nvme("critical_warning").unwrap_or(0),
        percentage_used: nvme("percentage_used"),
        spare: nvme("available_spare").zip(nvme("available_spare_threshold")),
        // 5, 197, 198: Reallocated_Sector_Ct, Current_Pending_Sector, Offline_Uncorrectable.
        reallocated: count(5)
            .or(said.number("/scsi_grown_defect_list"))
            .unwrap_or(0),
        pending: count(197).unwrap_or(0),
        uncorrectable: count(198).or(nvme("media_errors")).unwrap_or(0),
        exhausted,
        remarkable,
        temperature: said
            .0
            .pointer("/temperature/current")
            .and_then(Value::as_i64),
        limit: limit.into_iter().flatten().find_map(Value::as_i64),
        incomplete: code & REFUSED != 0,
    }
}

/// What is not there, or is something else than it should be, is absent.
struct Said(Value);

impl Said {
    fn number(&self, path: &str) -> Option<u64> {
        let value = self.0.pointer(path)?;
        // Counters of NVMe have 128 bits: those that are too large are as good as the largest.
        value
            .as_u64()
            .or_else(|| value.as_f64().filter(|it| *it > 0.0).map(|_| u64::MAX))
    }

    fn words(&self, path: &str) -> Option<String> {
        words(self.0.pointer(path)?.as_str()?)
    }

    fn attributes(&self) -> &[Value] {
        let table = self.0.pointer("/ata_smart_attributes/table");
        table.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What the attribute `id` counts. The bare value may have more in its upper bits: the text has
    /// what smartctl knows of this model.
    fn count(&self, id: u64) -> Option<u64> {
        let mut table = self.attributes().iter();
        let attribute = table.find(|it| it["id"].as_u64() == Some(id))?;
        let text = attribute.pointer("/raw/string")?.as_str()?;
        let digits = text.find(|c: char| !c.is_ascii_digit());
        text[..digits.unwrap_or(text.len())].parse().ok()
    }

    /// Attributes beyond their threshold: those that foretell a failure now, and all others.
    fn beyond(&self) -> (Vec<String>, Vec<String>) {
        let is_beyond = |it: &&Value| it["when_failed"].as_str().is_some_and(|it| !it.is_empty());
        let foretells = |it: &&Value| {
            it["when_failed"] == "now"
                && it.pointer("/flags/prefailure") == Some(&Value::Bool(true))
        };
        let (now, others): (Vec<&Value>, Vec<&Value>) = self
            .attributes()
            .iter()
            .filter(is_beyond)
            .partition(foretells);
        let names = |all: Vec<&Value>| {
            let names = all.into_iter().filter_map(|it| words(it["name"].as_str()?));
            names.collect()
        };
        (names(now), names(others))
    }

    /// What smartctl could not do.
    fn complaint(&self) -> Option<String> {
        let messages = self.0.pointer("/smartctl/messages")?.as_array()?.iter();
        let errors = messages.filter(|it| it["severity"] == "error");
        let device = self.0.pointer("/smartctl/argv").and_then(Value::as_array);
        let device = device
            .and_then(|it| it.last()?.as_str())
            .unwrap_or_default();
        let texts = errors.filter_map(|it| {
            let text = it["string"].as_str()?;
            let bare = text
                .strip_prefix(device)
                .and_then(|text| text.strip_prefix(": "));
            words(bare.unwrap_or(text))
        });
        let texts: Vec<String> = texts.collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn why_mute(&self) -> String {
        let support = |name: &str| self.0.pointer(&format!("/smart_support/{name}"));
        if support("available") == Some(&Value::Bool(false)) {
            return "it has no SMART".to_owned();
        }
        if support("enabled") == Some(&Value::Bool(false)) {
            return "its SMART is switched off; `smartctl --smart=on` switches it on".to_owned();
        }
        let said = self.complaint();
        said.unwrap_or_else(|| "it says nothing of its health".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: i32, text: &str) -> Facts {
        parse(code, text).health.expect("facts")
    }

    fn why(code: i32, text: &str) -> String {
        parse(code, text).health.expect_err("no facts")
    }

    // What smartctl wrote of real disks, cut down to what may matter here.
    const SATA: &str = include_str!("smart/sata.json");
    const SATA_FAILING: &str = include_str!("smart/sata-failing.json");
    const NVME: &str = include_str!("smart/nvme.json");
    const SAS: &str = include_str!("smart/sas.json");

    #[test]
    fn a_disk_of_sata_is_read() {
        let answer = parse(0, SATA);
        assert_eq!(answer.model.as_deref(), Some("HGST HUS726020ALE614"));
        assert_eq!(answer.serial.as_deref(), Some("K5G0417A"));
        let expected = Facts {
            passed: Some(true),
            temperature: Some(27),
            limit: Some(60),
            ..Facts::default()
        };
        assert_eq!(answer.health, Ok(expected));
    }

    #[test]
    fn one_that_fails_says_why() {
        // 8: failing, 16: an attribute is at its threshold, 64 and 128: its logs.
        let expected = Facts {
            passed: Some(false),
            reallocated: 1975,
            pending: 8,
            exhausted: vec!["Reallocated_Sector_Ct".into()],
            temperature: Some(25),
            ..Facts::default()
        };
        assert_eq!(read(216, SATA_FAILING), expected);
        // The exit code counts where the text does not say it.
        assert_eq!(read(8, SATA).passed, Some(false));
        assert!(read(4, SATA).incomplete);
    }

    #[test]
    fn nvme_and_sas_are_read() {
        let expected = Facts {
            passed: Some(true),
            percentage_used: Some(3),
            spare: Some((99, 10)),
            uncorrectable: 7,
            temperature: Some(35),
            ..Facts::default()
        };
        assert_eq!(read(0, NVME), expected);
        let warned = NVME.replace("\"critical_warning\":0", "\"critical_warning\":4");
        assert_eq!(read(8, &warned).critical_warning, 4);
        let huge = NVME.replace(
            "\"media_errors\":7",
            "\"media_errors\":36893488147419103232",
        );
        assert_eq!(read(0, &huge).uncorrectable, u64::MAX);
        let expected = Facts {
            passed: Some(true),
            temperature: Some(31),
            limit: Some(60),
            ..Facts::default()
        };
        assert_eq!(read(0, SAS), expected);
        // 7.4 calls the model otherwise than what wrote this.
        let newer = SAS.replace("\"model_name\"", "\"scsi_model_name\"");
        let model = parse(0, &newer).model;
        assert_eq!(model.as_deref(), Some("SEAGATE ST1200MM0088"));
        let fails = SAS.replace(
            r#"{"passed":true}"#,
            r#"{"passed":false,"scsi":{"asc":93,"ie_string":"FAILURE PREDICTED"}}"#,
        );
        let fails = read(8, &fails);
        assert_eq!(fails.passed, Some(false));
        assert_eq!(fails.prediction.as_deref(), Some("FAILURE PREDICTED"));
        let grown = SAS.replace(
            "\"scsi_grown_defect_list\":0",
            "\"scsi_grown_defect_list\":14",
        );
        assert_eq!(read(0, &grown).reallocated, 14);
    }

    #[test]
    fn a_count_is_what_smartctl_makes_of_it() {
        let attribute = |raw: &str| {
            format!(
                r#"{{"smart_status":{{"passed":true}},"ata_smart_attributes":{{"table":[{{"id":5,
                "name":"Reallocated_Sector_Ct","when_failed":"","flags":{{"prefailure":true}},
                "raw":{{"value":281474976710668,"string":"{raw}"}}}}]}}}}"#
            )
        };
        assert_eq!(read(0, &attribute("12 (3 0)")).reallocated, 12);
        assert_eq!(read(0, &attribute("")).reallocated, 0);
    }

    #[test]
    fn what_cannot_answer_says_so() {
        let no_type = |message: &str| {
            format!(
                r#"{{"smartctl":{{"argv":["smartctl","--json=c","/dev/sdb"],"messages":[
                {{"string":"{message}","severity":"error"}}],"exit_status":1}}}}"#
            )
        };
        let cases = [
            (3, "", "it sleeps, and is not woken for this"),
            (3, "{}", "it sleeps, and is not woken for this"),
            (
                1,
                &no_type("/dev/sdb: Unknown USB bridge [0x0781:0x5567 (0x100)]"),
                "Unknown USB bridge [0x0781:0x5567 (0x100)]",
            ),
            (
                2,
                &no_type("Smartctl open device: /dev/sdb failed: No such device"),
                "Smartctl open device: /dev/sdb failed: No such device",
            ),
            (1, &no_type("/dev/sdb: \\u001b[2J"), "[2J"),
            (1, "{}", "smartctl cannot ask it (it ended with 1)"),
            (0, "{}", "it says nothing of its health"),
            (
                4,
                r#"{"smart_support":{"available":false}}"#,
                "it has no SMART",
            ),
            (
                0,
                r#"{"smart_support":{"available":true,"enabled":false}}"#,
                "its SMART is switched off; `smartctl --smart=on` switches it on",
            ),
            (127, "", "smartctl ended with 127 and wrote no JSON"),
            (0, "[", "smartctl ended with 0 and wrote no JSON"),
            (0, "7", "it says nothing of its health"),
            (
                0,
                r#"{"smart_status":{"passed":"yes"}}"#,
                "it says nothing of its health",
            ),
        ];
        for (code, text, expected) in cases {
            assert_eq!(why(code, text), expected, "{text}");
        }
    }
}
