// SPDX-License-Identifier: GPL-3.0-or-later
//! A medium with two slots in files, as a host in a temporary directory sees it: the partitions that
//! the kernel shows, the block on the EFI system partition, and releases as small as they can be.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use domus_model::manifest::{
    EFI_IMAGE, FileEntry, MANIFEST, MENU, Payload, ReleaseManifest, publisher,
};
use domus_model::slots::{Choice, FILE, Slot};
use domus_model::verity::Verity;
use domus_system::digest;
use domus_system::iso::{HEAD, seal};

use crate::common::Host;

const SECTOR: usize = 2048;

/// Partitions of the disk `vda`, by their names.
const PARTITIONS: [(&str, &str); 5] = [
    ("vda2", "domus-esp"),
    ("vda3", "domus-a"),
    ("vda4", "domus-b"),
    ("vda6", "domus-a-efi"),
    ("vda7", "domus-b-efi"),
];

/// A medium of signed releases, of which slot A boots.
pub(crate) fn insert(host: &Host) {
    for (name, label) in PARTITIONS {
        let dir = format!("sys/devices/vda/{name}");
        host.write(&format!("{dir}/uevent"), &format!("PARTNAME={label}\n"));
        let class = host.at("sys/class/block");
        fs::create_dir_all(&class).expect("mkdir");
        symlink(host.at(&dir), class.join(name)).expect("a link");
        host.write(&format!("dev/{name}"), "");
    }
    write_block(host, &Choice::only(Slot::A));
}

/// The node of a partition.
pub(crate) fn node(host: &Host, name: &str) -> PathBuf {
    host.at("dev").join(name)
}

/// Writes the EFI system partition: a FAT with the block, its clusters of 2 KiB. /GRUB is the fifth,
/// the block the seventh.
pub(crate) fn write_block(host: &Host, choice: &Choice) {
    let mut disk = vec![0; 64 * 1024];
    let mut word = |place: usize, value: u16| {
        disk[place..place + 2].copy_from_slice(&value.to_le_bytes());
    };
    // Bytes of a sector, sectors before the tables, entries of the root, sectors in all and of a table.
    for (place, value) in [(11, 512), (14, 1), (17, 16), (19, 128), (22, 3)] {
        word(place, value);
    }
    (disk[13], disk[16]) = (4, 2);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let cluster = |number: usize| 8 * 512 + (number - 2) * 2048;
    let block = choice.render();
    for (place, name, attribute, first) in
        [(7 * 512, FILE[0], 0x10, 5), (cluster(5), FILE[1], 0x20, 7)]
    {
        disk[place..place + 11].copy_from_slice(name);
        (disk[place + 11], disk[place + 26]) = (attribute, first);
        let size = u32::try_from(block.len()).expect("small");
        disk[place + 28..place + 32].copy_from_slice(&size.to_le_bytes());
    }
    disk[cluster(7)..cluster(7) + block.len()].copy_from_slice(&block);
    fs::write(node(host, "vda2"), disk).expect("written");
}

/// What the block says.
pub(crate) fn choice(host: &Host) -> Choice {
    let disk = fs::read(node(host, "vda2")).expect("a partition");
    let place = 8 * 512 + 5 * 2048;
    Choice::parse(&disk[place..place + domus_model::slots::LENGTH]).expect("a block")
}

/// What firmware starts of the releases here.
pub(crate) const STARTED: &[u8] = b"a file system with a signed program";

