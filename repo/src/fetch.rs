// SPDX-License-Identifier: GPL-3.0-or-later
//! Fetching a branch, or targets, from a remote repository. Nothing of what comes decides anything here: it
//! lies in the repository, under a ref that nobody boots.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use domus_model::fleet::Follow;
use domus_model::secrets::SshKey;
use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, Direction, FetchOptions,
    FetchPrune, Progress, RemoteCallbacks, RemoteRedirect,
};

use crate::open::LARGEST_BASE;
use crate::packs::Incoming;
use crate::{Repo, Statement, TARGETS_REF};

/// Where what was fetched is kept.
pub(crate) const FETCHED_REF: &str = "refs/domus/fetched";
/// The longest that a server may say nothing, in milliseconds.
const SILENCE: i32 = 60_000;

/// A repository elsewhere.
#[derive(Debug, Clone)]
pub struct Remote<'r> {
    /// Its `https://`, `ssh://` or `file:///` URL.
    pub url: &'r str,
    /// What hosts follow there.
    pub follow: &'r Follow,
    /// The key by which an SSH server is known.
    pub host_key: Option<&'r SshKey>,
    /// The private key that opens an SSH server.
    pub identity: PathBuf,
    /// Most bytes that one fetch may bring, compressed.
    pub most: usize,
}

impl Repo {
    /// Makes sure that the server answers, and lets this host in.
    ///
    /// # Errors
    /// It does not.
    pub fn reach(&self, remote: &Remote<'_>) -> Result<()> {
        let doing = || format!("reaching {}", remote.url);
        limit_silence().with_context(doing)?;
        let mut anonymous = self.git.remote_anonymous(remote.url).with_context(doing)?;
        let is_stranger = Cell::new(false);
        let calls = callbacks(remote, &is_stranger);
        let connected = anonymous.connect_auth(Direction::Fetch, Some(calls), None);
        connected.map(drop).with_context(doing)
    }

    /// Fetches what hosts follow and returns the statement that is the newest there. Nobody else may
    /// be writing to this repository, and nothing may lie in it that was cut off.
    ///
    /// # Errors
    /// The server is not there, is another, refuses, has nothing to follow, or sends too much or
    /// what takes too much memory.
    pub fn fetch(&self, remote: &Remote<'_>) -> Result<Statement> {
        let (url, follow) = (remote.url, remote.follow);
        let doing = || format!("fetching {follow} of {url}");
        let followed = match follow {
            Follow::Branch(branch) => format!("refs/heads/{branch}"),
            Follow::Targets => TARGETS_REF.to_owned(),
        };
        if let Some(path) = url.strip_prefix("file://") {
            let path = Path::new(path);
            self.ensure_small(path, &followed).with_context(doing)?;
        }
        limit_silence().with_context(doing)?;
        let mut anonymous = self.git.remote_anonymous(url).with_context(doing)?;
        let spec = format!("+{followed}:{FETCHED_REF}");
        self.receive(&mut anonymous, remote, &spec)
            .with_context(doing)?;
        let found = anonymous
            .list()
            .with_context(doing)?
            .iter()
            .any(|head| head.name() == followed);
        match (found, follow) {
            (true, _) => self.statement(FETCHED_REF),
            (false, Follow::Branch(_)) => bail!("{}: there is no such branch", doing()),
            (false, Follow::Targets) => {
                bail!("{}: there are none; `domus publish` makes one", doing())
            }
        }
    }

