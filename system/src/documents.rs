// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the documents of a configuration repository from a directory.
//!
//! Links are not followed: git stores a link as such, so what it points at would not be part of
//! the commit. Such documents are noted as unreadable, and `check` says so.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use domus_model::contents::LISTS;
use domus_model::diagnostic::Diagnostic;
use domus_model::files::{BlobId, Documents, Files, Leaf, LeafKind};
use domus_model::fleet::{Fleet, Host};
use domus_model::load::load_slice;
use domus_model::names::Name;
use domus_model::trust;

use crate::digest;

/// The document by which a repository is known.
const FLEET: &str = "domus.toml";

/// The repository that `start` is in: the nearest directory, it or one above, with `domus.toml`.
///
/// # Errors
/// `start` is no directory, or cannot be read.
pub fn find_root(start: &Path) -> Result<Option<PathBuf>> {
    let start = start
        .canonicalize()
        .with_context(|| format!("looking for {FLEET} in {}", start.display()))?;
    let is_root = |dir: &&Path| dir.join(FLEET).symlink_metadata().is_ok();
    Ok(start.ancestors().find(is_root).map(Path::to_owned))
}

/// The documents in `root` and where the layout has them below it.
///
/// # Errors
/// A directory is a link or cannot be listed. A document that cannot be read is no error here.
pub fn read(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    files.shared = read_shared(root)?;
    for host in list_hosts(root)? {
        let documents = read_host(root, &host)?;
        if !documents.is_empty() {
            files.hosts.insert(host, documents);
        }
    }
    for domu in list_vservers(root)? {
        let documents = read_vserver(root, &domu)?;
        files.vservers.insert(domu, documents);
    }
    Ok(files)
}

/// What a commit says of one host.
#[derive(Debug)]
pub struct HostSlice {
    /// The fleet, hosts left out.
    pub fleet: Fleet,
    /// The host.
    pub host: Host,
    /// The documents that say so.
    pub files: Files,
    /// What this release does not know of what they say, in sentences.
    pub warnings: Vec<String>,
}

/// Reads and proves a host's part of `commit`, which was exported to `root`.
///
/// # Errors
/// It cannot be read, has errors, or has no such host.
pub fn read_slice(root: &Path, commit: &str, host: &Name) -> Result<HostSlice> {
    let files = read(root)?;
    let (mut fleet, warnings) = load_slice(&files).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Diagnostic::line).collect();
        let lines = lines.join("\n  ");
        anyhow!("the commit {commit} does not pass `domus check`:\n  {lines}")
    })?;
    let Some(host) = fleet.hosts.remove(host) else {
        bail!("the commit {commit} has no host {host}");
    };
    Ok(HostSlice {
        fleet,
        host,
        files,
        warnings: warnings.iter().map(Diagnostic::line).collect(),
    })
}

/// The documents that all hosts share.
///
/// # Errors
/// As [`read`].
pub fn read_shared(root: &Path) -> Result<Documents> {
    let mut documents = Documents::new();
    read_directory(root, "", &mut documents)?;
    read_directory(root, "global/", &mut documents)?;
    read_directory(root, "images/", &mut documents)?;
    read_directory(root, &format!("{}/", trust::EARLIER), &mut documents)?;
    read_directory(root, &format!("{LISTS}/"), &mut documents)?;
    read_etc(root, "global/", &mut documents)?;
    for group in list(&root.join("groups"))? {
        let group = format!("groups/{group}/");
        read_directory(root, &group, &mut documents)?;
        read_etc(root, &group, &mut documents)?;
    }
    Ok(documents)
}

/// The directories of hosts, by name.
///
/// # Errors
/// As [`read`].
pub fn list_hosts(root: &Path) -> Result<Vec<String>> {
    list_sorted(&root.join("pservers"))
}

/// The names of the domUs of a host, by their documents.
///
/// # Errors
/// As [`read`].
pub fn list_domus(root: &Path, host: &str) -> Result<Vec<String>> {
    let names = list(&root.join("pservers").join(host).join("domUs"))?;
    let names = names.iter().filter_map(|name| name.strip_suffix(".toml"));
    Ok(names.map(str::to_owned).collect())
}

/// The directories of domUs' own files, by name.
///
/// # Errors
/// As [`read`].
pub fn list_vservers(root: &Path) -> Result<Vec<String>> {
    list_sorted(&root.join("vservers"))
}

