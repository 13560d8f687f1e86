// SPDX-License-Identifier: GPL-3.0-or-later
//! A host that takes commits while it runs: `systemctl` and its like only write down that they were
//! called.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::Ran;
use crate::fleet::{Fleet, text};

pub(crate) const MOTD: &str = "pservers/alpha/etc/motd";
/// What judges a commit that was taken.
pub(crate) const JUDGE: &str = "systemctl --no-block restart domus-health.service";

/// A fleet whose host runs the first commit, and its only domU.
pub(crate) fn live(config: &str) -> Fleet {
    let files = [
        (MOTD, "old\n"),
        ("pservers/alpha/etc/issue", "issue\n"),
        ("pservers/alpha/etc/profile.d/a.sh", "a\n"),
    ];
    let mut fleet = Fleet::with(&format!("[config]\n{config}\n"), &files, "main");
    let host = &mut fleet.host;
    for (path, content) in [("motd", "image"), ("passwd", "root:x:0:0::/:/bin/sh\n")] {
        host.write(&format!("etc/{path}"), content);
    }
    let programs = host.at("programs");
    for program in ["systemctl", "networkctl", "systemd-tmpfiles"] {
        let [log, fails, gone] = ["log", "fails", "gone"].map(|name| text(&host.at(name)));
        let script = format!(
            "#!/bin/sh\n\
             if [ \"$1\" = show ]; then\n\
             grep -qxF -- \"$5\" {gone} 2>/dev/null && echo not-found || echo loaded; exit; fi\n\
             echo \"{program} $*\" >>{log}\n\
             if grep -qxF -- \"$*\" {fails} 2>/dev/null; then echo 'it is broken' >&2; exit 1; fi\n"
        );
        host.write(&format!("programs/{program}"), &script);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(programs.join(program), mode).expect("changed");
    }
    host.programs_in(&programs);
    host.give_image();
    host.runs(&["web"]);
    let first = fleet.running();
    fleet.host.boot(&first);
    fleet
}

impl Fleet {
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.host.seen(path)).ok()
    }

    /// What was run since it was asked for last, but not that what was taken is judged.
    pub(crate) fn log(&self) -> Vec<String> {
        let mut log = self.whole_log();
        log.retain(|line| line != JUDGE);
        log
    }

    pub(crate) fn whole_log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.host.at("log")).unwrap_or_default();
        self.host.write("log", "");
        log.lines().map(str::to_owned).collect()
    }

    /// What is in a directory.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.host.at(path)).expect("read").flatten();
        let names = entries.map(|entry| entry.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    pub(crate) fn clean(&self, arguments: &[&str]) -> Ran {
        let ran = self.host.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran
    }

    pub(crate) fn motd(&self, motd: &str) -> String {
        self.publish(&[(MOTD, Some(motd))])
    }
}