    /// Fetches what the refspec says, unless it is refused.
    fn receive(
        &self,
        anonymous: &mut git2::Remote<'_>,
        remote: &Remote<'_>,
        spec: &str,
    ) -> Result<()> {
        let (is_stranger, refused) = (Cell::new(false), RefCell::new(None));
        let objects = self.common_path().join("objects");
        let mut incoming = Incoming::new(self.git.odb()?, &objects);
        let mut calls = callbacks(remote, &is_stranger);
        calls.transfer_progress(|progress| {
            let looked = look(&mut incoming, remote.most, &progress);
            looked.map_err(|why| refused.replace(Some(why))).is_ok()
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(calls)
            .download_tags(AutotagOption::None)
            .prune(FetchPrune::Off)
            // A server that sends hosts elsewhere is not the one that the fleet names.
            .follow_redirects(RemoteRedirect::None)
            .update_fetchhead(false);
        let fetched = anonymous.fetch(&[spec], Some(&mut options), None);
        drop(options);
        if is_stranger.get() {
            bail!("the server has another host key than domus.toml says");
        }
        match refused.take() {
            Some(why) => Err(why.context("what it sends is refused")),
            None => Ok(fetched?),
        }
    }

    /// Makes sure that nothing is large in a repository on this machine that has something new:
    /// there is no server, so libgit2 packs here what it then fetches, and for that reads all of
    /// each object. What cannot be looked at it refuses in its own words.
    fn ensure_small(&self, path: &Path, followed: &str) -> Result<()> {
        let Ok(remote) = Self::open(path) else {
            return Ok(());
        };
        let newest = remote.git.refname_to_id(followed);
        if newest.is_ok_and(|id| self.git.odb().is_ok_and(|known| known.exists(id))) {
            return Ok(());
        }
        let objects = remote.git.odb()?;
        let mut found = Ok(());
        let looked = objects.foreach(|id| {
            let size = objects.read_header(*id).map_or(0, |(size, _)| size);
            found = ensure_packs(*id, size);
            found.is_ok()
        });
        found?;
        Ok(looked?)
    }
}

/// Makes sure that an object may be packed here.
fn ensure_packs(id: git2::Oid, size: usize) -> Result<()> {
    ensure!(
        size <= LARGEST_BASE,
        "the object {id} has {size} bytes, and more than {LARGEST_BASE} are not read from a \
         repository on the same machine: let a server send it, by ssh:// or https://"
    );
    Ok(())
}

/// Whether libgit2 may go on.
fn look(incoming: &mut Incoming<'_>, most: usize, progress: &Progress<'_>) -> Result<()> {
    let came = progress.received_bytes();
    ensure!(came <= most, "it is more than {most} bytes");
    incoming.look(progress)
}

/// Sets how long a server may say nothing, for the whole process.
#[allow(unsafe_code)]
fn limit_silence() -> Result<()> {
    // SAFETY: sets two global numbers of libgit2, always to the same value.
    unsafe {
        git2::opts::set_server_connect_timeout_in_milliseconds(SILENCE)?;
        git2::opts::set_server_timeout_in_milliseconds(SILENCE)?;
    }
    Ok(())
}

/// `is_stranger` is set for a server that is not the one that the fleet means: libgit2 keeps no
/// reason.
fn callbacks<'c>(remote: &'c Remote<'_>, is_stranger: &'c Cell<bool>) -> RemoteCallbacks<'c> {
    let mut callbacks = RemoteCallbacks::new();
    let mut tried = false;
    callbacks.credentials(move |_, user, allowed| {
        let refused = |text: &str| Err(git2::Error::from_str(text));
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(user.unwrap_or("git"));
        }
        if !allowed.contains(CredentialType::SSH_KEY) {
            return refused("the server wants a password, which hosts have not");
        }
        // libgit2 asks again and again.
        if std::mem::replace(&mut tried, true) {
            return refused("the server does not know this host's key");
        }
        Cred::ssh_key(user.unwrap_or("git"), None, &remote.identity, None)
    });
    callbacks.certificate_check(move |certificate, _| {
        let Some(key) = certificate.as_hostkey() else {
            // That of HTTPS is judged by who signed its certificate.
            return Ok(CertificateCheckStatus::CertificatePassthrough);
        };
        let known = remote.host_key.map(SshKey::wire);
        match key.hostkey() {
            Some(shown) if Some(shown) == known.as_deref() => {
                Ok(CertificateCheckStatus::CertificateOk)
            }
            _ => {
                is_stranger.set(true);
                Err(git2::Error::from_str("another host key"))
            }
        }
    });
    callbacks
}
