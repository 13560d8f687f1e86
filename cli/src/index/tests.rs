// SPDX-License-Identifier: GPL-3.0-or-later
//! The index never decides: whatever a fleet goes through, and whatever happens to the file, a check
//! with it says what one without it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use domus_model::diagnostic::Diagnostic;
use domus_model::files::Files;
use domus_model::fleet::Fleet;
use domus_model::load::Counts;
use proptest::prelude::*;

use crate::tree::{Proved, Tree};

/// What happens to a fleet between two checks.
#[derive(Debug, Clone)]
enum Edit {
    Host(u8, &'static str),
    RemoveHost(u8),
    DomU(u8, u8, &'static str),
    RemoveDomU(u8, u8),
    MoveDomU(u8, u8, u8),
    Vserver(u8, &'static str),
    RemoveVserver(u8),
    Fleet(&'static str),
    Global(&'static str),
    /// A file that no proof reads.
    Other,
}

/// What happens to the index between two checks.
#[derive(Debug, Clone)]
enum Fate {
    Kept,
    /// It is the one of an earlier check.
    Old,
    Gone,
    /// One byte, at this share of its length, is another.
    Flipped(u16),
    CutOff(u16),
}

const HOSTS: [&str; 4] = [
    "memory = \"4GiB\"\nserial = \"S-NAME\"\n",
    // One serial for all who have this.
    "memory = \"4GiB\"\nserial = \"S-1\"\n[networks.lan]\nports = [\"eno1\"]\naddress = \"192.0.2.7/24\"\n",
    "memory = \"600MiB\"\nserial = \"S-NAME\"\n[networks.lan]\nports = [\"eno1\"]\naddress = \"192.0.2.8/24\"\n",
    "memory = \"4GiB\"\nserial = \"S-NAME\"\nunknown = 1\n",
];

const DOMUS: [&str; 8] = [
    "",
    "[[network]]\nbridge = \"lan\"\n",
    "[[network]]\nbridge = \"lan\"\nmac = \"00:16:3e:00:00:01\"\n",
    // Works, with a warning.
    "[[network]]\nbridge = \"lan\"\nmac = \"00:25:90:00:00:01\"\n",
    "[[disk]]\nname = \"data\"\ndevice = \"/dev/disk/by-id/one\"\n",
    // A LUN, which is one in the whole fleet.
    "[[disk]]\nname = \"data\"\ndevice = \"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4\"\n",
    "may-run-on = [\"h1\", \"@web\"]\nmemory = \"300MiB\"\n",
    "this is no TOML",
];

const FLEETS: [&str; 4] = [
    "",
    "[vars]\nx = \"y\"\n",
    "[groups.web]\nspare = 1\n",
    "[defaults.domU]\nuuid = \"0192c1de-0000-4000-8000-000000000001\"\n",
];

/// A template; a variable that only some fleets have.
const GLOBALS: [&str; 2] = ["{{ domus.name }}", "{{ x }}"];

fn edits() -> impl Strategy<Value = Edit> {
    let host = 0..4_u8;
    let domu = 0..4_u8;
    prop_oneof![
        4 => (host.clone(), prop::sample::select(&HOSTS[..])).prop_map(|(h, t)| Edit::Host(h, t)),
        1 => host.clone().prop_map(Edit::RemoveHost),
        6 => (host.clone(), domu.clone(), prop::sample::select(&DOMUS[..]))
            .prop_map(|(h, d, t)| Edit::DomU(h, d, t)),
        1 => (host.clone(), domu.clone()).prop_map(|(h, d)| Edit::RemoveDomU(h, d)),
        2 => (host.clone(), host, domu.clone()).prop_map(|(a, b, d)| Edit::MoveDomU(a, b, d)),
        2 => (domu.clone(), prop::sample::select(&GLOBALS[..]))
            .prop_map(|(d, t)| Edit::Vserver(d, t)),
        1 => domu.prop_map(Edit::RemoveVserver),
        1 => prop::sample::select(&FLEETS[..]).prop_map(Edit::Fleet),
        1 => prop::sample::select(&GLOBALS[..]).prop_map(Edit::Global),
        1 => Just(Edit::Other),
    ]
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Kept),
        3 => Just(Fate::Old),
        1 => Just(Fate::Gone),
        1 => any::<u16>().prop_map(Fate::Flipped),
        1 => any::<u16>().prop_map(Fate::CutOff),
    ]
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("a file");
}

fn git(root: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=test", "-c", "user.email=test@example.net"]);
    git.args(["-c", "commit.gpgsign=false", "-c", "core.fsync=none"]);
    let output = git.current_dir(root).args(arguments).output();
    let output = output.expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a domU is called: the last one as a host may be.
fn named(domu: u8) -> String {
    match domu {
        3 => "h1".to_owned(),
        domu => format!("d{domu}"),
    }
}

impl Edit {
    fn apply(&self, root: &Path) {
        let host = |host: u8| root.join(format!("pservers/h{host}"));
        let domu = |at: u8, number: u8| host(at).join(format!("domUs/{}.toml", named(number)));
        match self {
            Self::Host(at, text) => {
                let text = text.replace("NAME", &at.to_string());
                let text = format!("version = 1\ngroups = [\"web\"]\n[machine]\n{text}");
                write(&host(*at).join("host.toml"), &text);
            }
            Self::RemoveHost(at) => drop(fs::remove_dir_all(host(*at))),
            Self::DomU(at, number, text) => {
                let text = format!("version = 1\nimage = \"base@1\"\n{text}");
                write(&domu(*at, *number), &text);
            }
            Self::RemoveDomU(at, number) => drop(fs::remove_file(domu(*at, *number))),
            Self::MoveDomU(from, to, number) => {
                fs::create_dir_all(host(*to).join("domUs")).expect("a directory");
                drop(fs::rename(domu(*from, *number), domu(*to, *number)));
            }
            Self::Vserver(number, text) => {
                write(
                    &root.join(format!("vservers/{}/etc/x.tmpl", named(*number))),
                    text,
                );
            }
            Self::RemoveVserver(number) => {
                drop(fs::remove_dir_all(
                    root.join(format!("vservers/{}", named(*number))),
                ));
            }
            Self::Fleet(text) => {
                let groups = if text.contains("groups") {
                    ""
                } else {
                    "[groups.web]\n"
                };
                let text = format!("version = 1\nfleet = \"example\"\n{groups}{text}");
                write(&root.join("domus.toml"), &text);
            }
            Self::Global(text) => write(&root.join("global/etc/motd.tmpl"), text),
            Self::Other => write(&root.join("docs/x.md"), "x"),
        }
    }
}

impl Fate {
    fn befall(&self, index: &Path, old: &[u8]) {
        let Ok(mut bytes) = fs::read(index) else {
            return;
        };
        let at = |share: u16| bytes.len() * usize::from(share) / (usize::from(u16::MAX) + 1);
        match self {
            Self::Kept => return,
            Self::Old => bytes = old.to_vec(),
            Self::Gone => return fs::remove_file(index).expect("it is there"),
            Self::Flipped(share) => {
                let at = at(*share);
                bytes[at] ^= 4;
            }
            Self::CutOff(share) => bytes.truncate(at(*share)),
        }
        fs::write(index, bytes).expect("it can be written");
    }
}

/// What a check of the last commit says.
fn check(root: &Path) -> (Option<Fleet>, Vec<Diagnostic>, Counts, Files) {
    let tree = Tree::find(root, Some("HEAD")).expect("a commit");
    let Proved {
        fleet,
        diagnostics,
        counts,
        files,
    } = tree.prove().expect("it can be read");
    (fleet, diagnostics, counts, files)
}

/// A fleet with one host and one domU, in no commit yet.
fn begin(root: &Path) {
    git(root, &["init", "-q"]);
    Edit::Fleet(FLEETS[1]).apply(root);
    write(
        &root.join("images/base.toml"),
        "version = 1\nrevision = 1\n",
    );
    Edit::Host(0, HOSTS[0]).apply(root);
    Edit::DomU(0, 0, DOMUS[0]).apply(root);
}

fn commit(root: &Path) {
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "--allow-empty", "-m", "x"]);
}

#[test]
fn hosts_that_are_as_they_were_are_not_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    begin(root);
    commit(root);
    check(root);
    let id = git(root, &["rev-parse", "HEAD:pservers/h0/host.toml"]);
    let (directory, name) = id.trim().split_at(2);
    let blob = root.join(".git/objects").join(directory).join(name);
    // git may find it missing when it adds others, and write it anew.
    Edit::Host(1, HOSTS[0]).apply(root);
    commit(root);
    fs::remove_file(&blob).expect("it is loose");
    assert_eq!(check(root).2.hosts, 2);
    // Now both have one serial number, and both documents are read to tell where.
    Edit::Host(1, "memory = \"4GiB\"\nserial = \"S-0\"\n").apply(root);
    commit(root);
    drop(fs::remove_file(&blob));
    let tree = Tree::find(root, Some("HEAD")).expect("a commit");
    assert!(
        tree.prove()
            .is_err_and(|error| error.to_string().contains("h0"))
    );
}

#[test]
fn a_name_that_a_host_and_a_domu_have_is_found_whichever_comes_last() {
    let host = Edit::Host(1, HOSTS[0]);
    let domu = Edit::DomU(0, 3, DOMUS[0]);
    let orders = [(&host, &domu), (&domu, &host)];
    for (first, last) in orders {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        begin(root);
        first.apply(root);
        Edit::Vserver(3, GLOBALS[0]).apply(root);
        commit(root);
        let without_domu = "this directory belongs to no domU";
        let expected = match first {
            Edit::Host(..) => vec![without_domu],
            _ => vec![],
        };
        let said = |root| -> Vec<String> {
            let notes = check(root).1.into_iter();
            notes.map(|note| note.message).collect()
        };
        assert_eq!(said(root), expected);
        last.apply(root);
        commit(root);
        assert_eq!(said(root), ["a host and a domU are called h1"]);
        Edit::RemoveDomU(0, 3).apply(root);
        commit(root);
        assert_eq!(said(root), [without_domu]);
    }
}

proptest! {
    // Each case is some dozen processes: an eighth of what others try.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_check_with_an_index_says_what_one_without_says(
        start in prop::collection::vec(edits(), 0..12),
        steps in prop::collection::vec((prop::collection::vec(edits(), 1..3), fates()), 1..6),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path();
        let index = root.join(".git/domus/index");
        begin(root);
        start.iter().for_each(|edit| edit.apply(root));
        let mut old = Vec::new();
        for (edits, fate) in steps {
            commit(root);
            let with = check(root);
            let kept = fs::read(&index).expect("there is an index now");
            fs::remove_file(&index).expect("it is there");
            prop_assert_eq!(with, check(root));
            fs::write(&index, &kept).expect("it can be written");
            fate.befall(&index, &old);
            old = kept;
            edits.iter().for_each(|edit| edit.apply(root));
        }
    }
}
