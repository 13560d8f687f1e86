// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus plan`: what it means for a host to go from one commit to another.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use domus_model::changes::{Changes, Observed, Side, changes};
use domus_model::files::Files;
use domus_model::fleet::{Fleet, Host};
use domus_model::load::Frame;
use domus_model::names::Name;
use serde::Serialize;

use crate::machine;
use crate::render;
use crate::tree::Tree;

/// Show what it means for a host to go from one commit to another: every difference, what it does
/// to what runs, and why
///
/// Exit code 2 if there are differences. What runs is taken to be what the first commit says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The host
    host: Name,
    /// The commit that it comes from
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    from: String,
    /// The commit that it goes to; without it, the files as they are
    #[arg(long, value_name = "REV")]
    to: Option<String>,
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'r> {
    host: &'r Name,
    from: &'r str,
    to: &'r str,
    #[serde(flatten)]
    changes: &'r Changes,
}

/// One side, as it was read.
struct Loaded {
    fleet: Fleet,
    host: Option<Host>,
    files: Files,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let trees = [
        Tree::find(&args.dir, Some(&args.from))?,
        Tree::find(&args.dir, args.to.as_deref())?,
    ];
    let [from, to] = [load(&trees[0], &args.host)?, load(&trees[1], &args.host)?];
    if from.host.is_none() && to.host.is_none() {
        bail!(
            "neither {} nor {} has a host {}",
            trees[0].label(),
            trees[1].label(),
            args.host
        );
    }
    let [elsewhere_from, elsewhere_to] = [
        elsewhere(&trees[0], &to, &from)?,
        elsewhere(&trees[1], &from, &to)?,
    ];
    let changes = changes(
        from.side(&elsewhere_from),
        to.side(&elsewhere_to),
        &Observed::default(),
    );
    let (from, to) = (trees[0].label(), trees[1].label());
    let text = match args.json {
        true => {
            let host = &args.host;
            let changes = &changes;
            serde_json::to_string_pretty(&Report {
                host,
                from,
                to,
                changes,
            })? + "\n"
        }
        false => format!("{}   {from} -> {to}\n{}", args.host, changes.render()),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(match changes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(2),
    })
}

impl Loaded {
    fn side<'s>(&'s self, elsewhere: &'s BTreeMap<Name, Name>) -> Side<'s> {
        Side {
            fleet: &self.fleet,
            host: self.host.as_ref(),
            names: self.files.shared.id_of("global/hosts"),
            elsewhere,
        }
    }
}

fn load(tree: &Tree, name: &Name) -> Result<Loaded> {
    let files = tree.slice(name.as_str())?;
    let frame = Frame::read(&files.shared);
    let Some(fleet) = frame.fleet() else {
        render::refuse(&files, frame.problems());
        bail!("domus.toml has errors in {}", tree.label());
    };
    let host = match files.hosts.contains_key(name.as_str()) {
        true => Some(machine::host(&files, &frame, name.as_str())?),
        false => None,
    };
    drop(frame);
    Ok(Loaded { fleet, host, files })
}

/// The hosts in `tree` of the domUs that the other side has on this host and `own` has not.
fn elsewhere(tree: &Tree, other: &Loaded, own: &Loaded) -> Result<BTreeMap<Name, Name>> {
    let others = other.host.iter().flat_map(|host| host.domus.keys());
    let is_here = |domu: &&Name| {
        own.host
            .as_ref()
            .is_some_and(|own| own.domus.contains_key(*domu))
    };
    let mut hosts = BTreeMap::new();
    for domu in others.filter(|domu| !is_here(domu)) {
        // A directory that is no name is told by check.
        if let Some(Ok(host)) = tree.host_of(domu.as_str())?.map(|host| host.parse()) {
            hosts.insert(domu.clone(), host);
        }
    }
    Ok(hosts)
}
