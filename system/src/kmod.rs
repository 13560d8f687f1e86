// SPDX-License-Identifier: GPL-3.0-or-later
//! Kernel modules without modprobe or udev: `modules.dep`, `modules.alias` and `modules.softdep`
//! say what a device needs, `finit_module` loads it (`.ko.xz` too; the kernel decompresses).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::io::Errno;

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`.
const COMPRESSED: i32 = 4;

/// The index of one kernel's modules.
#[derive(Debug, Default)]
pub struct Modules {
    dir: PathBuf,
    /// Module path below `dir` -> what must be loaded before it, in `modules.dep` order.
    needs: BTreeMap<String, Vec<String>>,
    /// Module name -> module path.
    paths: BTreeMap<String, String>,
    /// Alias pattern -> module name.
    aliases: Vec<(String, String)>,
    /// Module name -> names or aliases that it asks for at run time (`modules.softdep`, pre).
    soft: BTreeMap<String, Vec<String>>,
    loaded: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Modules {
    /// Reads the index in `dir` (`/lib/modules/RELEASE`).
    ///
    /// # Errors
    /// `modules.dep`, `modules.alias` or `modules.softdep` cannot be read.
    pub fn open(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let [dep, alias, soft] = [
            read("modules.dep")?,
            read("modules.alias")?,
            read("modules.softdep")?,
        ];
        Ok(Self {
            dir: dir.to_owned(),
            ..Self::parse(&dep, &alias, &soft)
        })
    }

    /// The index from the text of the three files.
    pub fn parse(dep: &str, alias: &str, soft: &str) -> Self {
        let mut modules = Self::default();
        for (path, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            modules.paths.insert(name(path), path.to_owned());
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            modules.needs.insert(path.to_owned(), needs);
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) =
                (words.next(), words.next(), words.next())
            {
                modules
                    .aliases
                    .push((pattern.to_owned(), module.to_owned()));
            }
        }
        for line in soft.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(module)) = (words.next(), words.next()) {
                let pre = words.skip_while(|word| *word != "pre:").skip(1);
                let pre = pre.take_while(|word| *word != "post:").map(str::to_owned);
                modules
                    .soft
                    .entry(module.replace('-', "_"))
                    .or_default()
                    .extend(pre);
            }
        }
        modules
    }

    /// Paths of `module` and of all it needs, in the order to load them; empty if it is built in
    /// or not there.
    pub fn closure(&self, module: &str) -> Vec<&str> {
        let mut order = Vec::new();
        self.visit(&module.replace('-', "_"), &mut order, &mut BTreeSet::new());
        order
    }

    fn visit<'a>(&'a self, module: &str, order: &mut Vec<&'a str>, seen: &mut BTreeSet<String>) {
        let Some(path) = self.paths.get(module) else {
            return;
        };
        if !seen.insert(module.to_owned()) {
            return;
        }
        for asked in self.soft.get(module).into_iter().flatten() {
            self.visit(&asked.replace('-', "_"), order, seen);
            for driver in self.drivers(asked) {
                self.visit(driver, order, seen);
            }
        }
        for need in self.needs.get(path).into_iter().flatten() {
            self.visit(&name(need), order, seen);
        }
        order.push(path);
    }

    /// Every module path, for choosing by directory.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.needs.keys().map(String::as_str)
    }

    /// Names of modules that drive a device with this `modalias`.
    pub fn drivers(&self, modalias: &str) -> Vec<&str> {
        let fits = self
            .aliases
            .iter()
            .filter(|(pattern, _)| glob(pattern, modalias));
        fits.map(|(_, module)| module.as_str()).collect()
    }

    /// Loads `module` and what it needs. A module that is built in, missing or already there is
    /// no error.
    ///
    /// # Errors
    /// The kernel refuses the module.
    pub fn load(&mut self, module: &str) -> Result<()> {
        let order: Vec<String> = self
            .closure(module)
            .into_iter()
            .map(str::to_owned)
            .collect();
        for path in order {
            if self.loaded.insert(path.clone()) {
                insert(&self.dir.join(&path))?;
            }
        }
        Ok(())
    }

    /// Loads the drivers of every device that the kernel has found since the last call, and
    /// returns what failed.
    pub fn load_for_devices(&mut self) -> Vec<anyhow::Error> {
        self.load_for_devices_from("")
    }

    /// As [`Modules::load_for_devices`], of drivers whose path begins with `directory` alone.
    pub fn load_for_devices_from(&mut self, directory: &str) -> Vec<anyhow::Error> {
        let mut failed = Vec::new();
        for modalias in modaliases(Path::new("/sys/bus")) {
            if !self.seen.insert(modalias.clone()) {
                continue;
            }
            let drivers = self.drivers(&modalias).into_iter();
            let chosen = drivers.filter(|driver| {
                let path = self.paths.get(&driver.replace('-', "_"));
                path.is_some_and(|path| path.starts_with(directory))
            });
            let drivers: Vec<String> = chosen.map(str::to_owned).collect();
            failed.extend(drivers.iter().filter_map(|driver| self.load(driver).err()));
        }
        failed
    }
}

/// The `modalias` of every device of every bus below `buses` (`/sys/bus`).
fn modaliases(buses: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for bus in fs::read_dir(buses).into_iter().flatten().flatten() {
        for device in fs::read_dir(bus.path().join("devices"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(text) = fs::read_to_string(device.path().join("modalias")) {
                found.insert(text.trim().to_owned());
            }
        }
    }
    found
}

fn insert(path: &Path) -> Result<()> {
    let doing = || format!("loading the kernel module {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        // The initramfs carries a choice of modules; the index names them all.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(doing),
    };
    let flags = if path.extension().is_some_and(|end| end == "ko") {
        0
    } else {
        COMPRESSED
    };
    match rustix::system::finit_module(file, c"", flags) {
        Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
        Err(error) => Err(error).with_context(doing),
    }
}

/// A module's name: the file name up to `.ko`, with `_` for `-`.
pub fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Shell matching as `modules.alias` uses it: `*`, `?` and `[...]`.
fn glob(pattern: &str, text: &str) -> bool {
    fn go(p: &[u8], t: &[u8]) -> bool {
        match p.first() {
            None => t.is_empty(),
            Some(b'*') => (0..=t.len()).any(|n| go(&p[1..], &t[n..])),
            Some(b'[') => {
                let Some(end) = p.iter().position(|&c| c == b']') else {
                    return false;
                };
                t.first().is_some_and(|c| p[1..end].contains(c)) && go(&p[end + 1..], &t[1..])
            }
            Some(b'?') => !t.is_empty() && go(&p[1..], &t[1..]),
            Some(c) => t.first() == Some(c) && go(&p[1..], &t[1..]),
        }
    }
    // Most patterns differ from most devices in their first bytes: those never reach the search.
    let plain = pattern.find(['*', '[', '?']).unwrap_or(pattern.len());
    text.as_bytes().starts_with(&pattern.as_bytes()[..plain])
        && go(&pattern.as_bytes()[plain..], &text.as_bytes()[plain..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc.ko.xz\n\
        kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc.ko.xz:\nkernel/drivers/block/xen-blkfront.ko.xz:\n";
    const ALIAS: &str = "# Aliases\nalias xen:vbd xen_blkfront\n\
        alias pci:v00008086d00002922sv*sd*bc*sc*i* ahci\n";

    const SOFT: &str = "# Soft\nsoftdep ext4 pre: xen:vbd post: other\n";

    #[test]
    fn needs_come_first() {
        let modules = Modules::parse(DEP, ALIAS, SOFT);
        let order = modules.closure("ext4");
        assert_eq!(order.len(), 4);
        assert_eq!(order[0], "kernel/drivers/block/xen-blkfront.ko.xz");
        assert_eq!(order[3], "kernel/fs/ext4/ext4.ko.xz");
        assert_eq!(
            modules.closure("xen-blkfront"),
            modules.closure("xen_blkfront")
        );
        assert!(modules.closure("built_in").is_empty());
    }

    #[test]
    fn devices_find_their_drivers() {
        let modules = Modules::parse(DEP, ALIAS, SOFT);
        assert_eq!(modules.drivers("xen:vbd"), ["xen_blkfront"]);
        let ahci = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01";
        assert_eq!(modules.drivers(ahci), ["ahci"]);
        assert!(modules.drivers("pci:v00008086d00002923sv").is_empty());
        assert!(glob("a[0-]c*", "a-cd") && !glob("a?", "a"));
    }
}
