// SPDX-License-Identifier: GPL-3.0-or-later
//! Guests that say something of themselves are heeded, and not as often as they like: one may say something else
//! thousands of times a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Whoever was heeded is not again for so long. What is said meanwhile is heeded then, and what comes next at once:
/// two looks in that time at most.
const REST: Duration = Duration::from_secs(1);

/// Until when guests are not heeded again, by the numbers of their domains.
#[derive(Debug, Default)]
pub(crate) struct Heed(BTreeMap<u32, Instant>);

impl Heed {
    /// When it is time to look at what the guest in domain `id` says `now`.
    pub(crate) fn due(&mut self, id: u32, now: Instant) -> Instant {
        self.0.retain(|_, until| *until > now);
        match self.0.get(&id) {
            Some(until) => *until,
            None => {
                self.0.insert(id, now + REST);
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_rarely_is_heeded_at_once_and_who_never_stops_now_and_then() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut heed = Heed::default();
        let looks: Vec<Instant> = (0..3000).map(|millis| heed.due(7, at(millis))).collect();
        for (said, look) in [
            (0, 0),
            (1, 1000),
            (999, 1000),
            (1000, 1000),
            (1001, 2000),
            (2999, 3000),
        ] {
            assert_eq!(looks[said], at(look), "{said}");
        }
        assert_eq!(heed.due(8, at(2999)), at(2999), "another guest");
        assert_eq!(heed.due(7, at(9000)), at(9000), "after a while");
    }
}