/// Writes the ISO of a release that is signed for this certificate, or for none; returns its id.
pub(crate) fn release(to: &Path, version: &str, certificate: Option<&str>) -> String {
    let payload = Payload {
        fleet: "example".parse().expect("a fleet"),
        release: version.into(),
        unsigned: true,
        suite: "trixie".into(),
        xen_arguments: String::new(),
        parts: [
            "BOOT/XEN.GZ",
            "BOOT/VMLINUZ",
            "BOOT/INITRD.IMG",
            "DOMUS/ROOT.IMG",
            MENU,
        ]
        .map(|name| (name.to_owned(), digest::of_bytes(version)))
        .into(),
        root: Verity {
            root_hash: String::new(),
            salt: String::new(),
            blocks: 0,
        },
        secure_boot: certificate.map(str::to_owned),
    };
    let id = digest::of_bytes(serde_json::to_vec(&payload).expect("JSON"));
    let entry = FileEntry {
        size: STARTED.len() as u64,
        sha256: digest::of_bytes(STARTED),
    };
    let manifest = ReleaseManifest {
        version: 1,
        id: id.clone(),
        payload,
        files: BTreeMap::from([(EFI_IMAGE.to_owned(), entry)]),
        packages: BTreeMap::new(),
    };
    let text = serde_json::to_vec(&manifest).expect("JSON");
    let files = [(EFI_IMAGE, STARTED), (MANIFEST, &text)];
    fs::write(to, iso(&id, &publisher(certificate), files)).expect("written");
    seal::seal(to).expect("sealed");
    id
}

/// A number in both orders of bytes (ECMA-119, 7.3.3).
fn both(value: usize) -> [u8; 8] {
    let value = u32::try_from(value).expect("small");
    let mut both = [0; 8];
    both[..4].copy_from_slice(&value.to_le_bytes());
    both[4..].copy_from_slice(&value.to_be_bytes());
    both
}

/// The record of a file or directory (ECMA-119, 9.1).
fn record(name: &[u8], is_directory: bool, sector: usize, size: usize) -> Vec<u8> {
    let length = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![0; length];
    record[0] = u8::try_from(length).expect("short");
    record[2..10].copy_from_slice(&both(sector));
    record[10..18].copy_from_slice(&both(size));
    record[25] = u8::from(is_directory) << 1;
    record[28..32].copy_from_slice(&[1, 0, 0, 1]);
    record[32] = u8::try_from(name.len()).expect("short");
    record[33..33 + name.len()].copy_from_slice(name);
    record
}

/// An ISO 9660 image: two directories with a file each, from sector 19 on.
fn iso(id: &str, publisher: &str, files: [(&str, &[u8]); 2]) -> Vec<u8> {
    let mut image = vec![0; 2 * HEAD];
    let mut put = |place: usize, bytes: &[u8]| {
        image[place..place + bytes.len()].copy_from_slice(bytes);
    };
    let directory = |own: usize, entries: Vec<u8>| {
        let itself = record(&[0], true, own, SECTOR);
        [itself, record(&[1], true, 18, SECTOR), entries].concat()
    };
    let mut root = Vec::new();
    let mut next = 21;
    for (number, (path, content)) in files.into_iter().enumerate() {
        let (parent, name) = path.split_once('/').expect("in a directory");
        let own = 19 + number;
        root.extend(record(parent.as_bytes(), true, own, SECTOR));
        let name = format!("{name};1");
        let entry = record(name.as_bytes(), false, next, content.len());
        put(own * SECTOR, &directory(own, entry));
        put(next * SECTOR, content);
        next += content.len().div_ceil(SECTOR);
    }
    put(18 * SECTOR, &directory(18, root));
    // The primary volume descriptor (8.4), and what ends the list of them.
    let mut descriptor = [b' '; SECTOR];
    descriptor[..7].copy_from_slice(b"\x01CD001\x01");
    for (place, value) in [(80, next), (156 + 2, 18), (156 + 10, SECTOR)] {
        descriptor[place..place + 8].copy_from_slice(&both(value));
    }
    descriptor[128..132].copy_from_slice(&[0, 8, 8, 0]);
    descriptor[156..190].copy_from_slice(&record(&[0], true, 18, SECTOR));
    descriptor[190..190 + id.len()].copy_from_slice(id.as_bytes());
    descriptor[318..318 + publisher.len()].copy_from_slice(publisher.as_bytes());
    for date in 0..4 {
        let place = 813 + date * 17;
        descriptor[place..place + 16].copy_from_slice(b"2026010100000000");
    }
    put(16 * SECTOR, &descriptor);
    put(17 * SECTOR, b"\xffCD001\x01");
    image
}
