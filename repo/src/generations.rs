// SPDX-License-Identifier: GPL-3.0-or-later
//! The generations of a host: the statements that it took, each with a number, and the one that it
//! boots. A switch moves one ref, after all that it needs is on the disk: whenever the power goes,
//! the old generation is there or the new one, whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_system::atomic::TEMPORARY;
use git2::{ErrorCode, Oid};
use serde::Serialize;

use crate::{Commit, RUNNING_REF, Repo, SEEN_REF};

/// The last statement that was booted and healthy.
const GOOD_REF: &str = "refs/domus/good";
/// The statement that was gone back from: it is not taken again by itself.
const HELD_REF: &str = "refs/domus/held";
/// The directory of generations: a ref each, called by its number.
const GENERATIONS: &str = "refs/domus/generations/";

/// A statement that a host took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Its number, from 1; later ones have higher numbers.
    pub number: u32,
    /// The git commit that said it.
    pub statement: String,
    /// The commit.
    #[serde(flatten)]
    pub commit: Commit,
    /// The serial of the target that said so, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Whether the host boots it.
    pub running: bool,
    /// Whether it is the last of which everything came up.
    pub good: bool,
}

impl Generation {
    /// Whether this is its number, or its commit begins so.
    fn is_called(&self, name: &str) -> bool {
        self.number.to_string() == name || (name.len() >= 7 && self.commit.id.starts_with(name))
    }
}

impl Repo {
    /// All generations, the first one first; of a host that took none yet, what it boots.
    ///
    /// # Errors
    /// The repository is damaged, or says nothing of what it boots.
    pub fn generations(&self) -> Result<Vec<Generation>> {
        let running = self.running()?;
        let good = self.ref_of(GOOD_REF)?;
        let mut numbers = self.numbers()?;
        if !numbers.values().any(|id| *id == running) {
            let number = numbers.keys().last().map_or(1, |last| last + 1);
            numbers.insert(number, running.clone());
        }
        // One that was taken again has several numbers; it runs as the last.
        let last = |commit: &str| {
            let mut latest = numbers.iter().rev();
            latest.find(|(_, id)| *id == commit).map(|(n, _)| *n)
        };
        let (runs, good) = (last(&running), good.as_deref().and_then(last));
        let generation = |(number, id): (&u32, &String)| {
            let statement = self.statement(id)?;
            Ok(Generation {
                number: *number,
                statement: statement.id,
                commit: statement.commit,
                serial: statement.target.map(|target| target.serial),
                running: runs == Some(*number),
                good: good == Some(*number),
            })
        };
        numbers.iter().map(generation).collect()
    }

    /// What to try when booting, the best first: what is to run, what came up last, then the
    /// generations from the newest on; of each its ref, and what git calls it or why nobody knows.
    /// The statement `worst` comes last.
    pub fn candidates(&self, worst: Option<&str>) -> Vec<(String, Result<String>)> {
        let numbers = self.numbers().unwrap_or_default();
        let named = numbers.keys().rev();
        let named = named.map(|number| format!("{GENERATIONS}{number:06}"));
        let names = [RUNNING_REF, GOOD_REF].map(str::to_owned);
        let mut candidates: Vec<(String, Result<String>)> = Vec::new();
        for name in names.into_iter().chain(named) {
            let is_known = |id: &str| {
                let mut known = candidates.iter();
                known.any(|(_, known)| known.as_ref().is_ok_and(|known| known == id))
            };
            match self.ref_of(&name) {
                Ok(None) if name == RUNNING_REF => {
                    candidates.push((name, Err(anyhow!("there is no such ref"))));
                }
                Ok(None) => {}
                Ok(Some(id)) if is_known(&id) => {}
                Ok(Some(id)) => candidates.push((name, Ok(id))),
                Err(error) => candidates.push((name, Err(error))),
            }
        }
        candidates.sort_by_key(|(_, id)| id.as_ref().is_ok_and(|id| Some(id.as_str()) == worst));
        candidates
    }

    /// What git calls the statement that the host boots.
    ///
    /// # Errors
    /// The repository does not say.
    pub fn running(&self) -> Result<String> {
        let running = self.ref_of(RUNNING_REF)?;
        running.with_context(|| format!("there is no {RUNNING_REF} in {}", self.path().display()))
    }

    /// The newest statement that the host has seen.
    ///
    /// # Errors
    /// The repository is damaged.
    pub fn seen(&self) -> Result<Option<String>> {
        self.ref_of(SEEN_REF)
    }

