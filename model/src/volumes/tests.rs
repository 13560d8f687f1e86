// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::files::Files;
use crate::load::load;

const DISKS: &str = "\
[[disk]]\nname = \"data\"\nsize = \"8MiB\"\n\
[[disk]]\nname = \"log\"\nsize = \"8MiB\"\nvolume = \"logs\"\n\
[[disk]]\nname = \"lun\"\ndevice = \"/dev/disk/by-id/one\"\n";

/// A host with the domU `web`, whose volumes are where `storage` says.
fn host(storage: &str) -> Host {
    let mut files = Files::default();
    let host = format!("version = 1\n[machine]\nserial = \"8QXK\"\nmemory = \"2GiB\"\n{storage}");
    files.insert("domus.toml", "version = 1\nfleet = \"example\"\n".into());
    files.insert("images/base.toml", "version = 1\nrevision = 1\n".into());
    files.insert("global/hosts", "127.0.0.1 localhost\n".into());
    files.insert("pservers/alpha/host.toml", host.into());
    let web = format!("version = 1\nimage = \"base@1\"\n{DISKS}");
    files.insert("pservers/alpha/domUs/web.toml", web.into());
    let mut fleet = load(&files).expect("a fleet without problems");
    fleet.hosts.remove("alpha").expect("alpha")
}

const GROUP: &str = "[storage.domUs]\nvolume-group = \"vg0\"\n";

fn found(name: &str) -> Found {
    Found {
        name: name.to_owned(),
        size: 8 << 20,
        origin: None,
        is_marked: false,
        used_by: None,
    }
}

fn snapshot(name: &str, of: &str) -> Found {
    let origin = Some(of.to_owned());
    Found {
        origin,
        ..found(name)
    }
}

#[test]
fn what_domus_have_is_listed_there_or_not_and_what_nobody_has_is_an_orphan() {
    let used = Found {
        used_by: Some("web".into()),
        ..found("web.data")
    };
    let all = [
        used,
        found("logs"),
        found("old.data"),
        found("backup of mine"),
    ];
    let shown = render(&volumes(&host(""), &all));
    let expected = "\
volume               domU  disk  on      size  used by
/dev/disk/by-id/one  web   lun   device  -     -        not connected
backup of mine       -     -     file    8MiB  -        orphan
logs                 web   log   file    8MiB  -
old.data             old   data  file    8MiB  -        orphan
web.data             web   data  file    8MiB  web
";
    assert_eq!(shown, expected);
    let shown = render(&volumes(&host(""), &[]));
    assert!(
        shown.contains("web.data             web   data  file    -     -        not made yet\n")
    );
    let line = orphans_line(&orphans(&volumes(&host(""), &all)));
    assert!(line.starts_with("orphans: no domU here has the volumes backup of mine, old.data;"));
    assert_eq!(orphans_line(&[]), "");
}

#[test]
fn what_others_keep_in_a_volume_group_is_none_of_ours() {
    let marked = Found {
        is_marked: true,
        ..found("mails")
    };
    let all = [
        found("root"),
        found("_var"),
        found("swap-1"),
        marked,
        found("old.data"),
        snapshot("web.data.before", "web.data"),
        snapshot("root.snap", "root"),
        snapshot("old.data.before", "old.data"),
    ];
    let volumes = volumes(&host(GROUP), &all);
    let names = |keep: fn(&&Volume) -> bool| -> Vec<&str> {
        volumes
            .iter()
            .filter(keep)
            .map(|it| it.name.as_str())
            .collect()
    };
    assert_eq!(
        names(|it| it.size.is_some()),
        ["mails", "old.data", "old.data.before", "web.data.before"]
    );
    assert_eq!(
        names(|it| it.orphan),
        ["mails", "old.data", "old.data.before"]
    );
}

#[test]
fn only_what_is_nobodys_goes_unless_somebody_means_it() {
    let host = host(GROUP);
    let used = Found {
        used_by: Some("dom0".into()),
        ..found("used.data")
    };
    let all = [
        found("web.data"),
        found("logs"),
        found("old.data"),
        found("kept.data"),
        used,
        snapshot("kept.data.before", "kept.data"),
        snapshot("logs.before", "logs"),
    ];
    let all = volumes(&host, &all);
    let refusal = |name: &str, declared, is_held| {
        let volume = all.iter().find(|it| it.name == name).expect("a volume");
        volume
            .refuses_to_go(&all, declared, is_held)
            .unwrap_or_default()
    };
    assert_eq!(refusal("old.data", false, false), "");
    assert_eq!(refusal("kept.data.before", false, false), "");
    assert_eq!(
        refusal("logs.before", false, false),
        "",
        "a snapshot is nobody's data"
    );
    assert_eq!(refusal("web.data", true, true), "");
    for (name, declared, is_held, part) in [
        ("web.data", false, true, "--declared"),
        ("web.data", true, false, "`domus-dom0 stop web`"),
        ("used.data", true, true, "dom0 has it"),
        ("kept.data", true, true, "destroy kept.data.before first"),
        ("logs", true, true, "destroy logs.before first"),
        ("/dev/disk/by-id/one", true, true, "is a device"),
    ] {
        let why = refusal(name, declared, is_held);
        assert!(why.contains(part), "{name}: {why}");
    }
}

#[test]
fn a_disk_has_a_domu() {
    let disk: DiskOf = "web/data".parse().expect("a disk");
    assert_eq!(disk.to_string(), "web/data");
    for wrong in [
        "web",
        "web.data",
        "web/",
        "/data",
        "web/da ta",
        "web/../x",
        "a/b/c",
    ] {
        assert!(wrong.parse::<DiskOf>().is_err(), "{wrong}");
    }
}
