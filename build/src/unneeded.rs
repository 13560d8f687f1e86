// SPDX-License-Identifier: GPL-3.0-or-later
//! Packages that nobody needs once some dependencies are not taken at their word: git needs Perl
//! for a few of its commands only. What apt would remove by itself then. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// A dependency that does not count: of packages whose name begins with the first, on those whose
/// name begins with the second.
pub type Cut = (&'static str, &'static str);

/// What dpkg says of an installed package.
#[derive(Default)]
struct Package {
    essential: bool,
    needs: BTreeSet<String>,
    provides: BTreeSet<String>,
}

/// The packages of which nobody is left who needs them: by dpkg's status file, and apt's list of
/// those that it installed only for others.
pub(crate) fn unneeded(status: &str, extended_states: &str, cuts: &[Cut]) -> BTreeSet<String> {
    if cuts.is_empty() {
        return BTreeSet::new();
    }
    let packages: BTreeMap<String, Package> = stanzas(status).filter_map(package).collect();
    let automatic: BTreeSet<String> = stanzas(extended_states)
        .filter(|stanza| field(stanza, "Auto-Installed") == Some("1"))
        .filter_map(|stanza| field(stanza, "Package").map(str::to_owned))
        .collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = packages
        .iter()
        .filter(|(name, package)| package.essential || !automatic.contains(*name))
        .map(|(name, _)| name)
        .collect();
    while let Some(name) = next.pop() {
        if !reached.insert(name) {
            continue;
        }
        let is_cut = |needed: &str| {
            let fits = |(of, on): &Cut| name.starts_with(of) && needed.starts_with(on);
            cuts.iter().any(fits)
        };
        for needed in packages[name].needs.iter().filter(|it| !is_cut(it)) {
            // Of alternatives all that are there count: nobody knows which was meant.
            next.extend(packages.iter().filter_map(|(other, package)| {
                (other == needed || package.provides.contains(needed)).then_some(other)
            }));
        }
    }
    let left = packages.keys().filter(|name| !reached.contains(name));
    left.cloned().collect()
}

fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n")
}

fn field<'s>(stanza: &'s str, name: &str) -> Option<&'s str> {
    let mut lines = stanza.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

fn package(stanza: &str) -> Option<(String, Package)> {
    let names = |key: &str| {
        let list = field(stanza, key).unwrap_or_default().split([',', '|']);
        list.filter_map(|part| {
            let word = part.split_whitespace().next()?;
            Some(word.split(':').next().unwrap_or(word).to_owned())
        })
        .collect::<BTreeSet<String>>()
    };
    let mut needs = names("Depends");
    needs.extend(names("Pre-Depends"));
    let package = Package {
        essential: field(stanza, "Essential") == Some("yes"),
        needs,
        provides: names("Provides"),
    };
    Some((field(stanza, "Package")?.to_owned(), package))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: git
Depends: libc6 (>= 2.38), perl, git-man

Package: git-man

Package: perl
Pre-Depends: perl-base:any
Depends: perl-modules-5.40

Package: perl-modules-5.40

Package: perl-base
Essential: yes

Package: libc6

Package: editor
Depends: pager-a | a-pager

Package: less
Provides: a-pager (= 1)
";

    const CUTS: &[Cut] = &[("git", "perl"), ("git", "git-man")];

    fn left_out(asked: &[&str], cuts: &[Cut]) -> Vec<String> {
        let all = [
            "git",
            "git-man",
            "perl",
            "perl-modules-5.40",
            "perl-base",
            "libc6",
            "less",
        ];
        let automatic = all.iter().filter(|name| !asked.contains(name));
        let states: String = automatic
            .map(|name| format!("Package: {name}\nAuto-Installed: 1\n\n"))
            .collect();
        unneeded(STATUS, &states, cuts).into_iter().collect()
    }

    #[test]
    fn what_is_needed_by_what_is_cut_alone_is_left_out() {
        assert_eq!(
            left_out(&["git"], CUTS),
            ["git-man", "perl", "perl-modules-5.40"]
        );
        assert_eq!(left_out(&["git"], &[]), Vec::<String>::new());
    }

    #[test]
    fn what_somebody_else_needs_or_asked_for_stays() {
        assert_eq!(left_out(&["git", "perl"], CUTS), ["git-man"]);
    }
}
