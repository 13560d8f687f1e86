// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus import`: what other tools have as documents of the fleet.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use domus_model::names::{ImageRef, Name};
use domus_model::xl::{self, Imported, Options};
use domus_system::{atomic, documents};

use crate::opened;
use crate::tree::Tree;

/// Take domains of other tools over as documents of domUs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write documents of domUs from domain configurations of xl, and name what they cannot have
    Xl(Xl),
}

#[derive(Debug, clap::Args)]
struct Xl {
    /// Domain configurations, as /etc/xen/web.cfg
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The host that is to run the domUs
    #[arg(long)]
    host: Name,
    /// The image they start from; without it, that of the documents above
    #[arg(long, value_name = "NAME@REV")]
    image: Option<ImageRef>,
    /// The host's network for a bridge of old, as xenbr0=lan; may be repeated. Others keep their
    /// name
    #[arg(long = "network", value_name = "XENBR=NAME", value_parser = network)]
    networks: Vec<(String, Name)>,
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".")]
    dir: PathBuf,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A configuration and the document made of it.
struct Taken<'a> {
    file: &'a Path,
    /// In the repository.
    path: String,
    imported: Imported,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Command::Xl(args) = args.command;
    let root = opened::find(&args.dir)?;
    let hosts = documents::list_hosts(&root)?;
    ensure!(
        hosts.iter().any(|it| it == args.host.as_str()),
        opened::no_host(&args.host, hosts.iter().map(String::as_str))
    );
    let taken = take_all(&args, &root)?;
    if !args.dry_run {
        let file = |one: &Taken<'_>| {
            let document = one.imported.document.clone();
            (root.join(&one.path), document.into_bytes(), 0o644)
        };
        let files: Vec<_> = taken.iter().map(file).collect();
        atomic::write_all(&files).context("nothing was written")?;
    }
    let text = match args.json {
        true => report::json(&args, &taken)?,
        false => report::text(&args, &taken),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A bridge and its network.
fn network(text: &str) -> Result<(String, Name), String> {
    let Some((bridge, name)) = text.split_once('=') else {
        return Err("write BRIDGE=NAME, as xenbr0=lan".to_owned());
    };
    let name = name.parse().map_err(|bad| format!("{bad}"))?;
    Ok((bridge.to_owned(), name))
}

/// The documents of all configurations. If one cannot be taken over, the problem of each is shown.
fn take_all<'a>(args: &'a Xl, root: &Path) -> Result<Vec<Taken<'a>>> {
    let networks: BTreeMap<_, _> = args.networks.iter().cloned().collect();
    ensure!(
        networks.len() == args.networks.len(),
        "--network names a bridge twice; a bridge is one network"
    );
    let image = args.image.clone();
    let options = Options { image, networks };
    let tree = Tree::find(root, None)?;
    let mut names = BTreeSet::new();
    let mut taken = Vec::new();
    let mut errors = 0;
    for file in &args.files {
        match take(file, args.host.as_str(), &options, &tree, &mut names) {
            Ok(one) => taken.push(one),
            Err(error) => {
                eprintln!("error: {error:#}");
                errors += 1;
            }
        }
    }
    match (errors, args.files.len()) {
        (0, _) => Ok(taken),
        (errors, all) => bail!("nothing was written: {errors} of {all} cannot be taken over"),
    }
}

fn take<'a>(
    file: &'a Path,
    host: &str,
    options: &Options,
    tree: &Tree,
    names: &mut BTreeSet<Name>,
) -> Result<Taken<'a>> {
    let shown = file.display();
    let text = read(file).with_context(|| format!("reading {shown}"))?;
    let imported = xl::parse(&text).and_then(|config| xl::convert(&config, options));
    let imported = imported.map_err(|refused| anyhow::anyhow!("{shown}:{refused}"))?;
    let name = &imported.name;
    if let Some(other) = tree.host_of(name.as_str())? {
        bail!(
            "{shown}: pservers/{other}/domUs/{name}.toml is there already; remove it, or give \
             the domain another name"
        );
    }
    ensure!(
        names.insert(name.clone()),
        "{shown}: another of these is called {name}; give one of them another name"
    );
    let path = format!("pservers/{host}/domUs/{name}.toml");
    Ok(Taken {
        file,
        path,
        imported,
    })
}

/// The text of a configuration; of what is too long for one, more than that may be.
fn read(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let limit = xl::LONGEST as u64 + 1;
    File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > xl::LONGEST {
        // The end may be within a character.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).context("it is no UTF-8; `iconv -f latin1 -t utf8` makes it so")
}
