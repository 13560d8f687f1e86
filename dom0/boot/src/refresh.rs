// SPDX-License-Identifier: GPL-3.0-or-later
//! In a domU that runs: taking the configuration that its config disk has now. As in dom0, another
//! `/etc` is put in place of the one that is mounted; who is killed in between does it again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::boot::{ETC_UPPER, ETCS, IMAGE_ROOT, LAYERS, SLICE};
use domus_model::refresh::Refresh;
use domus_system::layers::{self, Source};
use domus_system::live_etc::{self, Places};
use domus_system::systemd;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::guest::{self, Given};
use crate::orders::Role;

/// What is read of the disk, until it is in place of what was booted.
const NEXT: &str = "/run/domus/slice.next";

/// Takes it, and runs what is to be run then, each whatever became of those before it.
///
/// # Errors
/// It cannot be taken: what is there stays. Or it was, and something that was to be run fails.
pub(crate) fn take(order: &Refresh) -> Result<()> {
    if guest::document()?.commit != order.commit {
        switch(&order.commit).with_context(|| format!("taking {}", order.commit))?;
    }
    let failures = order.run.iter().map(systemd::run);
    let failures: Vec<String> = failures
        .filter_map(|done| done.err().map(|error| format!("{error:#}")))
        .collect();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(anyhow!(failures.join("; "))),
    }
}

fn switch(commit: &str) -> Result<()> {
    let line = fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let Role::Guest(device) = Role::parse(&line)? else {
        bail!("this is no domU");
    };
    let given = Given::read(&Path::new("/dev").join(device), Path::new(NEXT))?;
    ensure!(
        given.guest.commit == commit,
        "the config disk has {}",
        given.guest.commit
    );
    let now = guest::document()?;
    ensure!(
        given.guest.name == now.name,
        "the config disk is for {}",
        given.guest.name
    );
    let places = places();
    let lay = |image: &Path, to: &Path| {
        let source = Source {
            image,
            tree: &given.slice,
            generated: &given.generated,
            layers: &given.layers,
            secret: &|layer, path| given.secret(layer, path),
        };
        layers::lay(&source, to)
    };
    let switched = live_etc::replace(&places, lay, &BTreeSet::new())?;
    for problem in &switched.problems {
        eprintln!("domus-boot: {problem}");
    }
    given.remove_secrets()?;
    live_etc::bind_config(&given.slice, &given.own_tree(), Path::new("/config"))?;
    // The last step: whoever looks which commit it is looks there.
    let doing = || format!("putting {NEXT} in place of {SLICE}");
    renameat_with(CWD, NEXT, CWD, SLICE, RenameFlags::EXCHANGE).with_context(doing)?;
    fs::remove_dir_all(NEXT).with_context(|| format!("removing {NEXT}"))?;
    live_etc::clear(&places)
}

fn places() -> Places {
    Places {
        root: PathBuf::from("/"),
        etc: PathBuf::from("/etc"),
        etcs: PathBuf::from(ETCS),
        image_root: PathBuf::from(IMAGE_ROOT),
        booted_upper: PathBuf::from(ETC_UPPER),
        booted_layers: PathBuf::from(LAYERS),
    }
}
