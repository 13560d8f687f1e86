// SPDX-License-Identifier: GPL-3.0-or-later
//! What systemd says of itself.

use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::program::Program;

/// There where systemd runs as process 1: sd_booted(3).
pub const BOOTED: &str = "/run/systemd/system";
/// There once systemd-timesyncd set the clock by a server: systemd-timesyncd.service(8).
pub const CLOCK_SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// The units that failed, by name.
///
/// # Errors
/// systemctl(1) cannot be run, or systemd does not answer it.
pub fn failed_units() -> Result<Vec<String>> {
    let asked = ["list-units", "--failed", "--all", "--output=json"];
    let output = Program::new("systemctl").args(asked).output()?;
    units(&output.stdout)
}

/// Says to systemd that this service is ready (sd_notify(3)), if it wants to know.
///
/// # Errors
/// systemd does not take it.
pub fn ready() -> Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let notify = || UnixDatagram::unbound()?.send_to(b"READY=1", &socket);
    notify()
        .map(drop)
        .with_context(|| format!("saying that this is ready to {}", socket.display()))
}

#[derive(Deserialize)]
struct Listed {
    unit: String,
}

fn units(json: &[u8]) -> Result<Vec<String>> {
    let listed: Vec<Listed> =
        serde_json::from_slice(json).context("reading what systemctl says of failed units")?;
    Ok(listed.into_iter().map(|it| it.unit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_units_are_read() {
        let said = br#"[{"unit":"nftables.service","load":"loaded","active":"failed",
            "sub":"failed","description":"nftables"}]"#;
        assert_eq!(units(said).expect("units"), ["nftables.service"]);
        assert_eq!(units(b"[]").expect("none"), [""; 0]);
        assert!(units(b"no units").is_err());
    }
}
