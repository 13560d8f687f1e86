// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus check` as an operator meets it: what it prints, and its exit codes.

use domus_tests::{domus, workspace};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The fleet of the model's tests, changed by one of its cases, in a directory of its own.
fn fleet(case: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let tests = workspace().join("model/tests");
    copy(&tests.join("base"), dir.path());
    copy(&tests.join("cases").join(case), dir.path());
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for path in listed(from) {
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_symlink() {
            let target = path.read_link().expect("a link");
            std::os::unix::fs::symlink(target, to).expect("a link like it");
        } else if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a readable directory");
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The exit code and standard output of `domus check` with these arguments, which says nothing
/// on standard error.
fn check(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = domus(dir).arg("check").args(args).output();
    let output = output.expect("domus runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), text)
}

#[test]
fn the_template_is_clean() {
    let (code, text) = check(&workspace().join("config-repo-template"), &[]);
    assert_eq!(text, "1 host, 2 domUs, 1 image: no problems\n");
    assert_eq!(code, Some(0));
}

#[test]
fn every_kind_of_bad_input_gets_exit_code_1() {
    for case in listed(&workspace().join("model/tests/cases")) {
        let name = case
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let expected = fs::read_to_string(case.join("expected.txt")).expect("expected.txt");
        let (code, text) = check(fleet(&name).path(), &[]);
        let bad = i32::from(expected.contains("error: "));
        assert_eq!(code, Some(bad), "{name}\n{text}");
        assert!(!text.contains('\u{1b}'), "{name}");
    }
}

#[test]
fn shows_both_places_of_one_address() {
    let (_, text) = check(fleet("mac-twice-in-one-domu").path(), &[]);
    insta::assert_snapshot!(text);
    let (_, text) = check(fleet("mac-twice").path(), &[]);
    insta::assert_snapshot!(text);
}

#[test]
fn shows_files_without_places() {
    let dir = fleet("names");
    fs::write(dir.path().join("images/latin1.toml"), b"caf\xe9").expect("a file");
    let long = format!(
        "version = 1\nrevision = 1\nlong = \"{}\"\n",
        "x".repeat(1000)
    );
    fs::write(dir.path().join("images/long.toml"), long).expect("a file");
    symlink("base.toml", dir.path().join("images/link.toml")).expect("a link");
    let (_, text) = check(dir.path(), &[]);
    insta::assert_snapshot!(text);
}

#[test]
fn what_commands_terminals_is_not_shown() {
    let dir = fleet("clean");
    let text = "version = 1\nrevision = 1\nsuite = \u{1b}]0;title\u{7} \u{9b}31m\n";
    fs::write(dir.path().join("images/evil.toml"), text).expect("a file");
    fs::write(dir.path().join("images/\u{1b}[31m.toml"), "").expect("a file");
    let (code, text) = check(dir.path(), &[]);
    assert_eq!(code, Some(1));
    let harmless = |char: char| char == '\n' || !char.is_control();
    assert!(text.chars().all(harmless), "{text:?}");
}

#[test]
fn json_has_every_problem_with_its_place() {
    let (code, text) = check(fleet("mac-twice-in-one-domu").path(), &["--json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["fleet"], serde_json::Value::Null);
    assert_eq!((&json["hosts"], &json["domus"]), (&1.into(), &2.into()));
    assert_eq!((&json["images"], &json["errors"]), (&1.into(), &1.into()));
    assert_eq!(json["warnings"], 0);
    let problem = &json["diagnostics"][0];
    assert_eq!(problem["severity"], "error");
    assert_eq!(problem["message"], "two network cards with one MAC address");
    assert_eq!(problem["file"], "pservers/alpha/domUs/web.toml");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&11.into(), &10.into())
    );
    assert_eq!(problem["related"][0]["line"], 7);

    let (code, text) = check(fleet("clean").path(), &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &json["fleet"]), (Some(0), &"example".into()));
    assert_eq!(json["diagnostics"], serde_json::json!([]));
}

#[test]
fn warnings_count_if_asked() {
    let dir = fleet("clean");
    let path = dir.path().join("pservers/alpha/domUs/web.toml");
    let text = fs::read_to_string(&path).expect("a document");
    fs::write(&path, text.replace("00:16:3e:5a", "3c:ec:ef:5a")).expect("a change");
    let (code, text) = check(dir.path(), &[]);
    assert_eq!(code, Some(0));
    assert!(
        text.ends_with("2 hosts, 2 domUs, 1 image: 1 warning\n"),
        "{text}"
    );
    let (code, _) = check(dir.path(), &["--warnings-as-errors"]);
    assert_eq!(code, Some(2));
    let (code, _) = check(fleet("clean").path(), &["--warnings-as-errors"]);
    assert_eq!(code, Some(0));
}

#[test]
fn finds_the_fleet_from_below_or_says_there_is_none() {
    let dir = fleet("clean");
    let (code, _) = check(&dir.path().join("pservers/alpha"), &[]);
    assert_eq!(code, Some(0));
    let (code, _) = check(Path::new("/"), &[&dir.path().to_string_lossy()]);
    assert_eq!(code, Some(0));

    let empty = tempfile::tempdir().expect("a temporary directory");
    let output = domus(empty.path())
        .arg("check")
        .output()
        .expect("domus runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.starts_with("error: no fleet here: no domus.toml in /"),
        "{error}"
    );
    assert!(
        error.ends_with("or above; `domus init DIR` makes one\n"),
        "{error}"
    );
}

#[test]
fn a_commit_is_checked_from_gits_objects() {
    let dir = fleet("clean");
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(dir.path())
            .args(["-c", "user.name=t", "-c", "user.email=t@t"]);
        let output = git.args(args).output().expect("git runs");
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "good"]);
    fs::write(dir.path().join("domus.toml"), "version = 1\n").expect("written");
    let (code, text) = check(dir.path(), &["--at", "HEAD"]);
    assert_eq!(
        (code, text.ends_with(": no problems\n")),
        (Some(0), true),
        "{text}"
    );
    assert_eq!(check(dir.path(), &[]).0, Some(1));
    git(&["commit", "-qam", "bad"]);
    let (code, text) = check(dir.path(), &["--at", "HEAD"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("`fleet` is missing"), "{text}");
    assert_eq!(check(dir.path(), &["--at", "HEAD~1"]).0, Some(0));
    let output = domus(dir.path())
        .args(["check", "--at", "nowhere"])
        .output();
    let output = output.expect("domus runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("finding the commit nowhere"));
}

/// A file of 1 GiB, and one that is stored as a difference to it, are named within 128 MiB.
#[test]
fn what_is_huge_is_named_and_not_read() {
    let dir = fleet("clean");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let run = |program: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.current_dir(dir.path()).env("HOME", dir.path());
        command.args(args).output().expect(program)
    };
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=t", "-c", "user.email=t@t"];
        let output = run("git", &[&who[..], args].concat());
        assert!(output.status.success(), "{output:?}");
    };
    let script = |name: &str| {
        let path = workspace().join("dom0/agent/tests").join(name);
        path.display().to_string()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "good"]);
    fs::write(at("small"), "version = 1 # small\n").expect("written");
    let (packs, small) = (at(".git/objects/pack"), at("small"));
    let made = run("python3", &[&script("giant.py"), &packs, "1024", &small]);
    let ids = String::from_utf8(made.stdout).expect("ids");
    let (large, small) = ids.trim().split_once('\n').expect("two ids");
    let program = domus(dir.path()).get_program().display().to_string();
    let check_with = |id: &str, path: &str| {
        let entry = format!("100644,{id},{path}");
        git(&["update-index", "--add", "--cacheinfo", &entry]);
        git(&["commit", "-qm", path]);
        let peak = at("peak");
        let args = [&script("peak.py"), &peak, &program, "check", "--at", "HEAD"];
        let output = run("python3", &args);
        let peak = fs::read_to_string(peak).expect("written");
        assert!(peak.parse::<u64>().expect("KiB") < 128 << 10, "{peak} KiB");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).expect("UTF-8")
    };
    let nothing = check_with(large, "docs/big");
    assert!(nothing.ends_with(": no problems\n"), "{nothing}");
    let named = check_with(large, "global/etc/big");
    assert!(named.contains("global/etc/big"), "{named}");
    assert!(named.contains("more than 67108864 bytes"), "{named}");
    let long = check_with(large, "images/big.toml");
    assert!(long.contains("longer than 1MiB"), "{long}");
    let difference = check_with(small, "images/small.toml");
    assert!(difference.contains("images/small.toml"), "{difference}");
    assert!(difference.contains("bigFileThreshold"), "{difference}");
}

