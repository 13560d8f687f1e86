// SPDX-License-Identifier: GPL-3.0-or-later
//! The slots of the medium that this machine runs from, and the block that says which boots.

mod fat;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use domus_model::slots::{Choice, ESP, LENGTH, RELEASES, Releases, SECTOR, Slot};

use crate::atomic;
use crate::block::{self, Content};

/// A medium with two slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// The slot of the release that runs.
    pub slot: Slot,
    esp: PathBuf,
    a: PathBuf,
    b: PathBuf,
    /// What firmware starts of the release in either slot, if it starts that by itself.
    boot: Option<[PathBuf; 2]>,
}

impl Medium {
    /// That of which `partition` is a slot, of the machine whose `/sys` and `/dev` are below `root`;
    /// none if it is no slot.
    ///
    /// # Errors
    /// Partitions beside it are missing.
    pub fn of(root: &Path, partition: &Path) -> Result<Option<Self>> {
        let class = root.join("sys/class/block");
        let name = partition.file_name().unwrap_or_default();
        let Ok(own) = class.join(name).canonicalize() else {
            return Ok(None);
        };
        let slots = [Slot::A, Slot::B];
        let is_own = |slot: &Slot| label(&own).as_deref() == Some(slot.partition());
        let Some(slot) = slots.into_iter().find(is_own) else {
            return Ok(None);
        };
        let disk = own.parent().unwrap_or(Path::new("/"));
        let beside = fs::read_dir(disk).into_iter().flatten().flatten();
        let beside: Vec<PathBuf> = beside.map(|entry| entry.path()).collect();
        let named = |wanted: &str| {
            let found = beside.iter();
            let found = found.filter(|path| label(path).as_deref() == Some(wanted));
            found.collect::<Vec<&PathBuf>>()
        };
        let find = |wanted: &str| {
            let name = match named(wanted)[..] {
                [path] => path.file_name(),
                _ => None,
            };
            name.map(|name| root.join("dev").join(name)).ok_or_else(|| {
                anyhow!(
                    "the medium {} has not one partition {wanted}: write it again",
                    disk.file_name().unwrap_or_default().display()
                )
            })
        };
        let boot = slots.map(Slot::boot_partition);
        let has_boot = boot.iter().any(|name| !named(name).is_empty());
        let boot = has_boot.then(|| Ok::<_, anyhow::Error>([find(boot[0])?, find(boot[1])?]));
        Ok(Some(Self {
            slot,
            esp: find(ESP)?,
            a: find(Slot::A.partition())?,
            b: find(Slot::B.partition())?,
            boot: boot.transpose()?,
        }))
    }

    /// The partition from which firmware starts GRUB.
    pub fn loader(&self) -> &Path {
        &self.esp
    }

    /// The partition with what firmware starts of the release in a slot, where all releases are
    /// signed for Secure Boot.
    pub fn boot_partition(&self, slot: Slot) -> Option<&Path> {
        let [a, b] = self.boot.as_ref()?;
        Some(match slot {
            Slot::A => a,
            Slot::B => b,
        })
    }

    /// The partition of a slot.
    pub fn partition(&self, slot: Slot) -> &Path {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// The id of the release in a slot, as its first sectors say; none if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn release(&self, slot: Slot) -> Result<Option<String>> {
        Ok(match block::probe(self.partition(slot))? {
            Content::Iso9660(id, _) => Some(id),
            _ => None,
        })
    }

    /// Which slot boots.
    ///
    /// # Errors
    /// The block cannot be read, or is damaged.
    pub fn choice(&self) -> Result<Choice> {
        let doing = || format!("reading which slot boots, on {}", self.esp.display());
        let file = File::open(&self.esp).with_context(doing)?;
        let place = fat::find(&file).with_context(doing)?;
        let mut found = vec![0; LENGTH];
        file.read_exact_at(&mut found, place).with_context(doing)?;
        let choice = Choice::parse(&found).map_err(|why| anyhow!("the block is damaged: {why}"));
        choice.with_context(doing)
    }

    /// Says which slot boots, by one sector: a power cut leaves the old choice or the new one.
    ///
    /// # Errors
    /// The disk cannot be written.
    pub fn choose(&self, choice: &Choice) -> Result<()> {
        let doing = || format!("writing which slot boots, on {}", self.esp.display());
        let file = OpenOptions::new().read(true).write(true).open(&self.esp);
        let file = file.with_context(doing)?;
        let place = fat::find(&file).with_context(doing)?;
        let block = choice.render();
        let (said, rest) = block.split_at(SECTOR);
        let mut found = vec![0; rest.len()];
        file.read_exact_at(&mut found, place + SECTOR as u64)
            .with_context(doing)?;
        if found != rest {
            file.write_all_at(rest, place + SECTOR as u64)
                .and_then(|()| file.sync_all())
                .with_context(doing)?;
        }
        file.write_all_at(said, place)
            .and_then(|()| file.sync_all())
            .with_context(doing)?;
        ensure!(self.choice()? == *choice, "{}: it did not stay", doing());
        Ok(())
    }
}

