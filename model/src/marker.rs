// SPDX-License-Identifier: GPL-3.0-or-later
//! The marker `/.domus-config` of a config partition: whose it is, and which machine may use it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fleet::{Host, Machine};
use crate::names::Name;
use crate::units::Mac;

/// Where the marker stands on a config partition.
pub const MARKER_PATH: &str = ".domus-config";
/// What a config partition and its file system are called. One that cannot be read is known by
/// that alone.
pub const CONFIG_LABEL: &str = "domus-config";
/// A marker is a few lines; what is longer is none. In bytes.
pub const MARKER_LIMIT: usize = 4096;

/// What firmware and network cards say about a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// SMBIOS system UUID.
    pub dmi_uuid: Option<Uuid>,
    /// SMBIOS system serial number.
    pub serial: Option<String>,
    /// Addresses of the network cards.
    pub macs: Vec<Mac>,
}

/// The marker document (TOML).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    version: u32,
    /// The fleet it belongs to.
    pub fleet: Name,
    /// The host whose configuration the partition holds.
    pub host: Name,
    /// What the machine must be; every line given must hold.
    pub machine: Binding,
}

/// The identity a marker asks for. At least one line is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Binding {
    /// SMBIOS system UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dmi_uuid: Option<Uuid>,
    /// SMBIOS system serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Address of one of its network cards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

impl From<&Machine> for Binding {
    fn from(machine: &Machine) -> Self {
        Self {
            dmi_uuid: machine.dmi_uuid,
            serial: machine.serial.clone(),
            mac: machine.mac,
        }
    }
}

impl Binding {
    /// Its lines, by what they are called in documents: all that there can be.
    pub fn lines(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("dmi-uuid", self.dmi_uuid.as_ref().map(ToString::to_string)),
            ("serial", self.serial.clone()),
            ("mac", self.mac.as_ref().map(ToString::to_string)),
        ]
    }

    /// Why this machine is not the one, or how it was recognised.
    ///
    /// # Errors
    /// The first line that does not hold, in words.
    pub fn fits(&self, machine: &Identity) -> Result<String, String> {
        let mut by = Vec::new();
        if let Some(uuid) = self.dmi_uuid {
            if machine.dmi_uuid != Some(uuid) {
                return Err(format!("DMI UUID {uuid}"));
            }
            by.push("DMI UUID");
        }
        if let Some(serial) = &self.serial {
            if machine.serial.as_ref() != Some(serial) {
                return Err(format!("serial {serial}"));
            }
            by.push("serial");
        }
        if let Some(mac) = self.mac {
            if !machine.macs.contains(&mac) {
                return Err(format!("MAC {mac}"));
            }
            by.push("MAC");
        }
        if by.is_empty() {
            Err("no machine at all".into())
        } else {
            Ok(by.join(", "))
        }
    }
}

impl Marker {
    /// The marker of `host`'s config partition.
    pub fn for_host(fleet: &Name, host: &Host) -> Self {
        Self {
            version: 1,
            fleet: fleet.clone(),
            host: host.name.clone(),
            machine: Binding::from(&host.machine),
        }
    }

    /// Reads a marker.
    ///
    /// # Errors
    /// It is too long, no TOML, or no marker that this release knows; in words for the console.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MARKER_LIMIT {
            return Err(format!("marker of more than {MARKER_LIMIT} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "marker is no text".to_owned())?;
        let marker: Self = toml::from_str(text)
            .map_err(|error| format!("marker cannot be read: {}", error.message()))?;
        match marker.version {
            1 => Ok(marker),
            other => Err(format!(
                "marker version {other}, this release knows version 1"
            )),
        }
    }

    /// The marker as written to a partition.
    pub fn render(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Whether a release of `fleet` on `machine` may use this partition; how it was recognised,
    /// or why it was refused.
    ///
    /// # Errors
    /// The reason, in words for the console.
    pub fn accept(&self, fleet: &Name, machine: &Identity) -> Result<String, String> {
        if self.fleet != *fleet {
            return Err(format!(
                "marker of fleet \"{}\", this release belongs to \"{fleet}\"",
                self.fleet
            ));
        }
        self.machine
            .fits(machine)
            .map_err(|what| format!("marker for host {} ({what})", self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7e0001";

    fn machine() -> Identity {
        Identity {
            dmi_uuid: UUID.parse().ok(),
            serial: Some("8QXK".into()),
            macs: vec!["52:54:00:12:34:56".parse().expect("mac")],
        }
    }

    fn marker(machine: &str) -> Marker {
        let text =
            format!("version = 1\nfleet = \"example\"\nhost = \"alpha\"\n[machine]\n{machine}");
        Marker::parse(text.as_bytes()).expect("marker")
    }

    #[test]
    fn every_line_given_must_hold() {
        let fleet = "example".parse().expect("name");
        let both = marker(&format!(
            "dmi-uuid = \"{UUID}\"\nmac = \"52:54:00:12:34:56\""
        ));
        assert_eq!(both.accept(&fleet, &machine()), Ok("DMI UUID, MAC".into()));
        let other = marker(&format!("dmi-uuid = \"{UUID}\"\nserial = \"other\""));
        let refused = Err("marker for host alpha (serial other)".into());
        assert_eq!(other.accept(&fleet, &machine()), refused);
        assert!(marker("").accept(&fleet, &machine()).is_err());
    }

    #[test]
    fn another_fleet_is_refused() {
        let fleet = "lab".parse().expect("name");
        let reason = marker("serial = \"8QXK\"")
            .accept(&fleet, &machine())
            .expect_err("fleet");
        assert_eq!(
            reason,
            "marker of fleet \"example\", this release belongs to \"lab\""
        );
    }

    #[test]
    fn what_is_no_marker_is_refused_in_words() {
        for (text, reason) in [
            (&b"\xff"[..], "no text"),
            (b"", "cannot be read"),
            (
                b"version = 1\nfleet = \"a\"\nhost = \"b\"\nx = 1\n[machine]",
                "unknown field `x`",
            ),
            (
                b"version = 9\nfleet = \"a\"\nhost = \"b\"\n[machine]",
                "knows version 1",
            ),
            (&[b'#'; 5000], "more than 4096 bytes"),
        ] {
            let error = Marker::parse(text).expect_err("no marker");
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn written_and_read_again_it_is_the_same() {
        let marker = marker("mac = \"52:54:00:12:34:56\"");
        assert_eq!(Marker::parse(marker.render().as_bytes()), Ok(marker));
    }
}
