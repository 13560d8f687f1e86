// SPDX-License-Identifier: GPL-3.0-or-later
//! Disk specifications of xl (format: xl-disk-configuration(5)), the old forms with a prefix
//! included.

/// A disk as written; what is not said is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DiskSpec<'t> {
    /// The device or file in dom0.
    pub(super) target: &'t str,
    pub(super) format: &'t str,
    /// The device in the guest, without `/dev/`.
    pub(super) vdev: &'t str,
    pub(super) access: &'t str,
    /// What attaches it; the prefix `drbd:` means a script, too.
    pub(super) script: &'t str,
    /// The domain that has it, if not dom0.
    pub(super) backend: &'t str,
    pub(super) is_cdrom: bool,
    /// Whether the prefix `phy:` was there: then `target` may be relative to `/dev`.
    pub(super) is_phy: bool,
}

const FORMATS: [&str; 6] = ["raw", "qcow", "qcow2", "vhd", "qed", "empty"];
const SCRIPTS: [&str; 4] = ["iscsi", "nbd", "enbd", "drbd"];
const BACKENDS: [&str; 7] = ["phy", "file", "tap", "tap2", "tapdisk", "aio", "ioemu"];

impl<'t> DiskSpec<'t> {
    /// Reads what xl reads, and is not stricter than it.
    pub(super) fn read(text: &'t str) -> Self {
        let mut spec = Self::default();
        let mut positional = Positional::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            // It takes all that follows, commas too.
            if let Some(target) = rest.strip_prefix("target=") {
                spec.target = target.trim();
                break;
            }
            let (part, after) = rest.split_once(',').unwrap_or((rest, ""));
            rest = after.trim_start();
            let part = part.trim();
            match part.split_once('=') {
                Some((key, value)) => spec.named(key.trim(), value.trim()),
                None => spec.unnamed(part, &mut positional),
            }
        }
        spec.vdev = spec.vdev.strip_prefix("/dev/").unwrap_or(spec.vdev);
        spec
    }

    fn named(&mut self, key: &str, value: &'t str) {
        match key {
            "format" => self.format = value,
            "vdev" => self.vdev = value,
            "access" => self.access = value,
            "script" => self.script = value,
            "backend" => self.backend = value,
            "devtype" => self.is_cdrom = value == "cdrom",
            // How dom0 does it is Domus's own matter.
            _ => {}
        }
    }

    fn unnamed(&mut self, part: &'t str, seen: &mut Positional) {
        match part {
            "cdrom" => self.is_cdrom = true,
            "direct-io-safe" | "discard" | "no-discard" | "trusted" | "untrusted" => {}
            _ if !seen.target && self.target.is_empty() => {
                seen.target = true;
                self.target = self.without_prefixes(part, seen);
            }
            _ if !seen.prefix
                && self.format.is_empty()
                && (part.is_empty() || FORMATS.contains(&part)) =>
            {
                self.format = if part.is_empty() { "raw" } else { part };
            }
            _ if self.vdev.is_empty() => {
                let (vdev, kind) = part.rsplit_once(':').unwrap_or((part, ""));
                self.vdev = vdev;
                self.is_cdrom |= kind == "cdrom";
            }
            _ if self.access.is_empty() => self.access = part,
            _ => {}
        }
    }

    fn without_prefixes(&mut self, mut target: &'t str, seen: &mut Positional) -> &'t str {
        while let Some((prefix, rest)) = target.split_once(':') {
            match prefix {
                _ if BACKENDS.contains(&prefix) => self.is_phy |= prefix == "phy",
                _ if FORMATS.contains(&prefix) => self.format = prefix,
                _ if SCRIPTS.contains(&prefix) => self.script = prefix,
                _ => break,
            }
            seen.prefix = true;
            target = rest;
        }
        target
    }

    /// Whether the guest may write to it.
    pub(super) fn is_writable(&self) -> bool {
        !matches!(self.access, "r" | "ro")
    }
}

/// Which of the parts without a name are there.
#[derive(Default)]
struct Positional {
    target: bool,
    /// After a prefix no format follows.
    prefix: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        for (text, expected) in [
            ("phy:/dev/vg/web,xvda,w", "/dev/vg/web||xvda|w"),
            ("phy:vg/web,hda1,w", "vg/web||hda1|w"),
            ("file:/x.img,hda:disk,w", "/x.img||hda|w"),
            ("tap:qcow2:/x.qcow,xvdb,w", "/x.qcow|qcow2|xvdb|w"),
            ("tap2:aio:/x.img,/dev/xvdb,w", "/x.img||xvdb|w"),
            ("/dev/vg/g,raw,xvda,rw", "/dev/vg/g|raw|xvda|rw"),
            ("/dev/vg/g,,hda", "/dev/vg/g|raw|hda|"),
            ("/dev/vg/g,xvda,w", "/dev/vg/g||xvda|w"),
            (
                "format=raw, vdev=xvda, access=ro, target=/a,b",
                "/a,b|raw|xvda|ro",
            ),
            ("vdev=xvdb, discard, target=/dev/x", "/dev/x||xvdb|"),
            ("", "|||"),
        ] {
            let spec = DiskSpec::read(text);
            let got = [spec.target, spec.format, spec.vdev, spec.access].join("|");
            assert_eq!(got, expected, "{text}");
            assert!(!spec.is_cdrom, "{text}");
        }
        for text in [
            "file:/x.iso,hdc:cdrom,r",
            "/x.iso,,hdc,cdrom",
            ",hdc:cdrom,r",
            "devtype=cdrom,vdev=hdc,target=/x.iso",
        ] {
            let spec = DiskSpec::read(text);
            assert_eq!((spec.is_cdrom, spec.vdev), (true, "hdc"), "{text}");
        }
        assert_eq!(DiskSpec::read("drbd:res,xvda,w").script, "drbd");
    }
}
