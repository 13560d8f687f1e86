// SPDX-License-Identifier: GPL-3.0-or-later
//! What a rehearsal hears from dom0: the boot, then every change of a domU's state.

use std::convert::Infallible;
use std::fs;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use domus_model::rehearsal::Word;

use crate::context::Context;
use crate::ears::{Ears, Heard};
use crate::observe::{Domains, Observer};
use crate::pace;
use crate::status::{self, LOOK};

/// It looks so often if nothing is heard, and nothing noted.
const TICK: Duration = Duration::from_secs(10);
/// What is heard within so long of each other is looked at once.
const TOGETHER: Duration = Duration::from_millis(20);

/// Says everything to `out`, and never ends by itself. While XenStore is not there, or no more,
/// nothing changes and nothing is said. libvirt is not asked, and XenStore only when there is something to ask for:
/// both take their time of what is being watched.
///
/// # Errors
/// Nobody listens any more.
pub(crate) fn run(context: &Context, out: &mut impl Write) -> Result<Infallible> {
    say(
        out,
        &Word::Boot {
            record: context.record.clone(),
        },
    )?;
    let mut context = context.clone();
    let mut observer = Observer::new(&context);
    let (tell, hear) = channel();
    let mut ears = None;
    let mut last = None;
    loop {
        let look = Instant::now();
        if !context.is_current()
            && let Ok(again) = context.again()
        {
            context = again;
        }
        if ears.is_none() {
            let tell = tell.clone();
            ears = Ears::open(move |heard| tell.send(heard).is_ok()).ok();
        }
        let noted = notes(&context);
        let running = observer.named();
        if let (Some(open), Ok(running)) = (&mut ears, &running)
            && open.listen_to(running.values().copied()).is_err()
        {
            ears = None;
        }
        let domus =
            running.and_then(|it| status::domus(&context, &mut observer, &Domains::known(it)));
        if let Some(domus) = domus.ok().filter(|domus| last.as_ref() != Some(domus)) {
            say(
                out,
                &Word::Status {
                    domus: domus.clone(),
                },
            )?;
            last = Some(domus);
        }
        pace::rest(look, TOGETHER, Duration::MAX);
        let tick = if ears.is_some() { TICK } else { LOOK };
        for heard in wait(&hear, tick, || notes(&context) != noted) {
            match heard {
                Heard::Domains => {}
                Heard::Guest(id) => observer.forget(id),
                Heard::Nothing => ears = None,
            }
        }
    }
}

/// When something was last noted about each domU, which costs nobody else anything.
fn notes(context: &Context) -> Vec<Option<SystemTime>> {
    let names = context.host.domus.keys();
    let noted = |dir| fs::metadata(dir).and_then(|meta| meta.modified()).ok();
    names.map(|name| noted(context.paths.domu(name))).collect()
}

/// Waits until something is heard or `is_noted`, `tick` at most. Returns all that was heard.
fn wait(hear: &Receiver<Heard>, tick: Duration, is_noted: impl Fn() -> bool) -> Vec<Heard> {
    let begin = Instant::now();
    while begin.elapsed() < tick && !is_noted() {
        if let Ok(first) = hear.recv_timeout(LOOK) {
            return [first].into_iter().chain(hear.try_iter()).collect();
        }
    }
    Vec::new()
}

fn say(out: &mut impl Write, word: &Word) -> Result<()> {
    let line = serde_json::to_string(word)? + "\n";
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .context("writing an event")
}
