// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus rehearse`: boots exactly the ISO and a host's commit in QEMU.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use domus_build::cache::Cache;
use domus_build::toolroot::ToolRoot;
use domus_iso::rehearse::{Accelerator, Kept, Medium, Script, rehearse};
use domus_model::fleet::{Fleet, Follow, Host};
use domus_model::names::Name;
use domus_model::rehearsal::{Firmware, Rehearsal};
use domus_model::status::{self, short};
use domus_model::trust::Target;
use domus_model::units::Size;
use domus_repo::{Commit, Repo};
use domus_system::interrupt;

use crate::opened::{self, Opened};
use crate::progress::Terminal;

/// Boot the ISO with a host's commit in QEMU and see its domUs come up
///
/// The machine has the identity, memory and network ports that host.toml names. Its network
/// reaches nothing outside. Exit code 0 only if every domU that should run said that it is up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The host
    host: Name,
    /// The commit; uncommitted changes are never rehearsed
    #[arg(long, default_value = "HEAD")]
    commit: String,
    /// The fleet's repository, or a directory below it
    #[arg(long, short = 'C', default_value = ".")]
    dir: PathBuf,
    /// The ISO; without one, that of the host's release in build/
    #[arg(long)]
    iso: Option<PathBuf>,
    /// Boot by UEFI (OVMF), from a USB stick unless --medium says otherwise
    #[arg(long)]
    uefi: bool,
    /// What the ISO is put into
    #[arg(long, value_parser = ["cd", "usb"])]
    medium: Option<String>,
    /// What runs the machine; without it, KVM where Xen boots under it, else emulation
    #[arg(long, value_parser = ["kvm", "tcg"])]
    accelerator: Option<String>,
    /// Memory of the machine in MiB; without it, what dom0 and the domUs ask for
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Give the machine a blank disk of this size beside its config disk; may be repeated
    #[arg(long, value_name = "SIZE")]
    blank_disk: Vec<Size>,
    /// The host's private SSH key, for its secrets; without it, the host makes one when it boots
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
    /// Debian mirror of the tool root; without one, the fleet's or mmdebstrap's own
    #[arg(long, env = "DOMUS_MIRROR")]
    mirror: Option<String>,
    /// Longest time from power-on, in seconds
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Leave the machine running and say how to reach it, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Where the serial log, the disk and the sockets go; without it, below build/
    #[arg(long)]
    output: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let root = opened::find(&args.dir)?;
    let repo = Repo::open(&root)?;
    let commit = repo.commit(&args.commit)?;
    if repo.is_dirty()? && !args.json {
        eprintln!(
            "warning: uncommitted changes are not rehearsed; {} is",
            short(&commit.id)
        );
    }
    let fleet = opened::prove(&repo.documents(&commit.id)?)?;
    let host = opened::host(&fleet, &args.host)?;
    let opened = Opened {
        root: root.clone(),
        fleet: fleet.clone(),
    };
    let iso = args
        .iso
        .clone()
        .unwrap_or_else(|| opened.iso(&host.release));
    ensure!(
        iso.is_file(),
        "{} is not there: `domus iso build` makes it, of a commit whose release it is",
        iso.display()
    );
    let manifest = domus_iso::verify(&iso)?.manifest;
    let repo = Repo::open(&root)?;
    let statement = statement(&repo, &fleet, host, &commit, manifest.payload.unsigned)?;
    // An ISO that is named may be any; else it is the one that the commit means.
    if args.iso.is_none() {
        ensure_locked(&fleet, host, &iso, &manifest.id)?;
    }
    let directory = args.output.clone();
    let directory =
        directory.unwrap_or_else(|| root.join("build/rehearse").join(host.name.as_str()));
    let output = opened.output();
    let script = Script {
        fleet: &fleet,
        host,
        commit: &commit.id,
        statement: &statement,
        repo: &root,
        iso: &iso,
        images: &output,
        dir: &directory,
        firmware: if args.uefi {
            Firmware::Uefi
        } else {
            Firmware::Bios
        },
        medium: medium(&args),
        accelerator: accelerator(&args),
        timeout: args.timeout,
        memory_mib: args.memory,
        blank_disks: &args.blank_disk,
        host_key: args.host_key.as_deref(),
    };
    let tools = {
        let (cache, debian) = (Cache::open()?, &fleet.debian);
        ToolRoot::open(
            &cache,
            &debian.suite,
            args.mirror.as_deref().or(debian.mirror.as_deref()),
            &Terminal::default(),
        )?
    };
    if !args.json {
        println!(
            "{}   release {} ({})   commit {}   {}",
            host.name,
            manifest.payload.release,
            manifest.id.get(..12).unwrap_or_default(),
            short(&commit.id),
            if args.uefi { "UEFI" } else { "BIOS" },
        );
    }
    let (mut rehearsal, kept) = rehearse(&script, &tools, &mut |event| {
        if !args.json {
            println!("{}", event.line());
        }
    })?;
    let kept = kept.filter(|_| args.keep);
    if let Some(kept) = &kept {
        rehearsal.console = Some(kept.console.display().to_string());
        rehearsal.ssh_port = Some(kept.ssh_port);
    }
    show(&args, &rehearsal, &root)?;
    if let Some(kept) = kept {
        keep(kept);
    }
    Ok(if rehearsal.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
         `domus publish --no-push --on {}` makes one; or rehearse a release that was built with \
         --unsigned",
        short(&commit.id),
        host.name,
        host.name
    )
}

fn medium(args: &Args) -> Medium {
    match args.medium.as_deref() {
        Some("usb") => Medium::Usb,
        Some(_) => Medium::Cd,
        None if args.uefi => Medium::Usb,
        None => Medium::Cd,
    }
}

fn accelerator(args: &Args) -> Option<Accelerator> {
    args.accelerator.as_deref().map(|name| match name {
        "kvm" => Accelerator::Kvm,
        _ => Accelerator::Tcg,
    })
}

fn show(args: &Args, rehearsal: &Rehearsal, root: &Path) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(rehearsal)?);
        return Ok(());
    }
    println!("\n{}", status::render(&rehearsal.domus));
    let log = Path::new(&rehearsal.serial_log);
    let log = log.strip_prefix(root).unwrap_or(log).display();
    match &rehearsal.reason {
        None => {
            let seconds = rehearsal.timeline.last().map_or(0.0, |event| event.seconds);
            println!("Rehearsal passed in {seconds:.0} s. Serial log: {log}");
        }
        Some(reason) => println!("Rehearsal failed: {reason}\nSerial log: {log}"),
    }
    Ok(())
}

/// Says how to reach the machine and waits until it ends or Ctrl-C.
fn keep(kept: Kept) {
    eprintln!(
        "\nThe machine runs on. Console: socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:{}  (Ctrl-] ends it)\n\
         SSH: ssh -p {} -o StrictHostKeyChecking=accept-new root@127.0.0.1",
        kept.console.display(),
        kept.ssh_port
    );
    if std::io::stderr().is_terminal() {
        eprintln!("Ctrl-C switches it off.");
    }
    kept.wait();
}
