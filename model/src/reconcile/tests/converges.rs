// SPDX-License-Identifier: GPL-3.0-or-later
//! Hosts to which anything happens for a while.

use super::*;
use crate::fleet::Strays;
use proptest::prelude::*;

/// What may happen to a domU of a simulated host.
#[derive(Debug, Clone)]
enum Happens {
    Nothing,
    Crashes,
    FailsToStart,
    AgentForgets,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Nothing),
        1 => Just(Happens::Crashes),
        1 => Just(Happens::FailsToStart),
        1 => Just(Happens::AgentForgets),
    ]
}

proptest! {
    /// Whatever happens for a while: once nothing does any more, all come up, none is started while
    /// it runs, and none before those that it comes after. Of what else runs there nobody is destroyed
    /// but a stray, and that only where the host says so.
    #[test]
    fn it_converges(
        happening in prop::collection::vec(prop::collection::vec(happens(), 4), 0..12),
        steps in prop::collection::vec(1u64..40, 12),
        policy in prop::sample::select(vec![Strays::Report, Strays::Destroy]),
    ) {
        let names = ["a", "b", "c", "d"];
        let mut host = Host::default()
            .with(domu("a", &[]), absent())
            .with(domu("b", &["a"]), absent())
            .with(domu("c", &["a", "b"]), absent())
            .with(domu("d", &[]), absent());
        let mut ids = 1;
        let mut now = 0;
        let turns = happening.len();
        for turn in 0..turns + 60 {
            now += steps.get(turn).copied().unwrap_or(30);
            let mut happening = happening.get(turn).cloned().unwrap_or_default().into_iter();
            for text in names {
                let known = host.known.get_mut(&name(text)).expect("known");
                let happens = happening.next().unwrap_or(Happens::Nothing);
                let runs = matches!(known.sight, Sight::Runs { .. });
                match happens {
                    Happens::Crashes if runs => known.sight = Sight::Absent,
                    Happens::AgentForgets => known.record = Record::default(),
                    Happens::FailsToStart if !runs => known.record.fail("no".into(), now),
                    _ => if let Sight::Runs { heard, .. } = &mut known.sight {
                        *heard = Heard::Up;
                    },
                }
                known.note(None, now);
                known.record.falls = known.record.falls.min(FALLS - 1);
            }
            let decision = host.at(now);
            prop_assert_eq!(&decision, &host.at(now), "the same look");
            for stray in strays(&name("example"), &host.domus, policy, None, host.domains()) {
                prop_assert_eq!(stray.name.as_str(), "foreign");
                prop_assert_eq!(stray.fate == Fate::Destroyed, policy == Strays::Destroy);
            }
            for started in &decision.start {
                for before in &host.domus[started].after {
                    let is = decision.standings[before].state;
                    prop_assert!(!matches!(is, State::Starting | State::Pending), "{before} {is:?}");
                }
                let known = host.known.get_mut(started).expect("known");
                prop_assert!(known.sight == Sight::Absent, "it runs already");
                known.record.begin("c");
                known.record.succeed(ids, now);
                known.sight = Sight::Runs { id: ids, heard: Heard::Nothing };
                ids += 1;
            }
        }
        let decision = host.at(now);
        for text in names {
            prop_assert_eq!(state(&decision, text).0, State::Up, "{} {:?}", text, decision);
        }
    }
}