fn list_sorted(directory: &Path) -> Result<Vec<String>> {
    let mut names = list(directory)?;
    names.retain(|name| directory.join(name).is_dir());
    names.sort();
    Ok(names)
}

/// The documents in the directory of a domU in `vservers/`, which may be none.
///
/// # Errors
/// As [`read`].
pub fn read_vserver(root: &Path, domu: &str) -> Result<Documents> {
    let mut documents = Documents::new();
    let directory = format!("vservers/{domu}/");
    read_directory(root, &directory, &mut documents)?;
    read_etc(root, &directory, &mut documents)?;
    Ok(documents)
}

/// The documents of one host, which may be none.
///
/// # Errors
/// As [`read`].
pub fn read_host(root: &Path, host: &str) -> Result<Documents> {
    let mut documents = Documents::new();
    let host = format!("pservers/{host}/");
    read_directory(root, &host, &mut documents)?;
    for directory in list(&root.join(&host))? {
        if directory.eq_ignore_ascii_case("domUs") {
            read_directory(root, &format!("{host}{directory}/"), &mut documents)?;
        }
    }
    read_etc(root, &host, &mut documents)?;
    Ok(documents)
}

/// Adds the documents that are directly in `directory`, which is empty or ends with `/`.
fn read_directory(root: &Path, directory: &str, documents: &mut Documents) -> Result<()> {
    for name in list(&root.join(directory.trim_end_matches('/')))? {
        let path = format!("{directory}{name}");
        if !Files::wants(&path) {
            continue;
        }
        match read_document(&root.join(&path)) {
            Ok(content) => documents.insert(path, content),
            Err(reason) => documents.insert_unreadable(path, reason),
        }
    }
    Ok(())
}

/// Adds what is in the `etc/` of the layer in `directory`, whose path ends with `/`.
fn read_etc(root: &Path, directory: &str, documents: &mut Documents) -> Result<()> {
    read_leaves(root, &format!("{directory}etc"), Files::DEEPEST, documents)
}

fn read_leaves(root: &Path, directory: &str, left: usize, documents: &mut Documents) -> Result<()> {
    for name in list(&root.join(directory))? {
        let path = format!("{directory}/{name}");
        let file = root.join(&path);
        if file.is_dir() && !file.is_symlink() && left > 0 {
            read_leaves(root, &path, left - 1, documents)?;
            continue;
        }
        let leaf = read_leaf(&file).with_context(|| format!("reading {}", file.display()))?;
        documents.insert_leaf(path.as_str(), leaf);
        if Files::wants(&path) && leaf.kind != LeafKind::Link {
            match read_document(&file) {
                Ok(content) => documents.insert(path, content),
                Err(reason) => documents.insert_unreadable(path, reason),
            }
        }
    }
    Ok(())
}

fn read_leaf(path: &Path) -> std::io::Result<Leaf> {
    let nothing = Leaf {
        kind: LeafKind::Other,
        id: BlobId([0; 20]),
    };
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        // Its name is no UTF-8, or it has just been removed.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(nothing),
        Err(error) => return Err(error),
    };
    if meta.is_symlink() {
        let target = path.read_link()?;
        let id = digest::blob_of_bytes(target.as_os_str().as_bytes());
        return Ok(Leaf {
            kind: LeafKind::Link,
            id,
        });
    }
    if !meta.is_file() {
        return Ok(nothing);
    }
    // As git does, which looks at the owner's bit alone.
    let kind = match meta.permissions().mode() & 0o100 {
        0 => LeafKind::File,
        _ => LeafKind::Program,
    };
    if meta.len() > Files::LARGEST_PART {
        let kind = LeafKind::Large;
        return Ok(Leaf { kind, ..nothing });
    }
    let id = digest::blob_of_file(&mut File::open(path)?)?;
    Ok(Leaf { kind, id })
}

/// The names in a directory; none if it is missing or no directory. Names that are no UTF-8 are
/// given so that they can be shown; no file is found by them, which is then reported.
fn list(directory: &Path) -> Result<Vec<String>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    if directory.is_symlink() {
        bail!(
            "{} is a link, which git stores as a link: make it a directory",
            directory.display()
        );
    }
    let listing = || format!("listing {}", directory.display());
    let entries = fs::read_dir(directory).with_context(listing)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<std::io::Result<_>>().with_context(listing)
}

