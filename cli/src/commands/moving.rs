// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus move`: a domU goes to another host, with its volumes.

mod bring;
mod document;
mod reach;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use domus_model::fleet::{DomU, Fleet, Host};
use domus_model::names::{Hosts, Name};
use domus_repo::Repo;
use domus_system::documents;

use crate::opened;
use crate::refused::Refused;
use reach::Reach;

/// Move a domU to another host, with its volumes: in the repository, then from host to host
///
/// Run it twice. First it moves the domU's document to the other host, which has to be one of
/// `may-run-on`; nothing runs differently until that is committed and both hosts took it. Then it
/// asks the old host by SSH to shut the domU down for good, copies its volumes through this machine
/// with their digests, and has the new host start it. The old host never starts it again, even if
/// it goes back to an earlier commit. If the old host does not answer, nothing is started. What was
/// cut off is taken up by running it again. Volumes of the old host stay there until you destroy
/// them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The domU
    #[arg(value_name = "DOMU")]
    domu: Name,
    /// The host that it goes to; without one, that which has its document
    #[arg(long, value_name = "HOST")]
    to: Option<Name>,
    /// How SSH reaches a host, if not by its name; may be repeated
    #[arg(long, value_name = "HOST=DESTINATION")]
    ssh: Vec<Reach>,
    /// How long it may take to shut down, in seconds; without it, as long as its document says
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Destroy it on the old host if it has not shut down by then: as if its power were cut
    #[arg(long)]
    force: bool,
    /// Start it there even if the old host has not all of its volumes: those are made, with nothing
    /// in them
    #[arg(long)]
    empty: bool,
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".")]
    dir: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command: exit code 3 if it is refused.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let root = opened::find(&args.dir)?;
    let mut files = documents::read(&root)?;
    let fleet = opened::prove(&files)?;
    let (home, domu) = home(&fleet, &args.domu)?;
    let to = match &args.to {
        Some(to) => opened::host(&fleet, to)?,
        None => home,
    };
    if home.name != to.name {
        may_go(domu, to)?;
        let moved = document::relocate(args, &root, &mut files, &home.name, &to.name)?;
        match args.json {
            true => println!("{}", serde_json::to_string_pretty(&moved)?),
            false => print!("{}", moved.render()),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (name, host) = (&domu.name, &home.name);
    let Some(from) = &domu.moved_from else {
        let refusal = format!("{name} is on {host} and comes from nowhere: --to HOST moves it");
        bail!(Refused(refusal));
    };
    let path = document::path(host, name);
    if !Repo::open(&root)?.uncommitted([path.as_str()])?.is_empty() {
        bail!(Refused(format!(
            "{path} is not committed: hosts do not know that {name} moves. Commit it, let {from} and \
             {host} take it, then `domus move {name}`"
        )));
    }
    bring::run(args, from, host, domu)
}

/// The domU `name` and the host that has its document.
fn home<'f>(fleet: &'f Fleet, name: &Name) -> Result<(&'f Host, &'f DomU)> {
    let mut hosts = fleet.hosts.values();
    let found = hosts.find_map(|host| Some((host, host.domus.get(name)?)));
    let Some(found) = found else {
        bail!("no host of the fleet has a domU {name}; `domus show HOST` lists those of a host");
    };
    Ok(found)
}

/// Makes sure that `domu` may run on `to`: only then is it proved that it can.
fn may_go(domu: &DomU, to: &Host) -> Result<()> {
    let means_it = |hosts: &Hosts| hosts.means(&to.name, &to.groups);
    let may = domu.may_run_on.iter().any(means_it);
    if !may {
        let (name, to) = (&domu.name, &to.name);
        bail!(Refused(format!(
            "{name} may not run on {to}: write \"{to}\" into `may-run-on` of its document, so that \
             `domus check` proves that it can, and `domus secret rekey` its secrets for {to}"
        )));
    }
    Ok(())
}
