// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus host replace` as an operator meets it.

use domus_system::secret::{self, Key};
use domus_tests::fleet::{ALPHA, Fleet};
use domus_tests::ran::Ran;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How the new machine is recognised.
const NEW: &str = "4c4c4544-0038-5110-8051-b8c04f4b3132";
/// A disk, and one that takes its place.
const DISKS: [&str; 2] = ["ata-SAMSUNG_S45NNA0M", "ata-SAMSUNG_S45NNB7K"];
/// The secrets that alpha needs.
const SECRETS: [&str; 3] = [
    "global/etc/all.age",
    "pservers/alpha/etc/key.age",
    "vservers/web/etc/key.age",
];

/// A committed fleet of alpha and beta with secrets of both, and where alpha's private key is.
fn fleet() -> (TempDir, Fleet, String) {
    let home = tempfile::tempdir().expect("a directory");
    let fleet = Fleet::new(home.path());
    let public = fs::read_to_string(fleet.ssh_key().with_extension("pub")).expect("read");
    let operators = format!("\n[secrets]\noperators = [\"{}\"]\n", public.trim());
    fleet.append("domus.toml", &operators);
    let key = fleet.host_key();
    let storage = format!("\n[storage]\ndisks = [\"{}\"]  # the left one\n", DISKS[0]);
    fleet.append(
        "pservers/alpha/host.toml",
        &(storage + "var   = \"1GiB\"\n"),
    );
    let beta = make_key(home.path(), "beta-key");
    fleet.write(
        "pservers/beta/host.toml",
        &format!(
            "version = 1\n[machine]\nserial = \"8QXK\"\nmemory = \"2GiB\"\nkey = \"{beta}\"\n"
        ),
    );
    for secret in SECRETS {
        fleet.secret(secret, &format!("of {secret}\n"));
    }
    fleet.secret("pservers/beta/etc/key", "beta's\n");
    run(&fleet, &["check"], 0);
    fleet.commit();
    (home, fleet, key)
}

/// Makes the key of that name and returns its public part.
fn make_key(home: &Path, name: &str) -> String {
    let file = home.join(name).display().to_string();
    let args = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &file];
    Ran::program("ssh-keygen", &args);
    let public = fs::read_to_string(format!("{file}.pub")).expect("a public key");
    public.trim().to_owned()
}

fn run(fleet: &Fleet, args: &[&str], code: i32) -> Ran {
    Ran::of(fleet.command().args(args), Duration::from_secs(60)).exits(code)
}

/// `host replace alpha` by the operator's key.
fn replace(fleet: &Fleet, args: &[&str], code: i32) -> Ran {
    let operator = fleet.ssh_key().display().to_string();
    let common = ["host", "replace", "alpha", "--identity", &operator];
    run(fleet, &[&common[..], args].concat(), code)
}

/// What a secret holds, if this private key opens it.
fn opened(fleet: &Fleet, path: &str, key: &Path) -> Option<String> {
    let content = fs::read(fleet.dir.join(path)).expect("a secret");
    let key = Key::read(key, None).expect("a key");
    let plain = secret::open(&content, &[key]).ok()?;
    Some(String::from_utf8(plain).expect("UTF-8"))
}

/// All files in the home directory but git's own, the work tree and all private keys among them.
fn all_files(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![home.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true if path.ends_with(".git") => {}
                true => left.push(path),
                false => drop(found.insert(path.clone(), fs::read(&path).expect("a file"))),
            }
        }
    }
    found
}

