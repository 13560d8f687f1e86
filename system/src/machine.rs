// SPDX-License-Identifier: GPL-3.0-or-later
//! Who this machine is: DMI UUID and serial number, MAC addresses; and its uptime.

use std::fs;
use std::path::Path;
use std::time::Duration;

use domus_model::marker::Identity;

/// What the firmware and the network cards say.
pub fn identity() -> Identity {
    identity_from(Path::new("/sys"))
}

fn identity_from(sys: &Path) -> Identity {
    let dmi = |name: &str| {
        let text = fs::read_to_string(sys.join("class/dmi/id").join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let mut macs = Vec::new();
    for card in fs::read_dir(sys.join("class/net"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // Only cards have a device behind them: bridges and vifs do not say who a machine is.
        if card.path().join("device").exists() {
            let text = fs::read_to_string(card.path().join("address")).unwrap_or_default();
            macs.extend(text.trim().parse::<domus_model::units::Mac>());
        }
    }
    macs.sort();
    Identity {
        dmi_uuid: dmi("product_uuid").and_then(|text| text.parse().ok()),
        serial: dmi("product_serial"),
        macs,
    }
}

/// Time since the kernel started.
pub fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// The words of the kernel command line that start with `key=`, without it.
pub fn kernel_argument(command_line: &str, key: &str) -> Option<String> {
    let mut words = command_line.split_whitespace();
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_by_their_whole_key() {
        let line = "ro domus.config=xvdb console=hvc0 domus.configs=no";
        assert_eq!(
            kernel_argument(line, "domus.config").as_deref(),
            Some("xvdb")
        );
        assert_eq!(kernel_argument(line, "domus"), None);
    }

    #[test]
    fn virtual_cards_do_not_identify_a_machine() {
        let sys = tempfile::tempdir().expect("dir");
        for (card, mac, real) in [
            ("eth0", "52:54:00:12:34:56", true),
            ("lan", "02:00:00:00:00:01", false),
        ] {
            let dir = sys.path().join("class/net").join(card);
            fs::create_dir_all(if real {
                dir.join("device")
            } else {
                dir.clone()
            })
            .expect("dir");
            fs::write(dir.join("address"), format!("{mac}\n")).expect("address");
        }
        let identity = identity_from(sys.path());
        assert_eq!(identity.macs.len(), 1);
        assert_eq!(identity.dmi_uuid, None);
    }
}