    /// Notes that a statement was seen that could be believed.
    ///
    /// # Errors
    /// The disk is full or read-only.
    pub fn note_seen(&self, statement: &str) -> Result<()> {
        self.point(SEEN_REF, statement, "domus: seen")
    }

    /// Makes `statement` the newest generation and the one that the host boots. All its objects
    /// must be there.
    ///
    /// # Errors
    /// Somebody else moved it meanwhile, or the disk is full or read-only.
    pub fn adopt(&self, statement: &str) -> Result<u32> {
        let doing = || format!("making {statement} the next generation");
        let id = Oid::from_str(statement).with_context(doing)?;
        let before = Oid::from_str(&self.running()?).with_context(doing)?;
        let numbers = self.numbers()?;
        let mut next = numbers.keys().last().map_or(1, |last| last + 1);
        if numbers.is_empty() {
            // What the host was installed with is the first.
            self.set_new(next, before).with_context(doing)?;
            next += 1;
        }
        self.set_new(next, id).with_context(doing)?;
        self.switch(before, id).with_context(doing)?;
        self.forget(HELD_REF).with_context(doing)?;
        Ok(next)
    }

    /// Goes back to the generation with this number, or the last one of the commit that begins
    /// so, or to the one before the one that runs; and holds what it went back from.
    ///
    /// # Errors
    /// There is none, it runs already, or the disk is full or read-only.
    pub fn go_back(&self, wanted: Option<&str>) -> Result<Generation> {
        let generations = self.generations()?;
        let running = generations.iter().find(|it| it.running);
        let running = running.context("nothing runs here")?;
        let is_one = |it: &&Generation| match wanted {
            Some(wanted) => it.is_called(wanted),
            None => it.number < running.number && it.commit != running.commit,
        };
        let Some(found) = generations.iter().rev().find(is_one) else {
            match wanted {
                Some(wanted) => bail!("there is no generation {wanted}: `generations` lists them"),
                None => bail!("there is no generation before {}", running.number),
            }
        };
        if let Some(wanted) = wanted {
            let mut others = generations.iter().filter(|it| it.is_called(wanted));
            let is_other = |it: &Generation| it.commit != found.commit;
            ensure!(!others.any(is_other), "several commits begin with {wanted}");
        }
        ensure!(!found.running, "generation {} runs already", found.number);
        let doing = || format!("going back to generation {}", found.number);
        let id = |of: &Generation| Oid::from_str(&of.statement);
        let (from, to) = (
            id(running).with_context(doing)?,
            id(found).with_context(doing)?,
        );
        // Held first: a power cut in between leaves what runs, and holds it from nobody.
        self.git
            .reference(HELD_REF, from, true, "domus: went back")
            .with_context(doing)?;
        self.switch(from, to).with_context(doing)?;
        Ok(Generation {
            running: true,
            ..found.clone()
        })
    }

    /// What git calls the statement that was healthy last.
    ///
    /// # Errors
    /// The repository is damaged.
    pub fn good(&self) -> Result<Option<String>> {
        self.ref_of(GOOD_REF)
    }

    /// Makes `to` what the host boots, in place of what failed, and holds that: it is not taken
    /// again by itself.
    ///
    /// # Errors
    /// Somebody else moved it meanwhile, or the disk is full or read-only.
    pub fn leave(&self, failed: &str, to: &str) -> Result<()> {
        let doing = || format!("going back from {failed} to {to}");
        let failed = Oid::from_str(failed).with_context(doing)?;
        let to = Oid::from_str(to).with_context(doing)?;
        self.git
            .reference(HELD_REF, failed, true, "domus: left, it was not healthy")
            .and_then(|_| {
                let log = "domus: switched back";
                self.git
                    .reference_matching(RUNNING_REF, to, true, failed, log)
            })
            .map(drop)
            .with_context(doing)
    }

    /// The statement that was gone back from, by an operator or because it was not healthy.
    ///
    /// # Errors
    /// The repository is damaged.
    pub fn held(&self) -> Result<Option<String>> {
        self.ref_of(HELD_REF)
    }

    /// Notes that everything came up of the commit that a statement names.
    ///
    /// # Errors
    /// The disk is full or read-only.
    pub fn mark_good(&self, statement: &str) -> Result<()> {
        self.point(GOOD_REF, statement, "domus: came up")
    }

    /// Points a ref at a statement, if it does not yet.
    fn point(&self, name: &str, statement: &str, log: &str) -> Result<()> {
        if self.ref_of(name)?.as_deref() == Some(statement) {
            return Ok(());
        }
        let doing = || format!("pointing {name} at {statement}");
        let id = Oid::from_str(statement).with_context(doing)?;
        self.git
            .reference(name, id, true, log)
            .with_context(doing)?;
        Ok(())
    }

