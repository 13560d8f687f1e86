// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: what a group promises to survive, it has room for.

use crate::diagnostic::Diagnostic;
use crate::documents::{HostDocs, Shared};
use crate::lower;
use crate::names::Name;
use crate::units::Size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a domU needs: its memory in MiB, and its virtual CPUs.
type Need = (u64, u32);

/// What a host of a group carries, and could carry, in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The group.
    group: Name,
    /// The host.
    pub(crate) host: String,
    /// What is left beside dom0 and its own domUs.
    free: u64,
    /// Its logical CPUs; as many as there can be where that cannot be said.
    cpus: u32,
    /// Its domUs, the largest first.
    domus: Vec<Need>,
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
        let cpus = machine.and_then(|machine| machine.cpus.as_ref());
        let promises = |name: &Name| {
            let mut groups = fleet.groups.iter();
            groups.any(|(group, doc)| group.value == *name && doc.spare.is_some())
        };
        let groups = host.groups.iter().map(|group| &group.value);
        let load = |group: &Name| {
            let needs = docs.guests().map(|it| {
                let settings = &it.domu.settings;
                (
                    lower::domu_memory(settings).mib(),
                    lower::domu_vcpus(settings),
                )
            });
            let mut domus: Vec<Need> = needs.collect();
            domus.sort_unstable_by(|a, b| b.cmp(a));
            let own = carried(&domus) + lower::dom0_memory(&host.settings, fleet).mib();
            Self {
                group: group.clone(),
                host: docs.directory.clone(),
                free: memory.value.mib().saturating_sub(own),
                cpus: cpus.map_or(u32::MAX, |cpus| cpus.value),
                domus,
            }
        };
        groups.filter(|name| promises(name)).map(load).collect()
    }
}

/// The memory of these, in MiB.
fn carried(domus: &[Need]) -> u64 {
    domus.iter().map(|(size, _)| size).sum()
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
            let carried = std::cmp::Reverse(carried(&host.domus));
            (carried, host.host.clone())
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
        if let Some(misfit) = misfit(&hosts, spare.value as usize) {
            let message = misfit.message(name.value.as_str(), &hosts, spare.value);
            notes.push(spare.place.error(message).help(misfit.help()));
        }
    }
}

/// A loss after which a domU finds no place.
struct Misfit {
    /// The hosts lost; none if the loss is one that stands for all.
    lost: Vec<usize>,
    unplaced: Unplaced,
}

/// A domU that finds no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unplaced {
    need: Need,
    /// The most memory that is left on one host that has the CPUs for it, in MiB; `None` if none
    /// has.
    most: Option<u64>,
    /// Whether there is a host that has not.
    has_narrow: bool,
}

impl Misfit {
    fn message(&self, group: &str, hosts: &[Load], spare: u32) -> String {
        let lost = self.lost.iter().map(|index| hosts[*index].host.as_str());
        match lost.collect::<Vec<_>>().join(" and ").as_str() {
            "" => format!(
                "that the domUs of {group} fit without any {spare} of its hosts cannot be shown"
            ),
            lost => format!("without {lost} the domUs of {group} do not fit on its other hosts"),
        }
    }

    fn help(&self) -> String {
        let Unplaced {
            need: (size, vcpus),
            most,
            has_narrow,
        } = self.unplaced;
        let size = Size::from_mib(size);
        let most = most.map(Size::from_mib);
        match (most, has_narrow) {
            (None, _) => format!(
                "a domU of {size} with {vcpus} vCPUs finds no place, no host that is left has so \
                 many CPUs: give it fewer, add a host, or lower `spare`"
            ),
            (Some(most), true) => format!(
                "a domU of {size} with {vcpus} vCPUs finds no place, {most} is the most that is \
                 left on one host with so many CPUs: give it fewer, add a host, or lower `spare`"
            ),
            (Some(most), false) => format!(
                "a domU of {size} finds no place, {most} is the most that is left on one host: \
                 add memory or a host, or lower `spare`"
            ),
        }
    }
}

/// A loss of `spare` of `hosts` after which their domUs do not fit on the others.
///
/// Each loss is tried, if they are not too many. If they are, one is tried that is worse than any:
/// the largest domUs of all are to find room beside the hosts with the least room.
fn misfit(hosts: &[Load], spare: usize) -> Option<Misfit> {
    if combinations(hosts.len(), spare) <= MOST_TRIED {
        let mut lost: Vec<usize> = (0..spare).collect();
        loop {
            if let Some(unplaced) = unplaced(hosts, &lost) {
                return Some(Misfit { lost, unplaced });
            }
            if !advance(&mut lost, hosts.len()) {
                return None;
            }
        }
    }
    // Hosts are sorted by what they carry: the first carry most.
    let heaviest: Vec<usize> = (0..spare).collect();
    if let Some(unplaced) = unplaced(hosts, &heaviest) {
        let lost = heaviest;
        return Some(Misfit { lost, unplaced });
    }
    let worst = worse_than_any(hosts, spare);
    unplaced(&worst, &[0]).map(|unplaced| {
        let lost = Vec::new();
        Misfit { lost, unplaced }
    })
}

