// SPDX-License-Identifier: GPL-3.0-or-later
//! The initramfs: `domus-boot` as its first process, busybox for a rescue, and the modules that
//! a boot needs. Format: `Documentation/driver-api/early-userspace/buffer-format.rst`, newc.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context, Result};
use domus_system::kmod::Modules;

use crate::roottar::RootTar;

/// Where Debian has firmware.
const FIRMWARE: &str = "usr/lib/firmware/";

/// Microcode of CPUs, and what the archive of a vendor's is called: all of it, one after the other.
/// Format: `Documentation/arch/x86/microcode.rst`.
const MICROCODE: [(&str, &str); 2] = [
    ("intel-ucode/", "GenuineIntel.bin"),
    ("amd-ucode/microcode_amd", "AuthenticAMD.bin"),
];

/// What stands before an initramfs, uncompressed, for Xen to find microcode in: that of Debian's
/// intel-microcode and amd64-microcode. Empty if the tree has neither.
///
/// # Errors
/// The tree cannot be read.
pub fn microcode(tree: &RootTar) -> Result<Vec<u8>> {
    let mut early = Initramfs::default();
    for (from, to) in MICROCODE {
        let mut all = Vec::new();
        for path in tree.files_below(&format!("{FIRMWARE}{from}")) {
            // Beside the microcode lie signatures and initramfs-tools' own parts.
            if !path.ends_with(".asc") && !path.ends_with(".initramfs") {
                all.extend(tree.read(path)?);
            }
        }
        if !all.is_empty() {
            early.file(&format!("kernel/x86/microcode/{to}"), 0o644, &all);
        }
    }
    if early.bytes.is_empty() {
        return Ok(Vec::new());
    }
    early.entry("TRAILER!!!", 0, (0, 0), &[]);
    // What follows begins with another archive.
    early
        .bytes
        .resize(early.bytes.len().next_multiple_of(512), 0);
    Ok(early.bytes)
}