#[test]
fn a_machine_is_replaced_in_one_step() {
    let (home, fleet, old_key) = fleet();
    let document = "pservers/alpha/host.toml";
    let before = fs::read_to_string(fleet.dir.join(document)).expect("read");
    let betas = fs::read(fleet.dir.join("pservers/beta/etc/key.age")).expect("read");
    let disk = ["--disk", DISKS[0], DISKS[1]];
    let ran = replace(
        &fleet,
        &[&["--dmi-uuid", NEW, "--json"], &disk[..]].concat(),
        0,
    );
    let report = ran.json();
    assert_eq!(report["written"], true);
    assert_eq!(report["before"]["binding"], json!({ "dmi-uuid": ALPHA }));
    assert_eq!(report["after"]["binding"], json!({ "dmi-uuid": NEW }));
    assert_eq!(
        report["disks"],
        json!([{ "old": DISKS[0], "new": DISKS[1] }])
    );
    assert_eq!(report["rekeyed"], json!(SECRETS));
    assert_eq!(report["known"], json!(SECRETS));

    // Nothing else of the document is another.
    let key = |side: &str| report[side]["key"].as_str().expect("a key").to_owned();
    let expected = before
        .replace(ALPHA, NEW)
        .replace(&key("before"), &key("after"))
        .replace(DISKS[0], DISKS[1]);
    let after = fs::read_to_string(fleet.dir.join(document)).expect("read");
    assert_eq!(after, expected);
    assert_ne!(key("before"), key("after"));

    // The new key is nobody else's to read, is that of the document, and opens the secrets; the old
    // one opens none of them any more.
    let private = PathBuf::from(report["private_key"].as_str().expect("a path"));
    assert!(private.starts_with(home.path().join(".config/domus/host-keys/example")));
    let mode = fs::metadata(&private).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = private.display().to_string();
    let public = Ran::program("ssh-keygen", &["-y", "-f", &file]);
    assert_eq!(public.trim(), key("after"));
    for path in SECRETS {
        let content = format!("of {path}\n");
        assert_eq!(opened(&fleet, path, &private), Some(content.clone()));
        assert_eq!(opened(&fleet, path, &fleet.ssh_key()), Some(content));
        assert_eq!(opened(&fleet, path, Path::new(&old_key)), None);
    }
    let own = home.path().join("beta-key");
    assert!(opened(&fleet, SECRETS[0], &own).is_some());
    let after = fs::read(fleet.dir.join("pservers/beta/etc/key.age")).expect("read");
    assert_eq!(after, betas, "alpha needs it not");

    run(&fleet, &["check", "--warnings-as-errors"], 0);
    run(&fleet, &["secret", "rekey", "--dry-run"], 0);
    let changed: Vec<String> = fleet
        .git(&["diff", "--name-only"])
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(changed, [SECRETS[0], SECRETS[1], document, SECRETS[2]]);
}