/// A group that stands for every loss: its first host has domUs at least as many and as large as
/// any `spare` hosts, its others are those with the least room. What has not the CPUs for each of
/// the domUs counts as lost, too.
fn worse_than_any(hosts: &[Load], spare: usize) -> Vec<Load> {
    let longest = hosts.iter().map(|host| host.domus.len()).max().unwrap_or(0);
    // At each rank the largest domUs that any hosts have at that rank.
    let at_rank = |rank: usize| {
        let mut sizes: Vec<Need> = hosts
            .iter()
            .filter_map(|it| it.domus.get(rank).copied())
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.truncate(spare);
        sizes
    };
    let mut domus: Vec<Need> = (0..longest).flat_map(at_rank).collect();
    domus.sort_unstable_by(|a, b| b.cmp(a));
    let all = hosts.iter().flat_map(|host| &host.domus);
    let widest = all.map(|(_, vcpus)| *vcpus).max().unwrap_or(0);
    let mut rest: Vec<Load> = hosts.to_vec();
    rest.sort_by_key(|host| host.free);
    let (mut rest, narrow): (Vec<Load>, Vec<Load>) =
        rest.into_iter().partition(|host| host.cpus >= widest);
    rest.truncate(rest.len().saturating_sub(spare));
    rest.extend(narrow.into_iter().map(|host| Load { free: 0, ..host }));
    let first = Load {
        free: 0,
        domus,
        ..hosts[0].clone()
    };
    [first].into_iter().chain(rest).collect()
}

/// The first domU of the hosts `lost` that finds no place on the others when the largest are
/// placed first, each where it fits most tightly.
fn unplaced(hosts: &[Load], lost: &[usize]) -> Option<Unplaced> {
    let mut room: BTreeMap<(u64, u32), usize> = BTreeMap::new();
    let others = hosts.iter().enumerate();
    for (_, host) in others.filter(|(index, _)| !lost.contains(index)) {
        *room.entry((host.free, host.cpus)).or_default() += 1;
    }
    let homeless = lost.iter().flat_map(|index| &hosts[*index].domus);
    let mut homeless: Vec<Need> = homeless.copied().collect();
    homeless.sort_unstable_by(|a, b| b.cmp(a));
    for (size, vcpus) in homeless {
        let mut fitting = room.range_mut((size, 0)..);
        let Some((&(free, cpus), count)) = fitting.find(|((_, cpus), _)| *cpus >= vcpus) else {
            let (wide, narrow): (Vec<_>, Vec<_>) = room.keys().partition(|key| key.1 >= vcpus);
            return Some(Unplaced {
                need: (size, vcpus),
                most: wide.last().map(|(free, _)| *free),
                has_narrow: !narrow.is_empty(),
            });
        };
        *count -= 1;
        if *count == 0 {
            room.remove(&(free, cpus));
        }
        *room.entry((free - size, cpus)).or_default() += 1;
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
            cpus: 4,
            domus: domus.iter().map(|size| (*size, 1)).collect(),
        };
        hosts.iter().enumerate().map(load).collect()
    }

    #[test]
    fn each_loss_is_tried() {
        // Only the loss of the last one does not fit.
        let hosts = loads(&[(10, &[2, 2, 2]), (10, &[5]), (0, &[11])]);
        let misfit = misfit(&hosts, 1).expect("11 finds no place");
        let unplaced = Unplaced {
            need: (11, 1),
            most: Some(10),
            has_narrow: false,
        };
        assert_eq!((misfit.lost, misfit.unplaced), (vec![2], unplaced));
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
        assert_eq!((misfit.lost, misfit.unplaced.need), (Vec::new(), (7, 1)));
    }

    #[test]
    fn a_domu_finds_no_place_where_there_are_fewer_cpus() {
        let mut hosts = loads(&[(10, &[4]), (8, &[2]), (9, &[2])]);
        hosts[0].domus[0].1 = 8;
        let unplaced = misfit(&hosts, 1).expect("nobody has 8").unplaced;
        let nowhere = Unplaced {
            need: (4, 8),
            most: None,
            has_narrow: true,
        };
        assert_eq!(unplaced, nowhere);
        // The tightest has too few, another one room.
        hosts[2].cpus = 8;
        assert!(misfit(&hosts, 1).is_none());
        hosts[2].free = 3;
        let unplaced = misfit(&hosts, 1).expect("3 are too little").unplaced;
        assert_eq!((unplaced.most, unplaced.has_narrow), (Some(3), true));
    }

    #[test]
    fn of_too_many_losses_those_with_few_cpus_are_of_no_use() {
        let roomy: Vec<(u64, &[u64])> = vec![(100, &[5, 5]); 40];
        let mut hosts = loads(&roomy);
        // The last eight could be lost, and nobody else has 8.
        hosts[0].domus[0].1 = 8;
        for host in &mut hosts[32..] {
            host.cpus = 8;
        }
        let misfit = misfit(&hosts, 8).expect("it cannot be shown");
        assert!(misfit.lost.is_empty() && misfit.unplaced.has_narrow);
        for host in &mut hosts[10..] {
            host.cpus = 8;
        }
        assert!(super::misfit(&hosts, 8).is_none());
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