/// The name of a partition, as its table has it.
fn label(device: &Path) -> Option<String> {
    let text = fs::read_to_string(device.join("uevent")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PARTNAME="));
    name.map(str::to_owned)
}

/// What a host remembers of releases; `root` is where its `/config` is.
///
/// # Errors
/// It cannot be read.
pub fn releases(root: &Path) -> Result<Releases> {
    let path = root.join(RELEASES.trim_start_matches('/'));
    let doing = || format!("reading {}", path.display());
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).with_context(doing),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Releases::default()),
        Err(error) => Err(error).with_context(doing),
    }
}

/// Remembers it.
///
/// # Errors
/// The config partition cannot be written.
pub fn remember(root: &Path, releases: &Releases) -> Result<()> {
    let path = root.join(RELEASES.trim_start_matches('/'));
    atomic::write(&path, &serde_json::to_vec(releases)?, 0o644)
}

/// Leaves the release `id`, which is on trial in the slot that runs, for the one in the other.
///
/// # Errors
/// The medium cannot be written. What is remembered comes first: without it only the count ends
/// the trial.
pub fn leave(medium: &Medium, root: &Path, id: &str, why: &str) -> Result<()> {
    let noted = releases(root).and_then(|mut releases| {
        releases.leave(id, why);
        remember(root, &releases)
    });
    let choice = medium.choice()?;
    let chosen = match choice.is_on_trial(medium.slot) {
        true => medium.choose(&Choice::only(choice.good)),
        false => Ok(()),
    };
    noted.and(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn disk(class: &Path, partitions: &[(&str, &str)]) {
        for (name, label) in partitions {
            let dir = class.join("../devices/sda").join(name);
            fs::create_dir_all(&dir).expect("a directory");
            let text = format!("DEVTYPE=partition\nPARTN=1\nPARTNAME={label}\n");
            fs::write(dir.join("uevent"), text).expect("a file");
            symlink(&dir, class.join(name)).expect("a link");
        }
    }

    #[test]
    fn slots_are_told_by_the_names_of_partitions_on_one_disk() {
        let root = tempfile::tempdir().expect("a directory");
        let class = root.path().join("sys/class/block");
        fs::create_dir_all(&class).expect("a directory");
        let all = [
            ("sda2", "domus-esp"),
            ("sda3", "domus-a"),
            ("sda4", "domus-b"),
            ("sda5", "domus-config"),
        ];
        disk(&class, &all);
        let medium = |name: &str| Medium::of(root.path(), &Path::new("/dev").join(name));
        let dev = |name: &str| root.path().join("dev").join(name);
        let found = medium("sda4").expect("readable").expect("a medium");
        assert_eq!(found.slot, Slot::B);
        assert_eq!(found.partition(Slot::A), dev("sda3"));
        assert_eq!(found.loader(), dev("sda2"));
        assert_eq!(medium("sda5").expect("readable"), None);
        assert_eq!(medium("sr0").expect("readable"), None);
        assert_eq!(found.boot_partition(Slot::A), None);
        disk(&class, &[("sda6", "domus-a-efi")]);
        let error = medium("sda3").expect_err("one").to_string();
        assert!(
            error.contains("has not one partition domus-b-efi"),
            "{error}"
        );
        disk(&class, &[("sda7", "domus-b-efi")]);
        let found = medium("sda3").expect("readable").expect("a medium");
        assert_eq!(found.boot_partition(Slot::B), Some(&*dev("sda7")));
        disk(&class, &[("sda8", "domus-esp")]);
        let error = medium("sda3").expect_err("two");
        assert_eq!(
            error.to_string(),
            "the medium sda has not one partition domus-esp: write it again"
        );
    }

    #[test]
    fn a_choice_is_written_in_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let esp = dir.path().join("esp");
        let old = Choice::only(Slot::A);
        fs::write(&esp, fat::tests::disk(16, &old.render())).expect("a file");
        let medium = Medium {
            slot: Slot::A,
            esp: esp.clone(),
            a: "/dev/null".into(),
            b: "/dev/null".into(),
            boot: None,
        };
        assert_eq!(medium.choice().expect("a choice"), old);
        let before = fs::read(&esp).expect("it");
        let new = Choice {
            good: Slot::A,
            trial: Some((Slot::B, 0)),
        };
        medium.choose(&new).expect("written");
        assert_eq!(medium.choice().expect("a choice"), new);
        let after = fs::read(&esp).expect("it");
        let pairs = before.iter().zip(&after).enumerate();
        let differ = pairs.filter(|(_, (a, b))| a != b).map(|(at, _)| at);
        let sectors: std::collections::BTreeSet<usize> = differ.map(|at| at / SECTOR).collect();
        assert_eq!((before.len(), sectors.len()), (after.len(), 1));
    }
}