#[test]
fn what_recognised_the_old_machine_goes_and_what_follows_is_told() {
    let (_home, fleet, _) = fleet();
    let said = replace(
        &fleet,
        &["--serial", "9QXK", "--mac", "3c:ec:ef:12:34:56"],
        0,
    )
    .stdout;
    for text in [
        "alpha   another machine",
        &format!("{ALPHA} -> none"),
        "none -> 9QXK",
        "old key opens",
        "commit this",
        "`domus media build alpha`",
        "`domus secret edit`",
    ] {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
    let document = fs::read_to_string(fleet.dir.join("pservers/alpha/host.toml")).expect("read");
    assert!(!document.contains("dmi-uuid"), "{document}");
    assert!(document.contains("serial = \"9QXK\"\n"), "{document}");
    run(&fleet, &["check"], 0);
}

#[test]
fn a_key_alone_is_renewed_on_request() {
    let (_home, fleet, _) = fleet();
    replace(&fleet, &["--dmi-uuid", ALPHA], 1).complains(&["already; --same-machine"]);
    let first = replace(&fleet, &["--same-machine", "--json"], 0).json();
    assert_eq!(first["before"]["binding"], first["after"]["binding"]);
    // Each key has its own file: going back to the commit of before finds the one of before.
    fleet.commit();
    let second = replace(&fleet, &["--same-machine", "--json"], 0).json();
    assert_eq!(second["old_private_key"], first["private_key"]);
    let file = first["private_key"].as_str().expect("a path");
    assert!(Path::new(file).exists());
    run(&fleet, &["check"], 0);
}

#[test]
fn under_sudo_the_key_is_whose_who_called_it() {
    domus_tests::require_root();
    let (home, fleet, _) = fleet();
    let ann = home.path().join("ann");
    let getent = home.path().join("bin/getent");
    fs::create_dir(home.path().join("bin")).expect("a directory");
    let entry = format!("ann:x:4711:4711::{}:/bin/sh", ann.display());
    let script = format!("#!/bin/sh\n[ \"$*\" = 'passwd 4711' ] && echo '{entry}'\n");
    fs::write(&getent, script).expect("a program");
    fs::set_permissions(&getent, fs::Permissions::from_mode(0o755)).expect("chmod");
    let path = std::env::var("PATH").expect("PATH");
    let operator = fleet.ssh_key().display().to_string();
    let mut replace = fleet.command();
    replace
        .env("SUDO_UID", "4711")
        .env(
            "PATH",
            format!("{}:{path}", home.path().join("bin").display()),
        )
        .args([
            "host",
            "replace",
            "alpha",
            "--same-machine",
            "--json",
            "-i",
            &operator,
        ]);
    let report = Ran::of(&mut replace, Duration::from_secs(60))
        .exits(0)
        .json();
    let key = report["private_key"].as_str().expect("a path");
    assert!(Path::new(key).starts_with(ann.join(".config/domus/host-keys/example")));
    assert!(Path::new(key).exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let (home, fleet, _) = fleet();
    let before = all_files(home.path());
    let said = replace(&fleet, &["--dmi-uuid", NEW, "--dry-run"], 0).stdout;
    assert!(said.contains(&format!("{ALPHA} -> {NEW}")), "{said}");
    assert!(said.ends_with("\nNothing was written.\n"), "{said}");
    let report = replace(&fleet, &["--dmi-uuid", NEW, "--dry-run", "--json"], 0).json();
    assert_eq!(report["written"], false);
    assert_eq!(report["rekeyed"], json!(SECRETS));
    assert!(report["private_key"].is_null() && report["after"]["key"].is_null());
    assert_eq!(all_files(home.path()), before);
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_written() {
    let (home, fleet, old_key) = fleet();
    make_key(home.path(), "stranger");
    let at = |name: &str| home.path().join(name).display().to_string();
    let (stranger, missing) = (at("stranger"), at("missing"));
    let before = all_files(home.path());
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--dmi-uuid", "no"], &["\"no\" is no UUID"]),
        (
            &["--dmi-uuid", "03000200-0400-0500-0006-000700080009"],
            &["boards have that were given no UUID"],
        ),
        (&["--mac", "3c:ec:ef:12:34"], &["is no MAC address"]),
        (&["--serial", "Default string"], &["is no serial number"]),
        (&[], &["--same-machine"]),
        (
            &["--same-machine", "--serial", "9QXK"],
            &["cannot be used with"],
        ),
        // beta has it, and both places are shown.
        (
            &["--serial", "8QXK"],
            &[
                "pservers/alpha/host.toml",
                "pservers/beta/host.toml",
                "nothing was written",
            ],
        ),
        (
            &["--same-machine", "--disk", DISKS[1], DISKS[0]],
            &["`disks` of [storage] has no", DISKS[1]],
        ),
        (
            &["--same-machine", "--private", &old_key],
            &["is there already"],
        ),
    ];
    for (args, texts) in cases {
        replace(&fleet, args, 1).complains(texts);
    }
    for (host, text) in [
        ("alhpa", "did you mean alpha?"),
        ("gamma", "it has alpha, beta"),
    ] {
        let ran = run(&fleet, &["host", "replace", host, "--same-machine"], 1);
        ran.complains(&[&format!("no host {host}; {text}")]);
    }
    let by = |key: &str| {
        run(
            &fleet,
            &["host", "replace", "alpha", "--same-machine", "-i", key],
            1,
        )
    };
    by(&stranger).complains(&["nothing was written", SECRETS[0], "--identity"]);
    by(&missing).complains(&["nothing was written", &missing]);
    assert_eq!(all_files(home.path()), before);
}

#[test]
fn what_is_not_committed_is_not_changed() {
    let (home, fleet, _) = fleet();
    fleet.append("pservers/alpha/host.toml", "# mine\n");
    fleet.secret(SECRETS[2], "new content\n");
    let before = all_files(home.path());
    let refused = replace(&fleet, &["--dmi-uuid", NEW], 3);
    refused.complains(&[
        "pservers/alpha/host.toml",
        SECRETS[2],
        "Nothing was written",
    ]);
    assert_eq!(all_files(home.path()), before);
    // What it has nothing to do with may be as it likes.
    fleet.commit();
    fleet.append("domus.toml", "# mine\n");
    replace(&fleet, &["--dmi-uuid", NEW], 0);
}

#[test]
fn a_fleet_with_errors_is_told_them_all() {
    let (_home, fleet, _) = fleet();
    fleet.append("pservers/beta/host.toml", "nonsense = 1\n");
    let refused = replace(&fleet, &["--dmi-uuid", NEW], 1);
    refused.complains(&["nonsense", "the fleet would have 1 error(s)"]);
}
