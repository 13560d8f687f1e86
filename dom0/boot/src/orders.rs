// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel command line orders.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use domus_model::discovery::DiskName;
use domus_model::slots::{Booted, Slot};
use domus_system::machine::kernel_argument;

/// How long a host looks for a config partition if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this machine is to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A host.
    Host(HostOrders),
    /// A domU, whose config disk is this device.
    Guest(String),
}

/// What a host is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostOrders {
    /// The id of the release.
    pub(crate) release: String,
    /// The slot that GRUB took it from, if its medium has slots.
    pub(crate) slot: Option<Booted>,
    /// Which partition decides, if several fit.
    pub(crate) config: Option<DiskName>,
    /// How long to look for one.
    pub(crate) patience: Duration,
    /// Whether to open the rescue shell before anything else.
    pub(crate) rescue_first: bool,
    /// What to do when the boot fails.
    pub(crate) on_failure: OnFailure,
}

/// What a host does whose boot failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// A shell on every console.
    Shell,
    /// Looking again, for ever.
    Wait,
    /// Starting the machine anew.
    Reboot,
}

impl Role {
    /// Reads the kernel command line.
    ///
    /// # Errors
    /// It says neither what this machine is, nor anything that is understood: nothing is guessed.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let value = |key| kernel_argument(line, key);
        match (value("domus.release"), value("domus.config")) {
            (Some(release), config) => Ok(Self::Host(HostOrders::parse(release, config, line)?)),
            (None, Some(device)) => Ok(Self::Guest(device)),
            (None, None) => bail!(
                "the kernel command line has neither domus.release= (a host) nor domus.config= \
                 (a domU)"
            ),
        }
    }
}

impl HostOrders {
    fn parse(release: String, config: Option<String>, line: &str) -> Result<Self> {
        let config = config.map(|text| {
            let name: Result<DiskName, _> = text.parse();
            name.map_err(|bad| anyhow!("the kernel command line: {bad}"))
        });
        let patience = match kernel_argument(line, "domus.wait") {
            None => PATIENCE,
            Some(text) => {
                let seconds = text.parse();
                let doing = "the kernel command line: domus.wait= takes a number of seconds";
                Duration::from_secs(seconds.context(doing)?)
            }
        };
        let (rescue_first, on_failure) = match kernel_argument(line, "domus.rescue").as_deref() {
            None | Some("shell") => (false, OnFailure::Shell),
            Some("now") => (true, OnFailure::Shell),
            Some("wait") => (false, OnFailure::Wait),
            Some("reboot") => (false, OnFailure::Reboot),
            Some(other) => bail!(
                "the kernel command line: domus.rescue={other}; there are: now, shell, wait, reboot"
            ),
        };
        Ok(Self {
            release,
            slot: slot(line)?,
            config: config.transpose()?,
            patience,
            rescue_first,
            on_failure,
        })
    }
}

fn slot(line: &str) -> Result<Option<Booted>> {
    let Some(slot) = kernel_argument(line, "domus.slot") else {
        return Ok(None);
    };
    let read = Slot::read(&slot);
    let slot = read.with_context(|| format!("the kernel command line: domus.slot={slot}"))?;
    let attempt = kernel_argument(line, "domus.try").map(|text| text.parse());
    let doing = "the kernel command line: domus.try= takes a number";
    let attempt = attempt.transpose().context(doing)?;
    Ok(Some(Booted { slot, attempt }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_domu_are_told_apart() {
        let guest = Role::parse("domus.config=xvdb console=hvc0").expect("a domU");
        assert_eq!(guest, Role::Guest("xvdb".into()));
        let host = Role::parse("domus.release=ab console=hvc0").expect("a host");
        let expected = HostOrders {
            release: "ab".into(),
            slot: None,
            config: None,
            patience: PATIENCE,
            rescue_first: false,
            on_failure: OnFailure::Shell,
        };
        assert_eq!(host, Role::Host(expected));
    }

    #[test]
    fn orders_of_a_host_are_understood_or_refused() {
        let line = "domus.release=ab domus.config=PARTUUID=01-02 domus.wait=90 domus.rescue=reboot";
        let Ok(Role::Host(orders)) = Role::parse(line) else {
            panic!("a host");
        };
        assert_eq!(
            orders.config.map(|name| name.to_string()).as_deref(),
            Some("PARTUUID=01-02")
        );
        assert_eq!(orders.patience, Duration::from_secs(90));
        assert_eq!(orders.on_failure, OnFailure::Reboot);
        for bad in [
            "config=xvdb",
            "config=",
            "wait=soon",
            "wait=-1",
            "rescue=maybe",
            "slot=c",
            "slot=",
            "slot=a domus.try=x",
            "rescue=",
        ] {
            let line = format!("domus.release=ab domus.{bad}");
            let error = Role::parse(&line).expect_err(bad).to_string();
            assert!(error.starts_with("the kernel command line: "), "{error}");
        }
        assert!(Role::parse("quiet").is_err());
        let slot = slot("domus.slot=b domus.try=2").expect("a slot");
        let booted = Booted {
            slot: Slot::B,
            attempt: Some(2),
        };
        assert_eq!(slot, Some(booted));
    }
}
