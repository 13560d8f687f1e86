// SPDX-License-Identifier: GPL-3.0-or-later
//! Layers as an operator works with them: `domus explain`, `domus plan`, `domus secret`.

use domus_tests::domus;
use domus_tests::fleet::Fleet;
use domus_tests::ran::Ran;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// A fleet with a group, a template and a committed history of two.
fn fleet() -> (TempDir, Fleet) {
    let home = tempfile::tempdir().expect("a directory");
    let fleet = Fleet::new(home.path());
    fleet.append("domus.toml", "\n[groups.web]\n\n[vars]\nsite = \"north\"\n");
    let groups = "version = 1\ngroups = [\"web\"]\n";
    fleet.change("pservers/alpha/host.toml", "version = 1\n", groups);
    fleet.write(
        "groups/web/etc/motd.tmpl",
        "{{ domus.name }} in {{ site }}\n",
    );
    fleet.write("groups/web/etc/web/one", "1\n");
    fleet.write(
        "pservers/alpha/etc.toml",
        "version = 1\nremove = [\"issue\"]\n",
    );
    fleet.commit();
    (home, fleet)
}

fn run(fleet: &Fleet, args: &[&str], code: i32) -> Ran {
    let ran = Ran::of(fleet.command().args(args), Duration::from_secs(60));
    assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    ran
}

fn json(fleet: &Fleet, args: &[&str], code: i32) -> Value {
    serde_json::from_str(&run(fleet, args, code).stdout).expect("JSON")
}

#[test]
fn a_file_is_explained() {
    let (_home, fleet) = fleet();
    let said = run(&fleet, &["explain", "alpha", "/etc/motd"], 0).stdout;
    let place = |text: &str| {
        said.find(text)
            .unwrap_or_else(|| panic!("no {text:?} in {said}"))
    };
    // The host's own is in the template, and hides the group's.
    assert!(place("pservers/alpha/etc/motd") < place("groups/web/etc/motd.tmpl"));
    assert!(place("@web   template") < place("image  file, if it has one"));
    assert!(
        said.ends_with("The first one is seen; it hides those below it.\n"),
        "{said}"
    );

    // With a list of what dom0 has, nothing has to be left open.
    fleet.write(
        "locked/1.etc",
        "cron.daily/\ncron.daily/dpkg\nissue\nmotd\n",
    );
    let said = run(&fleet, &["explain", "alpha", "/etc/motd"], 0).stdout;
    assert!(said.contains("image  file      locked/1.etc"), "{said}");
    let said = run(&fleet, &["explain", "alpha", "/etc/passwd"], 0).stdout;
    assert!(
        said.contains("Neither the image nor a layer has it"),
        "{said}"
    );
    let said = run(&fleet, &["explain", "alpha", "/etc/cron.daily"], 0).stdout;
    assert!(said.contains("cron.daily/dpkg  image"), "{said}");
    fs::remove_file(fleet.dir.join("locked/1.etc")).expect("removed");

    fs::remove_file(fleet.dir.join("pservers/alpha/etc/motd")).expect("removed");
    let report = json(&fleet, &["explain", "alpha", "etc/motd", "--json"], 0);
    assert_eq!(report["says"][0]["source"], "groups/web/etc/motd.tmpl");
    let change = &report["changes"]["groups/web/etc/motd.tmpl"];
    let head = fleet.git(&["rev-parse", "HEAD"]);
    assert_eq!(
        (&change["commit"], &change["author"]),
        (&json!(head), &json!("test <test@example.net>"))
    );
    let variable = json!([{"name": "site", "value": "north", "place": "domus.toml:19"}]);
    let line = &report["variables"][0]["place"];
    assert!(
        line.as_str()
            .is_some_and(|line| line.starts_with("domus.toml:")),
        "{variable}"
    );
    // As the commit has it, the host's own is there still.
    let at = json(
        &fleet,
        &["explain", "alpha", "/etc/motd", "--json", "--at", "HEAD"],
        0,
    );
    assert_eq!(at["says"][0]["source"], "pservers/alpha/etc/motd");

    let said = run(&fleet, &["explain", "alpha", "/etc/issue"], 0).stdout;
    assert!(
        said.contains("alpha  removed") && said.contains("It is not seen"),
        "{said}"
    );
    let said = run(&fleet, &["explain", "alpha", "/etc/web"], 0).stdout;
    assert!(said.ends_with("file     layer\nweb/one  @web\n"), "{said}");
    let said = run(&fleet, &["explain", "web", "/etc/hostname"], 0).stdout;
    assert!(said.contains("follows from the documents"), "{said}");
    let said = run(&fleet, &["explain", "db", "/etc/nowhere"], 0).stdout;
    assert!(said.ends_with("No layer has a say in it.\n"), "{said}");

    fleet.append("groups/web/etc/motd.tmpl", "more\n");
    let said = run(&fleet, &["explain", "alpha", "/etc/motd"], 0).stdout;
    assert!(said.contains("not committed"), "{said}");
    for wrong in ["/usr/lib/x", "/etc", "/etc/"] {
        run(&fleet, &["explain", "alpha", wrong], 1);
    }
    run(&fleet, &["explain", "nobody", "/etc/motd"], 1);
}

