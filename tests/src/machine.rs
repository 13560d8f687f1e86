// SPDX-License-Identifier: GPL-3.0-or-later
//! A release's own kernel and initramfs, started by QEMU without Xen: seconds instead of minutes
//! for what `domus-boot` decides.

use crate::console::Console;
use crate::fleet::Fleet;
use crate::iso9660::Image;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Until a boot has decided, which includes 10 s of waiting for disks that may come late.
pub const DECISION: Duration = Duration::from_secs(120);
/// Arguments of the kernel that give a root shell on the serial port and start nothing else:
/// beside a boot that goes on, a command takes ten times as long.
pub const SHELL: &str = "systemd.debug_shell=ttyS0 systemd.unit=debug-shell.service \
    systemd.show_status=no loglevel=3";
/// The same shell, beside a boot up to where services would start.
pub const BASIC: &str = "systemd.debug_shell=ttyS0 systemd.unit=basic.target \
    systemd.show_status=no loglevel=3";

/// A release to be started: its ISO, and the kernel and initramfs that are on it.
#[derive(Debug)]
pub struct Release {
    iso: PathBuf,
    id: String,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Release {
    /// That of `fleet`, whose ISO is built. Kernel and initramfs are copied to `dir`.
    ///
    /// # Panics
    /// They cannot be written.
    pub fn of(fleet: &Fleet, dir: &Path) -> Self {
        Self::at(&fleet.iso(), &fleet.release_id(), dir)
    }

    /// That of the ISO at `iso`, with this id.
    ///
    /// # Panics
    /// As [`Self::of`].
    pub fn at(iso: &Path, id: &str, dir: &Path) -> Self {
        let image = Image::open(iso);
        let copy = |place: &str, name: &str| {
            let to = dir.join(name);
            fs::write(&to, image.loaded(place)).expect("a copy");
            to
        };
        let menu = String::from_utf8(image.read("BOOT/GRUB.CFG")).expect("a menu");
        // Of each entry the first module is the kernel, the second the initramfs.
        let modules = menu
            .lines()
            .filter_map(|line| line.trim().strip_prefix("module2 "));
        let mut places = modules.map(|module| {
            let module = module.trim_start_matches("--nounzip ");
            module.split(' ').next().expect("a place")
        });
        let mut place = || places.next().expect("a module");
        Self {
            id: id.to_owned(),
            kernel: copy(place(), "vmlinuz"),
            initrd: copy(place(), "initrd.img"),
            iso: iso.to_owned(),
        }
    }
}

impl Release {
    /// The same release with another ISO in the drive.
    #[must_use]
    pub fn from_iso(self, iso: PathBuf) -> Self {
        Self { iso, ..self }
    }
}

/// What a machine is put together from.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// What it boots.
    pub release: &'a Release,
    /// Its DMI UUID.
    pub uuid: &'a str,
    /// Its disks, in this order.
    pub disks: Vec<(Bus, PathBuf)>,
    /// The MAC of its network card, which is connected to nothing; none, if it has no card.
    pub mac: Option<&'a str>,
    /// The MACs of its other network cards, all on one hub: the first is eno1, the second eno2.
    pub cards: &'a [&'a str],
    /// Arguments of the kernel, beyond its release and console.
    pub arguments: &'a str,
    /// What its clock begins with.
    pub clock: &'a str,
    /// Whether its disks are write-protected.
    pub read_only: bool,
}

impl<'a> Parts<'a> {
    /// A machine with these virtio disks: vda, vdb and so on.
    pub fn new(release: &'a Release, uuid: &'a str, disks: &[PathBuf]) -> Self {
        let disks = disks.iter().map(|disk| (Bus::Virtio, disk.clone()));
        Self {
            release,
            uuid,
            disks: disks.collect(),
            mac: None,
            cards: &[],
            arguments: "",
            clock: "utc",
            read_only: false,
        }
    }
}

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// SATA, behind AHCI.
    Sata,
    /// A disc in a CD drive.
    Cd,
    /// `NVMe`, each its own controller.
    Nvme,
    /// SCSI behind virtio.
    VirtioScsi,
    /// SAS behind a LSI MegaRAID.
    MegaRaid,
    /// SCSI behind an AMD 53C974.
    Scsi,
    /// A USB stick.
    Usb,
    /// A USB disk that speaks UAS.
    Uas,
}

impl Bus {
    /// QEMU's name of a disk on it, and what it hangs on. The file's name is a virtio disk's serial
    /// number, as far as it has room.
    fn devices(self, index: usize, disk: &Path) -> (String, &'static [&'static str]) {
        match self {
            Self::Virtio => {
                let name = disk.file_stem().unwrap_or_default().to_string_lossy();
                let serial: String = name.chars().take(20).collect();
                (format!("virtio-blk-pci,serial={serial}"), &[])
            }
            Self::Nvme => (format!("nvme,serial=nvme{index}"), &[]),
            Self::Cd => ("ide-cd".into(), &[]),
            Self::Sata => ("ide-hd,bus=ahci.0".into(), &["ich9-ahci,id=ahci"]),
            Self::VirtioScsi => ("scsi-hd,bus=vscsi.0".into(), &["virtio-scsi-pci,id=vscsi"]),
            Self::MegaRaid => ("scsi-hd,bus=mega.0".into(), &["megasas,id=mega"]),
            Self::Scsi => ("scsi-hd,bus=esp.0".into(), &["am53c974,id=esp"]),
            Self::Usb => ("usb-storage,bus=xhci.0".into(), &["qemu-xhci,id=xhci"]),
            Self::Uas => (
                "scsi-hd,bus=uas.0".into(),
                &["qemu-xhci,id=xhci", "usb-uas,id=uas,bus=xhci.0"],
            ),
        }
    }
}

