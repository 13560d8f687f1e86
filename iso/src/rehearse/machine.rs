// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine that host.toml describes, as QEMU's command line. Pure.

use std::path::{Path, PathBuf};

use domus_model::fleet::{Address, Host, Network, Release};
use domus_model::names::Port;
use domus_model::rehearsal::{EVENT_PORT, Firmware};

use super::Accelerator;

/// What the ISO is put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A CD drive.
    Cd,
    /// A USB stick.
    Usb,
    /// The medium is a USB stick with release and configuration. What the machine writes to it is
    /// forgotten.
    Stick,
}

/// Memory that Xen itself and QEMU's firmware take, in MiB.
const OVERHEAD_MIB: u64 = 96;
/// OVMF's code and the variables it starts with (Debian: package ovmf).
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// See [`OVMF_CODE`].
pub(crate) const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// The host it is.
    pub host: &'a Host,
    /// Firmware.
    pub firmware: Firmware,
    /// What the ISO is put into.
    pub medium: Medium,
    /// What runs it.
    pub accelerator: Accelerator,
    /// The ISO.
    pub iso: PathBuf,
    /// Disks, the config disk among them.
    pub disks: Vec<PathBuf>,
    /// Where sockets and logs go.
    pub dir: PathBuf,
    /// TCP port on loopback that leads to the host's SSH.
    pub ssh_port: u16,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// Memory of a rehearsed host in MiB: what dom0 and its domUs ask for, at least what Xen gives
/// dom0 at boot, and Xen's own.
pub(crate) fn memory_mib(release: &Release, host: &Host) -> u64 {
    let domus: u64 = host.domus.values().map(|domu| domu.memory.mib()).sum();
    let promised = host.dom0.memory.mib() + domus;
    promised.max(release.dom0_memory.mib()) + OVERHEAD_MIB
}

/// Path of the serial log below a rehearsal's directory.
pub(crate) fn serial_log(dir: &Path) -> PathBuf {
    dir.join("serial.log")
}

/// Path of the console's socket.
pub(crate) fn console(dir: &Path) -> PathBuf {
    dir.join("console.sock")
}

/// Path of the file that the event port writes to.
pub(crate) fn events(dir: &Path) -> PathBuf {
    dir.join("events.jsonl")
}

/// Path of the machine's own copy of OVMF's variables.
pub(crate) fn variables(dir: &Path) -> PathBuf {
    dir.join("uefi-variables.fd")
}

