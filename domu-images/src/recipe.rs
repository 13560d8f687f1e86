// SPDX-License-Identifier: GPL-3.0-or-later
//! A recipe as a bootstrap: what every image has, and what this one adds. Pure.

use domus_build::debian::{self, Bootstrap, Hook, Variant};
use domus_build::files::{self, Added};
use domus_build::initramfs::Wanted;
use domus_build::programs::Shipped;
use domus_build::selection::Selection;
use domus_build::systemd;
use domus_model::fleet::{Debian, Recipe, User};
use domus_model::names::ImageRef;
use include_dir::{Dir, include_dir};

static ROOTFS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/rootfs");

/// What every image has beyond Debian's essential packages.
const BASE: &[&str] = &[
    "dbus",
    "e2fsprogs",
    "kmod",
    "linux-image-amd64",
    "systemd-sysv",
    "udev",
];

/// Modules of the initramfs: a domU's disks and its read-only root.
pub const MODULES: Wanted<'static> = Wanted {
    directories: &[],
    names: &[
        "xen_blkfront",
        "xen_netfront",
        "ext4",
        "overlay",
        "squashfs",
    ],
};

/// What an image leaves out: boot files (dom0 hands them over), drivers of hardware that a domU
/// never sees, caches and logs of the build, and the start of services that can start when they
/// are first asked for (D-Bus, logind).
pub static SELECTION: Selection = Selection {
    left_out: &[
        "boot/",
        "etc/machine-id",
        "usr/lib/systemd/system/multi-user.target.wants/dbus.service",
        "usr/lib/systemd/system/multi-user.target.wants/systemd-ask-password-wall.path",
        "usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service",
        "usr/lib/systemd/system/sysinit.target.wants/systemd-ask-password-console.path",
        "usr/lib/udev/hwdb.bin",
        "usr/lib/udev/hwdb.d/",
        "var/lib/apt/lists/",
    ],
    emptied: &["var/cache/", "var/log/"],
    modules: &[
        ("drivers/", false),
        ("drivers/block/", true),
        ("drivers/char/", true),
        ("drivers/md/", true),
        ("drivers/net/", true),
        ("drivers/net/can/", false),
        ("drivers/net/dsa/", false),
        ("drivers/net/ethernet/", false),
        ("drivers/net/fddi/", false),
        ("drivers/net/phy/", false),
        ("drivers/net/usb/", false),
        ("drivers/net/wireless/", false),
        ("drivers/xen/", true),
        ("net/bluetooth/", false),
        ("net/mac80211/", false),
        ("net/rfkill/", false),
        ("net/wireless/", false),
        ("sound/", false),
    ],
    cuts: &[],
};

/// The bootstrap of `recipe`. `files`: the archive of its directory of files, with its digest.
pub fn bootstrap(
    recipe: &Recipe,
    debian: &Debian,
    mirror: Option<&str>,
    files: Option<(std::path::PathBuf, String)>,
) -> Bootstrap {
    let mut hooks = Vec::new();
    hooks.extend(files.map(|(archive, digest)| Hook::Unpack { archive, digest }));
    hooks.extend(recipe.users.iter().map(|user| Hook::Shell(add_user(user))));
    let units = ["systemd-networkd"]
        .into_iter()
        .chain(recipe.enable.iter().map(String::as_str));
    hooks.extend(units.map(|unit| Hook::Shell(format!("systemctl enable {}", quote(unit)))));
    hooks.extend(recipe.commands.iter().cloned().map(Hook::Shell));
    Bootstrap {
        suite: recipe.suite.clone().unwrap_or_else(|| debian.suite.clone()),
        mirror: mirror.map(str::to_owned).or_else(|| debian.mirror.clone()),
        components: debian.components.clone(),
        variant: Variant::Minbase,
        packages: BASE.iter().map(ToString::to_string).collect(),
        more: debian::beyond(BASE, recipe.packages.clone()),
        hooks,
    }
}

fn add_user(user: &User) -> String {
    let mut words = vec!["useradd".to_owned(), "--uid".into(), user.uid.to_string()];
    if let Some(shell) = &user.shell {
        words.extend(["--shell".into(), quote(shell)]);
    }
    if let Some(home) = &user.home {
        words.extend(["--create-home".into(), "--home-dir".into(), quote(home)]);
    } else {
        words.push("--no-create-home".into());
    }
    words.push(quote(&user.name));
    words.join(" ")
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What Domus adds to every image.
pub fn added(image: &ImageRef, boot: &Shipped) -> Vec<Added> {
    let mut added = files::embedded(&ROOTFS);
    let wants = "usr/lib/systemd/system/multi-user.target.wants";
    added.extend([
        Added::directory("config"),
        Added::directory("dev"),
        Added::text("etc/machine-id", ""),
        Added::text("usr/lib/domus/image", format!("{image}\n")),
        Added::program("usr/lib/domus/domus-boot", boot),
        Added::link(
            &format!("{wants}/domus-guest.service"),
            "../domus-guest.service",
        ),
    ]);
    added.extend(systemd::masked(&systemd::NEVER_STARTED));
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            name: "web".parse().expect("name"),
            revision: 2,
            suite: None,
            packages: vec!["nginx-light".into(), "dbus".into()],
            files: None,
            users: vec![User {
                name: "app".into(),
                uid: 2000,
                shell: None,
                home: Some("/srv/app".into()),
            }],
            enable: vec!["nginx".into()],
            commands: vec!["rm -f /var/www/html/index.html".into()],
            foreign: None,
        }
    }

    #[test]
    fn a_recipe_becomes_packages_and_hooks_in_order() {
        let debian = Debian {
            suite: "trixie".into(),
            mirror: None,
            components: Vec::new(),
        };
        let made = bootstrap(&recipe(), &debian, None, None);
        assert_eq!(made.suite, "trixie");
        assert!(made.packages.contains(&"dbus".to_owned()));
        assert_eq!(made.more, ["nginx-light"]);
        assert_eq!(
            made.hooks,
            [
                Hook::Shell("useradd --uid 2000 --create-home --home-dir '/srv/app' 'app'".into()),
                Hook::Shell("systemctl enable 'systemd-networkd'".into()),
                Hook::Shell("systemctl enable 'nginx'".into()),
                Hook::Shell("rm -f /var/www/html/index.html".into()),
            ]
        );
    }

    #[test]
    fn a_domu_keeps_what_it_can_use() {
        for (path, taken) in [
            ("boot/vmlinuz", false),
            (
                "usr/lib/modules/6.12/kernel/drivers/net/ethernet/intel/e1000.ko.xz",
                false,
            ),
            (
                "usr/lib/modules/6.12/kernel/drivers/net/xen-netfront.ko.xz",
                true,
            ),
            (
                "usr/lib/modules/6.12/kernel/drivers/scsi/sd_mod.ko.xz",
                false,
            ),
            ("usr/lib/modules/6.12/kernel/fs/ext4/ext4.ko.xz", true),
            ("usr/bin/ls", true),
            ("var/cache/apt/pkgcache.bin", false),
        ] {
            assert_eq!(SELECTION.takes(path, false), taken, "{path}");
        }
    }
}
