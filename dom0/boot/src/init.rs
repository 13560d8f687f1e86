// SPDX-License-Identifier: GPL-3.0-or-later
//! Process 1: the kernel's file systems, the modules, then host or guest; a shell if that fails.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_system::kmod::Modules;
use domus_system::mount::{Attributes, Mount};
use rustix::mount::{MountFlags, mount};

use crate::orders::Role;
use crate::{console, guest, host};

/// Runs the machine up to systemd. Never returns: a process 1 that ends stops the kernel.
pub(crate) fn run() -> ! {
    match prepare() {
        Ok((Role::Host(orders), mut modules)) => host::run(&orders, &mut modules),
        Ok((Role::Guest(device), mut modules)) => guest::run(&device, &mut modules),
        Err(error) => loop {
            console::show(&format!("domus: {error:#}\n"));
            host::rescue("sda2");
        },
    }
}

fn prepare() -> Result<(Role, Modules)> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::NOSUID, None)
            .with_context(|| format!("mounting {target}"))?;
    }
    Mount::ram("755").at(Path::new("/run"))?;
    Mount::new("devpts", Path::new("devpts"), Attributes::Plain).at(Path::new("/dev/pts"))?;
    console::open_others();
    let line = fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let mut modules = Modules::open(&modules_dir()?)?;
    for module in [
        "loop",
        "isofs",
        "squashfs",
        "ext4",
        "overlay",
        "crc32c",
        "nls_ascii",
        "xfs",
    ] {
        modules.load(module)?;
    }
    for error in modules.load_for_devices() {
        console::say(format!("{error:#}"));
    }
    let role = Role::parse(&line)?;
    Ok((role, modules))
}

/// `/lib/modules/RELEASE` of the running kernel.
fn modules_dir() -> Result<PathBuf> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let dir = Path::new("/lib/modules").join(&release);
    anyhow::ensure!(
        dir.is_dir(),
        "this initramfs has no modules for the kernel {release}"
    );
    Ok(dir)
}

/// The type of functions that end in systemd or in an error.
pub(crate) type Boot = Result<Infallible>;
