// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::files::{BlobId, Files, Leaf, LeafKind};
use crate::load;

/// Forms of all kinds, and the expressions in them.
fn patterns(form: &Form, found: &mut Vec<String>) {
    match form {
        Form::Text(text) => found.push(text.clone()),
        Form::List(item) | Form::OneOrMore(item) => patterns(item, found),
        Form::Table(keys) | Form::Tables(keys) => {
            keys.values().for_each(|form| patterns(form, found));
        }
        Form::Named(name, keys) => {
            found.push(name.clone());
            keys.values().for_each(|form| patterns(form, found));
        }
        Form::NamedTexts(name, text) => found.extend([name.clone(), text.clone()]),
        Form::Number(..) | Form::Flag | Form::Vars => {}
    }
}

#[test]
fn every_expression_is_understood_and_written_again_the_same() {
    let now = Vocabulary::of_this_domus();
    assert_eq!(
        Vocabulary::parse(now.render().as_bytes()),
        Some(now.clone())
    );
    let mut found = Vec::new();
    let keys = now.0.values().flat_map(BTreeMap::values);
    keys.for_each(|form| patterns(form, &mut found));
    assert!(found.len() > 100, "{found:?}");
    for pattern in found {
        assert!(
            !pattern.is_empty() && Regex::new(&pattern).is_ok(),
            "{pattern}"
        );
    }
}

const DOMUS: &str = "version = 1\nfleet = \"example\"\n[defaults.host.health]\ndeadline = \"9m\"\n";
const HOST: &str = "version = 1\n[machine]\ndmi-uuid = \"6f0b6cf2-1c74-4f7e-9d0a-0a1f5a7e0001\"\n\
    memory = \"64GiB\"\n[networks.lan]\nmtu = 1400\n";
const DOMU: &str = "version = 1\nimage = \"web@1\"\nmemory = \"1GiB\"\nkind = \"pv\"\nvcpus = 5\n";

/// What the proof of a fleet says whose release reads what `older` left of the vocabulary.
fn said(release: &str, older: impl FnOnce(&mut BTreeMap<String, Table>)) -> Vec<String> {
    let mut vocabulary = Vocabulary::of_this_domus();
    older(&mut vocabulary.0);
    let mut files = Files::new();
    files.insert("domus.toml", DOMUS.into());
    files.insert("images/web.toml", "version = 1\nrevision = 1\n".into());
    files.insert("locked/1.schema", vocabulary.render().into());
    files.insert(
        "domus.lock",
        format!(
            "version = 1\n[releases]\n1 = \"sha256:{0}\"\n2 = \"sha256:{0}\"\n",
            "0".repeat(64)
        )
        .into(),
    );
    files.insert(
        "pservers/alpha/host.toml",
        format!("{release}{HOST}").into(),
    );
    files.insert("pservers/alpha/domUs/web.toml", DOMU.into());
    let etc = "version = 1\n[files.motd]\nmode = \"0600\"\n";
    files.insert("pservers/alpha/etc.toml", etc.into());
    files.insert_leaf(
        "pservers/alpha/etc/motd",
        Leaf {
            kind: LeafKind::File,
            id: BlobId([0; 20]),
        },
    );
    let diagnostics = load::check(&files).diagnostics;
    let line = |note: &Diagnostic| format!("{} {}", note.is_error(), note.line());
    diagnostics.iter().map(line).collect()
}

fn keys<'v>(
    vocabulary: &'v mut BTreeMap<String, Table>,
    kind: &str,
    path: &[&str],
) -> &'v mut Table {
    let mut table = vocabulary.get_mut(kind).expect("a kind");
    for key in path {
        table = match table.get_mut(*key).expect("a key") {
            Form::Table(keys) | Form::Tables(keys) | Form::Named(_, keys) => keys,
            other => panic!("{key} is {other:?}"),
        };
    }
    table
}

#[test]
fn a_release_of_this_domus_reads_everything() {
    assert_eq!(said("", |_| {}), Vec::<String>::new());
}

#[test]
fn a_key_that_a_release_does_not_know_is_a_warning_where_it_is_used() {
    let old = |all: &mut BTreeMap<String, Table>| {
        keys(all, "host", &["networks"]).remove("vlan");
        keys(all, "host", &["networks"]).remove("mtu");
        keys(all, "domU", &[]).remove("vcpus");
        keys(all, "etc", &["files"]).remove("mode");
        keys(all, "domus", &["defaults", "host"]).remove("health");
    };
    let ignored = |file: &str, key: &str| {
        format!("false {file}: release 1 does not know {key:?}: its hosts ignore it")
    };
    let expected = [
        ignored("domus.toml", "health"),
        ignored("pservers/alpha/domUs/web.toml", "vcpus"),
        ignored("pservers/alpha/etc.toml", "mode"),
        ignored("pservers/alpha/host.toml", "mtu"),
    ];
    assert_eq!(said("", old), expected);
    // One that runs another release does not care.
    let of_another = said("release = \"2\"\n", old);
    assert_eq!(of_another, Vec::<String>::new());
}

#[test]
fn a_value_that_a_release_cannot_read_is_an_error() {
    let old = |all: &mut BTreeMap<String, Table>| {
        let domu = keys(all, "domU", &[]);
        domu.insert("kind".into(), Form::Text("^(pvh|hvm)$".into()));
        domu.insert("vcpus".into(), Form::Number(1, 4));
        domu.insert("memory".into(), Form::Text("(not an expression".into()));
    };
    let refused = |key: &str, text: &str| {
        let file = "pservers/alpha/domUs/web.toml";
        format!("true {file}: release 1 cannot read {text} as `{key}`")
    };
    let expected = [
        refused("memory", "1GiB"),
        refused("kind", "pv"),
        refused("vcpus", "integer"),
    ];
    assert_eq!(said("", old), expected);
}

#[test]
fn what_a_newer_domus_wrote_is_no_proof_and_no_error() {
    for content in ["", "[]", "{\"host\": {\"x\": \"verse\"}}"] {
        let mut files = Files::new();
        files.insert("domus.toml", DOMUS.into());
        files.insert("locked/9.schema", content.into());
        let notes = load::check(&files).diagnostics;
        let lines: Vec<String> = notes.iter().map(Diagnostic::line).collect();
        assert_eq!(
            lines,
            ["locked/9.schema: what release 9 can read is not known"]
        );
        assert!(!notes[0].is_error());
    }
}