/// A machine that runs. It is switched off when this value is dropped.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    /// Its serial console.
    pub console: Console,
    monitor: BufReader<UnixStream>,
}

impl Machine {
    /// Switches a machine of these parts on. Its log is `dir/NAME.log`.
    ///
    /// # Panics
    /// QEMU does not start.
    pub fn start(parts: &Parts<'_>, (dir, name): (&Path, &str)) -> Self {
        let Parts {
            release,
            uuid,
            arguments,
            clock,
            ..
        } = parts;
        let [serial, monitor] = ["console", "monitor"].map(|what| {
            let path = dir.join(format!("{name}.{what}"));
            let _ = fs::remove_file(&path);
            path
        });
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-S"])
            .args([
                "-display", "none", "-vga", "std", "-machine", "pc", "-accel", "tcg",
            ])
            // Of two CPUs the emulator lets one run what the other is just patching (int3).
            .args(["-smp", "1", "-m", "512", "-uuid", uuid])
            .args(["-rtc", &format!("base={clock}")])
            .arg("-kernel")
            .arg(&release.kernel)
            .arg("-initrd")
            .arg(&release.initrd)
            .arg("-append")
            .arg(format!(
                "domus.release={} console=tty0 console=ttyS0 loglevel=6 {arguments}",
                release.id
            ));
        let iso = release.iso.display();
        command
            .args([
                "-drive",
                &format!("if=none,id=iso,format=raw,readonly=on,file={iso}"),
            ])
            .args(["-device", "ide-cd,drive=iso"]);
        if let Some(mac) = parts.mac {
            command.args(["-device", &format!("virtio-net-pci,mac={mac}")]);
        }
        for (index, mac) in parts.cards.iter().enumerate() {
            let number = index + 1;
            let card = format!("virtio-net-pci,netdev=hub{number},acpi-index={number},mac={mac}");
            command
                .args(["-netdev", &format!("hubport,id=hub{number},hubid=0")])
                .args(["-device", &card]);
        }
        let mut controllers = Vec::new();
        for (index, (bus, disk)) in parts.disks.iter().enumerate() {
            let (device, above) = bus.devices(index, disk);
            for controller in above {
                if !controllers.contains(controller) {
                    controllers.push(controller);
                    command.args(["-device", controller]);
                }
            }
            let disk = disk.display();
            let protected = if parts.read_only { "on" } else { "off" };
            let file = format!("format=raw,readonly={protected},file={disk}");
            command
                .args(["-drive", &format!("if=none,id=d{index},{file}")])
                .args(["-device", &format!("{device},drive=d{index}")]);
        }
        let log = dir.join(format!("{name}.log"));
        let (path, log) = (serial.display(), log.display());
        command
            .arg("-chardev")
            .arg(format!(
                "socket,id=serial,path={path},server=on,wait=off,logfile={log}"
            ))
            .args(["-serial", "chardev:serial"])
            .args([
                "-qmp",
                &format!("unix:{},server=on,wait=off", monitor.display()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join(format!("{name}.qemu.log"))).expect("a log"));
        let mut child = command.spawn().expect("QEMU starts");
        let console = Console::new(connect(&serial, &mut child));
        let monitor = BufReader::new(connect(&monitor, &mut child));
        let mut machine = Self {
            child,
            console,
            monitor,
        };
        machine.answer();
        machine.ask(r#"{"execute": "qmp_capabilities"}"#);
        // Only now does the first instruction run: nothing of the console is missed.
        machine.ask(r#"{"execute": "cont"}"#);
        machine
    }

    /// Plugs in one more disk while the machine runs.
    ///
    /// # Panics
    /// QEMU refuses.
    pub fn plug(&mut self, disk: &Path) {
        let file = serde_json::json!({"driver": "file", "filename": disk});
        let add = serde_json::json!({
            "execute": "blockdev-add",
            "arguments": {"driver": "raw", "node-name": "late", "file": file},
        });
        self.ask(&add.to_string());
        let device = serde_json::json!({
            "execute": "device_add",
            "arguments": {"driver": "virtio-blk-pci", "drive": "late", "id": "late"},
        });
        self.ask(&device.to_string());
    }

    fn ask(&mut self, question: &str) {
        let stream = self.monitor.get_mut();
        writeln!(stream, "{question}").expect("the monitor listens");
        // Events may come first; there are few.
        for _ in 0..100 {
            let answer = self.answer();
            assert!(answer.get("error").is_none(), "{question}: {answer}");
            if answer.get("return").is_some() {
                return;
            }
        }
        panic!("no answer to {question}");
    }

    fn answer(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.monitor
            .read_line(&mut line)
            .expect("the monitor answers");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(path: &Path, child: &mut Child) -> UnixStream {
    let begin = Instant::now();
    loop {
        if let Ok(stream) = UnixStream::connect(path) {
            let limit = Some(Duration::from_secs(30));
            stream.set_read_timeout(limit).expect("a time limit");
            return stream;
        }
        let ended = child.try_wait().expect("QEMU can be waited for");
        assert!(ended.is_none(), "QEMU ended: {ended:?}; see its log");
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "no {}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
