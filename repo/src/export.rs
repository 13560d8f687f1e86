// SPDX-License-Identifier: GPL-3.0-or-later
//! Exporting trees of a commit to a directory: only what one host needs, and never a path that
//! leads out of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use domus_model::files::Files;
use domus_model::load::groups_of;
use domus_model::lock::LOCK;
use domus_model::names::Name;
use git2::{ObjectType, Tree};

use crate::Repo;
use crate::open::{LINK, PROGRAM};

/// An export under way.
pub struct Export<'a> {
    repo: &'a Repo,
    root: Tree<'a>,
    left: u64,
}

/// The parts of a repository that one host runs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// domUs that the host has a document for.
    pub domus: Vec<Name>,
}

impl<'a> Export<'a> {
    /// Prepares to export from `commit`.
    ///
    /// # Errors
    /// The commit is not there or is damaged.
    pub fn new(repo: &'a Repo, commit: &str) -> Result<Self> {
        Ok(Self {
            repo,
            root: repo.tree(commit)?,
            left: Files::LARGEST_PART,
        })
    }

    /// Makes sure that the commit has a tree for `host`.
    ///
    /// # Errors
    /// It has none.
    pub fn require_host(&self, host: &Name) -> Result<()> {
        let dir = format!("pservers/{host}");
        ensure!(
            self.subtree(&dir)?.is_some(),
            "the running commit has no {dir}/"
        );
        Ok(())
    }

    /// Writes the slice of `host` below `to`, laid out as in the repository: `domus.toml`,
    /// `domus.lock`, `images/*.toml`, `global/`, its groups', `pservers/HOST/` and `vservers/` of its domUs.
    ///
    /// # Errors
    /// The commit has no such host, a path is refused, or RAM runs out.
    pub fn slice(&mut self, host: &Name, to: &Path) -> Result<Slice> {
        self.require_host(host)?;
        let host_dir = format!("pservers/{host}");
        self.path("domus.toml", to)?;
        self.path(LOCK, to)?;
        self.path("global", to)?;
        self.path(&host_dir, to)?;
        for group in self.groups(&host_dir)? {
            self.path(&format!("groups/{group}"), to)?;
        }
        for recipe in self.names("images")? {
            if recipe.ends_with(".toml") {
                self.path(&format!("images/{recipe}"), to)?;
            }
        }
        let mut domus = Vec::new();
        for file in self.names(&format!("{host_dir}/domUs"))? {
            if let Some(Ok(name)) = file.strip_suffix(".toml").map(str::parse::<Name>) {
                self.path(&format!("vservers/{name}"), to)?;
                domus.push(name);
            }
        }
        Ok(Slice { domus })
    }

    /// The groups of a host; none if the commit has no such host.
    ///
    /// # Errors
    /// Objects are missing.
    pub fn groups_of(&self, host: &Name) -> Result<Vec<Name>> {
        self.groups(&format!("pservers/{host}"))
    }

    /// The groups of the host whose documents are in this directory.
    fn groups(&self, host_dir: &str) -> Result<Vec<Name>> {
        let document = format!("{host_dir}/host.toml");
        let Ok(entry) = self.root.get_path(Path::new(&document)) else {
            return Ok(Vec::new());
        };
        let reading = || format!("reading {document} of the commit");
        let (size, _) = self.repo.size(entry.id()).with_context(reading)?;
        ensure!(size <= Files::LONGEST, "{}: it is too long", reading());
        let blob = self.repo.git.find_blob(entry.id()).with_context(reading)?;
        Ok(groups_of(blob.content()))
    }

    /// Names in the directory `path` of the commit; none if there is no such directory.
    fn names(&self, path: &str) -> Result<Vec<String>> {
        let Some(tree) = self.subtree(path)? else {
            return Ok(Vec::new());
        };
        Ok(tree
            .iter()
            .filter_map(|entry| entry.name().ok().map(str::to_owned))
            .collect())
    }

