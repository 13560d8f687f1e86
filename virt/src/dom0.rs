// SPDX-License-Identifier: GPL-3.0-or-later
//! dom0's own memory: Xen gives it the release's ceiling at boot, and it balloons down from there.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use domus_model::units::Size;
use virt::domain::Domain;
use virt::sys::VIR_DOMAIN_AFFECT_LIVE;

use crate::hypervisor::{Hypervisor, words};

/// How long dom0's kernel may take to give memory back.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// Xen counts some pages that dom0's kernel does not: this near is there, in KiB.
const NEAR: u64 = 8 << 10;

/// What dom0 has and what it can have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dom0Memory {
    /// What it has now.
    pub now: Size,
    /// What Xen gave it at boot.
    pub ceiling: Size,
}

impl Dom0Memory {
    /// What dom0 has to be set to so that it has `wanted`, at most the ceiling; none if it does.
    pub fn step(self, wanted: Size) -> Option<Size> {
        let target = wanted.min(self.ceiling);
        let kib = |size: Size| size.bytes() >> 10;
        (kib(self.now).abs_diff(kib(target)) > NEAR).then_some(target)
    }
}

impl Hypervisor {
    /// What dom0 has.
    ///
    /// # Errors
    /// This is no Xen, or the connection is broken.
    pub fn dom0_memory(&self) -> Result<Dom0Memory> {
        let doing = "asking Xen for dom0's memory";
        memory_of(&self.dom0().context(doing)?).context(doing)
    }

    /// Gives dom0 `wanted`, at most what Xen gave it at boot, and waits until its kernel has
    /// followed. Returns at once if it has that already.
    ///
    /// # Errors
    /// Xen refuses, or dom0 does not follow within 10 s: it needs what it has.
    pub fn set_dom0_memory(&self, wanted: Size) -> Result<()> {
        let doing = || format!("setting dom0's memory to {wanted}");
        let dom0 = self.dom0().with_context(doing)?;
        let Some(target) = memory_of(&dom0).with_context(doing)?.step(wanted) else {
            return Ok(());
        };
        let kib = target.bytes() >> 10;
        dom0.set_memory_flags(kib, VIR_DOMAIN_AFFECT_LIVE)
            .map_err(words)
            .with_context(doing)?;
        let begin = Instant::now();
        loop {
            let memory = memory_of(&dom0).with_context(doing)?;
            if memory.step(target).is_none() {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let (now, seconds) = (memory.now.mib(), PATIENCE.as_secs());
                bail!(
                    "{}: it still has {now} MiB after {seconds} s; if it needs that, raise `dom0.memory` in \
                     host.toml",
                    doing()
                );
            }
            sleep(LOOK);
        }
    }

    fn dom0(&self) -> Result<Domain> {
        Domain::lookup_by_id(&self.connect, 0).map_err(words)
    }
}

fn memory_of(dom0: &Domain) -> Result<Dom0Memory> {
    let now = dom0.get_info().map_err(words)?.memory;
    let ceiling = dom0.get_max_memory().map_err(words)?;
    Ok(Dom0Memory {
        now: Size::from_kib(now),
        ceiling: Size::from_kib(ceiling),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dom0_never_grows_above_what_xen_gave_it() {
        let size = Size::from_mib;
        for (now, ceiling, wanted, step) in [
            (512, 512, 384, Some(384)),
            (384, 512, 384, None),
            (390, 512, 384, None),
            (384, 512, 448, Some(448)),
            (384, 512, 1024, Some(512)),
            (512, 512, 1024, None),
        ] {
            let memory = Dom0Memory {
                now: size(now),
                ceiling: size(ceiling),
            };
            assert_eq!(
                memory.step(size(wanted)),
                step.map(size),
                "{now} {ceiling} {wanted}"
            );
        }
    }
}
