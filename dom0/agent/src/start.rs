// SPDX-License-Identifier: GPL-3.0-or-later
//! Starting one domU: image, config disk, volumes, bridges, loop devices, domain.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};
use domus_model::domain::{Domain, Vbd};
use domus_model::etc::domu_uuid;
use domus_model::fleet::{Disk, DomU, Fs, Kind};
use domus_model::guest::{config_device, data_device, root_device};
use domus_system::link;
use domus_system::program::Program;
use domus_system::snapshot;
use domus_virt::Hypervisor;

use crate::config_disk;
use crate::context::Context;
use crate::image::Image;
use crate::loops;
use crate::tune;
use crate::volume::{self, Volume};
use crate::warn;

/// How long a bridge may take to come: systemd-networkd makes it.
const BRIDGE_PATIENCE: Duration = Duration::from_secs(10);
/// Debian's GRUB as a kernel of a guest: it reads the menu of whatever disk has one (package grub-xen-host).
const GRUB_PV: &str = "/usr/lib/grub-xen/grub-x86_64-xen.bin";
const GRUB_PVH: &str = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin";
/// Where Xen's own words about a domain that could not be created are.
const XEN_LOG: &str = "/var/log/libvirt/libxl/libxl-driver.log";

/// Starts `domu` and returns the number of its domain. Loop devices that a failed attempt leaves
/// are released with all that nobody uses; volumes stay.
///
/// # Errors
/// The image is not there, a volume cannot be had, a bridge is missing, or Xen refuses.
pub(crate) fn start(context: &Context, hypervisor: &Hypervisor, domu: &DomU) -> Result<u32> {
    let locked = context.wanted.locked.images.get(&domu.image);
    let image = Image::find(&context.paths, &domu.image, locked)?;
    let (kernel, initrd) = boots(context, domu, &image)?;
    let config = config_disk::write(context, domu)?;
    let disks = domu.disks.iter();
    let disks = disks.map(|disk| prepare(context, disk));
    let disks = disks.collect::<Result<Vec<Volume>>>()?;
    for vif in &domu.vifs {
        link::wait_for_bridge(vif.bridge.as_str(), BRIDGE_PATIENCE)?;
    }
    if !domu.pci.is_empty() {
        // libvirt hands devices to its driver, and does not know the module's name.
        Program::new("modprobe").arg("xen-pciback").run()?;
    }
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let vbd = |source, target: String, read_only| Vbd {
        source: text(source),
        target,
        read_only,
    };
    let (root, read_only) = root(domu, &image, &disks)?;
    let mut vbds = vec![
        vbd(root, root_device(domu.kind).into(), read_only),
        vbd(
            loops::attach(&config, true)?,
            config_device(domu.kind).into(),
            true,
        ),
    ];
    for (index, volume) in disks.into_iter().enumerate() {
        if domu.disks[index].fs == Fs::Scratch {
            continue;
        }
        let (device, read_only) = match volume {
            Volume::File(file) => (loops::attach(&file, false)?, false),
            Volume::ReadOnly(file) => (loops::attach(&file, true)?, true),
            Volume::Device(device) => (device, false),
        };
        vbds.push(vbd(device, data_device(domu.kind, index), read_only));
    }
    let domain = Domain {
        domu,
        uuid: domu_uuid(&context.fleet, domu),
        kernel: text(kernel),
        initrd: initrd.map(text),
        disks: vbds,
    };
    let created = hypervisor.create(&domain.xml());
    let id = created.map_err(|error| explain(error, hypervisor, domu))?;
    // It runs, if not all as it should.
    if let Err(error) = tune::give(hypervisor, domu) {
        warn(&error);
    }
    Ok(id)
}

/// What the domU is started with, and the initramfs of that.
fn boots(context: &Context, domu: &DomU, image: &Image) -> Result<(PathBuf, Option<PathBuf>)> {
    let (name, of) = (&domu.name, &domu.image);
    match (domu.foreign, image.foreign) {
        (true, false) => {
            bail!("{of} is an image of Domus's own: take `foreign` out of {name}.toml")
        }
        (false, true) => bail!("{of} is a foreign image: write foreign = true in {name}.toml"),
        _ => {}
    }
    if let Some(kernel) = &image.kernel {
        return Ok((kernel.clone(), image.initrd.clone()));
    }
    let grub = context.paths.at(match domu.kind {
        Kind::Pv => GRUB_PV,
        Kind::Pvh => GRUB_PVH,
        Kind::Hvm => bail!("a foreign image is not booted as hvm: write kind = \"pvh\" or \"pv\""),
    });
    ensure!(
        grub.is_file(),
        "{of} boots by its own GRUB, and this release has none to read its menu: {} is not there; build a newer one",
        grub.display()
    );
    Ok((grub, None))
}

/// The device that the guest has as its root, and whether it can only read it.
fn root(domu: &DomU, image: &Image, disks: &[Volume]) -> Result<(PathBuf, bool)> {
    let below = loops::attach(&image.root, true)?;
    let is_scratch = |disk: &Disk| disk.fs == Fs::Scratch;
    let Some(index) = domu
        .disks
        .iter()
        .position(is_scratch)
        .filter(|_| domu.foreign)
    else {
        return Ok((below, true));
    };
    let store = match &disks[index] {
        Volume::File(file) => loops::attach(file, false)?,
        Volume::Device(device) => device.clone(),
        Volume::ReadOnly(image) => bail!("nothing is written to the image {}", image.display()),
    };
    Ok((snapshot::open(domu.name.as_str(), &below, &store)?, false))
}

/// What a data disk is kept on, made if it has to be.
fn prepare(context: &Context, disk: &Disk) -> Result<Volume> {
    let Some(image) = disk.backing.image() else {
        return volume::prepare(&context.paths, &context.host.storage.domus, disk);
    };
    let locked = context.wanted.locked.images.get(image);
    let image = Image::find(&context.paths, image, locked)
        .with_context(|| format!("finding the disk {}", disk.name))?;
    Ok(Volume::ReadOnly(image.root))
}

/// Adds what is known about a failed creation: libvirt itself says little.
fn explain(error: Error, hypervisor: &Hypervisor, domu: &DomU) -> Error {
    match hypervisor.free_memory() {
        Ok(free) if free < domu.memory => error.context(format!(
            "Xen has {} MiB free, it wants {}",
            free.mib(),
            domu.memory
        )),
        _ if format!("{error:#}").contains("libxenlight") => {
            error.context(format!("Xen refused it; details are in {XEN_LOG}"))
        }
        _ => error,
    }
}
