// SPDX-License-Identifier: GPL-3.0-or-later
//! UEFI firmware that knows keys: OVMF's variables with Secure Boot switched on, as an operator
//! leaves a machine, and a machine with them.

use crate::boots::Boot;
use crate::console::Console;
use crate::machine;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// OVMF that keeps its variables from whoever is not firmware (Debian: package ovmf).
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// Where the first variable stands: behind the headers of volume and store (EDK2,
/// MdeModulePkg/Include/Guid/VariableFormat.h).
const FIRST: usize = 0x64;
/// Where the store says that its variables are authenticated: `gEfiAuthenticatedVariableGuid`.
const STORE: usize = 0x48;
const AUTHENTICATED: [u8; 4] = [0x78, 0x2c, 0xf3, 0xaa];
/// `EFI_GLOBAL_VARIABLE` and `EFI_IMAGE_SECURITY_DATABASE_GUID` as they are stored.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
const DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// Kept, for boot and run time, changed only by who has the key above it.
const ATTRIBUTES: u32 = 0x27;

/// Enrols the lists `PK.esl`, `KEK.esl` and `db.esl` of the directory `lists`, as an operator does
/// in the firmware's menu: writes OVMF's variables to `to`.
///
/// # Panics
/// OVMF is not installed, or its empty variables are not what they were.
pub fn enrol(lists: &Path, to: &Path) {
    let mut store = fs::read(VARIABLES).expect("OVMF (apt-get install ovmf)");
    assert_eq!(store[STORE..STORE + 4], AUTHENTICATED);
    let mut at = FIRST;
    for (name, vendor) in [("PK", GLOBAL), ("KEK", GLOBAL), ("db", DATABASE)] {
        let data = fs::read(lists.join(format!("{name}.esl"))).expect("a list");
        let variable = variable(name, vendor, &data);
        let place = &mut store[at..at + variable.len()];
        assert!(place.iter().all(|byte| *byte == 0xff), "nothing is there");
        place.copy_from_slice(&variable);
        at = (at + variable.len()).next_multiple_of(4);
    }
    fs::write(to, store).expect("the variables");
}

/// `AUTHENTICATED_VARIABLE_HEADER` with name and data.
fn variable(name: &str, vendor: [u8; 16], data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let length = |bytes: usize| u32::try_from(bytes).expect("a length").to_le_bytes();
    let mut variable = vec![0xaa, 0x55, 0x3f, 0];
    variable.extend(ATTRIBUTES.to_le_bytes());
    // Count, time stamp (2026-01-01) and key index.
    variable.extend([0; 8]);
    variable.extend([0xea, 0x07, 1, 1]);
    variable.extend([0; 12]);
    variable.extend([0; 4]);
    variable.extend(length(name.len()));
    variable.extend(length(data.len()));
    variable.extend(vendor);
    variable.extend(name);
    variable.extend(data);
    variable
}

/// What starts the ISO on a stick.
#[derive(Debug, Clone, Copy)]
pub enum Firmware<'a> {
    /// A BIOS.
    Bios,
    /// UEFI with these variables, of which it changes a copy.
    Uefi(&'a Path),
}

/// A stick in a machine.
#[derive(Debug, Clone, Copy)]
pub struct Stick<'a> {
    /// What is on it.
    pub image: &'a Path,
    /// Whether it can be written.
    pub is_writable: bool,
}

impl<'a> Stick<'a> {
    /// With an ISO, which stays as it is.
    pub fn iso(image: &'a Path) -> Self {
        let is_writable = false;
        Self { image, is_writable }
    }

    /// With a medium, on which GRUB counts.
    pub fn medium(image: &'a Path) -> Self {
        let is_writable = true;
        Self { image, is_writable }
    }
}

/// A machine that starts from its firmware. It is switched off when this value is dropped.
#[derive(Debug)]
pub struct Booted {
    child: Child,
    /// Its serial console.
    pub console: Console,
}

impl Booted {
    /// Starts from this stick, with these disks, on a machine with the DMI UUID `uuid`.
    /// Its log is `NAME.log` in the directory of the boot.
    ///
    /// # Panics
    /// QEMU does not start.
    pub fn start(
        firmware: Firmware<'_>,
        stick: Stick<'_>,
        uuid: &str,
        disks: &[PathBuf],
        (boot, name): (&Boot, &str),
    ) -> Self {
        let at = |ending: &str| boot.path().join(format!("{name}.{ending}"));
        let (serial, log) = (at("console"), at("log"));
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-accel", "tcg"])
            .args(["-cpu", "qemu64,+svm,+npt,-cx16"])
            .args(["-smp", "2", "-m", "1024", "-uuid", uuid]);
        match firmware {
            Firmware::Bios => drop(command.args(["-machine", "pc"])),
            Firmware::Uefi(variables) => {
                let own = at("fd");
                fs::copy(variables, &own).expect("a copy of the variables");
                let own = own.display();
                command
                    .args(["-machine", "q35,smm=on"])
                    .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
                    .args(["-drive", &pflash(0, "readonly=on", CODE)])
                    .args(["-drive", &pflash(1, "readonly=off", &own.to_string())]);
            }
        }
        let image = stick.image.display();
        let protected = if stick.is_writable { "off" } else { "on" };
        command
            .args(["-device", "qemu-xhci", "-drive"])
            .arg(format!(
                "if=none,id=s,format=raw,readonly={protected},file={image}"
            ))
            .args(["-device", "usb-storage,drive=s,bootindex=0,removable=on"]);
        for (index, disk) in disks.iter().enumerate() {
            let disk = disk.display();
            command
                .arg("-drive")
                .arg(format!("if=none,id=d{index},format=raw,file={disk}"))
                .args(["-device", &format!("virtio-blk-pci,drive=d{index}")]);
        }
        let (path, log) = (serial.display(), log.display());
        command
            .arg("-chardev")
            .arg(format!(
                "socket,id=serial,path={path},server=on,wait=on,logfile={log}"
            ))
            .args(["-serial", "chardev:serial"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at("qemu.log")).expect("a log"));
        let mut child = command.spawn().expect("QEMU starts");
        let console = Console::new(machine::connect(&serial, &mut child));
        Self { child, console }
    }
}

fn pflash(unit: u32, mode: &str, file: &str) -> String {
    format!("if=pflash,unit={unit},format=raw,{mode},file={file}")
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
