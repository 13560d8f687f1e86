// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus init`: a new fleet's repository from the template.

mod keys;

use anyhow::{Context, Result, bail};
use domus_model::names::Name;
use include_dir::{Dir, DirEntry, include_dir};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::refused::Refused;

/// The template. It is a fleet by itself, of which `domus check` finds nothing wrong.
static TEMPLATE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../config-repo-template");

/// The line of the template's `domus.toml` that names the fleet.
const NAME_LINE: &str = "fleet   = \"example\"";

/// The file that lists who may log in as root.
const KEYS: &str = "global/etc/ssh/authorized_keys";

/// Make a new fleet's repository from the template
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory to make; an empty one will do
    dir: PathBuf,
    /// The fleet's name [default: that of the directory]
    #[arg(long)]
    name: Option<Name>,
    /// A file of public SSH keys that may log in as root [default: ~/.ssh/id_*.pub]
    #[arg(long = "ssh-key", value_name = "FILE")]
    ssh_keys: Vec<PathBuf>,
}

/// Runs the command: exit code 0 if the repository is made, 3 if there is something else already.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let keys = match args.ssh_keys.as_slice() {
        [] => keys::of_operator()?,
        files => keys::read(files)?,
    };
    let target = Target::claim(&args.dir)?;
    let name = match args.name {
        Some(name) => name,
        None => name_of(&args.dir)?,
    };
    write_template(&args.dir, &name, &keys)?;
    let commit = domus_repo::init_with_commit(&args.dir, &format!("{name}: a new fleet"))?;
    target.keep();
    report(&args.dir, &name, &commit, keys.len())?;
    Ok(ExitCode::SUCCESS)
}

/// The directory to fill. Unless it is kept, what was put there is removed.
struct Target<'a> {
    dir: &'a Path,
    was_there: bool,
    kept: bool,
}

impl<'a> Target<'a> {
    /// Makes `dir`, or takes it if it is empty.
    ///
    /// # Errors
    /// Refused: it is something else. It cannot be made.
    fn claim(dir: &'a Path) -> Result<Self> {
        let making = || format!("making the directory {}", dir.display());
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).with_context(making)?;
        }
        let was_there = match fs::create_dir(dir) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => true,
            Err(error) => return Err(error).with_context(making),
        };
        let is_empty = || Ok::<_, std::io::Error>(fs::read_dir(dir)?.next().is_none());
        if was_there && !(dir.is_dir() && is_empty().with_context(making)?) {
            let why = format!(
                "{} is there already and not empty; nothing was written\n\
                 help: name a directory that is absent or empty",
                dir.display()
            );
            return Err(Refused(why).into());
        }
        let kept = false;
        Ok(Self {
            dir,
            was_there,
            kept,
        })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // The error that led here is told; one while tidying up would only hide it.
        if !self.was_there {
            let _ = fs::remove_dir_all(self.dir);
            return;
        }
        for entry in fs::read_dir(self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// The name nearest to that of the directory.
fn name_of(dir: &Path) -> Result<Name> {
    let path = dir.canonicalize().context("finding the directory's name")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match Name::nearest(&name) {
        Some(name) => Ok(name),
        None => bail!("no fleet can be called {name:?}: name it with --name"),
    }
}

fn write_template(dir: &Path, name: &Name, keys: &[String]) -> Result<()> {
    write_directory(&TEMPLATE, dir)?;
    edit(&dir.join("domus.toml"), |text| {
        text.replace(NAME_LINE, &format!("fleet   = \"{name}\""))
    })?;
    edit(&dir.join(KEYS), |mut text| {
        for key in keys {
            text.push_str(key);
            text.push('\n');
        }
        text
    })
}

fn write_directory(template: &Dir<'_>, dir: &Path) -> Result<()> {
    for entry in template.entries() {
        let path = dir.join(entry.path());
        let writing = || format!("writing {}", path.display());
        match entry {
            DirEntry::Dir(inner) => {
                fs::create_dir(&path).with_context(writing)?;
                write_directory(inner, dir)?;
            }
            DirEntry::File(file) => fs::write(&path, file.contents()).with_context(writing)?,
        }
    }
    Ok(())
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    let editing = || format!("writing {}", path.display());
    let text = fs::read_to_string(path).with_context(editing)?;
    fs::write(path, change(text)).with_context(editing)
}

fn report(dir: &Path, name: &Name, commit: &str, keys: usize) -> Result<()> {
    let keys = match keys {
        0 => format!("none found: put yours into {KEYS}, and commit"),
        1 => format!("1 in {KEYS}"),
        _ => format!("{keys} in {KEYS}"),
    };
    let commit = commit.get(..7).unwrap_or(commit);
    let enter = match dir == Path::new(".") {
        true => String::new(),
        false => format!("  cd {}\n", dir.display()),
    };
    let dir = dir.display();
    let text = format!(
        "fleet {name} in {dir}\n\
         \x20 commit    {commit} on main\n\
         \x20 SSH keys  {keys}\n\
         \n\
         Next:\n\
         {enter}\
         \x20 $EDITOR pservers/alpha/host.toml   which machine alpha is (docs/new-host.md)\n\
         \x20 domus check                        prove it\n\
         \x20 domus image build base             what its domUs start from\n\
         \x20 domus iso build --unsigned         what it boots\n\
         \x20 domus rehearse alpha               see it run in QEMU\n"
    );
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
