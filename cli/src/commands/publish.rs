// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus publish`: a signed target, which hosts follow.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::fleet::{Fleet, Follow};
use domus_model::selector::Selector;
use domus_model::status::short;
use domus_model::trust::{Anchor, Chain, Namespace, Role, Target};
use domus_repo::{Commit, Judge, NewTarget, Repo, Statement, TARGETS_REF};
use domus_system::program::Program;
use serde::Serialize;

use crate::render;
use crate::signer::Signer;
use crate::tree::Tree;

/// Tell hosts to run a commit: a target, signed by who may publish, with the next serial
///
/// The whole fleet is proved first, and that the commit is signed. The target is kept in
/// refs/domus/targets and pushed to where hosts pull from. Going back is a new target that names
/// an older commit.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The commit
    #[arg(default_value = "HEAD")]
    commit: String,
    /// The hosts that shall run it: names, patterns as web-*, groups as @web
    #[arg(
        long,
        value_name = "HOST,…",
        value_delimiter = ',',
        default_value = "*"
    )]
    on: Vec<Selector>,
    /// Only hosts that run this release take it: a version in domus.lock
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".")]
    dir: PathBuf,
    /// An SSH key to sign with, private, or public if an agent has it; without one, that which
    /// git signs with, or ~/.ssh/id_ed25519
    #[arg(short, long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Nobody signs: for hosts of unsigned releases
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    /// Keep it here: `git push REMOTE refs/domus/targets` sends it later
    #[arg(long)]
    no_push: bool,
    /// Say what would be published, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was published.
#[derive(Serialize)]
struct Report<'r> {
    #[serde(flatten)]
    target: &'r Target,
    summary: &'r str,
    signed_by: Option<String>,
    /// The git commit that is the target; none in a dry run.
    id: Option<String>,
    pushed_to: Option<&'r str>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let repo = Repo::discover(&args.dir)?;
    let commit = repo.commit(&args.commit)?;
    let fleet = prove(args, &commit)?;
    let remote = remote(args, &fleet)?;
    if let Some(remote) = remote {
        fetch(&repo, remote)?;
    }
    let before = repo.targets()?.map(|id| repo.statement(&id)).transpose()?;
    let serial = before.as_ref().and_then(|it| it.target.as_ref());
    let serial = serial.map_or(0, |target| target.serial);
    let serial = serial.checked_add(1).context("there is no higher serial")?;
    let (name, hosts, id) = (fleet.name.clone(), args.on.clone(), commit.id.clone());
    let mut target = Target::new(name, serial, hosts, id);
    if let Some(version) = &args.release {
        target.release_id = Some(locked(&fleet, version)?);
        target.release = Some(version.clone());
    }
    let trusted = match args.unsigned {
        true => None,
        false => Some(Trusted::find(args, &repo, &commit, before.as_ref())?),
    };
    let mut report = Report {
        target: &target,
        summary: &commit.summary,
        signed_by: trusted.as_ref().map(|trusted| trusted.name.clone()),
        id: None,
        pushed_to: None,
    };
    if !args.dry_run {
        let new = NewTarget {
            target: &target,
            chain: trusted.as_ref().map(|trusted| &trusted.chain),
            before: before.as_ref().map(|before| before.id.as_str()),
        };
        let sign = |message: &[u8]| match &trusted {
            Some(trusted) => trusted.signer.sign(Namespace::Git, message),
            None => bail!("nobody signs"),
        };
        let id = repo.add_target(&new, trusted.is_some().then_some(&sign))?;
        if let Some(remote) = remote {
            push(&repo, remote).or_else(|error| {
                repo.move_targets(Some(&id), new.before)?;
                Err(error)
            })?;
        }
        report.pushed_to = remote;
        report.id = Some(id);
    }
    report.print(args.json)?;
    Ok(ExitCode::SUCCESS)
}

impl Report<'_> {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let Target {
            serial,
            hosts,
            commit,
            release,
            ..
        } = self.target;
        let release = release.as_ref();
        let release = release.map_or(String::new(), |it| format!(" on release {it}"));
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let signed = match &self.signed_by {
            Some(name) => format!("signed by {name}"),
            None => "signed by NOBODY".to_owned(),
        };
        println!(
            "target {serial}   {} -> {}{release}   {:?}   {signed}",
            hosts.join(","),
            short(commit),
            self.summary
        );
        println!(
            "{}",
            match (&self.id, self.pushed_to) {
                (None, _) => "Nothing was done: this was a dry run.".to_owned(),
                (_, Some(remote)) => format!("Hosts find it at {remote}."),
                (_, None) => format!("Hosts find it when {TARGETS_REF} was pushed."),
            }
        );
        Ok(())
    }
}

