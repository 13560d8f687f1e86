// SPDX-License-Identifier: GPL-3.0-or-later
//! Who reads a file in `/etc`, of dom0 or of a domU, and what is run so that they read it anew.

use super::Impact;
use super::deeds::Deed;
use super::impact::Rule;
use super::units;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is given, and was not.
    Given,
    /// It is a link to nothing, which masks a unit.
    Masked,
    /// Its content, owner or mode is another.
    Changed,
    /// It is not given any more; the image may have one.
    NoMore,
    /// It is removed, whoever has one.
    Removed,
}

/// What is run.
enum Does {
    Nothing,
    Files,
    Networks,
    Firewall,
    Reload(&'static str),
    Restart(&'static str),
}

/// Of a file in `/etc` of a host, by its path below that.
pub(super) fn of_host_file(path: &str, fate: Fate) -> Rule {
    if let Some(inside) = path.strip_prefix("systemd/system/") {
        return units::rule(inside, fate);
    }
    let Some((_, impact, reason, does)) = FILES.iter().find(|entry| is_of(path, entry.0)) else {
        return Rule::new(
            Impact::Live,
            "whoever reads it sees it when they read it next",
        );
    };
    let does = match does {
        Does::Nothing => Vec::new(),
        Does::Files => vec![Deed::MakeFiles],
        Does::Networks => vec![Deed::ReadNetworks],
        Does::Firewall => vec![Deed::ReadFirewall],
        Does::Reload(unit) => vec![Deed::Reload((*unit).to_owned())],
        Does::Restart(unit) => vec![Deed::Restart((*unit).to_owned())],
    };
    Rule {
        does,
        ..Rule::new(*impact, reason)
    }
}

/// Of a file in `/etc` of a domU, whose guest takes another configuration while it runs.
pub(super) fn of_guest_file(path: &str, fate: Fate) -> Rule {
    let rule = of_host_file(path, fate);
    let impact = match rule.impact {
        Impact::HostReboot => Impact::DomuRestart,
        _ => Impact::DomuRefresh,
    };
    Rule { impact, ..rule }
}

/// Whether `path` is `entry`; or in it, a directory; or begins with it, a stem; or is in its
/// directory of drop-ins.
fn is_of(path: &str, entry: &str) -> bool {
    path.strip_prefix(entry).is_some_and(|rest| {
        rest.is_empty()
            || entry.ends_with(['/', '.', '_'])
            || (entry.ends_with(".conf") && rest.starts_with(".d/"))
    })
}

/// Files that somebody reads once, and who; and those that are known to be read each time
/// that they are needed, with no reason.
const FILES: &[(&str, Impact, &str, Does)] = &[
    (
        "systemd/network/",
        Impact::Service,
        "systemd-networkd is reloaded; what it made it does not remove",
        Does::Networks,
    ),
    (
        "systemd/networkd.conf",
        Impact::Service,
        "systemd-networkd is restarted",
        Does::Restart("systemd-networkd.service"),
    ),
    (
        "systemd/journald.conf",
        Impact::Service,
        "systemd-journald is restarted",
        Does::Restart("systemd-journald.service"),
    ),
    (
        "systemd/timesyncd.conf",
        Impact::Service,
        "systemd-timesyncd is restarted",
        Does::Restart("systemd-timesyncd.service"),
    ),
    (
        "systemd/resolved.conf",
        Impact::Service,
        "systemd-resolved is restarted",
        Does::Restart("systemd-resolved.service"),
    ),
    (
        "systemd/logind.conf",
        Impact::Service,
        "systemd-logind is reloaded",
        Does::Reload("systemd-logind.service"),
    ),
    (
        "systemd/system.conf",
        Impact::HostReboot,
        "systemd reads it when it starts",
        Does::Nothing,
    ),
    ("ssh/sshd_config", Impact::Service, SSH, SSH_RELOAD),
    ("ssh/sshd_config.d/", Impact::Service, SSH, SSH_RELOAD),
    ("ssh/ssh_host_", Impact::Service, SSH, SSH_RELOAD),
    (
        "nftables.",
        Impact::Service,
        "nftables is reloaded",
        Does::Firewall,
    ),
    ("sysctl.conf", Impact::Service, SYSCTL, SYSCTL_RESTART),
    ("sysctl.d/", Impact::Service, SYSCTL, SYSCTL_RESTART),
    (
        "tmpfiles.d/",
        Impact::Service,
        "what they say is made; nothing is removed",
        Does::Files,
    ),
    ("udev/", Impact::Service, UDEV, UDEV_RELOAD),
    (
        "dbus-1/",
        Impact::Service,
        "dbus is reloaded",
        Does::Reload("dbus.service"),
    ),
    (
        "libvirt/",
        Impact::Service,
        "libvirtd is restarted; domUs go on",
        Does::Restart("libvirtd.service"),
    ),
    ("xen/", Impact::HostReboot, XEN, Does::Nothing),
    ("default/xen", Impact::HostReboot, XEN, Does::Nothing),
    (
        "modules-load.d/",
        Impact::HostReboot,
        MODULES,
        Does::Nothing,
    ),
    ("modprobe.d/", Impact::HostReboot, MODULES, Does::Nothing),
    ("fstab", Impact::HostReboot, MOUNTS, Does::Nothing),
    ("crypttab", Impact::HostReboot, MOUNTS, Does::Nothing),
    ("sysusers.d/", Impact::HostReboot, AT_BOOT, Does::Nothing),
    ("hostname", Impact::HostReboot, AT_BOOT, Does::Nothing),
    ("machine-id", Impact::HostReboot, AT_BOOT, Does::Nothing),
    ("motd", Impact::Live, "", Does::Nothing),
    ("issue", Impact::Live, "", Does::Nothing),
    ("hosts", Impact::Live, "", Does::Nothing),
    ("resolv.conf", Impact::Live, "", Does::Nothing),
    ("nsswitch.conf", Impact::Live, "", Does::Nothing),
    ("passwd", Impact::Live, "", Does::Nothing),
    ("group", Impact::Live, "", Does::Nothing),
    ("shadow", Impact::Live, "", Does::Nothing),
    ("sudoers", Impact::Live, "", Does::Nothing),
    ("sudoers.d/", Impact::Live, "", Does::Nothing),
    ("pam.d/", Impact::Live, "", Does::Nothing),
    ("profile", Impact::Live, "", Does::Nothing),
    ("profile.d/", Impact::Live, "", Does::Nothing),
    ("cron.daily/", Impact::Live, "", Does::Nothing),
    ("cron.weekly/", Impact::Live, "", Does::Nothing),
    ("logrotate.d/", Impact::Live, "", Does::Nothing),
    ("ssh/ssh_config", Impact::Live, "", Does::Nothing),
    ("ssh/ssh_config.d/", Impact::Live, "", Does::Nothing),
    ("ssh/authorized_keys", Impact::Live, "", Does::Nothing),
];

const SSH: &str = "ssh is reloaded; sessions go on";
const SSH_RELOAD: Does = Does::Reload("ssh.service");
const SYSCTL: &str = "systemd-sysctl is restarted; what is not set any more stays as it is";
const SYSCTL_RESTART: Does = Does::Restart("systemd-sysctl.service");
const UDEV: &str = "udev reads its rules anew";
const UDEV_RELOAD: Does = Does::Reload("systemd-udevd.service");
const XEN: &str = "Xen's daemons cannot be restarted";
const MODULES: &str = "modules are loaded at boot";
const MOUNTS: &str = "file systems are mounted at boot";
const AT_BOOT: &str = "it is read at boot";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_read_once_are_known() {
        let cases = [
            ("motd", Impact::Live, ""),
            (
                "ssh/sshd_config",
                Impact::Service,
                "try-reload-or-restart ssh.service",
            ),
            (
                "ssh/sshd_config.d/x.conf",
                Impact::Service,
                "try-reload-or-restart ssh.service",
            ),
            (
                "ssh/ssh_host_ed25519_key",
                Impact::Service,
                "try-reload-or-restart ssh.service",
            ),
            ("ssh/ssh_config", Impact::Live, ""),
            ("ssh/authorized_keys", Impact::Live, ""),
            (
                "nftables.conf",
                Impact::Service,
                "reload-or-restart nftables.service",
            ),
            (
                "sysctl.d/x.conf",
                Impact::Service,
                "try-restart systemd-sysctl.service",
            ),
            ("systemd/network/x.network", Impact::Service, "reload"),
            (
                "systemd/journald.conf.d/x.conf",
                Impact::Service,
                "try-restart systemd-journald.service",
            ),
            (
                "udev/rules.d/x.rules",
                Impact::Service,
                "try-reload-or-restart systemd-udevd.service",
            ),
            ("tmpfiles.d/x.conf", Impact::Service, "--create"),
            ("fstab", Impact::HostReboot, ""),
            ("fstab.d/x", Impact::Live, ""),
            ("xen/xl.conf", Impact::HostReboot, ""),
            ("nobody-knows.conf", Impact::Live, ""),
        ];
        for (path, impact, arguments) in cases {
            let rule = of_host_file(path, Fate::Changed);
            let does: Vec<String> = rule
                .does
                .iter()
                .map(|it| it.command()[1..].join(" "))
                .collect();
            assert_eq!(
                (rule.impact, does.join("; ").as_str()),
                (impact, arguments),
                "{path}"
            );
        }
        let unknown = of_host_file("nobody-knows.conf", Fate::Given).reason;
        assert!(unknown.is_some_and(|reason| reason.contains("read it next")));
    }
}