impl Machine<'_> {
    /// Arguments of `qemu-system-x86_64`.
    pub fn arguments(&self) -> Vec<String> {
        let mut line = Line(Vec::new());
        line.words("-nodefaults -no-user-config -display none -vga none -no-reboot -smp 2");
        line.option("-name", &format!("domus-{}", self.host.name));
        line.option("-accel", self.accelerator.name());
        line.option("-cpu", self.accelerator.cpu());
        line.option("-m", &self.memory_mib.to_string());
        self.identity(&mut line);
        self.firmware(&mut line);
        self.medium(&mut line);
        for (index, disk) in self.disks.iter().enumerate() {
            let path = escape(disk);
            line.option(
                "-drive",
                &format!("if=none,id=disk{index},format=raw,file={path}"),
            );
            line.option("-device", &format!("virtio-blk-pci,drive=disk{index}"));
        }
        self.networks(&mut line);
        self.channels(&mut line);
        line.0
    }

    fn identity(&self, line: &mut Line) {
        let machine = &self.host.machine;
        if let Some(uuid) = machine.dmi_uuid {
            line.option("-uuid", &uuid.to_string());
        }
        if let Some(serial) = &machine.serial {
            line.option(
                "-smbios",
                &format!("type=1,serial={}", serial.replace(',', ",,")),
            );
        }
    }

    fn firmware(&self, line: &mut Line) {
        match self.firmware {
            Firmware::Bios => line.option("-machine", "pc"),
            Firmware::Uefi => {
                let variables = escape(&variables(&self.dir));
                line.option("-machine", "pc");
                let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}");
                line.option("-drive", &code);
                line.option(
                    "-drive",
                    &format!("if=pflash,unit=1,format=raw,file={variables}"),
                );
            }
        }
    }

    fn medium(&self, line: &mut Line) {
        let iso = escape(&self.iso);
        line.option(
            "-drive",
            &match self.medium {
                Medium::Stick => format!("if=none,id=iso,format=raw,snapshot=on,file={iso}"),
                _ => format!("if=none,id=iso,format=raw,readonly=on,file={iso}"),
            },
        );
        match self.medium {
            Medium::Cd => line.option("-device", "ide-cd,drive=iso,bootindex=0"),
            Medium::Usb | Medium::Stick => {
                line.option("-device", "qemu-xhci");
                line.option("-device", "usb-storage,drive=iso,bootindex=0,removable=on");
            }
        }
    }

    /// The ports of the host, each once, with dom0's address on what has no tag there. Those with
    /// VLANs alone come last: nobody answers there.
    fn ports(&self) -> Vec<(&Port, Option<&Address>)> {
        let mut ports: Vec<(&Port, Option<&Address>)> = Vec::new();
        let mut networks: Vec<&Network> = self.host.networks.values().collect();
        networks.sort_by_key(|network| network.vlan.is_some());
        for network in networks {
            let is_ipv4 = |it: &&Address| it.net().is_some_and(|net| net.addr().is_ipv4());
            let address = network.address.iter().find(is_ipv4);
            let address = address.filter(|_| network.vlan.is_none());
            for port in &network.ports {
                if ports.iter().all(|(known, _)| *known != port) {
                    ports.push((port, address));
                }
            }
        }
        ports
    }

    /// A card for each port, with the name if that is `enoN`, or the address, that host.toml has for
    /// it; the first leads to dom0's SSH. None reaches anything outside this machine.
    fn networks(&self, line: &mut Line) {
        let ports = self.ports();
        let is_of_port = |mac| ports.iter().any(|(port, _)| **port == Port::Mac(mac));
        let mut mac = self.host.machine.mac.filter(|mac| !is_of_port(*mac));
        for (index, (port, address)) in ports.into_iter().enumerate() {
            let mut net = format!("user,id=net{index},restrict=on");
            let mut guest = String::new();
            if let Some(address) = address.and_then(Address::net) {
                net += &format!(",net={}", address.trunc());
                guest = address.addr().to_string();
            }
            if index == 0 {
                net += &format!(",hostfwd=tcp:127.0.0.1:{}-{guest}:22", self.ssh_port);
            }
            line.option("-netdev", &net);
            let mut device = format!("virtio-net-pci,netdev=net{index}");
            let own = match port {
                Port::Named(name) => {
                    let number = name.strip_prefix("eno").and_then(|n| n.parse::<u32>().ok());
                    if let Some(number) = number {
                        device += &format!(",acpi-index={number}");
                    }
                    mac.take()
                }
                Port::Mac(own) => Some(*own),
            };
            if let Some(mac) = own {
                device += &format!(",mac={mac}");
            }
            line.option("-device", &device);
        }
    }

    fn channels(&self, line: &mut Line) {
        let (console, log) = (escape(&console(&self.dir)), escape(&serial_log(&self.dir)));
        let serial = format!("socket,id=serial,path={console},server=on,wait=off,logfile={log}");
        line.option("-chardev", &serial);
        line.option("-serial", "chardev:serial");
        line.option(
            "-chardev",
            &format!("file,id=events,path={}", escape(&events(&self.dir))),
        );
        line.option("-device", "virtio-serial-pci");
        line.option(
            "-device",
            &format!("virtserialport,chardev=events,name={EVENT_PORT}"),
        );
    }
}

/// QEMU's own quoting: a comma in a value is doubled.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

struct Line(Vec<String>);

impl Line {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(str::to_owned));
    }

    fn option(&mut self, key: &str, value: &str) {
        self.0.extend([key.to_owned(), value.to_owned()]);
    }
}
