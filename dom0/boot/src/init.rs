// SPDX-License-Identifier: GPL-3.0-or-later
//! Process 1: the kernel's file systems, the modules, then host or guest; a shell if that fails.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use domus_system::kmod::Modules;
use domus_system::machine::kernel_argument;
use domus_system::mount::{Attributes, Mount};
use rustix::mount::{MountFlags, mount};

use crate::rescue::Request;
use crate::{console, guest, host, rescue};

/// What this machine was told to be on the kernel command line.
enum Role {
    /// A host, of the release with this id.
    Host(String),
    /// A domU, whose config disk is this device.
    Guest(String),
}

/// Runs the machine up to systemd. Never returns: a process 1 that ends stops the kernel.
pub(crate) fn run() -> ! {
    let mut request = Request::Retry;
    let failed = match prepare() {
        Ok((role, mut modules)) => loop {
            let result = match &role {
                Role::Host(id) => host::boot(id, &request, &mut modules),
                Role::Guest(device) => guest::boot(device, &mut modules),
            };
            let Err(error) = result;
            console::show(&format!("{error:#}\n"));
            request = rescue::shell();
        },
        Err(error) => error,
    };
    console::show(&format!("domus: {failed:#}\n"));
    loop {
        rescue::shell();
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
    let line = fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let mut modules = Modules::open(&modules_dir()?)?;
    for module in [
        "loop",
        "isofs",
        "erofs",
        "ext4",
        "overlay",
        "crc32c",
        "nls_ascii",
    ] {
        modules.load(module)?;
    }
    for error in modules.load_for_devices() {
        console::say(format!("{error:#}"));
    }
    let role = match (
        kernel_argument(&line, "domus.release"),
        kernel_argument(&line, "domus.config"),
    ) {
        (Some(id), _) => Role::Host(id),
        (None, Some(device)) => Role::Guest(device),
        (None, None) => bail!(
            "the kernel command line has neither domus.release= (a host) nor domus.config= (a domU)"
        ),
    };
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
