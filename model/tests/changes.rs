// SPDX-License-Identifier: GPL-3.0-or-later
//! Scenarios: what changes in a fleet, and what that means for a host. Each file in `changes/`
//! says what is done to `changes/base`, and below `---` what the plan says. What stands above a line
//! `then` is done before, and is not in the plan.
//! `UPDATE_EXPECTED=1 cargo test -p domus-model` writes the latter anew; read it.

mod plans;
mod repository;

use domus_model::changes::{Changes, Given, Now, Observed, Side, Step, changes, live};
use domus_model::files::{BlobId, Files, Leaf, LeafKind};
use domus_model::load::Frame;
use domus_model::names::Name;
use plans::{elsewhere, host};
use repository::{identify, manifest_dir, read, sorted};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What a scenario says.
struct Scenario {
    before: Files,
    files: Files,
    host: String,
    observed: Observed,
}

/// Does what the lines of a scenario say.
fn perform(base: &Files, text: &str) -> Scenario {
    let mut scenario = Scenario {
        before: base.clone(),
        files: base.clone(),
        host: "alpha".to_owned(),
        observed: Observed::default(),
    };
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
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
            "then" => scenario.before = scenario.files.clone(),
            "delete" => delete(&mut scenario.files, rest),
            "plan" => rest.clone_into(&mut scenario.host),
            "running" => {
                let running = names().map(|name| name.parse().expect("a name")).collect();
                scenario.observed.running = Some(running);
            }
            "refreshing" => {
                let names = names().map(|name| name.parse().expect("a name")).collect();
                scenario.observed.refreshing = Some(names);
            }
            "changed" => scenario.observed.changed = names().map(str::to_owned).collect(),
            "kept" => scenario.observed.kept = names().map(str::to_owned).collect(),
            "overrule" => scenario.observed.overrule = rest == "yes",
            "given" => {
                let words: Vec<&str> = names().collect();
                let word = |index| *words.get(index).unwrap_or(&"");
                let (memory, vcpus) = (
                    word(1).parse().expect("a size"),
                    word(2).parse().expect("a number"),
                );
                let given = Given {
                    memory,
                    vcpus,
                    max_memory: word(3).parse().unwrap_or(memory),
                    max_vcpus: word(4).parse().unwrap_or(vcpus),
                    pin: word(5).parse().ok(),
                    share: word(6).parse().ok().zip(word(7).parse().ok()),
                };
                let name = words[0].parse().expect("a name");
                scenario.observed.given.insert(name, given);
            }
            "link" => {
                let (path, target) = rest.split_once(": ").expect("a path");
                link(&mut scenario.files, path, target);
            }
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

fn link(files: &mut Files, path: &str, target: &str) {
    let id = match target {
        // As git has it.
        "/dev/null" => [
            0xdc, 0x1d, 0xc0, 0xcd, 0xe0, 0xf7, 0xdf, 0xf7, 0xb7, 0xf7, 0xc9, 0x34, 0x7f, 0xff,
            0x75, 0x93, 0x6d, 0x70, 0x5c, 0xb8,
        ],
        _ => [1; 20],
    };
    let mut here = Files::new();
    let (kind, id) = (LeafKind::Link, BlobId(id));
    here.insert_leaf(path, Leaf { kind, id });
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
        let before = &scenario.before;
        let said = compare(before, &scenario.files, name, &scenario.observed).render();
        let unchanged = Observed {
            given: BTreeMap::new(),
            kept: BTreeSet::new(),
            ..scenario.observed
        };
        for same in [before, &scenario.files] {
            assert!(
                compare(same, same, name, &unchanged).is_empty(),
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

/// What `/etc` is of, what was booted and what domUs were started from are commits of their own.
#[test]
fn a_host_that_runs_is_compared_with_the_commits_that_it_runs() {
    let base = read(&manifest_dir().join("tests/changes/base"));
    let edited = |lines: &str| perform(&base, lines).files;
    let fstab = "write pservers/alpha/etc/fstab: x\n";
    let memory = "edit pservers/alpha/domUs/web.toml: 512MiB => 768MiB\n";
    let applied = edited(&[fstab, memory].concat());
    let wanted = edited(&[fstab, memory, "write pservers/alpha/etc/motd: new\n"].concat());
    let frames = [&base, &applied, &wanted].map(|files| Frame::read(&files.shared));
    let fleets = frames
        .each_ref()
        .map(|frame| frame.fleet().expect("a fleet"));
    let all = [&base, &applied, &wanted];
    let hosts = [0, 1, 2].map(|index| host(all[index], &frames[index], "alpha"));
    let none = BTreeMap::new();
    let side = |index: usize| Side {
        fleet: &fleets[index],
        host: hosts[index].as_ref(),
        names: all[index].shared.id_of("global/hosts"),
        elsewhere: &none,
    };
    let names = |list: &[&str]| -> BTreeSet<Name> {
        list.iter()
            .map(|name| name.parse().expect("a name"))
            .collect()
    };
    let now = |web: usize| Now {
        booted: side(0),
        applied: side(1),
        started: vec![(side(web), names(&["web"])), (side(0), names(&["db"]))],
    };
    let observed = Observed {
        running: Some(names(&["db", "web"])),
        ..Observed::default()
    };
    let said = |web, to| live(&now(web), side(to), &observed);
    let lines = |changes: &Changes| -> Vec<String> {
        let line = |step: &Step| format!("{} {}", step.impact.word(), step.what);
        changes.steps.iter().map(line).collect()
    };
    let (motd, fstab) = ("live /etc/motd changed", "reboot /etc/fstab added");
    let memory = "restart memory 512MiB -> 768MiB";
    assert_eq!(lines(&said(0, 2)), [motd, fstab, memory]);
    assert_eq!(said(0, 2).restarts(), names(&["web"]));
    assert_eq!(said(0, 2).waits().count(), 1);
    // It was restarted since.
    assert_eq!(lines(&said(1, 2)), [motd, fstab]);
    assert_eq!(lines(&said(1, 1)), [fstab]);
    // Back to what was booted: nothing waits for a reboot.
    let back = lines(&said(1, 0));
    assert_eq!(
        back,
        [
            "live /etc/fstab no more given",
            "restart memory 768MiB -> 512MiB"
        ]
    );
}
