// SPDX-License-Identifier: GPL-3.0-or-later
//! A host's commit with the release that it boots: what is rehearsed, and what goes onto media.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use domus_build::cache::Cache;
use domus_build::toolroot::ToolRoot;
use domus_iso::config::Configuration;
use domus_iso::media;
use domus_model::fleet::{Fleet, Follow, Host};
use domus_model::manifest::ReleaseManifest;
use domus_model::names::Name;
use domus_model::secrets::SshKey;
use domus_model::status::short;
use domus_model::trust::Target;
use domus_repo::{Commit, Repo};
use domus_system::ssh;

use crate::opened::{self, Opened, Output};
use crate::private;
use crate::progress::Terminal;

/// Which host, commit and release.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// The host
    pub(crate) host: Name,
    /// The commit; uncommitted changes are never taken
    #[arg(long, default_value = "HEAD")]
    commit: String,
    /// The fleet's repository, or a directory below it
    #[arg(long, short = 'C', default_value = ".")]
    dir: PathBuf,
    /// The ISO; without one, that of the host's release in build/
    #[arg(long, value_name = "FILE")]
    iso: Option<PathBuf>,
    /// The host's private SSH key, which opens its secrets; without one, that which `domus host
    /// replace` made, else the host makes one when it boots
    #[arg(long, value_name = "FILE")]
    pub(crate) host_key: Option<PathBuf>,
    /// Debian mirror of the tool root; without one, the fleet's or mmdebstrap's own
    #[arg(long, env = "DOMUS_MIRROR")]
    mirror: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// All of it, found and proved.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The repository, with the fleet at the commit.
    pub(crate) opened: Opened,
    /// The commit.
    pub(crate) commit: Commit,
    /// What says that the host shall run it: a target, or the commit itself.
    statement: String,
    /// The ISO, or a medium.
    pub(crate) iso: PathBuf,
    /// What is on it.
    pub(crate) manifest: ReleaseManifest,
    /// Whether it is a medium, with the host's configuration.
    pub(crate) is_medium: bool,
    /// Where images are.
    output: Output,
    host: Name,
    host_key: Option<PathBuf>,
    /// The tools that images are made with.
    pub(crate) tools: ToolRoot,
}

impl Staged {
    /// Finds and proves it.
    ///
    /// # Errors
    /// Something is missing, or does not belong together.
    pub(crate) fn new(wanted: &Wanted) -> Result<Self> {
        let root = opened::find(&wanted.dir)?;
        let repo = Repo::open(&root)?;
        let mut commit = repo.commit(&wanted.commit)?;
        let fleet_at = |commit: &Commit| {
            let files = Repo::open(&root)?.documents(&commit.id)?;
            opened::prove(&files)
        };
        let mut fleet = fleet_at(&commit)?;
        let iso = match &wanted.iso {
            Some(iso) => iso.clone(),
            None => Opened {
                root: root.clone(),
                fleet: fleet.clone(),
            }
            .iso(&opened::host(&fleet, &wanted.host)?.release),
        };
        ensure!(
            iso.is_file(),
            "{} is not there: `domus iso build` makes it, of a commit whose release it is",
            iso.display()
        );
        let verified = domus_system::iso::verify(&iso)?;
        let manifest = verified.manifest;
        let debian = &fleet.debian;
        let mirror = wanted.mirror.as_deref().or(debian.mirror.as_deref());
        let progress = Terminal::default();
        let tools = ToolRoot::open(&Cache::open()?, &debian.suite, mirror, &progress)?;
        let statement = if verified.is_medium {
            let label = media::label(&tools, &iso)?;
            let (own, iso) = (&wanted.host, iso.display());
            ensure!(
                label.host == *own,
                "{iso} is a medium of {}, not of {own}",
                label.host
            );
            commit = repo.commit(&label.commit)?;
            fleet = fleet_at(&commit)?;
            label.statement
        } else {
            let host = opened::host(&fleet, &wanted.host)?;
            let unsigned = manifest.payload.unsigned;
            let statement = statement(&repo, &fleet, host, &commit, unsigned)?;
            // An ISO that is named may be any; else it is the one that the commit means.
            if wanted.iso.is_none() {
                ensure_locked(&fleet, host, &iso, &manifest.id)?;
            }
            statement
        };
        if repo.is_dirty()? && !wanted.json && !verified.is_medium {
            eprintln!(
                "warning: uncommitted changes do not count; {} is what is taken",
                short(&commit.id)
            );
        }
        let host = opened::host(&fleet, &wanted.host)?;
        let host_key = host_key(wanted, &fleet, host, verified.is_medium)?;
        let opened = Opened { root, fleet };
        Ok(Self {
            output: opened.output(),
            opened,
            commit,
            statement,
            iso,
            manifest,
            is_medium: verified.is_medium,
            host: wanted.host.clone(),
            host_key,
            tools,
        })
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host {
        // That it is there was made sure of.
        &self.opened.fleet.hosts[&self.host]
    }

    /// Says so if the host has a key, and what is made does not get it.
    pub(crate) fn warn_of_key(&self) {
        let key = self.host().machine.key.as_ref();
        if let Some(key) = key.filter(|_| self.host_key.is_none()) {
            let place = match private::host_key(&self.opened.fleet.name, &self.host, key) {
                Ok(file) => format!("at {}", file.display()),
                Err(why) => format!("here: {why:#}"),
            };
            eprintln!(
                "warning: the private key of {0} is not {place}, so {0} makes one when it boots, \
                 which opens none of its secrets; --host-key names it, `domus host replace` makes \
                 another",
                self.host
            );
        }
    }

    /// What the host is configured with.
    pub(crate) fn configuration(&self) -> Configuration<'_> {
        Configuration {
            fleet: &self.opened.fleet,
            host: self.host(),
            commit: &self.commit.id,
            statement: &self.statement,
            repo: &self.opened.root,
            images: &self.output,
            host_key: self.host_key.as_deref(),
        }
    }
}