    /// Forgets the oldest generations, so that `keep` are left, and says which. What runs and what
    /// is good stays, however old.
    ///
    /// # Errors
    /// The disk is read-only.
    pub fn prune(&self, keep: usize) -> Result<Vec<u32>> {
        let generations = self.generations()?;
        let surplus = generations.len().saturating_sub(keep.max(1));
        let old = generations.iter().take(surplus);
        let old = old.filter(|it| !it.running && !it.good);
        let old: Vec<u32> = old.map(|it| it.number).collect();
        for number in &old {
            self.forget(&format!("{GENERATIONS}{number:06}"))?;
        }
        Ok(old)
    }

    /// Clears away what a writer left behind that was cut off: its locks, and packs that were not
    /// finished. Nobody else may be writing.
    ///
    /// # Errors
    /// The disk is read-only.
    pub fn clear_leftovers(&self) -> Result<()> {
        let root = self.git.path();
        clear(root, 0, &|name| name.ends_with(".lock"))?;
        clear(&root.join("refs"), DEEPEST, &|name| name.ends_with(".lock"))?;
        // libgit2 calls what it has not finished so; whole packs have other endings.
        let objects = root.join("objects");
        clear(&objects, 1, &|name| {
            name.starts_with("tmp_") || name.starts_with("pack_")
        })?;
        // Of a pack that is not there, its index: that was made first, or is removed last.
        let packs = objects.join("pack");
        clear(&packs, 0, &|name| {
            let pack = packs.join(name).with_extension("pack");
            name.starts_with(TEMPORARY) || (name.starts_with("pack-") && !pack.exists())
        })
    }

    /// Whether `commit` is `ancestor` or came after it.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn descends(&self, commit: &str, ancestor: &str) -> Result<bool> {
        let doing = || format!("comparing {commit} with {ancestor}");
        let [commit, ancestor] = [commit, ancestor].map(Oid::from_str);
        let (commit, ancestor) = (commit.with_context(doing)?, ancestor.with_context(doing)?);
        let is_after = || self.git.graph_descendant_of(commit, ancestor);
        Ok(commit == ancestor || is_after().with_context(doing)?)
    }

    fn numbers(&self) -> Result<BTreeMap<u32, String>> {
        let doing = "listing the generations";
        let refs = self
            .git
            .references_glob(&format!("{GENERATIONS}*"))
            .context(doing)?;
        let mut numbers = BTreeMap::new();
        for reference in refs {
            let reference = reference.context(doing)?;
            let name = reference
                .name()
                .ok()
                .and_then(|name| name.strip_prefix(GENERATIONS));
            if let (Some(Ok(number)), Some(id)) = (name.map(str::parse), reference.target()) {
                numbers.insert(number, id.to_string());
            }
        }
        Ok(numbers)
    }

    fn set_new(&self, number: u32, id: Oid) -> Result<()> {
        let name = format!("{GENERATIONS}{number:06}");
        self.git.reference(&name, id, false, "domus: taken")?;
        Ok(())
    }

    /// Moves what the host boots, if it is still what it was.
    fn switch(&self, from: Oid, to: Oid) -> Result<()> {
        self.git
            .reference_matching(RUNNING_REF, to, true, from, "domus: switched")?;
        Ok(())
    }

    fn ref_of(&self, name: &str) -> Result<Option<String>> {
        match self.git.refname_to_id(name) {
            Ok(id) => Ok(Some(id.to_string())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {name}")),
        }
    }

    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        match self.git.find_reference(name) {
            Ok(mut reference) => reference
                .delete()
                .with_context(|| format!("deleting {name}")),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("reading {name}")),
        }
    }
}

/// How deep directories of refs are looked at.
const DEEPEST: usize = 8;

