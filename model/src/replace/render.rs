// SPDX-License-Identifier: GPL-3.0-or-later
//! A replaced host, for people.

use super::{Identity, Replaced};
use crate::secrets::SshKey;
use std::fmt::Write;

impl Replaced {
    /// What it was and is, which secrets are concerned, and what has to follow.
    pub fn render(&self) -> String {
        let what = match self.before.binding == self.after.binding {
            true => "the same machine with another key",
            false => "another machine",
        };
        let mut text = format!("{}   {what}\n", self.host);
        let rows = self.rows();
        let width = rows.iter().map(|(about, _)| about.len()).max().unwrap_or(0);
        let mut last = "";
        for (about, what) in &rows {
            // What is said of several is said once.
            let shown = if *about == last { "" } else { about };
            let _ = writeln!(text, "  {shown:width$}  {what}");
            last = about;
        }
        if !self.written {
            return text + "\nNothing was written.\n";
        }
        text += "\nNext:\n";
        for step in &self.next {
            let _ = writeln!(text, "  - {step}");
        }
        text
    }

    /// What is said of what.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let mut row = |about, what| rows.push((about, what));
        let Identity { binding, key } = &self.before;
        for ((about, old), (_, new)) in binding.lines().into_iter().zip(self.after.binding.lines())
        {
            match (old, new) {
                (None, None) => {}
                (old, new) if old == new => row(about, old.unwrap_or_default()),
                (old, new) => row(about, change(old, new)),
            }
        }
        let print = |key: &SshKey| key.fingerprint();
        let new = self
            .after
            .key
            .as_ref()
            .map_or("a new one".to_owned(), print);
        row("key", change(key.as_ref().map(print), Some(new)));
        if let Some(file) = &self.private_key {
            row("private key", file.clone());
        }
        for disk in &self.disks {
            row(
                "disk",
                change(Some(disk.old.clone()), Some(disk.new.clone())),
            );
        }
        for path in &self.rekeyed {
            row("encrypted anew", path.clone());
        }
        for path in &self.known {
            row("old key opens", path.clone());
        }
        rows
    }
}

fn change(old: Option<String>, new: Option<String>) -> String {
    let word = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    format!("{} -> {}", word(old), word(new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::load::load;
    use crate::marker::Binding;
    use crate::replace::Exchange;

    fn replaced() -> Replaced {
        let serial = |serial: &str| Binding {
            serial: Some(serial.to_owned()),
            ..Binding::default()
        };
        let key = |letter: &str| {
            let text =
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBy/04APQQ0EpxOCz1U7/yLtiAZLNS7dOx+PtgRZDYa";
            format!("{text}{letter}").parse().ok()
        };
        Replaced {
            host: "alpha".parse().expect("a name"),
            written: true,
            before: Identity {
                binding: serial("8QXK"),
                key: key("w"),
            },
            after: Identity {
                binding: Binding {
                    mac: "3c:ec:ef:12:34:56".parse().ok(),
                    ..Binding::default()
                },
                key: key("A"),
            },
            disks: vec![Exchange {
                old: "ata-1".to_owned(),
                new: "ata-2".to_owned(),
            }],
            private_key: Some("/keys/alpha-new".to_owned()),
            old_private_key: Some("/keys/alpha-old".to_owned()),
            rekeyed: vec!["a/etc/1.age".to_owned(), "a/etc/2.age".to_owned()],
            known: vec!["a/etc/1.age".to_owned()],
            next: Vec::new(),
        }
    }

    fn next(config: &str) -> String {
        let mut files = Files::new();
        let fleet = format!("version = 1\nfleet = \"small\"\n{config}");
        files.insert("domus.toml", fleet.into());
        replaced()
            .with_next(&load(&files).expect("a fleet"))
            .render()
    }

    #[test]
    fn what_was_done_and_has_to_follow_is_told() {
        let server = "[config]\nremote = \"ssh://git@example.net/fleet.git\"\nhost-key = \"ssh-ed25519 \
                      AAAAC3NzaC1lZDI1NTE5AAAAIBy/04APQQ0EpxOCz1U7/yLtiAZLNS7dOx+PtgRZDYaw\"\n";
        insta::assert_snapshot!(next(server));
        let without = next("");
        assert!(
            !without.contains("publish") && !without.contains("let the new key in"),
            "{without}"
        );
    }

    #[test]
    fn a_dry_run_says_what_would_be_done() {
        let mut dry = replaced();
        dry.written = false;
        dry.after = Identity {
            binding: dry.before.binding.clone(),
            key: None,
        };
        dry.private_key = None;
        insta::assert_snapshot!(dry.render());
    }
}
