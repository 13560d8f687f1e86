// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 volume backup` and `restore`: a volume as a stream that proves that it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use domus_model::fleet::{Backing, Disk, VolumePool};
use domus_model::units::Size;
use domus_model::volumes::backup::{END, HEAD, Head, end};
use domus_model::volumes::{DiskOf, Kind, Volume};
use domus_system::atomic::{self, Pending};
use domus_system::digest::Sum;
use domus_system::interrupt;
use rustix::fs::OFlags;

use super::claim::Claim;
use super::copy::{Sparse, fill, pour};
use super::look::{Look, runs};
use super::{Misfit, file, lvm, misfit, size};
use crate::Refused;
use crate::apply::release_loops;
use crate::context::Context;
use crate::lock::Lock;
use crate::observe::Observer;

/// Writes a copy of the volume of `of` to the file `to`, which is new, or to standard output.
///
/// # Errors
/// It changes while it would be copied (refused), it cannot be read, or there is no room for it.
pub(crate) fn backup(context: &Context, of: &DiskOf, to: Option<&Path>) -> Result<()> {
    interrupt::catch().context("catching signals")?;
    if to.is_none() && io::stdout().is_terminal() {
        let refusal = "a volume is nothing for a terminal: --to FILE, or a pipe";
        bail!(Refused(refusal.to_owned()));
    }
    let source = Source::of(context, of)?;
    let shown = source.path.display().to_string();
    // A device that dom0 has mounted is refused by the kernel: it would change meanwhile.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(alone(&source.path)?);
    let file = options.open(&source.path);
    let mut file = file.with_context(|| format!("reading {shown}"))?;
    let head = Head {
        fleet: context.fleet.clone(),
        of: of.clone(),
        size: size(&source.path)?,
    };
    let from = (shown.as_str(), &mut file);
    match to {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let sum = write(&head, from, ("the copy", &mut out))?;
            out.flush().context("writing the copy")?;
            eprintln!("{}", said(&head, &sum, "to standard output"));
        }
        Some(path) => {
            let sum = write_file(&head, from, path)?;
            println!("{}", said(&head, &sum, &format!("to {}", path.display())));
        }
    }
    Ok(())
}

/// A flag by which the kernel opens a block device only if nobody has it for himself.
fn alone(path: &Path) -> Result<i32> {
    let kind = path
        .metadata()
        .with_context(|| format!("finding {}", path.display()))?;
    let flag = OFlags::EXCL.bits().cast_signed();
    Ok(if kind.file_type().is_block_device() {
        flag
    } else {
        0
    })
}

fn said(head: &Head, sum: &str, what: &str) -> String {
    let size = Size::from_kib(head.size >> 10);
    format!("{}   {size}   sha256:{sum}   {what}", head.of)
}

/// Writes head, volume and digest. Returns the digest.
fn write(
    head: &Head,
    from: (&str, &mut File),
    (to, out): (&str, &mut impl Write),
) -> Result<String> {
    let mut sum = Sum::default();
    let bytes = head.bytes();
    sum.add(&bytes);
    let doing = || format!("writing {to}");
    out.write_all(&bytes).with_context(doing)?;
    pour(from, (to, out), head.size, &mut sum)?;
    let sum = sum.hex();
    out.write_all(end(&sum).as_bytes()).with_context(doing)?;
    Ok(sum)
}

/// The same to a new file, which is there whole or not at all.
fn write_file(head: &Head, from: (&str, &mut File), path: &Path) -> Result<String> {
    let shown = path.display().to_string();
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    ensure!(
        directory.is_dir(),
        "writing {shown}: {} is no directory",
        directory.display()
    );
    if path.symlink_metadata().is_ok() {
        let refusal = format!("{shown} is there: a copy replaces no other; name another file");
        bail!(Refused(refusal));
    }
    let mut pending = Pending::new(path)?;
    let mut out = Sparse::new(pending.file());
    let sum = write(head, from, (&shown, &mut out))?;
    out.finish().with_context(|| format!("writing {shown}"))?;
    pending.commit(0o600)?;
    Ok(sum)
}

/// What is copied, and what keeps it from changing meanwhile.
struct Source {
    path: PathBuf,
    _hold: Hold,
}

enum Hold {
    /// No domU is given the volume.
    Claim { _claim: Claim },
    /// Its domU runs on.
    Snapshot {
        // It goes before anybody else makes another.
        _snapshot: lvm::Passing,
        _claim: Claim,
    },
}