#[test]
fn a_server_refuses_a_push_that_does_not_prove() {
    let (dir, server) = (fleet("clean"), tempfile::tempdir().expect("a directory"));
    let bin = std::path::PathBuf::from(domus(dir.path()).get_program());
    let bin = bin.parent().expect("a directory").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let git = |at: &Path, args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(at).env("PATH", &path);
        git.args(["-c", "user.name=t", "-c", "user.email=t@t"]);
        git.args(args).output().expect("git runs")
    };
    let done = |at: &Path, args: &[&str]| {
        let output = git(at, args);
        assert!(output.status.success(), "{output:?}");
    };
    done(server.path(), &["init", "-q", "--bare", "-b", "main"]);
    let hook = workspace().join("config-repo-template/hooks/pre-receive");
    let installed = server.path().join("hooks/pre-receive");
    fs::copy(hook, &installed).expect("a copy");
    fs::set_permissions(&installed, fs::Permissions::from_mode(0o755)).expect("executable");
    let url = server.path().display().to_string();
    done(dir.path(), &["init", "-q", "-b", "main"]);
    done(dir.path(), &["add", "."]);
    done(dir.path(), &["commit", "-qm", "good"]);
    done(dir.path(), &["push", "-q", &url, "main"]);

    fs::write(dir.path().join("domus.toml"), "version = 1\n").expect("written");
    done(dir.path(), &["commit", "-qam", "bad"]);
    let output = git(dir.path(), &["push", "-q", &url, "main"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("`fleet` is missing") && said.contains("refused"),
        "{said}"
    );
    let head = |at: &Path, rev: &str| git(at, &["rev-parse", rev]).stdout;
    assert_eq!(head(server.path(), "main"), head(dir.path(), "HEAD~1"));
    // What is no branch is not looked at, and a branch may be deleted.
    done(dir.path(), &["push", "-q", &url, "HEAD:refs/tags/draft"]);
    done(dir.path(), &["push", "-q", &url, "HEAD~1:refs/heads/old"]);
    done(dir.path(), &["push", "-q", &url, ":refs/heads/old"]);
}

/// libgit2 with TLS reads all certificates of the machine at each start.
#[test]
fn starts_without_tls() {
    let program = std::fs::read(domus_tests::shipped()).expect("the program");
    let name = b"libssl.so";
    assert!(!program.windows(name.len()).any(|part| part == name));
}
