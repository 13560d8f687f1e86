// SPDX-License-Identifier: GPL-3.0-or-later
//! Starting one domU: image, config disk, volumes, bridges, loop devices, domain.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Error, Result};
use domus_model::domain::{Domain, Vbd};
use domus_model::etc::domu_uuid;
use domus_model::fleet::DomU;
use domus_model::guest::{CONFIG_DEVICE, ROOT_DEVICE, data_device};
use domus_system::link;
use domus_virt::Hypervisor;

use crate::config_disk;
use crate::context::Context;
use crate::image::Image;
use crate::loops;
use crate::volume::{self, Volume};

/// How long a bridge may take to come: systemd-networkd makes it.
const BRIDGE_PATIENCE: Duration = Duration::from_secs(10);
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
    let config = config_disk::write(context, domu)?;
    let pool = &context.host.storage.domus;
    let volumes = domu.disks.iter();
    let volumes = volumes.map(|disk| volume::prepare(&context.paths, pool, disk));
    let volumes = volumes.collect::<Result<Vec<Volume>>>()?;
    for vif in &domu.vifs {
        link::wait_for_bridge(vif.bridge.as_str(), BRIDGE_PATIENCE)?;
    }
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let vbd = |source, target: String, read_only| Vbd {
        source: text(source),
        target,
        read_only,
    };
    let mut disks = vec![
        vbd(loops::attach(&image.root, true)?, ROOT_DEVICE.into(), true),
        vbd(loops::attach(&config, true)?, CONFIG_DEVICE.into(), true),
    ];
    for (index, volume) in volumes.into_iter().enumerate() {
        let device = match volume {
            Volume::File(file) => loops::attach(&file, false)?,
            Volume::Device(device) => device,
        };
        disks.push(vbd(device, data_device(index), false));
    }
    let domain = Domain {
        domu,
        uuid: domu_uuid(&context.fleet, domu),
        kernel: text(image.kernel),
        initrd: text(image.initrd),
        disks,
    };
    hypervisor
        .create(&domain.xml())
        .map_err(|error| explain(error, hypervisor, domu))
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