/// Proves the whole fleet of the commit.
fn prove(args: &Args, commit: &Commit) -> Result<Fleet> {
    let tree = Tree::find(&args.dir, Some(&commit.id))?;
    let proved = tree.prove()?;
    let (errors, _) = render::tally(&proved.diagnostics);
    match proved.fleet {
        Some(fleet) => Ok(fleet),
        None => {
            render::refuse(&proved.files, &proved.diagnostics);
            let commit = short(&commit.id);
            bail!("nothing was published: the fleet has {errors} error(s) at {commit}")
        }
    }
}

/// The id of a release that the commit's `domus.lock` names.
fn locked(fleet: &Fleet, version: &str) -> Result<String> {
    let releases = &fleet.locked.releases;
    let known: Vec<&str> = releases.keys().map(String::as_str).collect();
    let known = known.join(", ");
    let locked = releases.get(version).with_context(|| {
        format!("domus.lock of that commit has no release {version}; it has: {known}")
    })?;
    Ok(locked.hex())
}

/// Where hosts pull from, if it shall go there.
fn remote<'f>(args: &Args, fleet: &'f Fleet) -> Result<Option<&'f str>> {
    let Some(config) = &fleet.config else {
        ensure!(
            args.no_push,
            "domus.toml has no [config], which says where hosts find targets; --no-push keeps it \
             here"
        );
        return Ok(None);
    };
    if let Follow::Branch(branch) = &config.follow {
        bail!("hosts of this fleet follow {branch}, not targets: `git push` is all they need");
    }
    Ok((!args.no_push).then_some(config.remote.as_str()))
}

/// Takes the targets that others have published.
fn fetch(repo: &Repo, remote: &str) -> Result<()> {
    let doing = || format!("asking {remote} for targets");
    let listed = git(repo).args(["ls-remote", remote, TARGETS_REF]).output();
    if listed.with_context(doing)?.stdout.is_empty() {
        return Ok(());
    }
    // Not forced: what was published from here and not pushed is not lost.
    let spec = format!("{TARGETS_REF}:{TARGETS_REF}");
    let fetch = git(repo).args(["fetch", "--quiet", remote, &spec]);
    fetch.run().with_context(|| {
        format!(
            "{}; if one was made here that was never pushed, `git update-ref -d {TARGETS_REF}` \
             forgets it",
            doing()
        )
    })
}

fn push(repo: &Repo, remote: &str) -> Result<()> {
    let spec = format!("{TARGETS_REF}:{TARGETS_REF}");
    let push = git(repo).args(["push", "--quiet", remote, &spec]);
    push.run().with_context(|| {
        format!("sending the target to {remote}; nothing was published, run it again")
    })
}

fn git(repo: &Repo) -> Program {
    Program::new("git").arg("-C").arg(repo.path()).asking()
}

/// Who signs, and what hosts will go by.
struct Trusted {
    signer: Signer,
    name: String,
    chain: Chain,
}

impl Trusted {
    fn find(args: &Args, repo: &Repo, commit: &Commit, before: Option<&Statement>) -> Result<Self> {
        let chain = newest(repo, &commit.id, before)?;
        let anchor = chain.prove().map_err(|why| anyhow!(why))?;
        let judge = Judge::believing(anchor.clone());
        judge
            .judge(repo, &repo.statement(&commit.id)?)
            .context("hosts would refuse it; `git commit --amend -S` signs the last commit")?;
        let signer = Signer::find(args.key.as_deref(), Path::new(&args.dir))?;
        let trust = anchor.trust();
        let Some(name) = signer.name_in(trust, Role::Publish) else {
            let who: Vec<&str> = trust
                .with_role(Role::Publish)
                .map(|(name, _)| name.as_str())
                .collect();
            bail!(
                "the key {} has not the role publish in trust.toml; those have it: {}",
                signer.key.fingerprint(),
                who.join(", ")
            );
        };
        let name = name.to_string();
        Ok(Self {
            signer,
            name,
            chain,
        })
    }
}

/// The newest `trust.toml`: that of the commit, or of the target before, if the commit is older.
fn newest(repo: &Repo, commit: &str, before: Option<&Statement>) -> Result<Chain> {
    let of_commit = repo.chain(commit)?;
    let of_target = before.map(|before| repo.chain(&before.id)).transpose()?;
    let chains = [of_commit, of_target.flatten()];
    let serial = |chain: &Chain| chain.newest().map_or(0, |it: Anchor| it.trust().serial);
    let newest = chains.into_iter().flatten().max_by_key(serial);
    newest.context(
        "the commit has no trust.toml, which says who may sign: `domus keys init` makes one; \
         --unsigned is for hosts of unsigned releases",
    )
}
