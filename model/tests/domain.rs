// SPDX-License-Identifier: GPL-3.0-or-later
//! The libvirt XML of domUs against the files in `golden/domain/`. With `UPDATE_GOLDEN=1` in the
//! environment the files are written instead; look at the difference before you commit it.

use std::fs;
use std::path::Path;

use domus_model::domain::{Domain, Vbd};
use domus_model::etc::domu_uuid;
use domus_model::fleet::{Clock, DomU, Kind, Vif};
use domus_model::guest::{config_device, data_device, root_device};

fn domu(name: &str, kind: Kind, bridges: &[(&str, &str)]) -> DomU {
    let vif = |(bridge, mac): &(&str, &str)| {
        Vif::new(bridge.parse().expect("bridge"), mac.parse().expect("mac"))
    };
    DomU {
        kind,
        memory: "128MiB".parse().expect("size"),
        vcpus: 2,
        vifs: bridges.iter().map(vif).collect(),
        ..DomU::new(
            name.parse().expect("name"),
            "base@1".parse().expect("image"),
        )
    }
}

fn xml(domu: &DomU, images: &str, sources: &[(&str, bool)]) -> String {
    let fleet = "example".parse().expect("fleet");
    let own = [root_device(domu.kind), config_device(domu.kind)].map(str::to_owned);
    let data = (0..).map(|index| data_device(domu.kind, index));
    let targets = own.into_iter().chain(data);
    let disks = sources
        .iter()
        .zip(targets)
        .map(|((source, read_only), target)| Vbd {
            source: (*source).to_owned(),
            target,
            read_only: *read_only,
        });
    let domain = Domain {
        domu,
        uuid: domu_uuid(&fleet, domu),
        kernel: format!("{images}/vmlinux"),
        initrd: Some(format!("{images}/initrd.img")),
        disks: disks.collect(),
    };
    domain.xml()
}

fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/domain")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).expect("write");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, golden, "{} differs", path.display());
}

#[test]
fn pv_with_two_disks_and_two_network_cards() {
    let vifs = [
        ("lan", "00:16:3e:77:20:b1"),
        ("backup", "00:16:3e:77:20:b2"),
    ];
    let db = domu("db", Kind::Pv, &vifs);
    let sources = [
        ("/dev/loop0", true),
        ("/dev/loop1", true),
        ("/dev/loop2", false),
        ("/dev/vg0/db.log", false),
    ];
    assert_golden("pv.xml", &xml(&db, "/config/images/base@1", &sources));
}

#[test]
fn pvh_without_disks_and_network_cards() {
    let web = domu("web", Kind::Pvh, &[]);
    assert_golden("pvh.xml", &xml(&web, "/config/images/base@1", &[]));
}

#[test]
fn names_that_mean_something_in_xml_are_escaped() {
    let odd = domu("odd", Kind::Pvh, &[]);
    let sources = [("/dev/a'b/\"c\" & <d>", true)];
    assert_golden("escape.xml", &xml(&odd, "/config/R&D <new> 'x'", &sources));
}

#[test]
fn what_may_change_while_it_runs() {
    let web = DomU {
        max_memory: Some("512MiB".parse().expect("size")),
        max_vcpus: Some(4),
        pin: Some("2-3,8".parse().expect("CPUs")),
        weight: 512,
        // No XML says so.
        cap: Some(150),
        ..domu("web", Kind::Pvh, &[])
    };
    assert_golden("tuned.xml", &xml(&web, "/config/images/base@1", &[]));
}

#[test]
fn arguments_clock_cards_and_devices() {
    let mut db = DomU {
        kernel_args: vec!["loglevel=7".to_owned(), "a=\"<&'>\"".to_owned()],
        clock: Clock::Localtime,
        pci: vec!["0000:03:00.0".parse().expect("a device")],
        ..domu(
            "db",
            Kind::Pv,
            &[("lan", "00:16:3e:77:20:b1"), ("lab", "00:16:3e:77:20:b2")],
        )
    };
    db.vifs[0].rate = Some("100Mbit".parse().expect("a rate"));
    db.vifs[0].addresses = ["192.0.2.17", "2001:db8::17"]
        .map(|it| it.parse().expect("an address"))
        .to_vec();
    db.vifs[1].filter = false;
    assert_golden("devices.xml", &xml(&db, "/config/images/base@1", &[]));
}

#[test]
fn hvm_without_disks_that_qemu_would_emulate() {
    let old = domu("old", Kind::Hvm, &[("lan", "00:16:3e:77:20:b1")]);
    let sources = [
        ("/dev/loop0", true),
        ("/dev/loop1", true),
        ("/dev/loop2", false),
    ];
    assert_golden("hvm.xml", &xml(&old, "/config/images/base@1", &sources));
}

#[test]
fn a_foreign_image_boots_by_grub_or_by_its_own_kernel() {
    let fleet = "example".parse().expect("fleet");
    let mut shop = DomU {
        foreign: true,
        ..domu("shop", Kind::Pvh, &[])
    };
    let of = |domu: &DomU, kernel: &str, initrd: Option<&str>| {
        let domain = Domain {
            domu,
            uuid: domu_uuid(&fleet, domu),
            kernel: kernel.to_owned(),
            initrd: initrd.map(str::to_owned),
            disks: Vec::new(),
        };
        domain.xml()
    };
    let grub = of(&shop, "/usr/lib/grub-xen/grub-i386-xen_pvh.bin", None);
    assert_golden("foreign-grub.xml", &grub);
    shop.kernel_args = vec!["root=/dev/xvda1".to_owned(), "console=hvc0".to_owned()];
    let kernel = of(&shop, "/config/images/old@2/vmlinux", None);
    assert_golden("foreign-kernel.xml", &kernel);
}
