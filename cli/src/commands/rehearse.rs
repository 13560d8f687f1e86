// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus rehearse`: boots exactly the ISO and a host's commit in QEMU.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use domus_iso::rehearse::{Accelerator, Kept, Medium, Script, rehearse};
use domus_model::rehearsal::{Firmware, Rehearsal, render};
use domus_model::status::{self, short};
use domus_model::units::Size;
use domus_system::interrupt;

use crate::staged::{Staged, Wanted};

/// Boot the ISO with a host's commit in QEMU and see its domUs come up
///
/// The machine has the identity, memory and network ports that host.toml names. Its network
/// reaches nothing outside. Exit code 0 only if every domU that should run said that it is up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
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
    /// Longest time from power-on, in seconds
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Leave the machine running and say how to reach it, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Where the serial log, the disk and the sockets go; without it, below build/
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let staged = Staged::new(&args.wanted)?;
    let (host, json) = (staged.host(), args.wanted.json);
    let root = &staged.opened.root;
    let directory = args.output.clone();
    let directory =
        directory.unwrap_or_else(|| root.join("build/rehearse").join(host.name.as_str()));
    let script = Script {
        configuration: staged.configuration(),
        iso: &staged.iso,
        dir: &directory,
        firmware: if args.uefi {
            Firmware::Uefi
        } else {
            Firmware::Bios
        },
        medium: medium(&args, &staged)?,
        accelerator: accelerator(&args),
        timeout: args.timeout,
        memory_mib: args.memory,
        blank_disks: &args.blank_disk,
    };
    if !json {
        println!(
            "{}   release {} ({})   commit {}   {}",
            host.name,
            staged.manifest.payload.release,
            staged.manifest.id.get(..12).unwrap_or_default(),
            short(&staged.commit.id),
            if args.uefi { "UEFI" } else { "BIOS" },
        );
    }
    let (mut rehearsal, kept) = rehearse(&script, &staged.tools, &mut |event| {
        if !json {
            println!("{}", event.line());
        }
    })?;
    let kept = kept.filter(|_| args.keep);
    if let Some(kept) = &kept {
        rehearsal.console = Some(kept.console.display().to_string());
        rehearsal.ssh_port = Some(kept.ssh_port);
    }
    show(json, &rehearsal, root)?;
    if let Some(kept) = kept {
        keep(kept);
    }
    Ok(if rehearsal.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn medium(args: &Args, staged: &Staged) -> Result<Medium> {
    Ok(match (args.medium.as_deref(), staged.is_medium) {
        (Some("usb") | None, true) => {
            ensure!(
                args.wanted.host_key.is_none(),
                "--host-key goes onto a config disk, and the medium {} has one of its own",
                staged.iso.display()
            );
            Medium::Stick
        }
        (Some(_), true) => bail!("a medium of `domus media build` is a stick, not a CD"),
        (Some("usb"), false) => Medium::Usb,
        (None, false) if args.uefi => Medium::Usb,
        (_, false) => Medium::Cd,
    })
}

fn accelerator(args: &Args) -> Option<Accelerator> {
    args.accelerator.as_deref().map(|name| match name {
        "kvm" => Accelerator::Kvm,
        _ => Accelerator::Tcg,
    })
}

fn show(json: bool, rehearsal: &Rehearsal, root: &Path) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(rehearsal)?);
        return Ok(());
    }
    println!("\n{}", status::render(&rehearsal.domus));
    let differs = render(&rehearsal.differs);
    println!("Not as on the real machine:\n{differs}");
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
