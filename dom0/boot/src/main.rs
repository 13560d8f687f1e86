// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-boot`: the first process of dom0 and of every domU. It finds what the machine is to
//! be, composes `/etc`, and hands over to systemd.
//!
//! As process 1 it takes its orders from the kernel command line: `domus.release=ID` makes it
//! look for that release and a config partition, `domus.config=xvdX` makes it read the config
//! disk that dom0 gave. Called by hand it serves the rescue shell; in a domU it attends to dom0.

mod attend;
mod compose;
mod console;
mod discover;
mod guest;
mod handover;
mod host;
mod init;
mod orders;
mod record;
mod refresh;
mod repair;
mod report;
mod rescue;
mod slots;
mod trial;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
domus-boot: composes this machine from its configuration (process 1 of the initramfs)

In the rescue shell:
  domus-boot retry          look again for a config partition
  domus-boot use DEVICE     take this config partition by hand, for this boot only
In a domU:
  domus-boot attend         tell dom0 through XenStore how this domU is, and take the
                            configuration that dom0 gives it (domus-guest.service)";

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::run();
    }
    let mut arguments = std::env::args();
    if arguments.next().as_deref() == Some(guest::POWER_OFF) {
        return guest::power_off();
    }
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["retry"] => rescue::ask(&rescue::Request::Retry),
        ["use", device] => rescue::ask(&rescue::Request::Use((*device).into())),
        ["attend"] => attend::run().map(|never| match never {}),
        // Started by itself, with so many seconds; and with medium and id of a release on trial.
        ["guard", seconds, release @ ..] if seconds.parse::<u64>().is_ok() => {
            let seconds = seconds.parse().unwrap_or_default();
            let release = match release {
                [medium, id] => Some((*medium, *id)),
                _ => None,
            };
            trial::guard(Duration::from_secs(seconds), release)
        }
        ["-h" | "--help" | "help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domus-boot: {error:#}");
            ExitCode::FAILURE
        }
    }
}