#[test]
fn a_plan_says_what_a_change_does() {
    let (_home, fleet) = fleet();
    let said = run(&fleet, &["plan", "alpha"], 0).stdout;
    assert!(
        said.ends_with("the files as they are\nNothing changes.\n"),
        "{said}"
    );
    fleet.change("pservers/alpha/domUs/web.toml", "192MiB", "224MiB");
    fleet.change("domus.toml", "north", "south");
    let said = run(&fleet, &["plan", "alpha"], 2).stdout;
    for text in [
        "restart   web   memory 192MiB -> 224MiB",
        "live      vars.site north -> south",
    ] {
        assert!(said.contains(text), "{said}");
    }
    fleet.commit();
    run(&fleet, &["plan", "alpha"], 0);
    let plan = json(
        &fleet,
        &[
            "plan", "alpha", "--from", "HEAD~1", "--to", "HEAD", "--json",
        ],
        2,
    );
    let steps = plan["steps"].as_array().expect("steps");
    let web = steps
        .iter()
        .find(|step| step["what"] == "memory 192MiB -> 224MiB")
        .expect("a step");
    assert_eq!(
        (&web["impact"], &web["subject"]),
        (&json!("restart"), &json!({"domU": "web"}))
    );
    // The other way round it is as much work.
    run(
        &fleet,
        &["plan", "alpha", "--from", "HEAD", "--to", "HEAD~1"],
        2,
    );

    let moved = fleet.dir.join("pservers/beta");
    fs::create_dir_all(moved.join("domUs")).expect("made");
    let from = fleet.dir.join("pservers/alpha");
    let host = fs::read_to_string(from.join("host.toml")).expect("read");
    let host = host.replace("0001\"", "0002\"");
    fs::write(moved.join("host.toml"), host).expect("written");
    fs::rename(from.join("domUs/web.toml"), moved.join("domUs/web.toml")).expect("moved");
    let said = run(&fleet, &["plan", "alpha"], 2).stdout;
    assert!(said.contains("stop      web   moves to beta"), "{said}");
    let warned = "web was on alpha, where its data stays: web.data";
    let said = run(&fleet, &["check"], 0).stdout;
    assert!(said.contains(warned), "{said}");
    let said = run(&fleet, &["plan", "beta"], 2).stdout;
    assert!(said.contains("start     web   comes from alpha"), "{said}");

    fleet.commit();
    assert!(
        run(&fleet, &["check", "--at", "HEAD"], 0)
            .stdout
            .contains(warned)
    );
    assert!(
        !run(&fleet, &["check"], 0).stdout.contains(warned),
        "it is committed"
    );
    fleet.append("pservers/alpha/host.toml", "nonsense = 1\n");
    let refused = run(&fleet, &["plan", "alpha"], 1);
    assert!(refused.stderr.contains("unknown key"), "{refused:?}");
    run(&fleet, &["plan", "nobody"], 1);
    run(&fleet, &["plan", "alpha", "--from", "no-such-commit"], 1);
}

