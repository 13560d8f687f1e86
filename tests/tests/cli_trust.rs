// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus keys` and `domus publish`, with keys of `ssh-keygen` and a server that is a directory.

use domus_tests::fleet::Fleet;
use domus_tests::ran::Ran;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A fleet whose repository git signs, with a server, and more keys.
struct Keys {
    home: TempDir,
    fleet: Fleet,
}

impl Keys {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let fleet = Fleet::new(home.path());
        let server = home.path().join("server.git").display().to_string();
        fleet.git(&["init", "-q", "--bare", &server]);
        fleet.append(
            "domus.toml",
            &format!("\n[config]\nremote = \"file://{server}\"\n"),
        );
        let key = fleet.ssh_key().display().to_string();
        fleet.git(&["config", "gpg.format", "ssh"]);
        fleet.git(&["config", "user.signingkey", &key]);
        fleet.git(&["config", "commit.gpgsign", "true"]);
        Self { home, fleet }
    }

    /// A new key of somebody's.
    fn key(&self, of: &str) -> PathBuf {
        let file = self.home.path().join(of);
        let path = file.display().to_string();
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", of, "-f", &path];
        Ran::program("ssh-keygen", &args);
        file
    }

    fn public(&self, of: &str) -> String {
        format!("{}.pub", self.home.path().join(of).display())
    }

    fn private(&self, of: &str) -> String {
        self.home.path().join(of).display().to_string()
    }

    fn init(&self) {
        self.key("vault");
        let vault = self.public("vault");
        let said = self.run(
            &["keys", "init", "--name", "alice", "--recovery", &vault],
            0,
        );
        assert!(said.stdout.contains("signed by enough"), "{said:?}");
        self.fleet.commit();
    }

    fn run(&self, args: &[&str], code: i32) -> Ran {
        let ran = Ran::of(self.fleet.command().args(args), Duration::from_secs(60));
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        ran
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.run(args, code).stdout).expect("JSON")
    }

    fn refused(&self, args: &[&str], why: &str) {
        let before = self.files();
        let said = self.run(args, 1);
        assert!(said.stderr.contains(why), "{why}: {said:?}");
        assert_eq!(self.files(), before, "{args:?}");
    }

    /// What says who may sign, and the newest target.
    fn files(&self) -> Vec<String> {
        let read = |name: &str| fs::read_to_string(self.fleet.dir.join(name)).unwrap_or_default();
        let targets = self.fleet.git(&["for-each-ref", "refs/domus"]);
        vec![read("trust.toml"), read("trust.sig"), targets]
    }
}

fn has(path: &Path, name: &str) -> bool {
    path.join(name).is_file()
}

