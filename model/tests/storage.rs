// SPDX-License-Identifier: GPL-3.0-or-later
//! Scenarios: what is found on a host's disks, and what is done. Each file in `storage/` says what the
//! document has and what is found, and below `---` what follows.
//! `UPDATE_EXPECTED=1 cargo test -p domus-model` writes the latter anew; read it.

use domus_model::fleet::LocalStorage;
use domus_model::storage::{Claim, ClaimState, Disk, Found, Look, Seen, Step, decide};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use uuid::Uuid;

const SET: Uuid = Uuid::from_u128(0x5e7);

/// `disk NAME WORDS`: what the words mean is below.
fn seen(line: &str) -> Seen {
    let mut words = line.split(' ');
    let name = words.next().expect("a name").to_owned();
    let mut disk = Disk {
        size: 64 << 30,
        zero: true,
        ..Disk::default()
    };
    let mut claim = Claim {
        set: SET,
        fleet: "example".parse().expect("a name"),
        host: "alpha".parse().expect("a name"),
        disk: name.clone(),
        birth: Uuid::from_u128(1),
        mirror: false,
        state: ClaimState::Preparing,
    };
    let seed = |claim: &Claim| claim.seed().to_string();
    let mut look = None;
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "absent" => look = Some(Look::Absent),
            "unreadable" => look = Some(Look::Unreadable("Input/output error".into())),
            "blank" => {}
            "unknown" => disk.zero = false,
            "small" => disk.size = 1 << 30,
            "protected" => disk.read_only = true,
            "used" => disk.in_use = true,
            "mirror" => claim.mirror = true,
            "born" => claim.birth = Uuid::from_u128(value.parse().expect("a number")),
            "other" => {
                claim.set = Uuid::from_u128(2);
                claim.host = "beta".parse().expect("a name");
            }
            "preparing" => disk.claim = Some(claim.clone()),
            "ready" => {
                claim.state = ClaimState::Ready;
                disk.claim = Some(claim.clone());
            }
            // The partition for /config, of so many GiB.
            "config" => {
                disk.partitions.push(claim.config().to_string());
                disk.config = Some(value.parse::<u64>().expect("a number") << 30);
            }
            "partition" => disk.partitions.push(match value {
                "own" => seed(&claim),
                other => other.to_owned(),
            }),
            // WHAT:UUID on the disk, or WHAT:UUID@ on its partition.
            "has" => {
                let inside = value.ends_with('@');
                let (what, id) = value.trim_end_matches('@').split_once(':').expect("two");
                disk.zero = false;
                disk.found.push(Found {
                    device: if inside { "/dev/sda1" } else { "/dev/sda" }.to_owned(),
                    inside,
                    what: what.replace('_', " ").replace("raid member", "raid_member"),
                    id: (!id.is_empty()).then(|| id.to_owned()),
                });
            }
            other => panic!("{other}"),
        }
    }
    for found in &mut disk.found {
        found.what = match found.what.as_str() {
            "raid" => "linux_raid_member".into(),
            "lvm" => "LVM2_member".into(),
            other => other.to_owned(),
        };
    }
    Seen {
        name,
        look: look.unwrap_or(Look::Disk(disk)),
    }
}

fn local(disks: &[Seen]) -> LocalStorage {
    LocalStorage {
        disks: disks.iter().map(|seen| seen.name.clone()).collect(),
        mirror: disks.len() == 2,
        config: None,
        var: Some("8GiB".parse().expect("a size")),
        tmp: None,
        swap: Some("4GiB".parse().expect("a size")),
        volume_group: "vg0".to_owned(),
        erase: Vec::new(),
    }
}

