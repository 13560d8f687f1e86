// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus init` as an operator meets it: the repository it makes, and what it refuses.

use assert_cmd::Command;
use domus_tests::{domus, workspace};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn home() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// What git prints about the repository in `dir`.
fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output();
    let output = output.expect("git runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}

#[test]
fn makes_a_repository_that_is_clean() {
    let home = home();
    domus(home.path())
        .args(["init", "My_Fleet"])
        .assert()
        .success();
    let dir = home.path().join("My_Fleet");
    assert_eq!(git(&dir, &["rev-parse", "--abbrev-ref", "HEAD"]), "main");
    assert_eq!(git(&dir, &["rev-list", "--count", "HEAD"]), "1");
    assert_eq!(git(&dir, &["status", "--porcelain"]), "");
    assert!(read(&dir.join("domus.toml")).contains("fleet   = \"my-fleet\"\n"));

    let check = domus(&dir).arg("check").assert().success();
    check.stdout("1 host, 2 domUs, 1 image: no problems\n");

    fs::create_dir(dir.join("build")).expect("a directory");
    fs::write(dir.join("build/dom0.iso"), "").expect("a file");
    assert_eq!(git(&dir, &["status", "--porcelain"]), "");
}

#[test]
fn every_file_of_the_template_is_there() {
    let home = home();
    domus(home.path())
        .args(["init", "x", "--name", "example"])
        .assert()
        .success();
    compare(
        &workspace().join("config-repo-template"),
        &home.path().join("x"),
    );
}

fn compare(template: &Path, made: &Path) {
    for entry in fs::read_dir(template).expect("a directory").flatten() {
        let (path, made) = (entry.path(), made.join(entry.file_name()));
        match path.is_dir() {
            true => compare(&path, &made),
            false => assert_eq!(read(&path), read(&made), "{}", path.display()),
        }
    }
}

#[test]
fn says_what_is_next() {
    let home = home();
    let output = domus(home.path())
        .args(["init", "lab"])
        .output()
        .expect("domus runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("fleet lab in lab\n"), "{text}");
    assert!(
        text.contains("none found: put yours into global/etc/ssh/authorized_keys"),
        "{text}"
    );
    assert!(text.contains("\n  cd lab\n"), "{text}");
}

#[test]
fn takes_the_operators_public_keys() {
    let home = home();
    let ssh = home.path().join(".ssh");
    fs::create_dir(&ssh).expect("a directory");
    fs::write(ssh.join("id_ed25519.pub"), "ssh-ed25519 AAAA one\n").expect("a file");
    fs::write(ssh.join("id_rsa.pub"), "ssh-rsa BBBB two\n").expect("a file");
    fs::write(
        ssh.join("id_ed25519"),
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    )
    .expect("a file");
    fs::write(ssh.join("other.pub"), "ssh-rsa CCCC three\n").expect("a file");
    let keys = |fleet: &str| {
        let text = read(
            &home
                .path()
                .join(fleet)
                .join("global/etc/ssh/authorized_keys"),
        );
        let keys = text.lines().filter(|line| !line.starts_with('#'));
        keys.map(str::to_owned).collect::<Vec<_>>()
    };

    domus(home.path()).args(["init", "a"]).assert().success();
    assert_eq!(keys("a"), ["ssh-ed25519 AAAA one", "ssh-rsa BBBB two"]);
    let other = [
        "init",
        "b",
        "--ssh-key",
        ".ssh/other.pub",
        "--ssh-key",
        ".ssh/other.pub",
    ];
    domus(home.path()).args(other).assert().success();
    assert_eq!(keys("b"), ["ssh-rsa CCCC three"]);

    let private = ["init", "c", "--ssh-key", ".ssh/id_ed25519"];
    let output = domus(home.path())
        .args(private)
        .output()
        .expect("domus runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is a private key"));
    assert!(!home.path().join("c").exists());
}

#[test]
fn takes_an_empty_directory_and_refuses_others() {
    let home = home();
    let dir = home.path().join("fleet");
    fs::create_dir(&dir).expect("a directory");
    domus(&dir).args(["init", "."]).assert().success();
    assert!(read(&dir.join("domus.toml")).contains("fleet   = \"fleet\"\n"));

    let commit = git(&dir, &["rev-parse", "HEAD"]);
    let refused = domus(home.path()).args(["init", "fleet"]).assert().code(3);
    let error = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(
        error.contains("fleet is there already and not empty"),
        "{error}"
    );
    assert_eq!(git(&dir, &["rev-parse", "HEAD"]), commit);

    fs::write(home.path().join("file"), "kept").expect("a file");
    domus(home.path()).args(["init", "file"]).assert().code(3);
    assert_eq!(read(&home.path().join("file")), "kept");
}

#[test]
fn leaves_nothing_half_made() {
    let home = home();
    // No fleet's name can be made of this one, which shows only once the directory is there.
    domus(home.path()).args(["init", "ä"]).assert().code(1);
    assert!(!home.path().join("ä").exists());
    fs::create_dir(home.path().join("ö")).expect("a directory");
    domus(home.path()).args(["init", "ö"]).assert().code(1);
    let left = fs::read_dir(home.path().join("ö"))
        .expect("the directory")
        .count();
    assert_eq!(left, 0);
}