/// The content of one document, of a long one only what shows that it is; or why there is none,
/// as the end of a sentence that begins with the document.
fn read_document(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "has a name that is not UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let kind = path.symlink_metadata().map_err(unreadable)?.file_type();
    if kind.is_symlink() {
        return Err("is a link, which git stores as a link".to_owned());
    }
    if !kind.is_file() {
        return Err("is no plain file".to_owned());
    }
    let mut content = Vec::new();
    let longest = Files::LONGEST as u64;
    let file = File::open(path).map_err(unreadable)?;
    file.take(longest + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn reads_documents_where_the_layout_has_them() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        fs::create_dir_all(root.join("pservers/alpha/domUs/deep"))?;
        fs::create_dir_all(root.join("pservers/alpha/etc"))?;
        fs::create_dir_all(root.join("images/web.toml"))?;
        for path in [
            "domus.toml",
            "pservers/alpha/host.toml",
            "pservers/alpha/domUs/web.toml",
        ] {
            fs::write(root.join(path), path)?;
        }
        for path in [
            "other.toml",
            "pservers/alpha/etc/x.toml",
            "pservers/alpha/domUs/deep/x.toml",
        ] {
            fs::write(root.join(path), "not wanted")?;
        }
        symlink("web.toml", root.join("pservers/alpha/domUs/link.toml"))?;
        fs::write(
            root.join("images/long.toml"),
            vec![b'#'; Files::LONGEST + 9],
        )?;

        let files = read(root)?;
        let mut expected = Files::new();
        for path in [
            "domus.toml",
            "pservers/alpha/host.toml",
            "pservers/alpha/domUs/web.toml",
        ] {
            expected.insert(path, path.into());
        }
        let reason = "is a link, which git stores as a link";
        expected.insert_unreadable("pservers/alpha/domUs/link.toml", reason);
        expected.insert_unreadable("images/web.toml", "is no plain file");
        expected.insert("images/long.toml", vec![b'#'; Files::LONGEST + 1]);
        let leaf = |kind, content: &[u8]| Leaf {
            kind,
            id: digest::blob_of_bytes(content),
        };
        let file = leaf(LeafKind::File, b"not wanted");
        expected.insert_leaf("pservers/alpha/etc/x.toml", file);
        assert_eq!(files, expected);

        // Layers: what is in them is listed, and templates are read.
        for directory in ["vservers/web/etc/deep", "groups/g/etc", "global/etc"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::write(root.join("vservers/web/etc/deep/x.tmpl"), "{{ x }}")?;
        fs::write(root.join("groups/g/etc/run"), "")?;
        fs::set_permissions(
            root.join("groups/g/etc/run"),
            fs::Permissions::from_mode(0o755),
        )?;
        symlink("../run/x", root.join("global/etc/link"))?;
        fs::write(root.join("global/etc.toml"), "version = 1\n")?;
        let template = leaf(LeafKind::File, b"{{ x }}");
        expected.insert_leaf("vservers/web/etc/deep/x.tmpl", template);
        expected.insert("vservers/web/etc/deep/x.tmpl", b"{{ x }}".to_vec());
        expected.insert_leaf("groups/g/etc/run", leaf(LeafKind::Program, b""));
        expected.insert_leaf("global/etc/link", leaf(LeafKind::Link, b"../run/x"));
        expected.insert("global/etc.toml", b"version = 1\n".to_vec());
        assert_eq!(read(root)?, expected);

        let large = File::create(root.join("global/etc/large"))?;
        large.set_len(Files::LARGEST_PART + 1)?;
        let leaf = Leaf {
            kind: LeafKind::Large,
            id: BlobId([0; 20]),
        };
        expected.insert_leaf("global/etc/large", leaf);
        assert_eq!(read(root)?, expected);

        symlink("alpha", root.join("pservers/beta"))?;
        let refused = read(root).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("pservers/beta is a link")));
        Ok(())
    }

    #[test]
    fn finds_the_root_from_below() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let below = dir.path().join("pservers/alpha");
        fs::create_dir_all(&below)?;
        assert_eq!(find_root(&below)?, None);
        fs::write(dir.path().join(FLEET), "")?;
        assert_eq!(find_root(&below)?, Some(dir.path().canonicalize()?));
        assert!(find_root(&dir.path().join("missing")).is_err());
        Ok(())
    }
}
