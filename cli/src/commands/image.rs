// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus image`: read-only domU images from recipes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use domus_iso::config::Images;
use domus_model::lock::Sha256;
use domus_model::names::{ImageRef, Name};
use domus_system::interrupt;
use serde::Serialize;

use crate::locked::{WorkLock, enter};
use crate::opened::Opened;
use crate::progress::Terminal;

/// Build read-only domU images from the recipes in images/
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build one: root image, kernel, initramfs, manifest
    Build(Build),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// The recipe: images/NAME.toml
    name: Name,
    /// The fleet's repository, or a directory below it
    #[arg(long, short = 'C', default_value = ".")]
    dir: PathBuf,
    /// Debian mirror; without one, the fleet's or mmdebstrap's own
    #[arg(long, env = "DOMUS_MIRROR")]
    mirror: Option<String>,
    /// Replace what domus.lock says of this revision, if it is another image
    #[arg(long)]
    relock: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Command::Build(args) = args.command;
    interrupt::catch().context("preparing for Ctrl-C")?;
    let opened = Opened::at(&args.dir)?;
    let recipe = opened.fleet.images.get(&args.name).with_context(|| {
        let known: Vec<&str> = opened.fleet.images.keys().map(Name::as_str).collect();
        format!(
            "there is no images/{}.toml; recipes are: {}",
            args.name,
            known.join(", ")
        )
    })?;
    let image = ImageRef {
        name: recipe.name.clone(),
        revision: recipe.revision,
    };
    let building = || format!("building the image {image}");
    let built = domus_images::build(
        recipe,
        &opened.fleet.debian,
        args.mirror.as_deref(),
        &opened.root,
        &Terminal::default(),
    )
    .with_context(building)?;
    let mut work = WorkLock::open(&opened.root)?;
    let (images, relock) = (&mut work.lock.images, args.relock);
    let raise = format!("raise `revision` in images/{}.toml", image.name);
    enter(images, image.clone(), built.digest, relock, "image", &raise)?;
    let dir = opened.output().dir(&image);
    let unchanged = built.deliver(&dir).with_context(building)?;
    work.write(&image, built.etc.as_ref())?;
    let size: u64 = built.manifest.files.values().map(|entry| entry.size).sum();
    if args.json {
        let report = Report {
            dir: &dir,
            unchanged,
            digest: built.digest,
            manifest: &built.manifest,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let state = if unchanged { "unchanged" } else { "built" };
        let what = match built.manifest.foreign {
            true => "foreign".to_owned(),
            false => format!("{} packages", built.manifest.packages.len()),
        };
        let (mib, dir) = (size >> 20, dir.display());
        println!("{image}   {state}   {mib} MiB   {what}   {dir}");
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Report<'a> {
    dir: &'a PathBuf,
    unchanged: bool,
    /// What domus.lock has for it.
    digest: Sha256,
    manifest: &'a domus_model::manifest::ImageManifest,
}
