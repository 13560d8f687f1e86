// SPDX-License-Identifier: GPL-3.0-or-later
//! What documents without problems become: the template, every default, what groups give, one
//! host's own slice.

mod repository;

use domus_model::diagnostic::{Diagnostic, position};
use domus_model::files::Files;
use domus_model::fleet::{Address, DomU, Fleet, Kind, Var, Vars, VolumePool};
use domus_model::load::{Frame, Proof, check, load, load_slice};
use domus_model::show::{self, Setting};
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
    assert_eq!(alpha.networks["lan"].address, [Address::Dhcp]);
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
    assert_eq!((alpha.machine.cpus, alpha.dom0.vcpus), (None, None));
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

/// A fleet in which everything comes from somewhere else.
fn layered() -> Files {
    let mut files = Files::new();
    let domus = r#"
        version = 1
        fleet   = "small"
        vars    = { site = "north", debug = false, ports = [80, 443] }
        [defaults.domU]
        memory = "128MiB"
        vcpus  = 2
        kind   = "pv"
        image  = "base@1"
        [[defaults.domU.network]]
        bridge = "lan"
        [defaults.host]
        machine.memory = "4GiB"
        storage.domUs.directory = "/srv/volumes"
        networks.lan.ports = ["eno1"]
        [groups.old]
        host.machine.memory = "2GiB"
        vars = { site = "south", old = true }
        [groups.web]
        domU.memory = "192MiB"
        host.networks.lan = { ports = ["eno2"], address = "dhcp" }
        host.networks.dmz = {}
        vars.site = "web"
    "#;
    files.insert("domus.toml", domus.into());
    let alpha = r#"
        version = 1
        groups  = ["old", "web"]
        machine.serial = "8QXK2M3"
        domU.vcpus = 3
        vars.rack = 7
        [networks.lan]
        address = "192.0.2.10/24"
        [storage.domUs]
        volume-group = "vg0"
    "#;
    files.insert("pservers/alpha/host.toml", alpha.into());
    let web = "version = 1\nkind = \"pvh\"\nvars.site = \"here\"";
    files.insert("pservers/alpha/domUs/web.toml", web.into());
    let db = "version = 1\nmemory = \"256MiB\"\n[[network]]\nbridge = \"dmz\"\n\
              [[network]]\nbridge = \"lan\"";
    files.insert("pservers/alpha/domUs/db.toml", db.into());
    let base = "version = 1\nrevision = 1";
    files.insert("images/base.toml", base.into());
    files
}

#[test]
fn the_most_specific_document_wins_key_by_key() -> Result<(), Vec<Diagnostic>> {
    let fleet = fleet(&layered())?;
    let alpha = &fleet.hosts["alpha"];
    assert_eq!(alpha.machine.memory, Size::from_mib(2048));
    assert_eq!(alpha.machine.serial.as_deref(), Some("8QXK2M3"));
    // Two places for volumes exclude each other: the host's replaces the fleet's.
    assert_eq!(
        alpha.storage.domus,
        VolumePool::VolumeGroup("vg0".to_owned())
    );
    assert_eq!(
        alpha.networks["lan"].ports,
        ["eno2".parse().expect("a port")]
    );
    let address = alpha.networks["lan"].address.clone();
    assert_eq!(
        address,
        [Address::Static("192.0.2.10/24".parse().expect("a net"))]
    );
    assert_eq!(alpha.networks["dmz"].address, []);
    let (web, db) = (&alpha.domus["web"], &alpha.domus["db"]);
    assert_eq!((web.kind, db.kind), (Kind::Pvh, Kind::Pv));
    assert_eq!((web.vcpus, db.vcpus), (3, 3));
    assert_eq!(
        (web.memory, db.memory),
        (Size::from_mib(192), Size::from_mib(256))
    );
    let bridges = |domu: &DomU| -> Vec<String> {
        domu.vifs.iter().map(|vif| vif.bridge.to_string()).collect()
    };
    assert_eq!(bridges(web), ["lan"]);
    assert_eq!(bridges(db), ["dmz", "lan"]);
    Ok(())
}

#[test]
fn variables_are_merged_by_name() -> Result<(), Vec<Diagnostic>> {
    let fleet = fleet(&layered())?;
    let alpha = &fleet.hosts["alpha"];
    let ports = Var::List(vec![Var::Number(80), Var::Number(443)]);
    let expected = [
        ("debug", Var::Flag(false)),
        ("old", Var::Flag(true)),
        ("ports", ports),
        ("rack", Var::Number(7)),
        ("site", Var::Text("web".to_owned())),
    ];
    let mut expected: Vars = expected.map(|(name, var)| (name.to_owned(), var)).into();
    assert_eq!(alpha.vars, expected);
    assert_eq!(alpha.domus["db"].vars, expected);
    expected.insert("site".to_owned(), Var::Text("here".to_owned()));
    assert_eq!(alpha.domus["web"].vars, expected);
    Ok(())
}

