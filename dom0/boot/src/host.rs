// SPDX-License-Identifier: GPL-3.0-or-later
//! The boot of a host: medium, config partition, `/etc`, systemd.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use domus_model::boot::{
    BootRecord, ConfigKind, ConfigSource, HOST_KEY, ReleaseIdentity, SLICE, Verified,
};
use domus_model::discovery::{self, Bound};
use domus_model::etc;
use domus_model::layers::Layer;
use domus_model::names::Name;
use domus_model::started::{Origin, Started};
use domus_model::units::Interval;
use domus_model::verity::{Integrity, ROOT_DEVICE, Verity};
use domus_repo::{Export, Judge, Repo, Statement};
use domus_system::documents::{self, HostSlice};
use domus_system::firmware::{self, Firmware};
use domus_system::kmod::Modules;
use domus_system::mount::{Attributes, Mount, Mounted};
use domus_system::secret::{self, Key};
use domus_system::{block, loopdev, machine, verity};
use rustix::system::{RebootCommand, reboot};

use crate::compose::{self, Source};
use crate::discover::{self, Candidate, Wanted};
use crate::init::Boot;
use crate::orders::{HostOrders, OnFailure};
use crate::rescue::{PAUSE, Request, Rescue};
use crate::trial::Guard;
use crate::{console, handover, record, repair, slots, trial};

const RELEASE: &str = "/domus/release.json";
/// What proves the release's root image.
const PROOF: &str = "/domus/root.json";
const MEDIUM: &str = "/run/domus/medium";
const ROOT: &str = "/sysroot";
/// So long the reason stays on the consoles before a machine starts again.
const REBOOT: Duration = Duration::from_secs(60);
/// As long where there is something else to boot.
const LOOK_AT_IT: Duration = Duration::from_secs(10);

/// Runs this machine as a host, as it was ordered. What it does when that fails is ordered too.
pub(crate) fn run(orders: &HostOrders, modules: &mut Modules) -> ! {
    let mut request = Request::Retry;
    let mut said = String::new();
    if orders.rescue_first {
        let mut record = record::new();
        if let Err(error) = begin(orders, modules, &mut record) {
            console::show(&format!("{error:#}\n"));
        }
        request = rescue(discovery::example(&[]));
    }
    loop {
        let mut record = record::new();
        let Err(error) = boot(orders, &request, modules, &mut record);
        let text = format!("{error:#}\n");
        if text != said {
            console::show(&text);
        }
        request = Request::Retry;
        match orders.on_failure {
            OnFailure::Shell => {
                request = rescue(discovery::example(&record.looked_at));
            }
            OnFailure::Wait => {
                if text != said {
                    console::say("looking again every 10 s (domus.rescue=wait)");
                }
                sleep(PAUSE);
            }
            OnFailure::Reboot => {
                console::say("domus.rescue=reboot");
                restart(REBOOT);
            }
        }
        said = text;
    }
}

/// Opens the rescue shell of a host, with the password of its release if there is one. A release
/// that is signed for the firmware gives no shell without.
pub(crate) fn rescue(example: &str) -> Request {
    let release = release().ok();
    let (password, is_locked) = release.map_or((None, false), |release| {
        (release.rescue_password, release.secure_boot.is_some())
    });
    if password.is_none() && is_locked {
        console::say(
            "no shell: this release is locked and has no rescue-password; looking again in 10 s",
        );
        sleep(PAUSE);
        return Request::Retry;
    }
    Rescue {
        root: Path::new(ROOT),
        password,
        example,
    }
    .open()
}

fn release() -> Result<ReleaseIdentity> {
    let text = fs::read(RELEASE).with_context(|| format!("reading {RELEASE}"))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {RELEASE}"))
}

fn boot(
    orders: &HostOrders,
    request: &Request,
    modules: &mut Modules,
    record: &mut BootRecord,
) -> Boot {
    let deadline = prepare(orders, request, modules, record);
    record.root = verity::integrity(ROOT_DEVICE).ok().or(record.root);
    // The record is kept whatever happened: it is what a rescue begins with.
    let written = record::write(record);
    let deadline = deadline.inspect_err(|error| leave(record, error))?;
    written?;
    console::say("starting systemd");
    let release = release_on_trial(record);
    let is_guarded = record.trial.is_some() || release.is_some();
    let guard = is_guarded.then_some(Guard { deadline, release });
    handover::to_systemd(Path::new(ROOT), guard)
}

/// Medium and id of the release, if that is on trial.
fn release_on_trial(record: &BootRecord) -> Option<(String, String)> {
    record.slot?.attempt?;
    Some((record.medium.clone()?, record.release_id.clone()?))
}

