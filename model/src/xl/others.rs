// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings of xl that no document has, and where in Domus they belong.

use super::value::{Kind, Setting};
use crate::bad_value::quoted;

/// What domUs do anyway: nothing is lost with these.
const SAME: [(&str, &str); 1] = [("on_reboot", "restart")];

/// What becomes of a setting that no document has; `None` if domUs are so anyway.
pub(super) fn message(setting: &Setting) -> Option<String> {
    let key = setting.key.as_str();
    let text = match &setting.value.kind {
        Kind::Text(text) => text.as_str(),
        _ => "",
    };
    if SAME.contains(&(key, text)) {
        return None;
    }
    let message = match key {
        "on_reboot" | "on_watchdog" | "on_soft_reset" => {
            format!("{}: a domU that reboots starts again", quoted(text))
        }
        _ => belongs(key).to_owned(),
    };
    Some(message)
}

/// Where a setting belongs.
fn belongs(key: &str) -> &'static str {
    match key {
        "kernel" | "ramdisk" | "dtb" | "device_tree" => "the image has its own kernel",
        "bootloader" | "bootloader_args" => "domUs boot the kernel of their image directly",
        "root" => "the root is that of the image",
        "cpus_soft" | "pool" | "vnuma" | "vcpu_affinity" | "sched" | "period" | "slice"
        | "latency" | "budget" | "extratime" => "CPUs are shared by `pin`, `weight` and `cap`",
        "usbctrl" | "usbdev" | "dtdev" | "ioports" | "iomem" | "irqs" | "gfx_passthru"
        | "pci_permissive" | "pci_msitranslate" | "pci_power_mgmt" | "pci_seize" | "rdm" => {
            "Domus passes on PCI devices alone, and those without options"
        }
        "vfb" | "vnc" | "vnclisten" | "vncdisplay" | "vncunused" | "vncpasswd" | "vncconsole"
        | "sdl" | "opengl" | "spice" | "stdvga" | "vga" | "videoram" | "keymap" | "vkb"
        | "vdispl" | "nographic" => "domUs have a text console only: `xl console NAME` in dom0",
        "usb"
        | "serial"
        | "parallel"
        | "soundhw"
        | "boot"
        | "firmware"
        | "bios"
        | "acpi"
        | "apic"
        | "pae"
        | "hdtype"
        | "device_model_version"
        | "device_model_override"
        | "device_model_args"
        | "device_model"
        | "viridian"
        | "xen_platform_pci"
        | "hpet"
        | "ne2000"
        | "usbversion"
        | "usbdevice"
        | "vendor_device" => "domUs have no emulated devices and no firmware",
        "tpm" | "vtpm" => "Domus has no virtual TPMs",
        "seclabel" | "init_seclabel" | "device_model_stubdomain_seclabel" => {
            "Domus sets no XSM labels"
        }
        "p9" | "pvcalls" | "channel" | "vsnd" | "virtio" => "Domus has no such devices",
        "driver_domain" | "claim_mode" | "xend_suspend_evtchn_compat" => {
            "Domus has domUs of one sort only"
        }
        "rtc_timeoffset" | "tsc_mode" | "timer_mode" => {
            "a domU's clock is UTC or local time; its time zone belongs to vservers/NAME/etc/localtime"
        }
        "ip" | "dhcp" | "netmask" | "gateway" | "broadcast" => {
            "addresses belong to vservers/NAME/etc/systemd/network"
        }
        "hostname" => "a domU's host name is its name",
        "nfs_server" | "nfs_root" => "domUs start from images; no root is on NFS",
        "vncviewer"
        | "memory_static_min"
        | "shadow_memory"
        | "hap"
        | "nestedhvm"
        | "cpuid"
        | "nomigrate"
        | "oos"
        | "altp2m"
        | "max_grant_frames"
        | "max_maptrack_frames"
        | "max_grant_version"
        | "event_channels"
        | "passthrough"
        | "msr_relaxed" => "it is left to Xen's default",
        _ => "no setting that Domus knows",
    }
}
