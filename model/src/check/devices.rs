// SPDX-License-Identifier: GPL-3.0-or-later
//! What a device is, as far as its name tells: some names mean one device wherever they are said,
//! others something else on each host.

/// The device that `host` calls `path`: equal for two names only if they mean one device.
pub(super) fn identity(host: &str, path: &str) -> String {
    shared(path).unwrap_or_else(|| format!("{host} {path}"))
}

/// What a device is called by all hosts that see it; `None` if its name is one host's own. Names
/// as udev's 60-persistent-storage.rules and its path_id give them.
fn shared(path: &str) -> Option<String> {
    if let Some(name) = path.strip_prefix("/dev/mapper/") {
        // As multipath calls its devices, unless it was told to call them mpatha.
        return wwn(name.strip_prefix('3')?);
    }
    let (kind, name) = path.strip_prefix("/dev/disk/by-")?.split_once('/')?;
    match kind {
        "id" if name.starts_with("dm-name-") => None,
        "id" => {
            let naa = ["wwn-0x", "scsi-3", "dm-uuid-mpath-3"];
            let digits = naa.iter().find_map(|prefix| name.strip_prefix(prefix));
            // Names of a maker and a serial number are given once in the world.
            Some(digits.and_then(wwn).unwrap_or_else(|| name.to_owned()))
        }
        "path" => lun(name),
        "uuid" | "partuuid" => Some(name.to_lowercase()),
        _ => None,
    }
}

/// The device with this identifier of the NAA kind (T10 SPC, 8 or 16 bytes), or a partition of it.
fn wwn(text: &str) -> Option<String> {
    let (digits, partition) = text.split_once("-part").unwrap_or((text, ""));
    let is_naa = [16, 32].contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_naa.then(|| format!("wwn-0x{} {partition}", digits.to_lowercase()))
}

/// A LUN of an iSCSI or Fibre Channel target. Which portal or adapter leads to it tells nothing.
fn lun(name: &str) -> Option<String> {
    let is_iscsi = name.starts_with("ip-") || name.contains("-ip-");
    let target = match name.find("-iscsi-").filter(|_| is_iscsi) {
        Some(at) => &name[at + 1..],
        None => &name[name.find("-fc-0x")? + 1..],
    };
    target.contains("-lun-").then(|| target.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_all_hosts_have_means_one_device() {
        let wwn = "600508b1001c2a3b4c5d6e7f80910a1b";
        let same = [
            vec![
                format!("/dev/disk/by-id/wwn-0x{wwn}"),
                format!("/dev/disk/by-id/scsi-3{wwn}"),
                format!("/dev/disk/by-id/dm-uuid-mpath-3{wwn}"),
                format!("/dev/mapper/3{wwn}"),
            ],
            vec![
                "/dev/disk/by-path/ip-192.0.2.1:3260-iscsi-iqn.2026-01.net.example:a-lun-3".into(),
                "/dev/disk/by-path/ip-192.0.2.2:3260-iscsi-iqn.2026-01.net.example:a-lun-3".into(),
                "/dev/disk/by-path/pci-0000:3b:00.0-ip-192.0.2.1:3260-iscsi-\
                 IQN.2026-01.net.example:a-lun-3"
                    .into(),
            ],
            vec![
                "/dev/disk/by-path/pci-0000:3b:00.0-fc-0x50060e801049cfd1-lun-0".into(),
                "/dev/disk/by-path/pci-0000:af:00.1-fc-0x50060e801049cfd1-lun-0".into(),
            ],
            vec![format!("/dev/disk/by-id/scsi-3{wwn}-part1")],
            vec![
                "/dev/disk/by-path/ip-192.0.2.1:3260-iscsi-iqn.2026-01.net.example:a-lun-4".into(),
            ],
            vec!["/dev/disk/by-id/ata-SAMSUNG_MZ7LH960_S45NNA0M".into()],
            vec!["/dev/disk/by-uuid/3f9a0b1c-2d3e-4f50-8c1d-02e4d1f0c5b9".into()],
        ];
        for (number, names) in same.iter().enumerate() {
            for name in names {
                let one = identity("alpha", name);
                assert_eq!(one, identity("beta", &names[0]), "{name}");
                for others in same.iter().skip(number + 1) {
                    assert!(others.iter().all(|other| identity("beta", other) != one));
                }
            }
        }
    }

    #[test]
    fn other_names_mean_a_device_of_their_host() {
        for name in [
            "/dev/mapper/vg0-web",
            "/dev/mapper/mpatha",
            "/dev/mapper/3",
            "/dev/disk/by-id/dm-name-vg0-web",
            "/dev/disk/by-path/pci-0000:00:17.0-ata-1",
            "/dev/disk/by-path/pci-0000:3b:00.0-scsi-0:0:1:0",
            "/dev/disk/by-label/data",
            "/dev/disk/by-partlabel/data",
        ] {
            assert_ne!(identity("alpha", name), identity("beta", name), "{name}");
            assert_eq!(identity("alpha", name), identity("alpha", name), "{name}");
        }
    }
}
