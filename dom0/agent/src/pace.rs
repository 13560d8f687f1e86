// SPDX-License-Identifier: GPL-3.0-or-later
//! How often somebody who waits looks.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Looks take a fifth of the time at most: each costs libvirt, XenStore or git something, and what
/// is waited for needs the processor as well.
const SHARE: u32 = 5;

/// Rests after a look that was begun at `look`: for `least`, and longer if the look took long.
pub(crate) fn rest(look: Instant, least: Duration) {
    sleep(pause(look.elapsed(), least));
}

fn pause(took: Duration, least: Duration) -> Duration {
    least.max(took * (SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_long_are_rare() {
        let millis = Duration::from_millis;
        assert_eq!(pause(millis(1), millis(100)), millis(100));
        assert_eq!(pause(millis(200), millis(100)), millis(800));
    }
}
