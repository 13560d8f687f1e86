// SPDX-License-Identifier: GPL-3.0-or-later
//! What a rehearsal hears from dom0: the boot, then every change of a domU's state.

use std::convert::Infallible;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use domus_model::rehearsal::Word;

use crate::context::Context;
use crate::lookout::Lookout;
use crate::observe::{Domains, Observer};
use crate::status;

/// Says everything to `out`, and never ends by itself. While XenStore is not there, or no more,
/// nothing changes and nothing is said. libvirt is not asked: that costs many times more, and
/// would slow down what is being watched.
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
    let mut lookout = Lookout::new();
    let mut last = None;
    loop {
        let look = Instant::now();
        if !context.is_current()
            && let Ok(again) = context.again()
        {
            context = again;
        }
        let running = lookout.domains(&context, &mut observer);
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
        lookout.rest(&context, &mut observer, look, Duration::MAX);
    }
}

fn say(out: &mut impl Write, word: &Word) -> Result<()> {
    let line = serde_json::to_string(word)? + "\n";
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .context("writing an event")
}
