// SPDX-License-Identifier: GPL-3.0-or-later
//! What a change of systemd's units in `/etc/systemd/system` does to what runs.

use super::Impact;
use super::deeds::Deed;
use super::files::Fate;
use super::impact::Rule;

/// Units that are never restarted or stopped while the host runs: domUs, sessions or the way in
/// would go with them.
const LEFT_ALONE: &[&str] = &[
    "-.",
    "dbus",
    "domus-",
    "getty@",
    "init.scope",
    "serial-getty@",
    "systemd-logind.",
    "user@",
    "virtlockd",
    "virtlogd",
    "xen",
];
/// What is restarted when it is declared otherwise.
const RESTARTED: &[&str] = &[".service", ".timer", ".socket", ".path"];
/// Targets that a host that runs has reached: what they want is started at once.
const REACHED: &[&str] = &[
    "basic",
    "multi-user",
    "network-online",
    "paths",
    "sockets",
    "sysinit",
    "timers",
];

/// Of the file or link at `path`, below `systemd/system`.
pub(super) fn rule(path: &str, fate: Fate) -> Rule {
    let (why, deed) = match path.split_once('/') {
        None => file(path, fate),
        Some((directory, unit)) => match directory.rsplit_once('.') {
            Some((wanter, "wants" | "requires")) => wanted(wanter, unit, fate),
            Some((unit, "d")) => file(unit, Fate::Changed),
            _ => ("systemd reads its units anew".to_owned(), None),
        },
    };
    Rule {
        does: [Deed::ReadUnits].into_iter().chain(deed).collect(),
        ..Rule::new(Impact::Service, &why)
    }
}

/// Of a unit's own file, or of a drop-in.
fn file(unit: &str, fate: Fate) -> (String, Option<Deed>) {
    if is_left_alone(unit) {
        return (format!("{unit} goes on as it is until the next boot"), None);
    }
    match fate {
        Fate::Given | Fate::Changed if RESTARTED.iter().any(|end| unit.ends_with(end)) => {
            let deed = Deed::Restart(instances(unit));
            (format!("{unit} is restarted if it runs"), Some(deed))
        }
        Fate::Given | Fate::Changed => (format!("{unit} goes by it when it starts next"), None),
        Fate::Masked | Fate::Removed => {
            let deed = Deed::Stop(instances(unit));
            (format!("{unit} is stopped"), Some(deed))
        }
        // The image may have one, by which it goes on.
        Fate::NoMore => (format!("if {unit} runs, it goes on as it was"), None),
    }
}

/// Of the link by which `wanter` wants `unit`.
fn wanted(wanter: &str, unit: &str, fate: Fate) -> (String, Option<Deed>) {
    let target = wanter.strip_suffix(".target").unwrap_or_default();
    if is_left_alone(unit) || !REACHED.contains(&target) {
        return (format!("it counts when {wanter} starts next"), None);
    }
    match fate {
        Fate::Given => {
            let deed = Deed::Start(unit.to_owned());
            (format!("{unit} is started"), Some(deed))
        }
        Fate::Changed => ("systemd reads its units anew".to_owned(), None),
        Fate::Masked | Fate::NoMore | Fate::Removed => {
            let deed = Deed::Stop(unit.to_owned());
            (format!("{unit} is stopped"), Some(deed))
        }
    }
}

/// A template means all that are made of it.
fn instances(unit: &str) -> String {
    unit.replace("@.", "@*.")
}

fn is_left_alone(unit: &str) -> bool {
    LEFT_ALONE.iter().any(|begin| unit.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_started_stopped_and_restarted_and_some_left_alone() {
        let cases = [
            (
                "backup.service",
                Fate::Changed,
                Some("try-restart backup.service"),
            ),
            (
                "backup.service",
                Fate::Given,
                Some("try-restart backup.service"),
            ),
            ("backup.service", Fate::Masked, Some("stop backup.service")),
            ("backup.service", Fate::Removed, Some("stop backup.service")),
            ("backup.service", Fate::NoMore, None),
            (
                "backup.service.d/x.conf",
                Fate::NoMore,
                Some("try-restart backup.service"),
            ),
            (
                "backup@.service",
                Fate::Changed,
                Some("try-restart backup@*.service"),
            ),
            ("srv.mount", Fate::Changed, None),
            (
                "multi-user.target.wants/backup.service",
                Fate::Given,
                Some("start backup.service"),
            ),
            (
                "timers.target.wants/backup.timer",
                Fate::NoMore,
                Some("stop backup.timer"),
            ),
            ("timers.target.wants/backup.timer", Fate::Changed, None),
            ("rescue.target.wants/backup.service", Fate::Given, None),
            ("ssh.service.wants/backup.service", Fate::Removed, None),
            ("domus-shutdown.service", Fate::Changed, None),
            (
                "multi-user.target.wants/domus-dom0.service",
                Fate::Removed,
                None,
            ),
            ("xenstored.service.d/x.conf", Fate::Given, None),
            ("dbus.service", Fate::Removed, None),
        ];
        for (path, fate, expected) in cases {
            let rule = rule(path, fate);
            assert_eq!(rule.does.first(), Some(&Deed::ReadUnits), "{path}");
            let second = rule.does.get(1).map(|deed| deed.command()[1..].join(" "));
            assert_eq!(second.as_deref(), expected, "{path} {fate:?}");
            assert!(rule.reason.is_some(), "{path}");
        }
    }
}
