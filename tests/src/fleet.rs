// SPDX-License-Identifier: GPL-3.0-or-later
//! A fleet as an operator keeps it: made by `domus init`, changed, committed, built.

use crate::ran::Ran;
use assert_cmd::Command;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The DMI UUID that the template gives the host alpha.
pub const ALPHA: &str = "6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7e0001";
/// The file that [`Fleet::witness`] writes to.
pub const WITNESS: &str = "starts";
/// Longest time of a command that may have to build everything.
pub const BUILD: Duration = Duration::from_secs(900);

/// A fleet called `example`, so that what one test built another can use.
#[derive(Debug)]
pub struct Fleet {
    home: PathBuf,
    /// Its repository.
    pub dir: PathBuf,
}

impl Fleet {
    /// Makes the fleet `HOME/example` from the template, with the SSH key `HOME/ssh-key`.
    ///
    /// # Panics
    /// `domus init` or `ssh-keygen` fails.
    pub fn new(home: &Path) -> Self {
        let fleet = Self {
            home: home.to_owned(),
            dir: home.join("example"),
        };
        let key = fleet.ssh_key().display().to_string();
        Ran::program(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &key],
        );
        let public = format!("{key}.pub");
        let mut init = Command::new(crate::shipped());
        init.current_dir(home).env("HOME", home);
        init.args(["init", "example", "--name", "example"])
            .args(["--ssh-key", &public]);
        Ran::of(&mut init, Duration::from_secs(60)).exits(0);
        fleet
    }

    /// The private key of whoever may log in to its hosts.
    pub fn ssh_key(&self) -> PathBuf {
        self.home.join("ssh-key")
    }

    /// `domus` in its repository, with the cache of this machine.
    pub fn command(&self) -> Command {
        let mut command = Command::new(crate::shipped());
        command.current_dir(&self.dir).env("HOME", &self.home);
        command.env("DOMUS_CACHE", cache());
        command.env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Runs `domus` with these arguments.
    pub fn domus(&self, args: &[&str]) -> Ran {
        Ran::of(self.command().args(args), BUILD)
    }

    /// Replaces `from`, which must be there, in a document.
    ///
    /// # Panics
    /// It is not there.
    pub fn change(&self, path: &str, from: &str, to: &str) {
        let path = self.dir.join(path);
        let text = fs::read_to_string(&path).expect("a document");
        assert!(text.contains(from), "no {from:?} in {}", path.display());
        fs::write(&path, text.replace(from, to)).expect("writing a document");
    }

    /// Writes a file, with the directories above it.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.dir)).expect("a directory");
        fs::write(&path, text).expect("writing a file");
    }

    /// Writes at the end of a file, which is made as a document if it is not there.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.dir.join(path));
        let before = before.unwrap_or_else(|_| "version = 1\n".to_owned());
        self.write(path, &(before + text));
    }

    /// Makes a key for the host alpha, writes its public part into its document, and returns where
    /// the private one is.
    ///
    /// # Panics
    /// `ssh-keygen` fails.
    pub fn host_key(&self) -> String {
        let key = self.home.join("host-key").display().to_string();
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &key];
        Ran::program("ssh-keygen", &args);
        let public = fs::read_to_string(format!("{key}.pub")).expect("a public key");
        let machine = format!("key = \"{}\"\ndmi-uuid = ", public.trim());
        self.change("pservers/alpha/host.toml", "dmi-uuid = ", &machine);
        key
    }

    /// Makes a secret with `domus secret edit`.
    ///
    /// # Panics
    /// It fails.
    pub fn secret(&self, path: &str, content: &str) {
        let mut command = self.command();
        command.args(["secret", "edit", path]).write_stdin(content);
        Ran::of(&mut command, Duration::from_secs(60)).exits(0);
    }

    /// Gives `domu` a unit, by its own layer of `/etc`, that leaves a line on the volume mounted
    /// at `mount` each time it boots: its host name and what it sees as `/etc/domus-both`.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn witness(&self, domu: &str, mount: &str) {
        let units = format!("vservers/{domu}/etc/systemd/system");
        let line = "read name </etc/hostname; read layer </etc/domus-both";
        self.write(
            &format!("{units}/witness.service"),
            &format!(
                "[Unit]\nRequiresMountsFor={mount}\n\n[Service]\nType=oneshot\n\
                 ExecStart=/bin/sh -c '{line}; echo \"$name $layer\" >>{mount}/{WITNESS}'\n"
            ),
        );
        let wants = self.dir.join(units).join("multi-user.target.wants");
        fs::create_dir_all(&wants).expect("a directory");
        symlink("../witness.service", wants.join("witness.service")).expect("a link");
    }

    /// git in its repository.
    pub fn git(&self, args: &[&str]) -> String {
        let who = ["-c", "user.name=test", "-c", "user.email=test@example.net"];
        let text = Ran::program_in(&self.dir, "git", &[&who[..], args].concat());
        text.trim().to_owned()
    }

    /// Commits everything and returns the commit's id.
    pub fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "a change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes the key that logs in sign everything from now on, commits and targets too.
    ///
    /// # Panics
    /// `domus keys` fails.
    pub fn sign(&self) {
        let key = self.ssh_key().display().to_string();
        self.git(&["config", "gpg.format", "ssh"]);
        self.git(&["config", "user.signingkey", &key]);
        self.git(&["config", "commit.gpgsign", "true"]);
        self.domus(&["keys", "init", "--name", "alice", "--no-recovery"])
            .exits(0);
    }

    /// Builds image and ISO, or takes them from the cache.
    ///
    /// # Panics
    /// A build fails.
    pub fn build(&self) {
        self.domus(&["image", "build", "base"]).exits(0);
        self.domus(&["iso", "build", "--unsigned"]).exits(0);
    }

    /// Where its ISO is once built.
    pub fn iso(&self) -> PathBuf {
        self.dir.join("build/domus-example-1.iso")
    }

    /// The release's id, from the manifest of its ISO.
    ///
    /// # Panics
    /// It has none.
    pub fn release_id(&self) -> String {
        let iso = self.iso().display().to_string();
        let manifest = self.domus(&["iso", "verify", "--json", &iso]).exits(0);
        let id = manifest.json()["id"].as_str().map(str::to_owned);
        id.expect("an id")
    }
}

/// The cache of this machine: tests share what was built before.
///
/// # Panics
/// No variable of the environment says where it is.
pub fn cache() -> PathBuf {
    let dir = |key: &str| {
        let value = std::env::var_os(key).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    dir("DOMUS_CACHE")
        .or_else(|| Some(dir("XDG_CACHE_HOME")?.join("domus")))
        .or_else(|| Some(dir("HOME")?.join(".cache/domus")))
        .expect("HOME is set")
}