#[test]
fn keys_are_made_added_rotated_and_revoked() {
    let keys = Keys::new();
    keys.refused(&["keys", "list"], "`domus keys init` makes one");
    keys.refused(&["keys", "init", "--name", "alice"], "--recovery");
    keys.init();
    keys.run(&["keys", "init", "--name", "x", "--no-recovery"], 3);
    let listed = keys.run(&["keys", "list"], 0).stdout;
    assert!(
        listed.contains("a change needs 1 of 2 root keys"),
        "{listed}"
    );
    assert!(
        listed.contains("alice     root, commit, publish"),
        "{listed}"
    );

    keys.key("bob");
    keys.refused(&["keys", "add", "bob", "absent.pub"], "absent.pub");
    keys.run(&["keys", "add", "bob", &keys.public("bob")], 0);
    let earlier = keys.fleet.dir.join("trust");
    assert!(has(&earlier, "1.toml") && has(&earlier, "1.sig"));
    keys.refused(
        &["keys", "add", "bob", &keys.public("bob")],
        "nothing changes",
    );
    keys.refused(
        &["keys", "add", "bob", &keys.public("vault")],
        "another key already",
    );
    keys.refused(&["keys", "add", "eve", &keys.public("bob")], "there twice");
    keys.refused(&["keys", "revoke", "carol"], "no key of carol");
    // Bob is no root.
    keys.refused(
        &["keys", "revoke", "alice", "--key", &keys.private("bob")],
        "has not the role root",
    );
    keys.run(&["keys", "revoke", "bob"], 0);
    let listed = keys.json(&["keys", "list", "--json"], 0);
    assert_eq!(listed["trust"]["serial"], 3);
    assert!(listed["trust"]["keys"].get("bob").is_none());
    // Somebody who is neither asked nor a root stays out, and check says what is missing.
    keys.key("alice2");
    let said = keys.run(&["keys", "rotate", "alice", &keys.public("alice2")], 2);
    assert!(said.stdout.contains("serial 4 asks for 1 more"), "{said:?}");
    let said = keys.run(&["check"], 1);
    assert!(
        said.stdout
            .contains("signed by 0 of 1 root keys that serial 4"),
        "{said:?}"
    );
    keys.run(&["keys", "list"], 1);
    keys.run(&["keys", "sign", "--key", &keys.private("alice2")], 0);
    keys.run(&["check"], 0);
    // A loss: the recovery key alone is enough for both.
    keys.key("alice3");
    let (public, vault) = (keys.public("alice3"), keys.private("vault"));
    keys.run(&["keys", "rotate", "alice", &public, "--key", &vault], 0);
    keys.refused(
        &[
            "keys",
            "revoke",
            "alice",
            "--threshold",
            "2",
            "--key",
            &vault,
        ],
        "2 root keys must sign",
    );
    // Two of two from now on, each where he is.
    let two = ["keys", "add", "carol"];
    keys.key("carol");
    let carol = keys.public("carol");
    let more = [
        &carol,
        "--role",
        "root",
        "--threshold",
        "2",
        "--key",
        &vault,
    ];
    keys.run(&[&two[..], &more].concat(), 2);
    keys.run(&["keys", "sign", "--key", &keys.private("carol")], 0);
    keys.run(&["check"], 0);
    assert!(has(&earlier, "5.toml") && !has(&earlier, "6.toml"));
    // What was signed is changed afterwards.
    keys.fleet
        .change("trust.toml", "threshold = 2", "threshold = 1");
    let said = keys.run(&["check"], 1);
    assert!(said.stdout.contains("signed by 0 of 1"), "{said:?}");
}

#[test]
fn targets_are_published_one_after_the_other() {
    let keys = Keys::new();
    let first = keys.fleet.commit();
    keys.refused(&["publish"], "no trust.toml");
    keys.init();
    let head = keys.fleet.git(&["rev-parse", "HEAD"]);
    keys.refused(&["publish", &first], "no trust.toml");
    let dry = keys.run(&["publish", "--dry-run"], 0).stdout;
    assert!(
        dry.contains("dry run") && keys.files()[2].is_empty(),
        "{dry}"
    );
    let said = keys.run(&["publish"], 0).stdout;
    assert!(said.starts_with("target 1   * -> "), "{said}");
    let report = keys.json(&["publish", "--on", "alpha,@web", "--json"], 0);
    assert_eq!(
        (&report["serial"], &report["signed_by"]),
        (&2.into(), &"alice".into())
    );
    assert_eq!(report["hosts"], serde_json::json!(["alpha", "@web"]));
    let server = format!("{}/server.git", keys.home.path().display());
    let there = keys
        .fleet
        .git(&["--git-dir", &server, "rev-parse", "refs/domus/targets"]);
    assert_eq!(report["id"], there);

    // git itself finds the signature good.
    let public = fs::read_to_string(keys.public("ssh-key")).expect("a key");
    let allowed = keys.home.path().join("allowed");
    fs::write(&allowed, format!("alice {public}")).expect("written");
    let config = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    keys.fleet
        .git(&["-c", &config, "verify-commit", "refs/domus/targets"]);

    // Somebody else publishes from another work tree; this one goes on from there.
    let other = keys.home.path().join("other").display().to_string();
    keys.fleet.git(&["clone", "-q", ".", &other]);
    for (key, value) in [
        ("gpg.format", "ssh"),
        ("user.signingkey", &keys.private("ssh-key")),
    ] {
        keys.fleet.git(&["-C", &other, "config", key, value]);
    }
    keys.run(&["publish", "-C", &other], 0);
    let said = keys.run(&["publish"], 0).stdout;
    assert!(said.starts_with("target 4   "), "{said}");

    // Who may not, and what nobody signed.
    keys.key("mallory");
    let mallory = keys.private("mallory");
    keys.refused(&["publish", "--key", &mallory], "has not the role publish");
    keys.fleet.git(&["config", "commit.gpgsign", "false"]);
    keys.fleet.write("global/etc/x", "x\n");
    keys.fleet.commit();
    keys.refused(&["publish"], "is signed by nobody");
    keys.fleet
        .change("pservers/alpha/host.toml", "version = 1", "version = 9");
    keys.fleet.commit();
    keys.refused(&["publish"], "nothing was published: the fleet has");
    keys.refused(&["publish", "--on", "Alpha"], "names no hosts");
    // An older one is published anew.
    let said = keys.run(&["publish", &head], 0).stdout;
    assert!(said.starts_with("target 5   "), "{said}");
    // A server that is away: nothing is left behind.
    let away = keys.home.path().join("away.git");
    fs::rename(keys.home.path().join("server.git"), away).expect("moved");
    keys.refused(&["publish", &head], "asking file://");
}

