// SPDX-License-Identifier: GPL-3.0-or-later
//! A shell on every console when a machine cannot be composed, and what may be asked from it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domus_system::mount::{Mount, Mounted};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::console;

/// Where the rescue keeps what it needs; there while it is open.
const DIR: &str = "/run/domus/rescue";
const REQUEST: &str = "/run/domus/rescue/request";
const SHELL: &str = "/run/domus/rescue/shell";
const SHADOW: &str = "/run/domus/rescue/shadow";
/// The initramfs' own.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
/// How often it is looked whether something was asked.
const LOOK: Duration = Duration::from_millis(100);
/// Between two attempts where nobody is asked.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);

/// What the boot shall do after the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Look for a config partition again.
    Retry,
    /// Take this device.
    Use(PathBuf),
}

/// The shell, and what it is opened with.
#[derive(Debug)]
pub(crate) struct Rescue<'a> {
    /// The release's root, with all its tools, if it is mounted.
    pub(crate) root: &'a Path,
    /// The password that is asked for, as crypt(3) has it.
    pub(crate) password: Option<String>,
    /// A device to give as an example.
    pub(crate) example: &'a str,
}

impl Rescue<'_> {
    /// Opens it, until a shell ends or `domus-boot retry|use` is called in one.
    pub(crate) fn open(&self) -> Request {
        let example = self.example;
        console::show(&format!(
            "A shell follows; `domus-boot retry` looks again,\n\
             `domus-boot use /dev/{example}` takes one by hand for this boot only.\n"
        ));
        self.run().unwrap_or_else(|error| {
            console::say(format!("no shell either: {error:#}; looking again in 10 s"));
            sleep(PAUSE);
            Request::Retry
        })
    }

    fn run(&self) -> Result<Request> {
        fs::create_dir_all(DIR).with_context(|| format!("making {DIR}"))?;
        let _ = fs::remove_file(REQUEST);
        let kept = self.prepare()?;
        let mut shells = Shells(Vec::new());
        for terminal in console::terminals() {
            match self.shell(Path::new("/dev").join(&terminal).as_path()) {
                Ok(shell) => shells.0.push(shell),
                Err(error) => console::say(format!("no shell on {terminal}: {error:#}")),
            }
        }
        ensure!(!shells.0.is_empty(), "there is no console");
        while !Path::new(REQUEST).exists() && !shells.has_ended() {
            sleep(LOOK);
        }
        let request = fs::read_to_string(REQUEST).unwrap_or_default();
        drop(shells);
        drop(kept);
        fs::remove_dir_all(DIR).with_context(|| format!("removing {DIR}"))?;
        Ok(match request.as_str() {
            "" => Request::Retry,
            device => Request::Use(device.into()),
        })
    }

    fn has_root(&self) -> bool {
        self.root.join("usr/bin").exists()
    }

    /// Makes the release's root a place to work in, or installs busybox.
    fn prepare(&self) -> Result<Vec<Mounted>> {
        let mut kept = Vec::new();
        fs::copy("/init", Path::new(DIR).join("domus-boot")).context("copying domus-boot")?;
        let (shell, tools) = match self.has_root() {
            true => ("/bin/bash --norc --noprofile -i", "/usr/sbin:/usr/bin"),
            false => ("/bin/busybox sh", "/bin"),
        };
        let script = format!(
            "#!/bin/sh\n\
             export PATH={DIR}:{tools} PS1='domus rescue# ' TERM=linux HOME=/tmp\n\
             cd / && exec {shell}\n"
        );
        write(SHELL, &script, 0o755)?;
        if !self.has_root() {
            ensure!(
                self.password.is_none(),
                "the release's root is missing, and with it what asks for the password"
            );
            let mut install = Command::new(BUSYBOX);
            let installed = install.args(["--install", "-s", "/bin"]).status();
            installed.with_context(|| format!("running {BUSYBOX}"))?;
            return Ok(kept);
        }
        for dir in ["dev", "proc", "sys", "run"] {
            let target = self.root.join(dir);
            kept.push(Mounted::bound(&Path::new("/").join(dir), &target)?);
        }
        kept.push(Mounted::new(&Mount::ram("1777"), &self.root.join("tmp"))?);
        if let Some(password) = &self.password {
            write(SHADOW, &format!("root:{password}:::::::\n"), 0o600)?;
            let shadow = self.root.join("etc/shadow");
            kept.push(Mounted::bound(Path::new(SHADOW), &shadow)?);
        }
        Ok(kept)
    }

    /// A session of its own at a terminal, so that Ctrl-C is heard there.
    fn shell(&self, terminal: &Path) -> Result<Child> {
        let opened = OpenOptions::new().read(true).write(true).open(terminal);
        let file = opened.context("opening it")?;
        let mut command = Command::new(BUSYBOX);
        command.args(["setsid", "-c"]);
        if self.has_root() {
            command.args([BUSYBOX, "chroot"]).arg(self.root);
        }
        match &self.password {
            // What it runs once the password was right is the same shell.
            Some(_) => command
                .arg("/usr/sbin/sulogin")
                .arg(terminal)
                .env("SUSHELL", SHELL),
            None => command.arg(SHELL),
        };
        command
            .current_dir("/")
            .stdin(Stdio::from(file.try_clone()?))
            .stdout(Stdio::from(file.try_clone()?))
            .stderr(Stdio::from(file));
        command
            .spawn()
            .with_context(|| format!("running {BUSYBOX}"))
    }
}

/// Shells that run. All end when this value is dropped.
struct Shells(Vec<Child>);

impl Shells {
    fn has_ended(&mut self) -> bool {
        self.0
            .iter_mut()
            .any(|shell| matches!(shell.try_wait(), Ok(Some(_))))
    }
}

impl Drop for Shells {
    fn drop(&mut self) {
        for shell in &mut self.0 {
            if let Some(session) = i32::try_from(shell.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(session, Signal::KILL);
            }
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

fn write(path: &str, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("writing {path}"))
}

/// Called from that shell: leaves the request, which ends the shell.
pub(crate) fn ask(request: &Request) -> Result<()> {
    let text = match request {
        Request::Retry => String::new(),
        Request::Use(device) => {
            ensure!(device.exists(), "{} does not exist", device.display());
            device.display().to_string()
        }
    };
    match fs::metadata(DIR) {
        Err(error) if error.kind() == ErrorKind::NotFound => anyhow::bail!(
            "this machine has been composed; retry and use belong to the rescue shell of a failed \
             boot"
        ),
        _ => {}
    }
    // At once: whoever waits for it reads it as soon as it is there.
    let new = format!("{REQUEST}.new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, REQUEST))
        .with_context(|| format!("writing {REQUEST}"))
}
