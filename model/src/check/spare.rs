// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: what a group promises to survive, it has room for.

use crate::diagnostic::Diagnostic;
use crate::documents::{HostDocs, Shared};
use crate::lower;
use crate::names::Name;
use crate::units::Size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a host of a group carries, and could carry, in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The group.
    group: Name,
    /// The host.
    pub(crate) host: String,
    /// What is left beside dom0 and its own domUs.
    free: u64,
    /// Its domUs.
    domus: Vec<u64>,
}

impl Load {
    /// The loads of a host, one for each of its groups that promises something.
    pub(crate) fn of(shared: &Shared<'_>, docs: &HostDocs) -> Vec<Self> {
        let (Some(fleet), Some((_, host))) = (shared.fleet(), docs.body()) else {
            return Vec::new();
        };
        let machine = host.settings.machine.as_ref();
        let Some(memory) = machine.and_then(|machine| machine.memory.as_ref()) else {
            return Vec::new();
        };
        let promises = |name: &Name| {
            let mut groups = fleet.groups.iter();
            groups.any(|(group, doc)| group.value == *name && doc.spare.is_some())
        };
        let groups = host.groups.iter().map(|group| &group.value);
        let load = |group: &Name| {
            let sizes = docs
                .guests()
                .map(|it| lower::domu_memory(&it.domu.settings));
            let mut domus: Vec<u64> = sizes.map(Size::mib).collect();
            domus.sort_unstable_by(|a, b| b.cmp(a));
            let own = domus.iter().sum::<u64>() + lower::dom0_memory(&host.settings, fleet).mib();
            Self {
                group: group.clone(),
                host: docs.directory.clone(),
                free: memory.value.mib().saturating_sub(own),
                domus,
            }
        };
        groups.filter(|name| promises(name)).map(load).collect()
    }
}

/// How many ways of losing hosts are tried, one after another.
const MOST_TRIED: u64 = 20_000;

/// Notes the groups whose domUs do not fit after a loss that they promise to survive.
pub(crate) fn prove(shared: &Shared<'_>, loads: Vec<Load>, notes: &mut Vec<Diagnostic>) {
    let mut of_groups: BTreeMap<Name, Vec<Load>> = BTreeMap::new();
    for load in loads {
        of_groups.entry(load.group.clone()).or_default().push(load);
    }
    let groups = shared.fleet().into_iter().flat_map(|fleet| &fleet.groups);
    for (name, group) in groups {
        let Some(spare) = group.spare.as_ref().filter(|spare| spare.value > 0) else {
            continue;
        };
        let mut hosts = of_groups.remove(&name.value).unwrap_or_default();
        // Heaviest first, so that the worst losses are tried first.
        hosts.sort_by_key(|host| {
            (
                std::cmp::Reverse(host.domus.iter().sum::<u64>()),
                host.host.clone(),
            )
        });
        let count = hosts.len();
        if count <= spare.value as usize {
            let message = format!(
                "{name} has {count} hosts and cannot lose {}",
                spare.value,
                name = name.value
            );
            let help = "add hosts to the group, or lower `spare`";
            notes.push(spare.place.error(message).help(help));
            continue;
        }
        if let Some(Misfit { lost, size, most }) = misfit(&hosts, spare.value as usize) {
            let lost: Vec<&str> = lost
                .iter()
                .map(|index| hosts[*index].host.as_str())
                .collect();
            let (group, size) = (&name.value, Size::from_mib(size));
            let message = match lost.join(" and ").as_str() {
                "" => format!(
                    "that the domUs of {group} fit without any {} of its hosts cannot be shown",
                    spare.value
                ),
                lost => {
                    format!("without {lost} the domUs of {group} do not fit on its other hosts")
                }
            };
            let help = format!(
                "a domU of {size} finds no place, {} is the most that is left on one host: \
                 add memory or a host, or lower `spare`",
                Size::from_mib(most)
            );
            notes.push(spare.place.error(message).help(help));
        }
    }
}

/// A loss after which a domU finds no place.
struct Misfit {
    /// The hosts lost; none if the loss is one that stands for all.
    lost: Vec<usize>,
    /// Memory of the domU, in MiB.
    size: u64,
    /// The most that is left on one host, in MiB.
    most: u64,
}

/// A loss of `spare` of `hosts` after which their domUs do not fit on the others.
///
/// Each loss is tried, if they are not too many. If they are, one is tried that is worse than any:
/// the largest domUs of all are to find room beside the hosts with the least room.
fn misfit(hosts: &[Load], spare: usize) -> Option<Misfit> {
    if combinations(hosts.len(), spare) <= MOST_TRIED {
        let mut lost: Vec<usize> = (0..spare).collect();
        loop {
            if let Some((size, most)) = unplaced(hosts, &lost) {
                return Some(Misfit { lost, size, most });
            }
            if !advance(&mut lost, hosts.len()) {
                return None;
            }
        }
    }
    // Hosts are sorted by what they carry: the first carry most.
    let heaviest: Vec<usize> = (0..spare).collect();
    if let Some((size, most)) = unplaced(hosts, &heaviest) {
        let lost = heaviest;
        return Some(Misfit { lost, size, most });
    }
    let worst = worse_than_any(hosts, spare);
    unplaced(&worst, &[0]).map(|(size, most)| {
        let lost = Vec::new();
        Misfit { lost, size, most }
    })
}

