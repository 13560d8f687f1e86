//! What documents without problems become: the template, every default, one host's own slice.
// SPDX-License-Identifier: GPL-3.0-or-later

mod repository;

use domus_model::diagnostic::Diagnostic;
use domus_model::fleet::{Address, Fleet, Kind, VolumePool};
use domus_model::load::{Files, check, load};
use domus_model::units::Size;
use repository::{manifest_dir, read};

/// A fleet, or what is wrong with it.
fn fleet(files: &Files) -> Result<Fleet, Vec<Diagnostic>> {
    load(files)
}

#[test]
fn the_template_is_clean() {
    let files = read(&manifest_dir().join("../config-repo-template"));
    let checked = check(&files);
    assert_eq!(checked.diagnostics, []);
    let fleet = checked.fleet.expect("nothing is wrong with it");
    let alpha = &fleet.hosts["alpha"];
    assert_eq!(alpha.dom0.memory, Size::from_mib(384));
    assert_eq!(alpha.networks["lan"].address, Address::Dhcp);
    let (web, db) = (&alpha.domus["web"], &alpha.domus["db"]);
    assert_eq!((web.kind, db.kind), (Kind::Pvh, Kind::Pv));
    assert_ne!(web.memory, db.memory);
    assert_ne!(web.vifs[0].mac, db.vifs[0].mac);
    assert_ne!(web.disks, db.disks);
    assert_eq!(fleet.images["base"].revision, web.image.revision);
}

#[test]
fn every_optional_line_has_a_default() -> Result<(), Vec<Diagnostic>> {
    let mut files = Files::new();
    files.insert("domus.toml", "version = 1\nfleet = \"small\"".into());
    let host = "version = 1\nmachine = { serial = \"8QXK2M3\", memory = \"1GiB\" }";
    files.insert("pservers/alpha/host.toml", host.into());
    let domu = "version = 1\nimage = \"web@1\"";
    files.insert("pservers/alpha/domUs/web.toml", domu.into());
    files.insert("images/web.toml", "version = 1\nrevision = 1".into());
    let fleet = fleet(&files)?;
    assert_eq!(fleet.release.version, "1");
    assert_eq!(fleet.release.dom0_memory, Size::from_mib(1024));
    assert_eq!(fleet.debian.suite, "trixie");
    assert_eq!(fleet.debian.mirror, None);
    let alpha = &fleet.hosts["alpha"];
    assert_eq!(alpha.dom0.memory, Size::from_mib(512));
    assert_eq!(alpha.dom0.vcpus, 1);
    let volumes = VolumePool::Directory("/config/volumes".to_owned());
    assert_eq!(alpha.storage.domus, volumes);
    let web = &alpha.domus["web"];
    assert_eq!((web.kind, web.vcpus), (Kind::Pvh, 1));
    assert_eq!(web.memory, Size::from_mib(256));
    Ok(())
}

#[test]
fn the_fleets_defaults_come_first() -> Result<(), Vec<Diagnostic>> {
    let mut files = read(&manifest_dir().join("tests/base"));
    let text = "version = 1\nfleet = \"small\"\nrelease.dom0-memory = \"256MiB\"\n\
                defaults.domU = { kind = \"pv\", memory = \"100MiB\", vcpus = 3 }";
    files.insert("domus.toml", text.into());
    let domu = "version = 1\nimage = \"base@1\"\nvcpus = 2";
    files.insert("pservers/alpha/domUs/web.toml", domu.into());
    let fleet = fleet(&files)?;
    let alpha = &fleet.hosts["alpha"];
    assert_eq!(alpha.dom0.memory, Size::from_mib(256));
    let web = &alpha.domus["web"];
    assert_eq!((web.kind, web.vcpus), (Kind::Pv, 2));
    assert_eq!(web.memory, Size::from_mib(100));
    Ok(())
}

#[test]
fn a_hosts_own_slice_gives_the_same_host() -> Result<(), Vec<Diagnostic>> {
    let mut whole = read(&manifest_dir().join("tests/base"));
    let slice = whole.clone();
    let beta = "version = 1\nmachine = { serial = \"8QXK2M3\", memory = \"1GiB\" }";
    whole.insert("pservers/beta/host.toml", beta.into());
    let (whole, slice) = (fleet(&whole)?, fleet(&slice)?);
    assert_eq!(whole.hosts.len(), 2);
    assert_eq!(whole.hosts["alpha"], slice.hosts["alpha"]);
    Ok(())
}