    fn subtree(&self, path: &str) -> Result<Option<Tree<'a>>> {
        match self.root.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => {
                let tree = self.repo.find_tree(entry.id());
                Ok(Some(tree.with_context(|| {
                    format!("reading {path}/ of the commit")
                })?))
            }
            _ => Ok(None),
        }
    }

    /// Exports the file or directory `path`, if the commit has it.
    fn path(&mut self, path: &str, to: &Path) -> Result<()> {
        let Ok(entry) = self.root.get_path(Path::new(path)) else {
            return Ok(());
        };
        let target = to.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        let found = (entry.id(), entry.kind(), entry.filemode());
        self.entry(found, Path::new(path), to, Files::DEEPEST)
    }

    /// Exports what is `at` this path of the commit.
    fn entry(
        &mut self,
        (id, kind, mode): (git2::Oid, Option<ObjectType>, i32),
        at: &Path,
        to: &Path,
        depth: usize,
    ) -> Result<()> {
        let doing = || format!("exporting {} of the commit", at.display());
        let target = to.join(at);
        match kind {
            Some(ObjectType::Tree) => {
                ensure!(
                    depth > 0,
                    "{}: deeper than {} directories",
                    doing(),
                    Files::DEEPEST
                );
                // One that exists may be a link to a directory that the same tree planted: git
                // takes trees that name something twice.
                fs::create_dir(&target)
                    .map_err(named_twice)
                    .with_context(doing)?;
                let tree = self.repo.find_tree(id).with_context(doing)?;
                for entry in &tree {
                    let name = entry.name().ok().filter(|name| is_plain(name));
                    let Some(name) = name else {
                        bail!("{}: a name in it is no file name", doing());
                    };
                    let found = (entry.id(), entry.kind(), entry.filemode());
                    self.entry(found, &at.join(name), to, depth - 1)?;
                }
                Ok(())
            }
            Some(ObjectType::Blob) => self.blob(id, mode, &target).with_context(doing),
            _ => bail!("{}: a submodule cannot be exported", doing()),
        }
    }

    fn blob(&mut self, id: git2::Oid, mode: i32, target: &Path) -> Result<()> {
        let (size, _) = self.repo.size(id)?;
        let size = size as u64;
        ensure!(
            size <= self.left,
            "it has {size} bytes, and with it this host's part of the commit has more than {}, \
             which is the most that goes to RAM: keep large files in images or on volumes",
            Files::LARGEST_PART
        );
        self.left -= size;
        let blob = self.repo.git.find_blob(id)?;
        // `create_new` and `symlink` refuse a name that exists: nothing is ever written through
        // a link that the same commit planted.
        if mode == LINK {
            let link = std::str::from_utf8(blob.content()).context("link target is no text")?;
            return symlink(link, target).map_err(named_twice);
        }
        let mode = if mode == PROGRAM { 0o755 } else { 0o644 };
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(target)
            .map_err(named_twice)?;
        Ok(file.write_all(blob.content())?)
    }
}

