// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU as libvirt domain XML for the Xen driver. Format: libvirt.org/formatdomain.html;
//! disks are block devices that dom0 set up, because libxl cannot be given plain files here.

use std::fmt::Write;

use uuid::Uuid;

use crate::fleet::{DomU, Kind};
use crate::guest::CONFIG_DEVICE;

/// A domU with everything resolved that its host provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain<'a> {
    /// What the operator wrote.
    pub domu: &'a DomU,
    /// Its stable UUID.
    pub uuid: Uuid,
    /// Kernel of the image, as a path in dom0.
    pub kernel: String,
    /// Initramfs of the image, as a path in dom0.
    pub initrd: String,
    /// Block devices in dom0, in the order of their names in the guest.
    pub disks: Vec<Vbd>,
}

/// A block device of dom0 in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vbd {
    /// Device in dom0.
    pub source: String,
    /// Device in the guest, without `/dev/`.
    pub target: String,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// The guest reads the processor's time stamp counter itself. By default Xen takes each reading
/// upon itself where the counter is not invariant: four of five exits of a guest that boots; see
/// `docs/decisions/tsc.md`.
const TSC: &str = "<clock offset='utc'><timer name='tsc' mode='native'/></clock>";

impl Domain<'_> {
    /// The kernel command line of the guest.
    fn command_line() -> String {
        format!("domus.config={CONFIG_DEVICE} console=hvc0 quiet systemd.condition_needs_update=no")
    }

    /// The XML that libvirt creates the domain from.
    pub fn xml(&self) -> String {
        let (kind, machine) = match self.domu.kind {
            Kind::Pv => ("linux", "xenpv"),
            Kind::Pvh => ("xenpvh", "xenpvh"),
        };
        let mut xml = format!(
            "<domain type='xen'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  \
             <memory unit='bytes'>{memory}</memory>\n  <vcpu>{vcpus}</vcpu>\n  <os>\n    \
             <type arch='x86_64' machine='{machine}'>{kind}</type>\n    <kernel>{kernel}</kernel>\n    \
             <initrd>{initrd}</initrd>\n    <cmdline>{cmdline}</cmdline>\n  </os>\n  \
             <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  \
             <on_crash>destroy</on_crash>\n  {TSC}\n  <devices>\n",
            name = self.domu.name,
            uuid = self.uuid,
            memory = self.domu.memory.bytes(),
            vcpus = self.domu.vcpus,
            kernel = escape(&self.kernel),
            initrd = escape(&self.initrd),
            cmdline = escape(&Self::command_line()),
        );
        for vbd in &self.disks {
            let read_only = if vbd.read_only { "<readonly/>" } else { "" };
            let _ = writeln!(
                xml,
                "    <disk type='block' device='disk'><driver name='phy' type='raw'/>\
                 <source dev='{}'/><target dev='{}' bus='xen'/>{read_only}</disk>",
                escape(&vbd.source),
                escape(&vbd.target),
            );
        }
        for vif in &self.domu.vifs {
            let _ = writeln!(
                xml,
                "    <interface type='bridge'><source bridge='{}'/><mac address='{}'/></interface>",
                vif.bridge, vif.mac,
            );
        }
        xml + "    <console type='pty'><target type='xen'/></console>\n  </devices>\n</domain>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
        .replace('"', "&quot;")
}