#[test]
fn a_fleet_that_follows_a_branch_publishes_nothing() {
    let keys = Keys::new();
    keys.fleet
        .change("domus.toml", "[config]\n", "[config]\nfollow = \"main\"\n");
    keys.init();
    keys.refused(&["publish"], "follow main, not targets");
}

#[test]
fn keys_for_firmware_are_made_once_and_stay_out_of_the_repository() {
    let keys = Keys::new();
    keys.init();
    let said = keys.run(&["keys", "secure-boot"], 0).stdout;
    let private = keys.home.path().join(".config/domus/secure-boot/example");
    assert!(said.contains(&private.display().to_string()), "{said}");
    let public = keys.fleet.dir.join("secure-boot");
    let read = |path: PathBuf| fs::read(path).expect("a file");
    for name in ["PK", "KEK", "db"] {
        let key = private.join(format!("{name}.key"));
        let mode = fs::metadata(&key).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let certificate = read(public.join(format!("{name}.cer")));
        assert_eq!(certificate, read(private.join(format!("{name}.cer"))));
        let list = read(public.join(format!("{name}.esl")));
        assert!(list.ends_with(&certificate) && list.len() == certificate.len() + 44);
        // What firmware takes: a certificate of that very key.
        let key = key.display().to_string();
        let cer = public.join(format!("{name}.cer")).display().to_string();
        let of_key = Ran::program("openssl", &["pkey", "-in", &key, "-pubout"]);
        let of_cer = ["x509", "-inform", "DER", "-in", &cer, "-noout", "-pubkey"];
        assert_eq!(Ran::program("openssl", &of_cer), of_key);
    }
    let status = keys.fleet.git(&["status", "--porcelain"]);
    assert_eq!(status, "?? secure-boot/");
    let files = || ["db.cer", "PK.esl"].map(|name| read(public.join(name)));
    let before = files();
    keys.run(&["keys", "secure-boot"], 0);
    assert_eq!(files(), before, "the same keys");
    keys.run(&["check"], 0);

    // Somebody else's clone: the keys are not there, and none are made in their place.
    let elsewhere = keys.home.path().join("safe");
    fs::rename(&private, &elsewhere).expect("moved");
    let refused = keys.run(&["keys", "secure-boot"], 3);
    assert!(refused.stderr.contains("--private"), "{refused:?}");
    assert!(!private.exists());
    assert_eq!(files(), before);
    let refused = keys.run(&["iso", "build"], 3);
    assert!(refused.stderr.contains("--secure-boot-key"), "{refused:?}");
    let elsewhere = elsewhere.display().to_string();
    keys.run(&["keys", "secure-boot", "--private", &elsewhere], 0);
    // Another fleet's keys are not put in their place.
    fs::write(public.join("db.cer"), "another").expect("written");
    let refused = keys.run(&["keys", "secure-boot", "--private", &elsewhere], 3);
    assert!(refused.stderr.contains("db.cer"), "{refused:?}");
    assert_eq!(read(public.join("db.cer")), b"another");
}