/// A group that stands for every loss: its first host has domUs at least as many and as large as
/// any `spare` hosts, its others are those with the least room.
fn worse_than_any(hosts: &[Load], spare: usize) -> Vec<Load> {
    let longest = hosts.iter().map(|host| host.domus.len()).max().unwrap_or(0);
    // At each rank the largest domUs that any hosts have at that rank.
    let at_rank = |rank: usize| {
        let mut sizes: Vec<u64> = hosts
            .iter()
            .filter_map(|it| it.domus.get(rank).copied())
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.truncate(spare);
        sizes
    };
    let mut domus: Vec<u64> = (0..longest).flat_map(at_rank).collect();
    domus.sort_unstable_by(|a, b| b.cmp(a));
    let mut rest: Vec<Load> = hosts.to_vec();
    rest.sort_by_key(|host| host.free);
    rest.truncate(hosts.len() - spare);
    let first = Load {
        free: 0,
        domus,
        ..hosts[0].clone()
    };
    [first].into_iter().chain(rest).collect()
}

/// The first domU of the hosts `lost` that finds no place on the others when the largest are
/// placed first, each where it fits most tightly; and the most room that is left on one host.
fn unplaced(hosts: &[Load], lost: &[usize]) -> Option<(u64, u64)> {
    let mut room: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, host) in hosts
        .iter()
        .enumerate()
        .filter(|(index, _)| !lost.contains(index))
    {
        *room.entry(host.free).or_default() += 1;
    }
    let homeless = lost.iter().flat_map(|index| &hosts[*index].domus);
    let mut homeless: Vec<u64> = homeless.copied().collect();
    homeless.sort_unstable_by(|a, b| b.cmp(a));
    for size in homeless {
        let Some((&free, count)) = room.range_mut(size..).next() else {
            let most = room.last_key_value().map_or(0, |(free, _)| *free);
            return Some((size, most));
        };
        *count -= 1;
        if *count == 0 {
            room.remove(&free);
        }
        *room.entry(free - size).or_default() += 1;
    }
    None
}

/// How many ways there are to choose, saturating.
fn combinations(of: usize, choose: usize) -> u64 {
    (0..choose as u64).fold(1_u64, |ways, index| {
        ways.saturating_mul(of as u64 - index) / (index + 1)
    })
}

/// The next choice in order; false after the last.
fn advance(chosen: &mut [usize], of: usize) -> bool {
    let count = chosen.len();
    for place in (0..count).rev() {
        if chosen[place] < of - count + place {
            chosen[place] += 1;
            for next in place + 1..count {
                chosen[next] = chosen[next - 1] + 1;
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(hosts: &[(u64, &[u64])]) -> Vec<Load> {
        let load = |(index, (free, domus)): (usize, &(u64, &[u64]))| Load {
            group: "web".parse().expect("a name"),
            host: format!("h{index}"),
            free: *free,
            domus: domus.to_vec(),
        };
        hosts.iter().enumerate().map(load).collect()
    }

    #[test]
    fn each_loss_is_tried() {
        // Only the loss of the last one does not fit.
        let hosts = loads(&[(10, &[2, 2, 2]), (10, &[5]), (0, &[11])]);
        let misfit = misfit(&hosts, 1).expect("11 finds no place");
        assert_eq!((misfit.lost, misfit.size, misfit.most), (vec![2], 11, 10));
        let fits = loads(&[(10, &[2, 2, 2]), (10, &[5]), (0, &[10])]);
        assert!(super::misfit(&fits, 1).is_none());
    }

    #[test]
    fn too_many_losses_are_judged_by_one_that_is_worse() {
        let roomy: Vec<(u64, &[u64])> = vec![(100, &[5, 5]); 40];
        assert!(combinations(40, 8) > MOST_TRIED);
        assert!(misfit(&loads(&roomy), 8).is_none());
        let mut tight: Vec<(u64, &[u64])> = vec![(1, &[5, 5]); 40];
        let misfit = misfit(&loads(&tight), 8).expect("nothing fits");
        assert_eq!(misfit.lost, (0..8).collect::<Vec<_>>());
        // The heaviest fit; the widest, which is lighter, does not, and no host is blamed for it.
        tight = vec![(4, &[4, 4]); 39];
        tight.push((4, &[7]));
        let misfit = super::misfit(&loads(&tight), 8).expect("7 finds no place");
        assert_eq!((misfit.lost, misfit.size), (Vec::new(), 7));
    }

    #[test]
    fn all_choices_come_once() {
        let mut chosen = vec![0, 1, 2];
        let mut seen = std::collections::BTreeSet::from([chosen.clone()]);
        while advance(&mut chosen, 6) {
            assert!(seen.insert(chosen.clone()));
        }
        assert_eq!(seen.len() as u64, combinations(6, 3));
    }
}
