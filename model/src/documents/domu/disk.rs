// SPDX-License-Identifier: GPL-3.0-or-later
//! `[[disk]]` of a domU: a volume, a device or an image.

use super::forms::FS;
use crate::documents::forms::{IMAGE, name, size};
use crate::documents::place::At;
use crate::documents::table::Table;
use crate::documents::words::{DEVICE, MOUNT, VOLUME};
use crate::fleet::Fs;
use crate::names::{ImageRef, Name};
use crate::units::Size;

/// `[[disk]]`
#[derive(Debug)]
pub(crate) struct DiskDoc {
    pub(crate) name: Option<At<Name>>,
    pub(crate) size: Option<At<Size>>,
    pub(crate) fs: Option<At<Fs>>,
    pub(crate) mount: Option<At<String>>,
    pub(crate) volume: Option<At<String>>,
    pub(crate) device: Option<At<String>>,
    pub(crate) image: Option<At<ImageRef>>,
}

impl DiskDoc {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let volume = "an existing volume of the host's pool, if not DOMU.DISK";
        let device = "a block device of the host, if no volume: a LUN, a whole disk";
        let image = "an image whose root it is, if no volume: read-only";
        let disk = Self {
            name: table.require("name", "what it is called", &name("data")),
            size: table.read("size", "the size it has at least", &size("10GiB")),
            fs: table.read("fs", "what it is made with", &FS),
            mount: table.read("mount", "where the domU mounts it", &MOUNT),
            volume: table.read("volume", volume, &VOLUME),
            device: table.read("device", device, &DEVICE),
            image: table.read("image", image, &IMAGE),
        };
        disk.prove_backing(table);
        disk.prove_size(table);
        disk.prove_use(table);
        disk
    }

    /// That it is kept on one thing.
    fn prove_backing(&self, table: &Table<'_>) {
        let said = ["volume", "device", "image"];
        let said: Vec<&str> = said.into_iter().filter(|key| table.has(key)).collect();
        if let [one, other, ..] = said[..] {
            let article = |key| if key == "image" { "an" } else { "a" };
            let message = format!(
                "a disk cannot be {} {one} and {} {other}",
                article(one),
                article(other)
            );
            let help = "keep one of the two";
            table.notes().error(&table.place(), message, help);
        }
        if !table.has("device") && !table.has("image") {
            table.must_have("size", || "write size = \"10GiB\"".to_owned());
        }
    }

    fn prove_size(&self, table: &Table<'_>) {
        let Some(At { value, place }) = &self.size else {
            return;
        };
        for (key, article) in [("device", "a"), ("image", "an")] {
            if table.has(key) {
                let message = format!("{article} {key} has the size it has");
                table.notes().error(place, message, "take `size` out");
                return;
            }
        }
        let fs = self.fs.as_ref().map_or(Fs::default(), |fs| fs.value);
        let least = match fs {
            Fs::Xfs => SMALLEST_XFS,
            Fs::Ext4 | Fs::Swap | Fs::Scratch | Fs::None => SMALLEST_DISK,
        };
        if *value < least {
            let what = match fs {
                Fs::Xfs => "an XFS",
                Fs::Swap => "swap",
                Fs::Scratch => "what a root writes",
                Fs::Ext4 | Fs::None => "a file system",
            };
            let message = format!("{value} is too little for {what}");
            let help = format!("write {least} or more");
            table.notes().error(place, message, help);
        }
    }

    /// That what it holds can be used as it says.
    fn prove_use(&self, table: &Table<'_>) {
        if let (Some(fs), true) = (&self.fs, table.has("image")) {
            let message = "an image holds what it was built with".to_owned();
            table.notes().error(&fs.place, message, "take `fs` out");
            return;
        }
        let Some(At { value, place }) = &self.fs else {
            return;
        };
        if matches!(value, Fs::Swap | Fs::Scratch | Fs::None) && table.has("mount") {
            let message = format!("a disk with fs = \"{value}\" cannot be mounted");
            let help = "take `mount` out, or write fs = \"ext4\" or \"xfs\"";
            table.notes().error(place, message, help);
        }
    }
}

/// The smallest volume on which mkfs.ext4 makes a journal.
const SMALLEST_DISK: Size = Size::from_mib(2);
/// What mkfs.xfs refuses to go below (xfsprogs 5.19).
const SMALLEST_XFS: Size = Size::from_mib(300);
