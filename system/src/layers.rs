// SPDX-License-Identifier: GPL-3.0-or-later
//! Lays out layers of `/etc` in directories, as an overlay takes them: with owners, modes,
//! whiteouts and secrets. What cannot be done for one file is said, and done so that nobody sees
//! more of it than they should: a host that comes up can be put right, one that does not cannot.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_model::layers::{Attributes, Body, Layer, Users};
use domus_model::rendered::{Contents, RenderedFile};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::overlay::{OPAQUE, WHITEOUT};
use crate::upper::is_whiteout;

/// The directory of what is generated.
const GENERATED: &str = "generated";

/// What layers are made of.
pub struct Source<'s> {
    /// `/etc` of the image, over which they lie.
    pub image: &'s Path,
    /// The repository's files, in which layers name theirs.
    pub tree: &'s Path,
    /// What Domus generates: the lowest layer.
    pub generated: &'s [RenderedFile],
    /// The layers above that, the lowest first.
    pub layers: &'s [Layer],
    /// Decrypts the file that a layer gives at a path.
    pub secret: &'s dyn Fn(&Layer, &str) -> Result<Vec<u8>>,
}

/// Layers as they lie in directories.
#[derive(Debug)]
pub struct Laid {
    /// The directories, the lowest first.
    pub directories: Vec<PathBuf>,
    /// What could not be done, in sentences for people.
    pub problems: Vec<String>,
}

/// Lays out the layers in new directories in `to`, which is emptied first. It should be in RAM:
/// decrypted secrets are in there.
///
/// # Errors
/// A file cannot be read or written.
pub fn lay(source: &Source<'_>, to: &Path) -> Result<Laid> {
    let doing = || format!("laying out /etc in {}", to.display());
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(doing)?,
        _ => {}
    }
    fs::create_dir_all(to).with_context(doing)?;
    fs::set_permissions(to, Permissions::from_mode(0o700)).with_context(doing)?;
    let mut stack = Stack {
        source,
        users: users(source)?,
        directories: Vec::new(),
        problems: Vec::new(),
    };
    stack.generated(&to.join(GENERATED))?;
    for (index, layer) in source.layers.iter().enumerate() {
        stack.layer(layer, &to.join(index.to_string()))?;
    }
    Ok(Laid {
        directories: stack.directories,
        problems: stack.problems,
    })
}

/// The directories that [`lay`] made in `at`, the uppermost first.
pub fn laid(at: &Path) -> Vec<PathBuf> {
    let numbers = (0..).map(|index: usize| at.join(index.to_string()));
    let mut directories: Vec<PathBuf> = numbers.take_while(|path| path.is_dir()).collect();
    directories.reverse();
    directories.extend(Some(at.join(GENERATED)).filter(|path| path.is_dir()));
    directories
}

/// The accounts that the machine will have.
fn users(source: &Source<'_>) -> Result<Users> {
    let read = |name: &str| {
        for layer in source.layers.iter().rev() {
            if let Some(file) = layer.files.get(name) {
                return match &file.body {
                    Body::Text(text) => Ok(text.clone()),
                    _ => text(&source.tree.join(&file.source)),
                };
            }
            if layer.removes(name) {
                return Ok(String::new());
            }
        }
        text(&source.image.join(name))
    };
    Ok(Users::parse(&read("passwd")?, &read("group")?))
}

fn text(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Layers that are being laid out.
struct Stack<'s> {
    source: &'s Source<'s>,
    users: Users,
    directories: Vec<PathBuf>,
    problems: Vec<String>,
}

