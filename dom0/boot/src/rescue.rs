// SPDX-License-Identifier: GPL-3.0-or-later
//! A shell on the console when a machine cannot be composed, and what may be asked from it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::console;

const REQUEST: &str = "/run/domus/request";
const BUSYBOX: &str = "/bin/busybox";

/// What the boot shall do after the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Look for a config partition again.
    Retry,
    /// Take this device.
    Use(PathBuf),
}

/// Runs a shell until it ends, or until `domus-boot retry|use` is called in it.
pub(crate) fn shell() -> Request {
    let _ = fs::create_dir_all("/run/domus");
    let _ = fs::remove_file(REQUEST);
    let _ = Command::new(BUSYBOX)
        .args(["--install", "-s", "/bin"])
        .status();
    let mut command = Command::new(BUSYBOX);
    command
        .args(["setsid", "-c", BUSYBOX, "sh"])
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
    command
        .env("PS1", "domus rescue# ")
        .env("TERM", "linux")
        .current_dir("/");
    match console_stdio() {
        Ok([stdin, stdout, stderr]) => {
            command.stdin(stdin).stdout(stdout).stderr(stderr);
        }
        Err(error) => console::say(format!("opening /dev/console: {error}")),
    }
    if let Err(error) = command.status() {
        console::say(format!(
            "no shell either ({BUSYBOX}: {error}); looking again in 10 s"
        ));
        std::thread::sleep(std::time::Duration::from_secs(10));
    }
    match fs::read_to_string(REQUEST) {
        Ok(device) if !device.is_empty() => Request::Use(device.into()),
        _ => Request::Retry,
    }
}

fn console_stdio() -> std::io::Result<[Stdio; 3]> {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")?;
    Ok([
        file.try_clone()?.into(),
        file.try_clone()?.into(),
        file.into(),
    ])
}

/// Called from that shell: leaves the request and ends the shell.
pub(crate) fn ask(request: &Request) -> Result<()> {
    let text = match request {
        Request::Retry => String::new(),
        Request::Use(device) => {
            ensure!(device.exists(), "{} does not exist", device.display());
            device.display().to_string()
        }
    };
    ensure!(
        fs::metadata("/domus").is_ok(),
        "this machine has been composed; retry and use belong to the rescue shell of a failed boot"
    );
    fs::write(REQUEST, text).with_context(|| format!("writing {REQUEST}"))?;
    let shell = rustix::process::getppid().context("finding the shell that called")?;
    ensure!(!shell.is_init(), "call this from the rescue shell");
    rustix::process::kill_process(shell, rustix::process::Signal::KILL)
        .context("ending the rescue shell")
}