#[test]
fn a_mac_left_out_is_the_domus_own_for_ever() -> Result<(), Vec<Diagnostic>> {
    let fleet = fleet(&layered())?;
    let alpha = &fleet.hosts["alpha"];
    let macs = |name: &str| -> Vec<String> {
        let vifs = alpha.domus[name].vifs.iter();
        vifs.map(|vif| vif.mac.to_string()).collect()
    };
    // These never change: a guest would find another network card, and its lease would be gone.
    assert_eq!(macs("web"), ["42:5b:8e:68:71:f2"]);
    assert_eq!(macs("db"), ["5e:05:19:dd:5b:94", "ee:2a:3a:4e:eb:54"]);
    Ok(())
}

#[test]
fn each_setting_is_shown_with_its_place() {
    let files = layered();
    let frame = Frame::read(&files.shared);
    let mut proof = Proof::new(&frame);
    let documents = &files.hosts["alpha"];
    let alpha = proof
        .host("alpha", documents, &files.vservers)
        .expect("no errors");
    let line = |setting: &Setting| {
        let place = setting.place.as_ref().map_or("-".to_owned(), |place| {
            let at = position(files.content(&place.file), place.start);
            format!("{}:{}", place.file, at.line)
        });
        format!("{} = {}  {place}", setting.path, setting.value)
    };
    let lines = |settings: Vec<Setting>| -> Vec<String> { settings.iter().map(line).collect() };
    insta::assert_snapshot!(lines(show::host(&frame, documents, &alpha)).join("\n"));
    let web = &alpha.domus["web"];
    insta::assert_snapshot!(lines(show::domu(&frame, documents, web)).join("\n"));
}

#[test]
fn a_hosts_own_slice_gives_the_same_host() -> Result<(), Vec<Diagnostic>> {
    let mut whole = read(&manifest_dir().join("tests/base"));
    let domus = "version = 1\nfleet = \"example\"\n[groups.web]\nspare = 1";
    whole.insert("domus.toml", domus.into());
    let alpha = String::from_utf8_lossy(whole.content("pservers/alpha/host.toml"));
    let alpha = alpha.replace("version = 1", "version = 1\ngroups = [\"web\"]");
    whole.insert("pservers/alpha/host.toml", alpha.into());
    let slice = whole.clone();
    let beta =
        "version = 1\ngroups = [\"web\"]\nmachine = { serial = \"8QXK2M3\", memory = \"2GiB\" }";
    whole.insert("pservers/beta/host.toml", beta.into());
    // Alone, alpha cannot show that its group may lose a host.
    assert!(fleet(&slice).is_err());
    let (whole, slice) = (fleet(&whole)?, load_slice(&slice)?.0);
    assert_eq!(whole.hosts.len(), 2);
    assert_eq!(whole.hosts["alpha"], slice.hosts["alpha"]);
    Ok(())
}

#[test]
fn a_key_that_a_release_does_not_know_is_a_warning_for_its_hosts_alone() {
    let mut files = read(&manifest_dir().join("../config-repo-template"));
    let fleet = String::from_utf8(files.content("domus.toml").to_vec()).expect("UTF-8");
    let newer = fleet.replace("[release]", "[release]\nnewer = 1");
    assert_ne!(newer, fleet);
    files.insert("domus.toml", newer.into_bytes());
    let (loaded, warnings) = load_slice(&files).expect("a host takes it");
    let lines: Vec<String> = warnings.iter().map(|note| note.line()).collect();
    assert_eq!(lines, ["domus.toml: unknown key \"newer\" in [release]"]);
    assert_eq!(
        Ok(loaded.release),
        load(&read(&manifest_dir().join("../config-repo-template"))).map(|it| it.release)
    );
    let refused = load(&files).expect_err("who writes it is told");
    assert!(refused[0].is_error(), "{refused:?}");
    // What it knows has to be right all the same.
    let wrong = fleet.replace("dom0-memory = \"", "dom0-memory = \"x");
    assert_ne!(wrong, fleet);
    files.insert("domus.toml", wrong.into_bytes());
    assert!(load_slice(&files).is_err());
}
