// SPDX-License-Identifier: GPL-3.0-or-later
//! A medium in a machine whose firmware starts it, for as long as GRUB takes. The block that it
//! counts in is read and written here by its bytes, not by the code under test.

use domus_model::slots::Choice;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// UEFI firmware (Debian: package ovmf).
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";
/// How the block begins.
const BLOCK: &[u8] = b"# GRUB Environment Block\n";
/// Where a medium has its EFI system partition, and where its slots begin, in bytes.
const ESP: (u64, u64) = (2 << 20, 66 << 20);
const LIMIT: Duration = Duration::from_secs(180);

/// How a medium is started.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// By UEFI, not by a BIOS.
    pub uefi: bool,
    /// From a stick whose switch is on.
    pub protected: bool,
    /// What counts is said on the second serial port.
    pub second_port: bool,
}

/// By a BIOS, from a stick that can be written.
pub const BIOS: How = How {
    uefi: false,
    protected: false,
    second_port: false,
};

struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `stick` until the serial port has said all of these, or the machine starts again, and
/// returns what it said. Logs are `dir/NAME.*`.
///
/// # Panics
/// It does not say so.
pub fn says(stick: &Path, (dir, name): (&Path, &str), how: How, texts: &[&str]) -> String {
    let log = dir.join(format!("{name}.log"));
    let _ = fs::remove_file(&log);
    let protected = if how.protected { "on" } else { "off" };
    let file = format!("format=raw,readonly={protected},file={}", stick.display());
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-machine", "pc", "-accel", "tcg"])
        .args(["-m", "1024", "-cpu", "qemu64,+svm,+npt,-cx16"])
        .args(["-drive", &format!("if=none,id=s,{file}")])
        .args(["-device", "qemu-xhci"])
        .args(["-device", "usb-storage,drive=s,bootindex=0,removable=on"])
        .args(
            how.second_port
                .then_some(["-serial", "null"])
                .into_iter()
                .flatten(),
        )
        .args(["-serial", &format!("file:{}", log.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(dir.join(format!("{name}.qemu.log"))).expect("a log"));
    if how.uefi {
        command.args(["-bios", OVMF]);
    }
    let mut machine = Machine(command.spawn().expect("QEMU starts"));
    let begin = Instant::now();
    loop {
        let ended = machine.0.try_wait().expect("QEMU can be waited for");
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        if texts.iter().all(|wanted| text.contains(wanted)) {
            return text;
        }
        let is_late = begin.elapsed() > LIMIT;
        assert!(
            ended.is_none() && !is_late,
            "no {texts:?} in {name}:\n{text}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Where the block is on a medium, in bytes.
fn place(stick: &Path) -> u64 {
    let file = File::open(stick).expect("a medium");
    let mut esp = vec![0; usize::try_from(ESP.1 - ESP.0).expect("a length")];
    file.read_exact_at(&mut esp, ESP.0).expect("a partition");
    let mut sectors = esp.chunks(512).zip(0..);
    let found = sectors.find(|(sector, _)| sector.starts_with(BLOCK));
    ESP.0 + 512 * found.expect("a block").1
}

/// What the block says.
///
/// # Panics
/// There is none.
pub fn block(stick: &Path) -> Result<Choice, String> {
    let file = File::open(stick).expect("a medium");
    let mut block = vec![0; 1024];
    file.read_exact_at(&mut block, place(stick)).expect("it");
    Choice::parse(&block)
}

/// Writes the block.
///
/// # Panics
/// It cannot be written.
pub fn set_block(stick: &Path, block: &[u8]) {
    let file = OpenOptions::new().write(true).open(stick);
    let written = file.and_then(|file| file.write_all_at(block, place(stick)));
    written.expect("written");
}