impl Source {
    fn of(context: &Context, of: &DiskOf) -> Result<Self> {
        let mut observer = Observer::new(context);
        // Nobody starts a domU meanwhile, who would be given the volume.
        let _lock = Lock::take(&context.paths)?;
        release_loops(context, &mut observer);
        let look = Look::new(context, &mut observer)?;
        let (volume, path) = look.of(of)?;
        let path = path.with_context(|| format!("{} is not there: it has no data", volume.name))?;
        let busy = |name: &str| anyhow!("somebody copies, restores or destroys {name} just now");
        let Some(user) = &volume.used_by else {
            let claim = Claim::shared(&context.paths, &volume.name)?;
            let claim = claim.ok_or_else(|| busy(&volume.name))?;
            if let (Kind::Lvm, VolumePool::VolumeGroup(group)) =
                (volume.kind, &context.host.storage.domus)
            {
                lvm::activate(group, &volume.name)?;
            }
            return Ok(Self {
                path: path.to_owned(),
                _hold: Hold::Claim { _claim: claim },
            });
        };
        let (Kind::Lvm, VolumePool::VolumeGroup(group)) =
            (volume.kind, &context.host.storage.domus)
        else {
            bail!(Refused(format!(
                "{of} is in use: {user} has it, and what is no logical volume has no snapshot that \
                 could be copied: `domus-dom0 stop {}` first",
                of.domu
            )));
        };
        let copied = format!("{}.copied", volume.name);
        let claim = Claim::alone(&context.paths, &copied)?.ok_or_else(|| busy(&volume.name))?;
        let snapshot = lvm::Passing::of(group, &volume.name)?;
        Ok(Self {
            path: snapshot.path.clone(),
            _hold: Hold::Snapshot {
                _snapshot: snapshot,
                _claim: claim,
            },
        })
    }
}

/// Replaces the volume of `of` by what a copy in the file `from`, or on standard input, holds, once
/// all of that was read and found right. `of_another`: whatever disk it is a copy of.
///
/// # Errors
/// The domU runs (refused), the copy is of something else (refused) or damaged, or there is no room.
/// The volume is as it was then.
pub(crate) fn restore(
    context: &Context,
    of: &DiskOf,
    from: Option<&Path>,
    of_another: bool,
) -> Result<()> {
    interrupt::catch().context("catching signals")?;
    let Some(path) = from else {
        if io::stdin().is_terminal() {
            let refusal = "a volume does not come from a terminal: --from FILE, or a pipe";
            bail!(Refused(refusal.to_owned()));
        }
        return restore_from(
            context,
            of,
            ("standard input", &mut io::stdin().lock()),
            of_another,
        );
    };
    let shown = path.display().to_string();
    let mut file = File::open(path).with_context(|| format!("reading {shown}"))?;
    restore_from(context, of, (&shown, &mut file), of_another)
}

fn restore_from(
    context: &Context,
    of: &DiskOf,
    (from, reader): (&str, &mut impl Read),
    of_another: bool,
) -> Result<()> {
    let disk = declared(context, of)?;
    let mut observer = Observer::new(context);
    // What would be refused in the end is refused before all is read.
    drop(lock_unless_in_use(context, &mut observer, of)?);
    let mut sum = Sum::default();
    let head = read_head(context, of, (from, &mut *reader), of_another, &mut sum)?;
    let name = disk.backing.volume().unwrap_or_default();
    let restores = format!("{name}.restored");
    let claim = Claim::alone(&context.paths, &restores)?;
    let _claim = claim.with_context(|| format!("somebody else restores {of} just now"))?;
    let incoming = Incoming::new(context, name, head.size)?;
    let whole = incoming.take((from, reader), &head, sum)?;
    if let Some(Misfit { why, .. }) = misfit(incoming.path(), disk)? {
        bail!(Refused(format!(
            "what {from} is a copy of {why}: {of} is as it was"
        )));
    }
    let _lock = lock_unless_in_use(context, &mut observer, of)?;
    let now = context.again()?;
    let is_same = declared(&now, of)?.backing == disk.backing
        && now.host.storage.domus == context.host.storage.domus;
    ensure!(
        is_same,
        "{of} is another by now: it is as it was; restore it again"
    );
    let claim = Claim::alone(&context.paths, name)?;
    let _claim = claim.with_context(|| format!("somebody copies {of} just now"))?;
    incoming.accept()?;
    println!("{}", said(&head, &whole, &format!("restored from {from}")));
    Ok(())
}

/// The disk, if it is one of which Domus makes the volume.
fn declared<'c>(context: &'c Context, of: &DiskOf) -> Result<&'c Disk> {
    let domu = context.domu(&of.domu)?;
    let disk = domu.disks.iter().find(|disk| disk.name == of.disk);
    let disk = disk.with_context(|| format!("{} has no disk {}", of.domu, of.disk))?;
    let what = match &disk.backing {
        Backing::Volume { .. } => return Ok(disk),
        Backing::Device { path } => {
            format!("the device {path}, of which nothing is kept beside it")
        }
        Backing::Image { image } => format!("the image {image}, which nobody writes to"),
    };
    bail!(Refused(format!("{of} is {what}: it is not restored")))
}

