// SPDX-License-Identifier: GPL-3.0-or-later
//! What a domU that runs can be given without a restart: what it has against what its document
//! says. Also what no XML can say when it starts.

use crate::changes::Given;
use crate::fleet::{Dom0, DomU};
use crate::units::{CpuSet, Size};
use std::fmt;

/// Something that a domain is given while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tune {
    /// So much memory: its balloon goes there.
    Memory(Size),
    /// So many virtual CPUs.
    Vcpus(u32),
    /// These CPUs of the host, for all its virtual ones; with none, all.
    Pin(Option<CpuSet>),
    /// This weight, and this cap in percent of one CPU; 0 is none.
    Share {
        /// Its weight.
        weight: u32,
        /// Its cap.
        cap: u32,
    },
}

impl fmt::Display for Tune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(memory) => write!(f, "{memory} of memory"),
            Self::Vcpus(vcpus) => write!(f, "{vcpus} virtual CPUs"),
            Self::Pin(Some(cpus)) => write!(f, "the CPUs {cpus}"),
            Self::Pin(None) => f.write_str("all CPUs"),
            Self::Share { weight, cap: 0 } => write!(f, "the weight {weight} and no cap"),
            Self::Share { weight, cap } => write!(f, "the weight {weight} and the cap {cap}"),
        }
    }
}

/// What `domu` has to be given, in order, so that what runs is what its document says: as far as
/// that goes without a restart.
pub fn tunes(given: &Given, domu: &DomU) -> Vec<Tune> {
    let mut tunes = Vec::new();
    if domu.memory != given.memory && domu.memory <= given.max_memory {
        tunes.push(Tune::Memory(domu.memory));
    }
    let more = domu.vcpus != given.vcpus && domu.vcpus <= given.max_vcpus;
    if more {
        tunes.push(Tune::Vcpus(domu.vcpus));
    }
    // One that has just come runs anywhere.
    if domu.pin != given.pin || more && domu.pin.is_some() {
        tunes.push(Tune::Pin(domu.pin.clone()));
    }
    tunes.extend(share(given, domu.weight, domu.cap.unwrap_or(0)));
    tunes
}

/// The share that has to be given, where another is known.
fn share(given: &Given, weight: u32, cap: u32) -> Option<Tune> {
    let differs = given.share.is_some_and(|share| share != (weight, cap));
    differs.then_some(Tune::Share { weight, cap })
}

/// What dom0 has to be given, which has all CPUs of its machine at boot, and the weight of any domU.
pub fn dom0_tunes(given: &Given, dom0: &Dom0) -> Vec<Tune> {
    let most = given.max_vcpus;
    let vcpus = dom0.vcpus.map_or(most, |vcpus| vcpus.min(most));
    let vcpus = (vcpus != given.vcpus).then_some(Tune::Vcpus(vcpus));
    vcpus
        .into_iter()
        .chain(share(given, dom0.weight, 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domu() -> DomU {
        let name = "web".parse().expect("a name");
        DomU {
            vcpus: 2,
            ..DomU::new(name, "base@1".parse().expect("an image"))
        }
    }

    fn given(memory: u64, vcpus: u32) -> Given {
        Given {
            memory: Size::from_mib(memory),
            max_memory: Size::from_mib(512),
            vcpus,
            max_vcpus: 4,
            pin: None,
            share: Some((256, 0)),
        }
    }

    #[test]
    fn what_differs_is_given_as_far_as_it_goes() {
        let domu = domu();
        let pin: Option<CpuSet> = Some("2-3".parse().expect("a set"));
        assert_eq!(tunes(&given(256, 2), &domu), []);
        assert_eq!(
            tunes(&given(384, 2), &domu),
            [Tune::Memory(Size::from_mib(256))]
        );
        assert_eq!(tunes(&given(256, 1), &domu), [Tune::Vcpus(2)]);
        let large = DomU {
            memory: Size::from_mib(768),
            vcpus: 5,
            ..domu.clone()
        };
        assert_eq!(tunes(&given(256, 2), &large), [], "that needs a restart");
        let pinned = DomU {
            pin: pin.clone(),
            ..domu.clone()
        };
        assert_eq!(tunes(&given(256, 2), &pinned), [Tune::Pin(pin.clone())]);
        let was = Given {
            pin: pin.clone(),
            ..given(256, 1)
        };
        let both = [Tune::Vcpus(2), Tune::Pin(pin)];
        assert_eq!(tunes(&was, &pinned), both, "the new one, too");
        assert_eq!(tunes(&was, &domu), [Tune::Vcpus(2), Tune::Pin(None)]);
    }

    #[test]
    fn a_share_that_is_not_known_is_left_alone() {
        let heavy = DomU {
            weight: 512,
            cap: Some(150),
            ..domu()
        };
        let (weight, cap) = (512, 150);
        assert_eq!(tunes(&given(256, 2), &heavy), [Tune::Share { weight, cap }]);
        let unknown = Given {
            share: None,
            ..given(256, 2)
        };
        assert_eq!(tunes(&unknown, &heavy), []);
    }

    #[test]
    fn dom0_has_all_cpus_and_more_weight_unless_its_host_says_otherwise() {
        let dom0 = |vcpus, weight| Dom0 {
            memory: Size::from_mib(512),
            vcpus,
            weight,
            dns: Vec::new(),
            ntp: Vec::new(),
        };
        let heavy = Tune::Share {
            weight: 2048,
            cap: 0,
        };
        let usual = dom0(None, Dom0::WEIGHT);
        assert_eq!(dom0_tunes(&given(512, 4), &usual), [heavy]);
        assert_eq!(dom0_tunes(&given(512, 4), &dom0(Some(4), 256)), []);
        assert_eq!(dom0_tunes(&given(512, 4), &dom0(Some(9), 256)), []);
        let fewer = dom0(Some(1), 256);
        assert_eq!(dom0_tunes(&given(512, 4), &fewer), [Tune::Vcpus(1)]);
        let all = dom0(None, 256);
        assert_eq!(dom0_tunes(&given(512, 1), &all), [Tune::Vcpus(4)]);
    }
}
