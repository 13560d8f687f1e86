// SPDX-License-Identifier: GPL-3.0-or-later
//! Asking hosts by SSH, with the operator's own configuration.

use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use domus_model::names::Name;
use domus_system::program::Program;
use serde::de::DeserializeOwned;

/// Where SSH finds a host: `alpha=root@192.0.2.7`.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    host: Name,
    destination: String,
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST=DESTINATION, as alpha=root@192.0.2.7");
        let (host, destination) = text.split_once('=').ok_or_else(wrong)?;
        let host = host.parse().map_err(|_| wrong())?;
        // ssh(1) would take it for an option.
        if destination.is_empty() || destination.starts_with('-') {
            return Err(wrong());
        }
        Ok(Self {
            host,
            destination: destination.to_owned(),
        })
    }
}

/// A host that is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    host: &'a Name,
    destination: &'a str,
}

impl<'a> Asked<'a> {
    pub(super) fn of(host: &'a Name, reaches: &'a [Reach]) -> Self {
        let own = reaches.iter().find(|it| it.host == *host);
        let destination = own.map_or(host.as_str(), |it| it.destination.as_str());
        Self { host, destination }
    }

    /// What `domus-dom0` answers there. Words are names and numbers, which need no quotes.
    pub(super) fn json<T: DeserializeOwned>(self, words: &[&str]) -> Result<T> {
        let host = self.host;
        let ran = Program::new("ssh")
            .args(self.words(words))
            .asking()
            .output();
        let doing = || format!("asking {host}: `domus-dom0 {}`", words.join(" "));
        let answer = ran.with_context(doing)?.stdout;
        serde_json::from_slice(&answer)
            .context("its answer is none that this version knows")
            .with_context(doing)
    }

    fn words(self, words: &[&str]) -> Vec<String> {
        let command = [&["domus-dom0"], words].concat().join(" ");
        vec![self.destination.to_owned(), "--".to_owned(), command]
    }

    fn start(self, words: &[&str], stdin: Stdio, stdout: Stdio) -> Result<Child> {
        let mut ssh = Command::new("ssh");
        ssh.args(self.words(words)).stdin(stdin).stdout(stdout);
        ssh.spawn().context("starting ssh")
    }
}

/// Pours what `domus-dom0` says at one host into what it does at another.
pub(super) fn pour(from: (Asked<'_>, &[&str]), to: (Asked<'_>, &[&str])) -> Result<()> {
    let mut source = from.0.start(from.1, Stdio::null(), Stdio::piped())?;
    let pipe = source.stdout.take().context("no pipe")?;
    let target = to.0.start(to.1, Stdio::from(pipe), Stdio::null());
    // Without the other, it ends by itself: nobody reads.
    let (read, wrote) = (source.wait(), target.and_then(|mut it| Ok(it.wait()?)));
    for (ended, (host, words)) in [(read.map_err(Into::into), from), (wrote, to)] {
        let (host, command) = (host.host, words.join(" "));
        let ended = ended.with_context(|| format!("`domus-dom0 {command}` on {host}"))?;
        ensure!(
            ended.success(),
            "`domus-dom0 {command}` on {host} failed ({ended})"
        );
    }
    Ok(())
}
