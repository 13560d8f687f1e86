// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a host may run what a statement says: what its release lets it believe, and nothing
//! that a repository says of itself.

use anyhow::{Context, Result, anyhow, bail};
use domus_model::boot::{ReleaseIdentity, StatementNote};
use domus_model::fleet::{Fleet, Follow};
use domus_model::names::Name;
use domus_model::trust::{Anchor, Namespace, Role, Signature, Trust};

use crate::{Repo, Statement};

/// The newest statement that a host has seen: it carries the newest trust, and no target older
/// than it is taken.
pub const SEEN_REF: &str = "refs/domus/seen";

/// What a release lets its hosts run.
#[derive(Debug, Clone)]
pub struct Judge {
    fleet: Name,
    least_serial: u32,
    /// What is believed; nothing where the release runs what nobody signed.
    anchor: Option<Anchor>,
}

impl Judge {
    /// What this release lets its hosts run.
    ///
    /// # Errors
    /// The release does not say.
    pub fn new(release: &ReleaseIdentity) -> Result<Self> {
        let anchor = match (&release.trust, release.unsigned) {
            (None, true) => None,
            (Some(document), false) => Some(
                Anchor::new(document.as_bytes())
                    .map_err(|why| anyhow!("{why}"))
                    .context("reading the trust.toml of the release")?,
            ),
            _ => bail!("the release does not say whose commits its hosts run: build it anew"),
        };
        Ok(Self {
            fleet: release.fleet.clone(),
            least_serial: release.least_serial,
            anchor,
        })
    }

    /// What hosts of a fleet run that believe this.
    pub fn believing(anchor: Anchor) -> Self {
        Self {
            fleet: anchor.trust().fleet.clone(),
            least_serial: 0,
            anchor: Some(anchor),
        }
    }

    /// The fleet whose hosts are judged for.
    pub fn fleet(&self) -> &Name {
        &self.fleet
    }

    /// What is believed; none where the release runs what nobody signed.
    pub fn trust(&self) -> Option<&Trust> {
        self.anchor.as_ref().map(Anchor::trust)
    }

    /// Follows to the newest `trust.toml` that a commit of the repository carries.
    ///
    /// # Errors
    /// It carries one that cannot be followed to.
    pub fn learn(&mut self, repo: &Repo, commit: &str) -> Result<()> {
        self.anchor = self.newest(repo, commit)?;
        Ok(())
    }

    fn newest(&self, repo: &Repo, commit: &str) -> Result<Option<Anchor>> {
        let Some(anchor) = &self.anchor else {
            return Ok(None);
        };
        match repo.chain(commit)? {
            Some(chain) => {
                let newest = anchor.follow(&chain);
                newest.map(Some).map_err(|why| anyhow!("{why}"))
            }
            None => Ok(Some(anchor.clone())),
        }
    }

    /// Makes sure that hosts may run what the statement says, and says who signed it. Of a target
    /// of another release nothing is said here.
    ///
    /// # Errors
    /// Nobody who may signed it, it is another fleet's, or older than the release counts.
    pub fn judge(&self, repo: &Repo, statement: &Statement) -> Result<StatementNote> {
        if let Some(target) = &statement.target {
            let serial = target.serial;
            target
                .ensure(&self.fleet, self.least_serial)
                .map_err(|why| anyhow!("the target {serial} {why}"))?;
        }
        let mut note = StatementNote {
            id: statement.id.clone(),
            serial: statement.target.as_ref().map(|target| target.serial),
            commit_by: None,
            target_by: None,
        };
        let Some(anchor) = self.newest(repo, &statement.id)? else {
            return Ok(note);
        };
        note.target_by = match &statement.target {
            Some(target) => {
                let what = format!("the target {}", target.serial);
                let role = Role::Publish;
                Some(signer(repo, &anchor, &what, &statement.id, role)?)
            }
            None => None,
        };
        let commit = &statement.commit.id;
        let what = format!("the commit {commit}");
        note.commit_by = Some(signer(repo, &anchor, &what, commit, Role::Commit)?);
        Ok(note)
    }

    /// Makes sure that the commit of a statement is of the fleet, and that the statement is of the
    /// kind that its hosts follow: where they follow targets, no commit is run by itself.
    ///
    /// # Errors
    /// It is not.
    pub fn ensure_fits(&self, statement: &Statement, fleet: &Fleet) -> Result<()> {
        let commit = &statement.commit.id;
        if fleet.name != self.fleet {
            let (other, own) = (&fleet.name, &self.fleet);
            bail!("the commit {commit} is of the fleet {other}, this release of {own}");
        }
        let follow = fleet.config.as_ref().map(|config| &config.follow);
        let is_alone = statement.target.is_none() && follow == Some(&Follow::Targets);
        if is_alone && self.anchor.is_some() {
            bail!(
                "the commit {commit} is signed, but no target names it, and the hosts of this \
                 fleet follow targets: `domus publish` makes one"
            );
        }
        Ok(())
    }
}

/// Who signed the git commit `id`, of those who may.
fn signer(repo: &Repo, anchor: &Anchor, what: &str, id: &str, role: Role) -> Result<Name> {
    let Some((signature, signed)) = repo.signature(id)? else {
        bail!("{what} is signed by nobody");
    };
    let signature = Signature::parse(&signature).map_err(|why| anyhow!("{what} {why}"))?;
    let trust = anchor.trust();
    let name = trust.signer(role, Namespace::Git, &signed, &signature);
    name.cloned().map_err(|why| anyhow!("{what} {why}"))
}