/// Starts the machine again without what is on trial, if that is what cannot be booted: nobody
/// has to look at it. Returns if it is not.
fn leave(record: &BootRecord, error: &anyhow::Error) {
    let root = Path::new(ROOT);
    let why = format!("it cannot be booted: {error:#}");
    let noted = match (&record.slot, &record.trial) {
        // GRUB counted this boot. A verdict needs more than a disk that was not there.
        (Some(booted), _) if booted.attempt.is_some() => match release_on_trial(record) {
            Some((medium, id)) if record.config.is_some() => slots::leave(root, &medium, &id, &why),
            _ => Ok(()),
        },
        (_, Some(trial)) => trial::fail(root, trial, &why),
        (_, None) => return,
    };
    console::show(&format!("{error:#}\n"));
    match noted {
        Ok(()) => restart(LOOK_AT_IT),
        // The shell comes after that.
        Err(error) => console::say(format!("{error:#}")),
    }
}

/// Starts the machine again after so long. Returns if it cannot.
fn restart(after: Duration) {
    let seconds = after.as_secs();
    console::say(format!("this machine starts again in {seconds} s"));
    sleep(after);
    rustix::fs::sync();
    let failed = reboot(RebootCommand::Restart);
    console::say(format!("it does not: {failed:?}"));
}

/// Says which release this is, finds its medium and mounts its root.
fn begin(
    orders: &HostOrders,
    modules: &mut Modules,
    record: &mut BootRecord,
) -> Result<ReleaseIdentity> {
    let id = &orders.release;
    let release = release()?;
    record.release = Some(release.clone());
    record.release_id = Some(id.into());
    record.slot = orders.slot;
    record.machine = Some(machine::identity());
    let signed = if release.unsigned {
        "   UNSIGNED: runs commits that nobody signed"
    } else {
        ""
    };
    let short = id.get(..12).unwrap_or(id);
    console::say(format!(
        "release {} ({short}) of fleet {}{signed}",
        release.version, release.fleet
    ));
    let firmware = firmware(modules);
    let verified = Verified::of(&release, firmware.secure_boot);
    console::say(format!("boot {}", verified.word()));
    record.verified = Some(verified);
    // A signed image has the same arguments in each slot.
    let loader = firmware.loader.filter(|_| release.secure_boot.is_some());
    let started = match (orders.slot, loader) {
        (Some(slot), _) => Started::Slot(slot),
        (None, Some(loader)) => Started::Loader(loader),
        (None, None) => Started::Alone,
    };
    let Origin { device, booted } = discover::medium(id, &started, modules)?;
    record.slot = booted;
    record.medium = Some(device.display().to_string());
    mount_root(&device, modules, record)?;
    record::note(record, "medium");
    Ok(release)
}

fn prepare(
    orders: &HostOrders,
    request: &Request,
    modules: &mut Modules,
    record: &mut BootRecord,
) -> Result<Interval> {
    let release = begin(orders, modules, record)?;
    let judge = Judge::new(&release)?;
    let candidate = match request {
        Request::Use(device) => discover::by_hand(device, Path::new(ROOT), &judge)
            .map_err(|reason| anyhow!("domus: {}: {reason}", device.display()))?,
        Request::Retry => {
            let wanted = Wanted {
                judge: &judge,
                release: &orders.release,
                root: Path::new(ROOT),
                named: orders.config.as_ref(),
                patience: orders.patience,
            };
            let search = wanted.search(modules)?;
            record.looked_at = search.seen;
            record.machine = Some(search.machine.clone());
            let (seen, machine) = (&record.looked_at, &search.machine);
            discover::choose(seen, orders.config.as_ref())
                .map_err(|why| anyhow!(discovery::refusal(&why, machine, seen)))?
        }
    };
    let slice = take(&candidate, &judge, record)?;
    compose_etc(&slice, record)?;
    Ok(slice.host.health.deadline)
}

/// What firmware says; nothing where it cannot be asked.
fn firmware(modules: &mut Modules) -> Firmware {
    let loaded = modules.load("efivarfs");
    let said = loaded.and_then(|()| firmware::read());
    said.unwrap_or_else(|error| {
        console::say(format!("{error:#}"));
        Firmware::default()
    })
}

/// Mounts the release's root read-only, from a device that gives what the root hash proves and
/// nothing else. Done once; a retry finds it there. If it fails nothing stays: the next try may be
/// from another medium.
fn mount_root(medium: &Path, modules: &mut Modules, record: &mut BootRecord) -> Result<()> {
    if Path::new(ROOT).join("usr").exists() {
        return Ok(());
    }
    let doing = || format!("reading {PROOF}");
    let proof = fs::read(PROOF).with_context(doing)?;
    let proof: Verity = serde_json::from_slice(&proof).with_context(doing)?;
    // The second computes the hashes where the CPU can; where not, the kernel has its own way.
    for module in ["dm_verity", "sha256_ssse3"] {
        modules.load(module)?;
    }
    let mounted = Mounted::new(&Mount::read_only("iso9660", medium), Path::new(MEDIUM))?;
    let image = loopdev::attach(&Path::new(MEDIUM).join("DOMUS/ROOT.IMG"), true)?;
    let device = verity::open(ROOT_DEVICE, &proof, &image);
    let done = device.and_then(|device| Mount::read_only("squashfs", &device).at(Path::new(ROOT)));
    record.root = verity::integrity(ROOT_DEVICE).ok();
    if let Err(error) = done {
        let _ = verity::close(ROOT_DEVICE);
        let _ = loopdev::detach(&image);
        let medium = medium.display();
        return Err(error.context(match record.root {
            Some(Integrity::Corrupted) => format!(
                "domus: the root image on {medium} is not the one that this release was built \
                 with: it is damaged, or somebody altered it. Write the medium again"
            ),
            _ => format!("mounting the root image on {medium}"),
        }));
    }
    // From now on it is mounted until the machine goes down.
    std::mem::forget(mounted);
    Ok(())
}

