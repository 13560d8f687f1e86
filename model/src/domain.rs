// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU as libvirt domain XML for the Xen driver. Format: libvirt.org/formatdomain.html;
//! disks are block devices that dom0 set up, because libxl cannot be given plain files here.

use std::fmt::Write;
use std::net::IpAddr;

use uuid::Uuid;

use crate::fleet::{Clock, DomU, Kind, Vif};
use crate::guest::config_device;
use crate::units::PciDevice;

/// A domU with everything resolved that its host provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain<'a> {
    /// What the operator wrote.
    pub domu: &'a DomU,
    /// Its stable UUID.
    pub uuid: Uuid,
    /// What starts it, as a path in dom0: the image's kernel, or GRUB.
    pub kernel: String,
    /// The image's initramfs, as a path in dom0, if it has one.
    pub initrd: Option<String>,
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
const TSC: &str = "<timer name='tsc' mode='native'/>";

/// As what libxl calls the hotplug program for a card that may send what it likes.
pub const OPEN_VIF: &str = "vif-open";

impl Domain<'_> {
    /// The kernel command line of the guest. A foreign kernel knows nothing of Domus.
    fn command_line(&self) -> String {
        if self.domu.foreign {
            return self.domu.kernel_args.join(" ");
        }
        let config = config_device(self.domu.kind);
        let mut line =
            format!("domus.config={config} console=hvc0 quiet systemd.condition_needs_update=no");
        for arg in &self.domu.kernel_args {
            line += " ";
            line += arg;
        }
        line
    }

    /// The XML that libvirt creates the domain from. A cap is not in it: libvirt has no word for
    /// that; see [`crate::tune`].
    pub fn xml(&self) -> String {
        let DomU {
            name,
            memory,
            vcpus,
            ..
        } = self.domu;
        let mut xml = format!(
            "<domain type='xen'>\n  <name>{name}</name>\n  <uuid>{}</uuid>\n  \
             <memory unit='bytes'>{}</memory>\n",
            self.uuid,
            self.domu.most_memory().bytes(),
        );
        if self.domu.most_memory() > *memory {
            let memory = memory.bytes();
            let _ = writeln!(
                xml,
                "  <currentMemory unit='bytes'>{memory}</currentMemory>"
            );
        }
        let _ = match self.domu.most_vcpus() {
            most if most > *vcpus => writeln!(xml, "  <vcpu current='{vcpus}'>{most}</vcpu>"),
            _ => writeln!(xml, "  <vcpu>{vcpus}</vcpu>"),
        };
        xml += &self.cputune();
        xml += &self.os();
        xml += &self.features();
        let clock = match self.domu.clock {
            Clock::Utc => "utc",
            Clock::Localtime => "localtime",
        };
        let _ = write!(
            xml,
            "  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  \
             <on_crash>destroy</on_crash>\n  <clock offset='{clock}'>{TSC}</clock>\n  <devices>\n",
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
            let card = card(vif, self.domu.kind);
            let _ = writeln!(xml, "    <interface type='bridge'>{card}</interface>");
        }
        for device in &self.domu.pci {
            xml += &hostdev(device);
        }
        xml + "    <console type='pty'><target type='xen'/></console>\n  </devices>\n</domain>\n"
    }

    /// Which CPUs it runs on, and how large its share of them is. libxl looks at each vCPU's own.
    fn cputune(&self) -> String {
        let mut tune = String::new();
        if self.domu.weight != DomU::WEIGHT {
            let _ = writeln!(tune, "    <shares>{}</shares>", self.domu.weight);
        }
        if let Some(pin) = &self.domu.pin {
            for vcpu in 0..self.domu.most_vcpus() {
                let _ = writeln!(tune, "    <vcpupin vcpu='{vcpu}' cpuset='{pin}'/>");
            }
        }
        match tune.is_empty() {
            true => tune,
            false => format!("  <cputune>\n{tune}  </cputune>\n"),
        }
    }

    fn os(&self) -> String {
        let (kind, machine) = match self.domu.kind {
            Kind::Pv => ("linux", "xenpv"),
            Kind::Pvh => ("xenpvh", "xenpvh"),
            Kind::Hvm => ("hvm", "xenfv"),
        };
        let mut os = format!(
            "  <os>\n    <type arch='x86_64' machine='{machine}'>{kind}</type>\n    \
             <kernel>{}</kernel>\n",
            escape(&self.kernel)
        );
        if let Some(initrd) = &self.initrd {
            let _ = writeln!(os, "    <initrd>{}</initrd>", escape(initrd));
        }
        let line = self.command_line();
        if !line.is_empty() {
            let _ = writeln!(os, "    <cmdline>{}</cmdline>", escape(&line));
        }
        os + "  </os>\n"
    }

    fn features(&self) -> String {
        let features = match self.domu.kind {
            // What libvirt does not see here it switches off.
            Kind::Hvm => "<acpi/><apic/><pae/>",
            // The guest keeps the ranges free that devices of the host are at, as xl sees to it.
            Kind::Pv if !self.domu.pci.is_empty() => "<xen><e820_host state='on'/></xen>",
            Kind::Pv | Kind::Pvh => return String::new(),
        };
        format!("  <features>{features}</features>\n")
    }
}

/// A card: what is inside its element.
fn card(vif: &Vif, kind: Kind) -> String {
    let mut card = format!(
        "<source bridge='{}'/><mac address='{}'/>",
        vif.bridge, vif.mac
    );
    if kind == Kind::Hvm {
        // Else QEMU emulates one beside it, which joins the bridge as a tap device.
        card += "<model type='netfront'/>";
    }
    if !vif.filter {
        let _ = write!(card, "<script path='{OPEN_VIF}'/>");
    }
    for address in &vif.addresses {
        let family = match address {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        };
        let _ = write!(card, "<ip address='{address}' family='{family}'/>");
    }
    if let Some(rate) = vif.rate {
        let average = rate.kib();
        let _ = write!(
            card,
            "<bandwidth><outbound average='{average}'/></bandwidth>"
        );
    }
    card
}

fn hostdev(device: &PciDevice) -> String {
    let PciDevice {
        domain,
        bus,
        slot,
        function,
    } = device;
    format!(
        "    <hostdev mode='subsystem' type='pci' managed='yes'><source>\
         <address domain='{domain:#06x}' bus='{bus:#04x}' slot='{slot:#04x}' \
         function='{function:#x}'/></source></hostdev>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
        .replace('"', "&quot;")
}
