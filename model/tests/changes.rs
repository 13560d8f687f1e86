// SPDX-License-Identifier: GPL-3.0-or-later
//! Scenarios: what changes in a fleet, and what that means for a host. Each file in `changes/`
//! says what is done to `changes/base`, and below `---` what the plan says.
//! `UPDATE_EXPECTED=1 cargo test -p domus-model` writes the latter anew; read it.

mod repository;

use domus_model::changes::{Changes, Observed, Side, changes};
use domus_model::files::{Documents, Files};
use domus_model::fleet::Host;
use domus_model::load::{Frame, Proof};
use domus_model::names::Name;
use repository::{identify, manifest_dir, read, sorted};
use std::collections::BTreeMap;
use std::fs;

/// What a scenario says.
struct Scenario {
    files: Files,
    host: String,
    observed: Observed,
}

/// Does what the lines of a scenario say.
fn perform(base: &Files, text: &str) -> Scenario {
    let mut scenario = Scenario {
        files: base.clone(),
        host: "alpha".to_owned(),
        observed: Observed::default(),
    };
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let (verb, rest) = line.split_once(' ').expect("a verb and more");
        let names = || rest.split(' ').filter(|name| *name != "-");
        match verb {
            "edit" => {
                let (path, change) = rest.split_once(": ").expect("a path");
                let (from, to) = change.split_once(" => ").expect("a change");
                let content = String::from_utf8_lossy(scenario.files.content(path)).into_owned();
                assert!(content.contains(&plain(from)), "no {from:?} in {path}");
                put(
                    &mut scenario.files,
                    path,
                    &content.replacen(&plain(from), &plain(to), 1),
                );
            }
            "write" => {
                let (path, content) = rest.split_once(": ").expect("a path");
                put(&mut scenario.files, path, &plain(content));
            }
            "delete" => delete(&mut scenario.files, rest),
            "plan" => rest.clone_into(&mut scenario.host),
            "running" => {
                let running = names().map(|name| name.parse().expect("a name")).collect();
                scenario.observed.running = Some(running);
            }
            "changed" => scenario.observed.changed = names().map(str::to_owned).collect(),
            other => panic!("no such verb: {other}"),
        }
    }
    scenario
}

fn plain(text: &str) -> String {
    text.replace("\\n", "\n")
}

fn put(files: &mut Files, path: &str, content: &str) {
    let mut here = Files::new();
    identify(&mut here, path, content.as_bytes(), false);
    merge(files, here);
}

fn merge(files: &mut Files, other: Files) {
    files.shared.extend(other.shared);
    for (host, documents) in other.hosts {
        files.hosts.entry(host).or_default().extend(documents);
    }
    for (domu, documents) in other.vservers {
        files.vservers.entry(domu).or_default().extend(documents);
    }
}

fn delete(files: &mut Files, path: &str) {
    let documents = match (Files::host_of(path), Files::vserver_of(path)) {
        (Some(host), _) => files.hosts.get_mut(host),
        (_, Some(domu)) => files.vservers.get_mut(domu),
        _ => Some(&mut files.shared),
    };
    assert!(
        documents.is_some_and(|documents| documents.remove(path)),
        "no {path}"
    );
    files.hosts.retain(|_, documents| !documents.is_empty());
}

fn host(files: &Files, frame: &Frame<'_>, name: &str) -> Option<Host> {
    let documents: &Documents = files.hosts.get(name)?;
    let mut proof = Proof::new(frame);
    let host = proof.host(name, documents, &files.vservers);
    let problems = || domus_model::load::check(files).diagnostics;
    Some(host.unwrap_or_else(|| panic!("{name} has errors: {:#?}", problems())))
}

/// The hosts of all domUs that are not on `host`.
fn elsewhere(files: &Files, host: &str) -> BTreeMap<Name, Name> {
    let others = files.hosts.iter().filter(|(name, _)| *name != host);
    let domus =
        others.flat_map(|(name, documents)| documents.domus().map(move |domu| (domu, name)));
    domus
        .map(|(domu, host)| (domu.parse().expect("a name"), host.parse().expect("a name")))
        .collect()
}

fn compare(from: &Files, to: &Files, name: &str, observed: &Observed) -> Changes {
    let frames = [Frame::read(&from.shared), Frame::read(&to.shared)];
    let fleets = frames
        .each_ref()
        .map(|frame| frame.fleet().expect("a fleet"));
    let hosts = [host(from, &frames[0], name), host(to, &frames[1], name)];
    let others = [elsewhere(from, name), elsewhere(to, name)];
    let side = |index: usize, files: &Files| Side {
        fleet: &fleets[index],
        host: hosts[index].as_ref(),
        names: files.shared.id_of("global/hosts"),
        elsewhere: &others[index],
    };
    changes(side(0, from), side(1, to), observed)
}

#[test]
fn scenarios_are_as_expected() {
    let directory = manifest_dir().join("tests/changes");
    let base = read(&directory.join("base"));
    let mut failed = Vec::new();
    let scenarios = sorted(&directory);
    let scenarios = scenarios
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "txt"));
    let mut number = 0;
    for path in scenarios {
        number += 1;
        let text = fs::read_to_string(path).expect("a scenario");
        let (script, expected) = text.split_once("---\n").unwrap_or((&text, ""));
        let scenario = perform(&base, script);
        let name = &scenario.host;
        let said = compare(&base, &scenario.files, name, &scenario.observed).render();
        for same in [&base, &scenario.files] {
            assert!(
                compare(same, same, name, &scenario.observed).is_empty(),
                "{}",
                path.display()
            );
        }
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(path, format!("{script}---\n{said}")).expect("written");
        } else if said != expected {
            failed.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(number >= 40, "{number} scenarios");
}
