// SPDX-License-Identifier: GPL-3.0-or-later
//! How often somebody who waits looks.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Looks take a fifth of the time at most: each costs libvirt, XenStore or git something, and what
/// is waited for needs the processor as well.
const SHARE: u32 = 5;

/// Rests after a look that was begun at `look`: for `least`, and longer if the look took long, but
/// not beyond what is `left` until something has to be done.
pub(crate) fn rest(look: Instant, least: Duration, left: Duration) {
    sleep(pause(look.elapsed(), least, left));
}

fn pause(took: Duration, least: Duration, left: Duration) -> Duration {
    least.max(took * (SHARE - 1)).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_long_are_rare_and_make_nobody_late() {
        let millis = Duration::from_millis;
        let pause = |took, left| pause(millis(took), millis(100), left);
        assert_eq!(pause(1, Duration::MAX), millis(100));
        assert_eq!(pause(200, Duration::MAX), millis(800));
        // A command of `[health]` may take a minute, and the guard waits no longer than that.
        assert_eq!(pause(60_000, millis(5_000)), millis(5_000));
        assert_eq!(pause(1, Duration::ZERO), Duration::ZERO);
    }
}