/// The file of the host's private key, which must be the one that the commit knows. A medium has
/// its own.
fn host_key(
    wanted: &Wanted,
    fleet: &Fleet,
    host: &Host,
    is_medium: bool,
) -> Result<Option<PathBuf>> {
    let file = wanted.host_key.clone();
    let Some(known) = &host.machine.key else {
        return Ok(file);
    };
    let kept = || private::host_key(&fleet.name, &host.name, known).ok();
    let kept = || kept().filter(|file| file.is_file() && !is_medium);
    let Some(file) = file.or_else(kept) else {
        return Ok(None);
    };
    let key: SshKey = ssh::public_key(&file)?;
    ensure!(
        key == *known,
        "{} is the key {}, and host.toml of {} has {}: `domus host replace` makes a new one",
        file.display(),
        key.fingerprint(),
        host.name,
        known.fingerprint()
    );
    Ok(Some(file))
}

/// Makes sure that the ISO is the release that the commit wants of the host, if the commit knows.
fn ensure_locked(fleet: &Fleet, host: &Host, iso: &Path, id: &str) -> Result<()> {
    let version = &host.release;
    let Some(locked) = fleet.locked.releases.get(version) else {
        return Ok(());
    };
    ensure!(
        id == locked.hex(),
        "the commit's domus.lock has release {version} as {locked}, and {} is sha256:{id}: \
         build the ISO and commit domus.lock, or name it with --iso",
        iso.display()
    );
    Ok(())
}

/// What says that the host shall run the commit: in a fleet whose hosts follow targets, one that
/// names it.
fn statement(
    repo: &Repo,
    fleet: &Fleet,
    host: &Host,
    commit: &Commit,
    unsigned: bool,
) -> Result<String> {
    let follow = fleet.config.as_ref().map(|config| &config.follow);
    if unsigned || follow != Some(&Follow::Targets) {
        return Ok(commit.id.clone());
    }
    let mut next = repo.targets()?.map(|id| repo.statement(&id)).transpose()?;
    while let Some(here) = next {
        let is_for = |target: &Target| target.selects(&host.name, &host.groups);
        if here.target.as_ref().is_some_and(is_for) && here.commit.id == commit.id {
            return Ok(here.id);
        }
        next = repo.target_before(&here)?;
    }
    bail!(
        "no target names {} for {}, and the hosts of this release follow targets: \
         `domus publish --no-push --on {}` makes one; or take a release that was built with \
         --unsigned",
        short(&commit.id),
        host.name,
        host.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::files::Files;
    use domus_model::load::load;

    #[test]
    fn a_host_gets_no_key_that_its_commit_does_not_know() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = |name: &str| {
            let (private, public) = ssh::make_host_key().expect("a key");
            let file = dir.path().join(name);
            domus_system::atomic::write(&file, &private, 0o600).expect("written");
            (file, public)
        };
        let ((own, public), (other, _)) = (key("own"), key("other"));
        let found = |line: &str, file: Option<&Path>| {
            let mut files = Files::new();
            files.insert("domus.toml", b"version = 1\nfleet = \"small\"\n".to_vec());
            let machine = "[machine]\nserial = \"8QXK\"\nmemory = \"4GiB\"";
            let document = format!("version = 1\n{machine}\n{line}\n");
            files.insert("pservers/alpha/host.toml", document.into());
            let fleet = load(&files).expect("a fleet");
            let host = "alpha".parse().expect("a name");
            let wanted = Wanted {
                host,
                commit: String::new(),
                dir: PathBuf::new(),
                iso: None,
                host_key: file.map(Path::to_owned),
                mirror: None,
                json: false,
            };
            host_key(&wanted, &fleet, &fleet.hosts[&wanted.host], false)
        };
        let known = format!("key = \"{public}\"");
        let file = found(&known, Some(&own)).expect("its own");
        assert_eq!(file.as_deref(), Some(&*own));
        let refused = found(&known, Some(&other))
            .expect_err("another")
            .to_string();
        assert!(refused.contains("host.toml of alpha has"), "{refused}");
        assert_eq!(found(&known, None).expect("none is here"), None);
        // A commit that knows none has nothing against one.
        let file = found("", Some(&other)).expect("any");
        assert_eq!(file.as_deref(), Some(&*other));
    }
}