#[test]
fn secrets_are_for_those_who_need_them() {
    let (home, fleet) = fleet();
    let operator = fleet.ssh_key();
    let public = fs::read_to_string(operator.with_extension("pub")).expect("read");
    let operators = format!("\n[secrets]\noperators = [\"{}\"]\n", public.trim());
    fleet.append("domus.toml", &operators);
    let identity = operator.to_str().expect("UTF-8");

    // Nobody to encrypt for: nothing is written.
    let mut edit = fleet.command();
    edit.args(["secret", "edit", "pservers/alpha/etc/key"])
        .write_stdin("x");
    let refused = Ran::of(&mut edit, Duration::from_secs(60));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("host.toml has no key"),
        "{refused:?}"
    );
    assert!(!fleet.dir.join("pservers/alpha/etc/key.age").exists());

    let host_key = fleet.host_key();
    fleet.secret("pservers/alpha/etc/key", "first\n");
    fleet.secret("vservers/web/etc/key.age", "of web\n");
    run(&fleet, &["check"], 0);
    let list = json(&fleet, &["secret", "list", "--json"], 0);
    let secrets = list["secrets"].as_array().expect("a list");
    let paths: Vec<&Value> = secrets.iter().map(|secret| &secret["path"]).collect();
    assert_eq!(
        paths,
        ["pservers/alpha/etc/key.age", "vservers/web/etc/key.age"]
    );
    assert!(
        secrets
            .iter()
            .all(|it| it["state"] == "right" && it["hosts"] == json!(["alpha"])),
        "{list}"
    );
    run(&fleet, &["secret", "rekey", "--dry-run"], 0);

    // Another key for the host: it cannot open what is for the old one.
    fs::remove_file(&host_key).expect("removed");
    fs::remove_file(format!("{host_key}.pub")).expect("removed");
    fleet.git(&["checkout", "--quiet", "pservers/alpha/host.toml"]);
    fleet.host_key();
    let said = run(&fleet, &["check"], 1).stdout;
    assert_eq!(said.matches("cannot open it").count(), 2, "{said}");
    let said = run(&fleet, &["secret", "list"], 0).stdout;
    assert!(said.contains("cannot be opened by alpha"), "{said}");
    assert_eq!(
        run(&fleet, &["secret", "rekey", "--dry-run"], 2)
            .stdout
            .lines()
            .count(),
        2
    );
    run(&fleet, &["secret", "rekey", "-i", "/nowhere"], 1);
    let said = run(&fleet, &["secret", "rekey", "-i", identity], 0).stdout;
    assert!(
        said.ends_with("2 secrets encrypted anew; commit it.\n"),
        "{said}"
    );
    run(&fleet, &["check"], 0);

    // Who is none of them opens nothing, and nothing is written.
    let stranger = home.path().join("stranger").display().to_string();
    Ran::program(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &stranger],
    );
    let refused = run(&fleet, &["secret", "rekey", "--all", "-i", &stranger], 1);
    assert!(
        refused.stderr.contains("encrypted for others"),
        "{refused:?}"
    );

    for wrong in [
        "key",
        "images/key",
        "global/key",
        "../etc/key",
        "pservers/alpha/etc/",
    ] {
        let mut edit = domus(&fleet.dir);
        let ran = Ran::of(
            edit.args(["secret", "edit", wrong]).write_stdin("x"),
            Duration::from_secs(60),
        );
        assert_eq!(ran.code, Some(1), "{wrong}: {ran:?}");
    }
}