/// Each block of lines is one case.
fn say(text: &str) -> String {
    let mut said = String::new();
    for case in text.split("\n\n").filter(|case| !case.trim().is_empty()) {
        let lines: Vec<&str> = case.lines().filter(|line| !line.is_empty()).collect();
        let disks = lines.iter().filter_map(|line| line.strip_prefix("disk "));
        let disks: Vec<Seen> = disks.map(seen).collect();
        let mut local = local(&disks);
        let erase = lines.iter().filter_map(|line| line.strip_prefix("erase "));
        local.erase = erase.map(str::to_owned).collect();
        let config = lines.iter().find_map(|line| line.strip_prefix("config "));
        local.config = config.map(|size| size.parse().expect("a size"));
        let plan = decide(&local, SET, &disks);
        for line in lines {
            said += &format!("{line}\n");
        }
        for step in &plan.steps {
            said += &format!("    {step}\n");
        }
        said += &format!("    => {}\n", plan.standing.word());
        for reason in &plan.reasons {
            said += &format!("       {reason}\n");
        }
        said.push('\n');
    }
    said
}

#[test]
fn what_is_found_on_disks_decides() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage");
    let mut names: Vec<_> = fs::read_dir(&dir).expect("cases").flatten().collect();
    names.sort_by_key(fs::DirEntry::path);
    for entry in names {
        let path = entry.path();
        let text = fs::read_to_string(&path).expect("a case");
        let is_told = |line: &&str| !line.starts_with("    ");
        let told: Vec<&str> = text.lines().filter(is_told).collect();
        let said = say(&told.join("\n"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&path, &said).expect("a case");
        }
        let now = fs::read_to_string(&path).expect("a case");
        assert_eq!(now, said, "{}", path.display());
    }
}

fn anything() -> impl Strategy<Value = Seen> {
    let words = prop::sample::subsequence(
        vec![
            "unknown",
            "small",
            "protected",
            "used",
            "mirror",
            "born=7",
            "other",
            "preparing",
            "ready",
            "partition=own",
            "config=1",
            "partition=x",
            "has=gpt_table:aa-1",
            "has=ext4:bb-2@",
            "has=lvm:cc-3@",
            "has=raid:dd-4@",
            "has=ext4:",
        ],
        0..8,
    );
    (words, "[ab]").prop_map(|(words, name)| seen(format!("{name} {}", words.join(" ")).trim_end()))
}

proptest! {
    /// Whatever is found: what nobody named and Domus was not making is never laid anew.
    #[test]
    fn a_disk_that_holds_anything_is_not_touched(
        one in anything(), two in anything(), erase in prop::sample::subsequence(
            vec!["AA1", "bb-2", "CC:3", "dd4"], 0..4),
    ) {
        let mut disks = [one, two];
        disks[0].name = "a".into();
        disks[1].name = "b".into();
        for disks in [&disks[..], &disks[..1]] {
            let mut local = local(disks);
            local.erase = erase.iter().map(|id| (*id).to_owned()).collect();
            for step in decide(&local, SET, disks).steps {
                let Step::Lay { disk: name, .. } = step else { continue };
                let seen = disks.iter().find(|seen| seen.name == name).expect("one of them");
                let Look::Disk(disk) = &seen.look else { panic!("{name} is not there") };
                prop_assert!(!disk.in_use && !disk.read_only);
                let named = disk.found.iter().all(|found| {
                    found.id.as_ref().is_some_and(|id| local.erases(id))
                });
                let own = disk.claim.as_ref().is_some_and(|claim| claim.set == SET);
                let is_consented = named && !disk.found.is_empty();
                let preparing = disk.claim.as_ref().is_some_and(|claim| {
                    own && claim.state == ClaimState::Preparing
                });
                let is_blank = disk.claim.is_none() && disk.zero && disk.found.is_empty();
                prop_assert!(is_consented || preparing || is_blank, "{seen:?}");
                let is_data = |found: &Found| found.what == "ext4" && !found.id.as_ref()
                    .is_some_and(|id| local.erases(id));
                prop_assert!(!disk.found.iter().any(is_data), "{seen:?}");
            }
        }
    }
}
