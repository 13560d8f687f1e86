// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus import xl` as an operator meets it.

use domus_tests::{domus, workspace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const ARCHIVE: &str = "name = 'Old_Archive'
type = 'pv'
memory = '160'   # MiB
vif = [ 'mac=00:16:3e:00:00:07,bridge=xenbr0' ]
disk = [ 'phy:/dev/vg0/archive,xvda,w',
         'phy:/dev/vg0/archive-data,xvdb,w',
         'file:/srv/iso/debian.iso,xvdc:cdrom,r' ]
kernel = '/boot/vmlinuz'
on_reboot = 'restart'
";

const CACHE: &str = "name = \"cache\"; type = \"pvh\"; memory = 128\n";

/// A directory with the template's fleet in `fleet` and xl's configurations beside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let status = std::process::Command::new("cp")
            .arg("-r")
            .arg(workspace().join("config-repo-template"))
            .arg(dir.path().join("fleet"))
            .status();
        assert!(status.expect("cp runs").success());
        fs::write(dir.path().join("archive.cfg"), ARCHIVE).expect("written");
        fs::write(dir.path().join("cache.cfg"), CACHE).expect("written");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn document(&self, name: &str) -> PathBuf {
        let directory = self.path().join("fleet/pservers/alpha/domUs");
        directory.join(format!("{name}.toml"))
    }

    /// What is in the host's directory of documents.
    fn documents(&self) -> Vec<String> {
        let entries = fs::read_dir(self.document("web").parent().expect("it has one"));
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let names = entries.expect("a directory").map(name);
        let mut names: Vec<_> = names.map(|it| it.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What `domus` prints, and its exit code.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = domus(self.path()).args(args).output().expect("domus runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (out, errors) = (text(output.stdout), text(output.stderr));
        (output.status.code(), out, errors)
    }

    /// The same for `import xl` of these files into the template's host.
    fn import(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let common = ["import", "xl", "-C", "fleet", "--image", "base@1"];
        let host = ["--host", "alpha", "--network", "xenbr0=lan"];
        self.run(&[&common[..], &host, args].concat())
    }
}

#[test]
fn domains_become_domus_that_prove() {
    let place = Place::new();
    let (code, text, errors) = place.import(&["archive.cfg", "cache.cfg"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    insta::assert_snapshot!("written", text);
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    let document = fs::read_to_string(place.document("old-archive")).expect("written");
    insta::assert_snapshot!("document", document);
    let names = ["cache.toml", "db.toml", "old-archive.toml", "web.toml"];
    assert_eq!(place.documents(), names);
    let (code, text, errors) = place.run(&["check", "fleet", "--warnings-as-errors"]);
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.contains("4 domUs"), "{text}");
}

#[test]
fn a_dry_run_writes_nothing_and_shows_the_document() {
    let place = Place::new();
    let (code, text, _) = place.import(&["archive.cfg", "--dry-run"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("dry_run", text);
    assert_eq!(place.documents(), ["db.toml", "web.toml"]);
}

#[test]
fn json_has_documents_and_notes() {
    let place = Place::new();
    let (code, text, _) = place.import(&["archive.cfg", "--json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &report["written"]), (Some(0), &true.into()));
    let domu = &report["domUs"][0];
    assert_eq!(domu["name"], "old-archive");
    assert_eq!(domu["path"], "pservers/alpha/domUs/old-archive.toml");
    let document = fs::read_to_string(place.document("old-archive")).expect("written");
    assert_eq!(domu["document"], document.as_str());
    let lines = |list: &Value| -> Vec<u64> {
        let notes = list.as_array().expect("a list").iter();
        notes.filter_map(|note| note["line"].as_u64()).collect()
    };
    assert_eq!(lines(&domu["changed"]), [1, 6]);
    assert_eq!(lines(&domu["not_carried"]), [5, 7, 8]);
    assert_eq!(domu["not_carried"][2]["setting"], "kernel");
}

#[test]
fn one_error_and_nothing_is_written() {
    let place = Place::new();
    fs::write(
        place.path().join("bad.cfg"),
        "name = 'bad'\nmemory = 64 * 4\n",
    )
    .expect("written");
    fs::write(place.path().join("web.cfg"), "name = 'web'\n").expect("written");
    fs::write(place.path().join("latin.cfg"), b"# \xe4\nname = 'x'\n").expect("written");
    let cases = [
        (
            &["cache.cfg", "bad.cfg"][..],
            "bad.cfg:2:13: \"*\" stands after the value of memory",
        ),
        (
            &["cache.cfg", "web.cfg"],
            "pservers/alpha/domUs/web.toml is there already",
        ),
        (
            &["cache.cfg", "cache.cfg"],
            "another of these is called cache",
        ),
        (&["cache.cfg", "latin.cfg"], "it is no UTF-8"),
        (
            &["cache.cfg", "absent.cfg"],
            "reading absent.cfg: No such file",
        ),
        (
            &["cache.cfg", "--network", "xenbr0=dmz"],
            "names a bridge twice",
        ),
        (&["cache.cfg", "--network", "xenbr1"], "write BRIDGE=NAME"),
    ];
    let web = fs::read(place.document("web")).expect("it is there");
    for (args, expected) in cases {
        let (code, text, errors) = place.import(args);
        assert_eq!((code, text.as_str()), (Some(1), ""), "{args:?}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
        assert_eq!(place.documents(), ["db.toml", "web.toml"], "{args:?}");
    }
    assert_eq!(fs::read(place.document("web")).expect("it is there"), web);
    let args = ["import", "xl", "-C", "fleet", "cache.cfg", "--host", "beta"];
    let (code, _, errors) = place.run(&args);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no host beta"), "{errors}");
}

#[test]
fn without_an_image_it_is_said_where_it_comes_from() {
    let place = Place::new();
    let args = [
        "import",
        "xl",
        "-C",
        "fleet",
        "cache.cfg",
        "--host",
        "alpha",
    ];
    let (code, text, _) = place.run(&args);
    assert_eq!(code, Some(0));
    assert!(text.contains("use --image"), "{text}");
    let document = fs::read_to_string(place.document("cache")).expect("written");
    assert!(!document.contains("image"), "{document}");
}