/// Removes the files in `directory`, and so deep below it, that are `left` behind.
fn clear(directory: &Path, depth: usize, left: &dyn Fn(&str) -> bool) -> Result<()> {
    let doing = || format!("clearing {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(doing)?,
    };
    for entry in entries {
        let entry = entry.with_context(doing)?;
        let is_directory = entry.file_type().with_context(doing)?.is_dir();
        if is_directory && depth > 0 {
            clear(&entry.path(), depth - 1, left)?;
        } else if !is_directory && left(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).with_context(doing)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{carry, init_with_commit};
    use git2::{Repository, Signature};
    use tempfile::TempDir;

    /// A host's repository with so many commits, of which it runs the first.
    fn host(commits: usize) -> (TempDir, Repo, Vec<String>) {
        let dir = tempfile::tempdir().expect("dir");
        let work = dir.path().join("work");
        fs::create_dir(&work).expect("mkdir");
        fs::write(work.join("domus.toml"), "").expect("write");
        let mut ids = vec![init_with_commit(&work, "0").expect("commit")];
        let git = Repository::open(&work).expect("open");
        let who = Signature::now("test", "test@example.net").expect("who");
        for number in 1..commits {
            let parent = git
                .head()
                .and_then(|head| head.peel_to_commit())
                .expect("head");
            let tree = parent.tree().expect("tree");
            let message = number.to_string();
            let id = git.commit(Some("HEAD"), &who, &who, &message, &tree, &[&parent]);
            ids.push(id.expect("commit").to_string());
        }
        let bare = dir.path().join("repo.git");
        let repo = Repo::open(&work).expect("open");
        carry(&repo, ids.last().expect("one"), &bare).expect("carried");
        let repo = Repo::open(&bare).expect("open");
        let first = Oid::from_str(&ids[0]).expect("an id");
        repo.git
            .reference(RUNNING_REF, first, true, "")
            .expect("set");
        (dir, repo, ids)
    }

    /// The numbers of all generations, that which runs with `*`, the good one with `+`.
    fn shown(repo: &Repo) -> String {
        let word = |it: &Generation| {
            let runs = if it.running { "*" } else { "" };
            let good = if it.good { "+" } else { "" };
            format!("{}{runs}{good}:{}", it.number, it.commit.summary)
        };
        let generations = repo.generations().expect("generations");
        generations.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn generations_are_taken_and_gone_back_to() {
        let (_dir, repo, ids) = host(4);
        assert_eq!(shown(&repo), "1*:0");
        assert!(repo.go_back(None).is_err());
        repo.mark_good(&ids[0]).expect("noted");
        assert_eq!(repo.adopt(&ids[1]).expect("adopted"), 2);
        assert_eq!(repo.adopt(&ids[2]).expect("adopted"), 3);
        assert_eq!(shown(&repo), "1+:0 2:1 3*:2");
        assert_eq!(repo.held().expect("read"), None);

        assert_eq!(repo.go_back(None).expect("gone back").number, 2);
        assert_eq!(shown(&repo), "1+:0 2*:1 3:2");
        assert_eq!(repo.held().expect("read"), Some(ids[2].clone()));
        assert!(repo.go_back(Some("2")).is_err() && repo.go_back(Some("9")).is_err());
        assert_eq!(repo.go_back(Some("3")).expect("gone forth").number, 3);
        assert_eq!(
            repo.go_back(Some(&ids[0][..7])).expect("gone back").number,
            1
        );
        assert!(
            repo.go_back(Some(&ids[1][..6])).is_err(),
            "that is too short"
        );

        assert_eq!(repo.adopt(&ids[3]).expect("adopted"), 4);
        assert_eq!(repo.held().expect("read"), None);
        assert_eq!(shown(&repo), "1+:0 2:1 3:2 4*:3");
        // What was taken again has the number of the last time.
        assert_eq!(repo.adopt(&ids[1]).expect("adopted"), 5);
        assert_eq!(shown(&repo), "1+:0 2:1 3:2 4:3 5*:1");
    }

    #[test]
    fn what_runs_and_what_is_good_is_never_forgotten() {
        let (_dir, repo, ids) = host(5);
        for id in &ids[1..] {
            repo.adopt(id).expect("adopted");
        }
        repo.mark_good(&ids[1]).expect("noted");
        repo.go_back(Some("1")).expect("gone back");
        assert_eq!(repo.prune(1).expect("pruned"), [3, 4]);
        assert_eq!(shown(&repo), "1*:0 2+:1 5:4");
        assert_eq!(repo.prune(0).expect("pruned"), [0; 0]);
        // The numbers go on.
        assert_eq!(repo.adopt(&ids[2]).expect("adopted"), 6);
    }

    #[test]
    fn who_moved_it_meanwhile_wins() {
        let (_dir, repo, ids) = host(3);
        let [first, second, third] = [0, 1, 2].map(|n| Oid::from_str(&ids[n]).expect("an id"));
        repo.git
            .reference(RUNNING_REF, second, true, "")
            .expect("moved");
        assert!(repo.switch(first, third).is_err());
        assert_eq!(repo.commit(RUNNING_REF).expect("running").id, ids[1]);
        assert!(repo.descends(&ids[2], &ids[0]).expect("compared"));
        assert!(!repo.descends(&ids[0], &ids[2]).expect("compared"));
    }
}