/// An initramfs being put together.
#[derive(Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inode: u32,
}

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Initramfs {
    /// Adds a file with the directories above it.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | mode, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, LINK, (0, 0), target.as_bytes());
    }

    /// Adds `/dev/console`, which the kernel opens before anything is mounted.
    pub fn console(&mut self) {
        self.parents("dev/console");
        self.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
    }

    /// Adds the modules that `wanted` names or whose path it accepts, with all they need, and
    /// the index that `domus-boot` reads.
    ///
    /// # Errors
    /// The tree has no kernel or no modules.
    pub fn modules(&mut self, tree: &RootTar, wanted: &Wanted<'_>) -> Result<()> {
        let root = "usr/lib/modules/";
        let dir = tree.only(root)?.to_owned();
        let release = dir[root.len()..].to_owned();
        let read = |name: &str| -> Result<String> {
            Ok(String::from_utf8_lossy(&tree.read(&format!("{dir}/{name}"))?).into_owned())
        };
        let [dep, alias, soft] = [
            read("modules.dep")?,
            read("modules.alias")?,
            read("modules.softdep")?,
        ];
        let index = Modules::parse(&dep, &alias, &soft);
        let mut chosen: BTreeSet<String> = BTreeSet::new();
        for path in index.paths().filter(|path| wanted.takes(path)) {
            let name = domus_system::kmod::name(path);
            chosen.extend(index.closure(&name).into_iter().map(str::to_owned));
        }
        anyhow::ensure!(
            !chosen.is_empty(),
            "the kernel {release} has none of the modules wanted"
        );
        let names: BTreeSet<String> = chosen
            .iter()
            .map(|path| domus_system::kmod::name(path))
            .collect();
        self.file(
            &format!("lib/modules/{release}/modules.dep"),
            0o644,
            &kept_deps(&dep, &chosen),
        );
        let alias = kept_aliases(&alias, &names);
        self.file(
            &format!("lib/modules/{release}/modules.alias"),
            0o644,
            &alias,
        );
        self.file(
            &format!("lib/modules/{release}/modules.softdep"),
            0o644,
            soft.as_bytes(),
        );
        for path in &chosen {
            let content = tree.read(&format!("{dir}/{path}"))?;
            self.file(&format!("lib/modules/{release}/{path}"), 0o644, &content);
        }
        Ok(())
    }

    /// Adds the firmware of the tree whose names begin so. It need not have any.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn firmware(&mut self, tree: &RootTar, wanted: &[&str]) -> Result<()> {
        for name in wanted {
            for path in tree.files_below(&format!("{FIRMWARE}{name}")) {
                self.file(path.trim_start_matches("usr/"), 0o644, &tree.read(path)?);
            }
        }
        Ok(())
    }

    /// The finished archive, compressed with zstd.
    ///
    /// # Errors
    /// The compressor fails.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        let mut encoder = zstd::Encoder::new(Vec::new(), 9).context("compressing")?;
        encoder.write_all(&self.bytes).context("compressing")?;
        encoder.finish().context("compressing")
    }

    fn parents(&mut self, path: &str) {
        let mut end = 0;
        while let Some(next) = path[end..].find('/') {
            let dir = path[..end + next].to_owned();
            end += next + 1;
            if self.directories.insert(dir.clone()) {
                self.entry(&dir, DIRECTORY, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inode += 1;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        let fields = [
            self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name, 0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Which modules an initramfs takes.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Directories below `kernel/`, with all that is in them.
    pub directories: &'a [&'a str],
    /// Modules by name, with `_` for `-`.
    pub names: &'a [&'a str],
}

impl Wanted<'_> {
    fn takes(&self, path: &str) -> bool {
        let below = path.strip_prefix("kernel/").unwrap_or(path);
        let name = domus_system::kmod::name(path);
        self.names.contains(&name.as_str())
            || self.directories.iter().any(|dir| {
                below
                    .strip_prefix(dir)
                    .is_some_and(|rest| rest.starts_with('/'))
            })
    }
}

fn kept_deps(dep: &str, chosen: &BTreeSet<String>) -> Vec<u8> {
    let lines = dep.lines().filter(|line| {
        line.split_once(':')
            .is_some_and(|(path, _)| chosen.contains(path))
    });
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into_bytes()
}

fn kept_aliases(alias: &str, names: &BTreeSet<String>) -> Vec<u8> {
    let lines = alias.lines().filter(|line| {
        line.split_whitespace()
            .last()
            .is_some_and(|name| names.contains(&name.replace('-', "_")))
    });
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Added;
    use crate::roottar;

    #[test]
    fn the_archive_is_one_that_cpio_reads() {
        let mut initramfs = Initramfs::default();
        initramfs.console();
        initramfs.file("lib/a/b", 0o644, b"content");
        initramfs.file("init", 0o755, b"#!");
        let packed = initramfs.finish().expect("finish");
        let bytes = zstd::decode_all(packed.as_slice()).expect("zstd");
        let listed = domus_system::program::Program::new("cpio")
            .args(["-itv", "--quiet"])
            .input(bytes)
            .output()
            .expect("cpio (apt-get install cpio)");
        let text = String::from_utf8(listed.stdout).expect("text");
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        assert_eq!(
            names,
            ["dev", "dev/console", "lib", "lib/a", "lib/a/b", "init"]
        );
        assert!(
            text.contains("crw-------") && text.contains("5,   1"),
            "{text}"
        );
        assert!(text.contains("-rwxr-xr-x"), "{text}");
    }

    #[test]
    fn microcode_and_firmware_are_found_where_debian_has_them() {
        let dir = tempfile::tempdir().expect("dir");
        let tar = dir.path().join("base.tar");
        let files = [
            ("usr/lib/firmware/amd-ucode/README", "no microcode"),
            ("usr/lib/firmware/amd-ucode/microcode_amd.bin", "A"),
            (
                "usr/lib/firmware/amd-ucode/microcode_amd.bin.asc",
                "a signature",
            ),
            ("usr/lib/firmware/amd-ucode/microcode_amd_fam17h.bin", "B"),
            ("usr/lib/firmware/intel-ucode/06-01-01", "C"),
            ("usr/lib/firmware/ql2400_fw.bin", "a disk's"),
            (
                "usr/lib/firmware/bnx2/bnx2-mips-06-6.2.1.fw",
                "a network card's",
            ),
        ];
        let files = files.map(|(path, text)| Added::text(path, text));
        roottar::write(&tar, &files).expect("written");
        let tree = RootTar::open(&tar).expect("open");
        let early = microcode(&tree).expect("microcode");
        assert_eq!(early.len() % 512, 0);
        let list = |bytes: Vec<u8>| {
            let cpio = domus_system::program::Program::new("cpio");
            let listed = cpio.args(["-it", "--quiet"]).input(bytes).output();
            String::from_utf8(listed.expect("cpio").stdout).expect("text")
        };
        let names = list(early.clone());
        for vendor in ["AuthenticAMD", "GenuineIntel"] {
            let name = format!("kernel/x86/microcode/{vendor}.bin\n");
            assert!(names.contains(&name), "{names}");
        }
        let text = String::from_utf8_lossy(&early);
        assert!(text.contains("AB") && text.contains('C') && !text.contains("signature"));

        let mut initramfs = Initramfs::default();
        initramfs.firmware(&tree, &["ql2"]).expect("firmware");
        let packed = initramfs.finish().expect("finish");
        let names = list(zstd::decode_all(packed.as_slice()).expect("zstd"));
        assert!(names.contains("lib/firmware/ql2400_fw.bin\n"), "{names}");
        assert!(!names.contains("bnx2"), "{names}");

        roottar::write(&tar, &[Added::directory("usr")]).expect("written");
        let none = RootTar::open(&tar).expect("open");
        assert_eq!(microcode(&none).expect("none"), [0; 0]);
    }

    #[test]
    fn modules_are_wanted_by_directory_or_name() {
        let wanted = Wanted {
            directories: &["drivers/ata"],
            names: &["xen_blkfront"],
        };
        assert!(wanted.takes("kernel/drivers/ata/ahci.ko.xz"));
        assert!(wanted.takes("kernel/drivers/block/xen-blkfront.ko.xz"));
        assert!(!wanted.takes("kernel/drivers/atax/ahci.ko.xz"));
    }
}