/// Mounts the config partition for good, which replays its journal, or a seed as it is, and exports
/// what it says that this host shall run, or else the best that can be.
fn take(candidate: &Candidate, judge: &Judge, record: &mut BootRecord) -> Result<HostSlice> {
    if candidate.is_damaged {
        let problem = repair::superblock(Path::new(ROOT), &candidate.device)?;
        console::say(&problem);
        record.problems.push(problem);
    }
    let config = Path::new(ROOT).join("config");
    let mut mount = if candidate.is_seed {
        discover::seed(candidate.kind, &candidate.device)
    } else if block::is_read_only(&candidate.device) {
        let problem = "/config cannot be written: its disk is write-protected".to_owned();
        console::say(&problem);
        record.problems.push(problem);
        Mount::read_only(candidate.kind, &candidate.device)
    } else {
        Mount::new(candidate.kind, &candidate.device, Attributes::Data)
    };
    if candidate.kind == "ext4" {
        mount.options.push(("errors", "remount-ro".into()));
    }
    mount.at(&config)?;
    let Bound { host, by } = &candidate.bound;
    let device = candidate.device.display().to_string();
    let what = match candidate.is_seed {
        true => ", a read-only seed: nothing is kept",
        false => "",
    };
    console::say(format!("config {device}, bound by {by}{what}"));
    let repo = Repo::open(&config.join("repo.git"))?;
    let export = |statement: &Statement| export(&repo, statement, judge, host);
    let trial = trial::begin(Path::new(ROOT), &repo, record);
    let chosen = judge.choose(&repo, trial.worst(), export)?;
    for refused in &chosen.refused {
        console::say(format!("NOT BOOTED: {refused}"));
    }
    for warning in &chosen.found.warnings {
        console::say(warning);
    }
    let commit = chosen.statement.commit.id;
    console::say(format!("commit {commit}, {}", chosen.note));
    trial.settle(&repo, &chosen.note.id, record);
    slots::settle(Path::new(ROOT), record);
    record.problems.extend(chosen.refused);
    record
        .problems
        .extend(chosen.found.warnings.iter().cloned());
    record.name = Some(host.clone());
    record.commit = Some(commit);
    record.statement = Some(chosen.note);
    record.config = Some(ConfigSource {
        device,
        kind: match candidate.is_seed {
            true => ConfigKind::Seed,
            false => ConfigKind::Partition,
        },
        bound_by: by.clone(),
        seed: None,
    });
    record::note(record, "config-mounted");
    Ok(chosen.found)
}

/// Exports the host's part of what a statement names into RAM, and proves it.
fn export(repo: &Repo, statement: &Statement, judge: &Judge, host: &Name) -> Result<HostSlice> {
    // A boot that was tried before may have left a slice.
    if Path::new(SLICE).exists() {
        fs::remove_dir_all(SLICE).with_context(|| format!("removing {SLICE}"))?;
    }
    let commit = &statement.commit.id;
    Export::new(repo, commit)?.slice(host, Path::new(SLICE))?;
    let slice = documents::read_slice(Path::new(SLICE), commit, host)?;
    judge.ensure_fits(statement, &slice.fleet)?;
    Ok(slice)
}

fn compose_etc(slice: &HostSlice, record: &mut BootRecord) -> Result<()> {
    let HostSlice { fleet, host, .. } = slice;
    let slice = Path::new(SLICE);
    let source = Source {
        tree: slice,
        local: &format!("pservers/{}", host.name),
        generated: &etc::for_host(fleet, host, slice.join("global/hosts").is_file()),
        layers: &host.layers,
        secret: &|layer, path| open(slice, layer, path),
    };
    compose::machine(Path::new(ROOT), &source, record)
}

/// Decrypts the file that a layer gives at a path, with the host's own key. A host makes it when
/// it boots for the first time, so that there is none yet.
fn open(slice: &Path, layer: &Layer, path: &str) -> Result<Vec<u8>> {
    let key = Path::new(ROOT).join(HOST_KEY.trim_start_matches('/'));
    let key = Key::read(&key, None)?;
    let file = slice.join(&layer.files[path].source);
    let encrypted = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    secret::open(&encrypted, &[key])
}
