// SPDX-License-Identifier: GPL-3.0-or-later
//! What has to follow when a host got another machine.

use super::Replaced;
use crate::fleet::{Fleet, Follow};

impl Replaced {
    /// Says what has to follow in this fleet.
    #[must_use]
    pub fn with_next(mut self, fleet: &Fleet) -> Self {
        let (host, config) = (&self.host, fleet.config.as_ref());
        let mut next = vec!["commit this".to_owned()];
        if config.is_some_and(|config| config.follow == Follow::Targets) {
            next.push("`domus publish`: hosts run what a target names".to_owned());
        }
        next.push(format!(
            "`domus media build {host}`, or `domus config disk {host}`: so it gets its key"
        ));
        let server = config.filter(|config| config.remote.starts_with("ssh://"));
        if let Some(config) = server {
            let remote = &config.remote;
            next.push(format!(
                "at {remote}: let the new key in, and take the old one out"
            ));
        }
        if !self.known.is_empty() {
            next.push(
                "`domus secret edit`: new content for each that the old key opens".to_owned(),
            );
            next.push("new passwords and keys where those were used, too".to_owned());
        }
        next.push(format!(
            "`ssh-keygen -R {host}` where somebody has logged in to it"
        ));
        next.push("wipe its old disks and sticks: the old key is on them".to_owned());
        if let Some(file) = &self.old_private_key {
            next.push(format!("delete {file} once nobody goes back"));
        }
        self.next = next;
        self
    }
}