impl Stack<'_> {
    fn generated(&mut self, to: &Path) -> Result<()> {
        self.directory(to, "")?;
        for file in self.source.generated {
            let doing = || format!("writing the generated file /etc/{}", file.path);
            self.parents(to, &file.path).with_context(doing)?;
            let path = to.join(&file.path);
            match &file.contents {
                Contents::Text(text) => write(&path, text.as_bytes(), 0o644).with_context(doing)?,
                Contents::Link(target) => symlink(target, &path).with_context(doing)?,
            }
        }
        self.directories.push(to.to_owned());
        Ok(())
    }

    fn layer(&mut self, layer: &Layer, to: &Path) -> Result<()> {
        self.directory(to, "")?;
        for path in layer.files.keys() {
            let doing = || format!("laying /etc/{path} of the layer {}", layer.name);
            self.file(layer, path, to).with_context(doing)?;
        }
        for path in &layer.remove {
            let doing = || format!("removing /etc/{path} for the layer {}", layer.name);
            self.remove(layer, path, to).with_context(doing)?;
        }
        // Directories last: a mode may forbid to write into one.
        for (path, attributes) in &layer.attributes {
            let directory = to.join(path);
            if !layer.files.contains_key(path) && directory.is_dir() {
                let mode = fs::metadata(&directory)?.mode() & 0o7777;
                self.attribute(path, &directory, attributes, mode)?;
            }
        }
        self.directories.push(to.to_owned());
        Ok(())
    }

    fn file(&mut self, layer: &Layer, path: &str, to: &Path) -> Result<()> {
        let file = &layer.files[path];
        let (from, target) = (self.source.tree.join(&file.source), to.join(path));
        self.parents(to, path)?;
        if file.body == Body::Link {
            return Ok(symlink(fs::read_link(&from)?, &target)?);
        }
        let covered = self.covered(path).filter(|(_, meta)| meta.is_file());
        let covered = covered.map(|(_, meta)| meta);
        let content = match &file.body {
            Body::Text(text) => text.clone().into_bytes(),
            Body::Secret => match (self.source.secret)(layer, path) {
                Ok(secret) => secret,
                Err(error) => {
                    let problem = format!("/etc/{path} is missing: {error:#}");
                    self.problems.push(problem);
                    return Ok(());
                }
            },
            _ => fs::read(&from)?,
        };
        write(&target, &content, 0o600)?;
        let mode = match (&file.body, &covered) {
            (Body::Secret, _) => 0o600,
            // git knows who may run it, and what it covers who may read it.
            (_, Some(covered)) => with_run(covered.mode() & 0o666, file.is_program),
            (_, None) => with_run(0o644, file.is_program),
        };
        if let Some(covered) = covered.filter(|_| file.body != Body::Secret) {
            own(&target, covered.uid(), covered.gid())?;
        }
        let attributes = layer.attributes.get(path).cloned().unwrap_or_default();
        self.attribute(path, &target, &attributes, mode)
    }

    /// Gives `target` its owner and mode: `mode`, if the attributes have none.
    fn attribute(
        &mut self,
        path: &str,
        target: &Path,
        attributes: &Attributes,
        mode: u32,
    ) -> Result<()> {
        let mut mode = attributes.mode.unwrap_or(mode);
        match attributes
            .owner
            .as_ref()
            .map(|owner| self.users.find(owner))
        {
            Some(Ok((uid, gid))) => own(target, uid, gid)?,
            Some(Err(problem)) => {
                let problem = format!("/etc/{path} is root's alone: {problem}");
                self.problems.push(problem);
                own(target, 0, 0)?;
                mode &= 0o700;
            }
            None => {}
        }
        Ok(fs::set_permissions(target, Permissions::from_mode(mode))?)
    }

    fn remove(&mut self, layer: &Layer, path: &str, to: &Path) -> Result<()> {
        if self.covered(path).is_none() {
            let name = &layer.name;
            let problem = format!("{name} removes /etc/{path}, which nothing below {name} has");
            self.problems.push(problem);
            return Ok(());
        }
        self.parents(to, path)?;
        let target = to.join(path);
        if target.is_dir() {
            // What the layer itself has in there stays.
            let flags = XattrFlags::empty();
            return Ok(rustix::fs::lsetxattr(target, OPAQUE, b"y", flags)?);
        }
        let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
        Ok(rustix::fs::mknodat(CWD, target, kind, mode, WHITEOUT)?)
    }

    /// Makes the directories above `path` in the layer at `to`.
    fn parents(&self, to: &Path, path: &str) -> Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        ends.map(|end| &path[..end])
            .filter(|directory| !to.join(directory).is_dir())
            .try_for_each(|directory| self.directory(&to.join(directory), directory))
    }

    /// Makes the directory `path` of a layer, with owner and mode of the one that it covers.
    fn directory(&self, at: &Path, path: &str) -> Result<()> {
        fs::create_dir(at).with_context(|| format!("making {}", at.display()))?;
        let covered = self.covered(path).filter(|(_, meta)| meta.is_dir());
        let (mode, uid, gid) = match covered {
            Some((_, meta)) => (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            None => (0o755, 0, 0),
        };
        own(at, uid, gid)?;
        let mode = Permissions::from_mode(mode);
        fs::set_permissions(at, mode).with_context(|| format!("changing {}", at.display()))
    }

    /// What lower layers, and the image below them, have at `path`.
    fn covered(&self, path: &str) -> Option<(PathBuf, Metadata)> {
        // The directories of layers come after that of what is generated.
        let own = self.directories.iter().skip(1).zip(self.source.layers);
        for (directory, layer) in own.rev() {
            let found = look(directory, path).filter(|_| !hides(directory, path));
            if let Some(found) = found {
                return Some(found).filter(|(_, meta)| !is_whiteout(meta));
            }
            if layer.removes(path) || hides(directory, path) {
                return None;
            }
        }
        let generated = self.directories.first();
        let found = generated.and_then(|generated| look(generated, path));
        found.or_else(|| look(self.source.image, path))
    }
}

/// Whether the layer in `directory` has a file or link where `path` needs a directory.
fn hides(directory: &Path, path: &str) -> bool {
    let mut ends = path.match_indices('/').map(|(at, _)| at);
    ends.any(|end| {
        let above = directory.join(&path[..end]);
        above.symlink_metadata().is_ok_and(|meta| !meta.is_dir())
    })
}

fn look(directory: &Path, path: &str) -> Option<(PathBuf, Metadata)> {
    let path = directory.join(path);
    let meta = path.symlink_metadata().ok()?;
    Some((path, meta))
}

/// `mode`, and whoever may read may run, if it is a program.
fn with_run(mode: u32, is_program: bool) -> u32 {
    match is_program {
        true => mode | (mode & 0o444) >> 2,
        false => mode,
    }
}

/// Writes a new file, which is nobody else's until it is whole.
fn write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))
}

fn own(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let now = fs::symlink_metadata(path)?;
    if (now.uid(), now.gid()) == (uid, gid) {
        return Ok(());
    }
    chown(path, Some(uid), Some(gid)).with_context(|| format!("giving {} away", path.display()))
}

#[cfg(test)]
mod tests;