/// What to do about a name that is there already: an export begins with an empty directory.
fn named_twice(error: std::io::Error) -> anyhow::Error {
    let is_there = error.kind() == std::io::ErrorKind::AlreadyExists;
    let error = anyhow::Error::new(error);
    if !is_there {
        return error;
    }
    error.context(
        "this commit names it twice, in a tree as git itself does not write them or in a list of \
         groups: `git fsck` says which; commit it once",
    )
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init_with_commit;

    fn fleet(files: &[(&str, &str)]) -> (tempfile::TempDir, Repo, String) {
        let dir = tempfile::tempdir().expect("dir");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        }
        symlink("../../etc/passwd", dir.path().join("global/link")).expect("link");
        let commit = init_with_commit(dir.path(), "first").expect("commit");
        let repo = Repo::open(dir.path()).expect("open");
        (dir, repo, commit)
    }

    const FILES: &[(&str, &str)] = &[
        ("domus.toml", "version = 1\n"),
        ("global/hosts", "127.0.0.1 localhost\n"),
        ("pservers/alpha/host.toml", ""),
        ("pservers/alpha/domUs/web.toml", ""),
        ("pservers/beta/host.toml", ""),
        ("vservers/web/etc/motd", "web\n"),
        ("vservers/mail/etc/motd", "mail\n"),
        ("images/base.toml", ""),
        ("images/base/big", ""),
    ];

    #[test]
    fn a_slice_holds_what_one_host_needs_and_no_more() {
        let (_fleet, repo, commit) = fleet(FILES);
        let to = tempfile::tempdir().expect("dir");
        let mut export = Export::new(&repo, &commit).expect("export");
        let slice = export
            .slice(&"alpha".parse().expect("name"), to.path())
            .expect("slice");
        assert_eq!(slice.domus.len(), 1);
        for there in [
            "domus.toml",
            "global/hosts",
            "vservers/web/etc/motd",
            "images/base.toml",
        ] {
            assert!(to.path().join(there).exists(), "{there}");
        }
        for absent in ["pservers/beta", "vservers/mail", "images/base"] {
            assert!(!to.path().join(absent).exists(), "{absent}");
        }
        let link = fs::read_link(to.path().join("global/link")).expect("link");
        assert_eq!(link, Path::new("../../etc/passwd"));
        let absent = Export::new(&repo, &commit).expect("export");
        let error = { absent }.slice(&"gamma".parse().expect("name"), to.path());
        assert!(
            error
                .expect_err("absent")
                .to_string()
                .contains("no pservers/gamma/")
        );
    }

    #[test]
    fn what_a_tree_names_twice_is_not_written_through_a_link() {
        let (dir, repo, _) = fleet(FILES);
        let outside = tempfile::tempdir().expect("dir");
        let git = &repo.git;
        let link = outside.path().to_str().expect("a path");
        let link = git.blob(link.as_bytes()).expect("blob");
        let file = git.blob(b"planted").expect("blob");
        let tree = |entries: &[(&str, git2::Oid)]| {
            let mut raw = Vec::new();
            for (head, id) in entries {
                raw.extend_from_slice(head.as_bytes());
                raw.push(0);
                raw.extend_from_slice(id.as_bytes());
            }
            let odb = git.odb().expect("objects");
            odb.write(ObjectType::Tree, &raw).expect("written")
        };
        let inner = tree(&[("100644 file", file)]);
        let host = tree(&[
            ("120000 etc", link),
            ("40000 etc", inner),
            ("100644 host.toml", file),
        ]);
        let hosts = tree(&[("40000 alpha", host)]);
        let root = tree(&[("40000 pservers", hosts)]);
        let root = git.find_tree(root).expect("a tree");
        let who = git2::Signature::now("x", "x@example.net").expect("who");
        let commit = git.commit(None, &who, &who, "x", &root, &[]);
        let commit = commit.expect("commit").to_string();

        let mut export = Export::new(&repo, &commit).expect("export");
        let to = dir.path().join("out");
        let refused = export.slice(&"alpha".parse().expect("name"), &to);
        let error = format!("{:#}", refused.expect_err("named twice"));
        assert!(error.contains("File exists"), "{error}");
        assert!(error.contains("names it twice"), "{error}");
        let left = fs::read_dir(outside.path()).expect("a directory");
        assert_eq!(left.count(), 0, "nothing is written outside");
    }

    /// A host's file system tells case apart, as git does. On one that does not, the second name
    /// is refused as one that is there already, and nothing leads out either.
    #[test]
    fn names_that_only_case_tells_apart_are_two() {
        let files = [
            ("pservers/alpha/etc/Foo", "upper\n"),
            ("pservers/alpha/etc/foo", "lower\n"),
            ("pservers/alpha/etc/Dir/file", "upper\n"),
            ("pservers/alpha/etc/dir/file", "lower\n"),
        ];
        let (dir, repo, commit) = fleet(&[FILES, &files].concat());
        let to = dir.path().join("out");
        let mut export = Export::new(&repo, &commit).expect("export");
        let slice = export.slice(&"alpha".parse().expect("name"), &to);
        slice.expect("both are exported");
        for (path, text) in files {
            let read = fs::read_to_string(to.join(path));
            assert_eq!(read.expect("it is there"), text, "{path}");
        }
        let etc = fs::read_dir(to.join("pservers/alpha/etc")).expect("a directory");
        assert_eq!(etc.count(), 4);
    }

    /// The ids of a file of 1 GiB that is packed, and of `small`, a difference to it.
    fn giant(repo: &Repo, small: &str) -> [git2::Oid; 2] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dom0/agent/tests/giant.py");
        let file = repo.path().join("small");
        fs::write(&file, small).expect("written");
        let mut python = std::process::Command::new("python3");
        python
            .arg(script)
            .arg(repo.path().join(".git/objects/pack"));
        let output = python.arg("1024").arg(&file).output().expect("python3");
        let ids = String::from_utf8(output.stdout).expect("ids");
        let mut ids = ids.lines().map(|id| id.parse().expect("an id"));
        [
            ids.next().expect("the large one"),
            ids.next().expect("the small one"),
        ]
    }

    /// The most memory that this process had, in KiB.
    fn peak() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("read");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let peak = line.and_then(|line| line.split_whitespace().nth(1));
        peak.and_then(|peak| peak.parse().ok()).expect("a number")
    }

    #[test]
    fn neither_what_is_huge_nor_a_difference_to_it_is_unpacked() {
        let (_fleet, repo, commit) = fleet(FILES);
        let [large, small] = giant(&repo, "version = 1 # small\n");
        let names = [
            (
                "pservers/alpha/etc/big",
                large,
                "67108864, which is the most",
            ),
            ("pservers/alpha/host.toml", small, "1073741824 bytes"),
            ("vservers/web/etc/motd", small, "bigFileThreshold"),
        ];
        for (path, id, why) in names {
            let base = repo.tree(&commit).expect("a tree");
            let mut changed = git2::build::TreeUpdateBuilder::new();
            changed.upsert(path, id, git2::FileMode::Blob);
            let root = changed.create_updated(&repo.git, &base).expect("a tree");
            let root = repo.git.find_tree(root).expect("a tree");
            let who = git2::Signature::now("x", "x@example.net").expect("who");
            let commit = repo.git.commit(None, &who, &who, "x", &root, &[]);
            let commit = commit.expect("commit").to_string();
            let to = tempfile::tempdir().expect("dir");
            let mut export = Export::new(&repo, &commit).expect("export");
            let refused = export.slice(&"alpha".parse().expect("name"), to.path());
            let error = format!("{:#}", refused.expect_err("refused"));
            assert!(error.contains(path) && error.contains(why), "{error}");
            // Who checks it is told, too, or reads what is not a difference.
            let (repo, again) = [(); 2]
                .map(|()| Repo::open(repo.path()).expect("open"))
                .into();
            assert!(path.ends_with("big") || repo.documents(&commit).is_err());
            let read = again.read_once(&commit).and_then(|it| it.host("alpha"));
            assert!(read.is_ok() || path.ends_with("host.toml"), "{path}");
        }
        assert!(peak() < 128 << 10, "{} KiB", peak());
    }

    #[test]
    fn a_carried_commit_can_be_read_from_the_bare_repository() {
        let (_fleet, repo, commit) = fleet(FILES);
        let to = tempfile::tempdir().expect("dir");
        let bare = to.path().join("repo.git");
        crate::carry(&repo, &commit, &bare).expect("carry");
        let copy = Repo::open(&bare).expect("open");
        assert_eq!(copy.commit(crate::RUNNING_REF).expect("running").id, commit);
        assert!(copy.commit("no-such").is_err());
        let mut export = Export::new(&copy, &commit).expect("export");
        export
            .slice(&"alpha".parse().expect("name"), &to.path().join("out"))
            .expect("slice");
    }
}