/// Refuses what would be changed while somebody uses it. While the lock is held nobody starts a domU.
fn lock_unless_in_use(context: &Context, observer: &mut Observer, of: &DiskOf) -> Result<Lock> {
    let domu = &of.domu;
    let lock = Lock::take(&context.paths)?;
    release_loops(context, observer);
    if runs(observer, domu)? {
        bail!(Refused(format!(
            "{domu} runs: `domus-dom0 stop {domu}` first"
        )));
    }
    let look = Look::new(context, observer)?;
    let (volume, _) = look.of(of)?;
    let of_it = |it: &&Volume| it.snapshot_of.as_ref() == Some(&volume.name);
    if let Some(snapshot) = look.volumes.iter().find(of_it) {
        let (name, snapshot) = (&volume.name, &snapshot.name);
        bail!(Refused(format!(
            "{name} has the snapshot {snapshot}, which would go with it: \
             `domus-dom0 volume destroy {snapshot}` first"
        )));
    }
    match &volume.used_by {
        Some(user) => bail!(Refused(format!("{of} is in use: {user} has it"))),
        None => Ok(lock),
    }
}

fn read_head(
    context: &Context,
    of: &DiskOf,
    (from, reader): (&str, &mut impl Read),
    of_another: bool,
    sum: &mut Sum,
) -> Result<Head> {
    let mut bytes = vec![0; HEAD];
    let length = fill(reader, &mut bytes).with_context(|| format!("reading {from}"))?;
    let head = Head::read(&bytes[..length]).map_err(|why| anyhow!("reading {from}: {why}"))?;
    sum.add(&bytes);
    if !of_another && (&head.fleet, &head.of) != (&context.fleet, of) {
        let (fleet, other) = (&head.fleet, &head.of);
        bail!(Refused(format!(
            "{from} is a copy of {other} of the fleet {fleet}, and not of {of}; --of-another takes it \
             all the same"
        )));
    }
    Ok(head)
}

/// What is to take the place of a volume.
enum Incoming {
    File(Pending),
    Lvm(lvm::Incoming),
}

impl Incoming {
    fn new(context: &Context, name: &str, size: u64) -> Result<Self> {
        let doing = || format!("making room for {name}");
        Ok(match &context.host.storage.domus {
            VolumePool::Directory(dir) => {
                let path = file::real(&context.paths.at(dir), name);
                if let Some(dir) = path.parent() {
                    atomic::sweep(dir);
                }
                Self::File(Pending::new(&path).with_context(doing)?)
            }
            VolumePool::VolumeGroup(group) => {
                Self::Lvm(lvm::Incoming::new(group, name, size).with_context(doing)?)
            }
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(pending) => pending.temporary(),
            Self::Lvm(incoming) => &incoming.path,
        }
    }

    /// Takes the rest of a copy, and proves it. Returns its digest.
    fn take(
        &self,
        (from, reader): (&str, &mut impl Read),
        head: &Head,
        mut sum: Sum,
    ) -> Result<String> {
        let shown = self.path().display().to_string();
        let doing = || format!("writing {shown}");
        let mut file = OpenOptions::new()
            .write(true)
            .open(self.path())
            .with_context(doing)?;
        match self {
            Self::File(_) => {
                let mut out = Sparse::new(&file);
                pour(
                    (from, &mut *reader),
                    (&shown, &mut out),
                    head.size,
                    &mut sum,
                )?;
                out.finish().with_context(doing)?;
            }
            // What was there before is no zeros.
            Self::Lvm(_) => pour(
                (from, &mut *reader),
                (&shown, &mut file),
                head.size,
                &mut sum,
            )?,
        }
        let sum = sum.hex();
        let mut said = vec![0; END + 1];
        let length = fill(reader, &mut said).with_context(|| format!("reading {from}"))?;
        ensure!(
            length >= END,
            "reading {from}: it is cut off; the volume is as it was"
        );
        ensure!(
            said[..length] == *end(&sum).as_bytes(),
            "reading {from}: it is damaged: it is not what was written; the volume is as it was"
        );
        file.sync_all().with_context(doing)?;
        Ok(sum)
    }

    fn accept(self) -> Result<()> {
        match self {
            Self::File(pending) => pending.commit(0o600),
            Self::Lvm(incoming) => incoming.accept(),
        }
    }
}
