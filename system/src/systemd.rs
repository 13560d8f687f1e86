// SPDX-License-Identifier: GPL-3.0-or-later
//! What systemd says of itself.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use domus_model::changes::Deed;
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

/// How long a deed may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Runs what is to be run after files in `/etc` changed. Nothing is to be done to a unit that runs, if it
/// does, where there is none: one configuration is for machines with it and without.
///
/// # Errors
/// It fails, or is not done in 90 s; it may go on then.
pub fn run(deed: &Deed) -> Result<()> {
    let begin = Instant::now();
    // A unit may wait for the very unit that this runs in.
    let limit = LIMIT.as_secs().to_string();
    let result = Program::new("timeout")
        .arg(&limit)
        .args(deed.command())
        .run();
    if result.is_err() && begin.elapsed() >= LIMIT {
        bail!("`{deed}` was not done in {limit} s; it may go on");
    }
    match deed {
        Deed::Reload(unit) | Deed::Restart(unit) if result.is_err() && !is_loaded(unit)? => Ok(()),
        _ => result.with_context(|| format!("running `{deed}`")),
    }
}

/// Whether there is a unit `name`, and not masked; or one that it is a pattern of.
fn is_loaded(name: &str) -> Result<bool> {
    let asked = ["show", "--property=LoadState", "--value", "--", name];
    let output = Program::new("systemctl").args(asked).output()?;
    let states = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(states.lines().any(|state| state == "loaded"))
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
