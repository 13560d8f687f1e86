// SPDX-License-Identifier: GPL-3.0-or-later
//! In a domU that runs: telling dom0 through XenStore how it is, and taking the configuration that
//! dom0 gives it while it runs.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use domus_model::refresh::{REFRESH_NODE, Refresh};
use domus_model::report::{REPORT_NODE, Refreshed, reason};
use domus_system::atomic;
use domus_system::xenstore::{XenStore, watch};

use crate::{refresh, report};

/// What came of the last refresh.
const REFRESHED: &str = "/run/domus/refreshed.json";
/// How often it looks how it is.
const LOOK: Duration = Duration::from_secs(30);
/// So long its health command may fail before dom0 is told so for the first time: what it asks for
/// may just be starting.
const WARM_UP: Duration = Duration::from_secs(60);
const WARM_UP_LOOK: Duration = Duration::from_secs(2);

/// Attends to dom0 for ever.
///
/// # Errors
/// XenStore is not there, or this domU cannot say how it is.
pub(crate) fn run() -> Result<Infallible> {
    let store = XenStore::open()?;
    let told = listen()?;
    let begin = Instant::now();
    while begin.elapsed() < WARM_UP && report::ill().is_some() {
        thread::sleep(WARM_UP_LOOK);
    }
    let (mut refreshed, mut said) = (remembered(), String::new());
    loop {
        if let Some(order) = store.read(REFRESH_NODE)? {
            match Refresh::parse(&order) {
                Ok(order) => obey(&order, &mut refreshed)?,
                // Whoever gave it waits in vain, and says so.
                Err(why) => eprintln!("domus-boot: {why}"),
            }
        }
        let report = report::make(refreshed.clone())?.render();
        if report != said {
            store.write(REPORT_NODE, &report)?;
            said = report;
        }
        wait(&told)?;
    }
}

/// What came of the last refresh, if there was one: this process may be another by now.
fn remembered() -> Option<Refreshed> {
    serde_json::from_slice(&fs::read(REFRESHED).ok()?).ok()
}

/// Takes what dom0 gives, unless that was done.
fn obey(order: &Refresh, refreshed: &mut Option<Refreshed>) -> Result<()> {
    if refreshed.as_ref().is_some_and(|done| done.id == order.id) {
        return Ok(());
    }
    let failure = refresh::take(order).err().map(|error| {
        let text = format!("{error:#}");
        eprintln!("domus-boot: {text}");
        reason(&text)
    });
    let done = Refreshed {
        id: order.id,
        failure,
    };
    atomic::write(Path::new(REFRESHED), &serde_json::to_vec(&done)?, 0o600)?;
    *refreshed = Some(done);
    Ok(())
}

/// Hears of what dom0 writes.
fn listen() -> Result<Receiver<()>> {
    let (mut watcher, mut listener) = watch::open()?;
    watcher.watch(REFRESH_NODE)?;
    let (say, told) = channel();
    let listen = move || {
        // Watches end with who set them.
        let _watcher = watcher;
        while listener.heard().is_ok() && say.send(()).is_ok() {}
    };
    let thread = thread::Builder::new().name("xenstore".to_owned());
    thread
        .spawn(listen)
        .context("starting a thread that listens to XenStore")?;
    Ok(told)
}

/// Waits until dom0 says something, or it is time to look.
fn wait(told: &Receiver<()>) -> Result<()> {
    match told.recv_timeout(LOOK) {
        Ok(()) => {
            while told.try_recv().is_ok() {}
            Ok(())
        }
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => bail!("XenStore is not heard of any more"),
    }
}
