// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus secret edit`: a secret in an editor, in RAM only.

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use domus_model::files::{Files, SECRET};
use domus_model::secrets::secrets;
use domus_system::{atomic, documents, secret};
use toml_edit::{Array, DocumentMut, Item, value};

use super::{Identity, read, sealed};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, as pservers/alpha/etc/wireguard/private.key; .age is added
    path: PathBuf,
    #[command(flatten)]
    identity: Identity,
}

/// Runs the command.
pub(super) fn run(root: &Path, args: &Args) -> Result<ExitCode> {
    let path = inside(root, &args.path)?;
    let (_, needs) = secrets(&documents::read(root)?);
    let is_new = !root.join(&path).exists();
    let piped = !std::io::stdin().is_terminal();
    let before = match is_new || piped {
        true => Vec::new(),
        false => read(root, &path, &args.identity.keys()?)?,
    };
    let after = match piped {
        true => {
            let mut content = Vec::new();
            let reading = "reading standard input";
            std::io::stdin()
                .read_to_end(&mut content)
                .context(reading)?;
            content
        }
        false => edited(&path, &before)?,
    };
    if after.is_empty() {
        bail!("nothing was written: the content is empty");
    }
    if after == before {
        println!("{path} was not changed.");
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(
        needs.hosts_of(&path).next().is_some(),
        "no host needs {path}: is it in the etc/ of a layer that one lays?"
    );
    atomic::write(&root.join(&path), &sealed(&path, &after, &needs)?, 0o644)?;
    let listed = list(root, &path)?;
    let hosts: Vec<&str> = needs.hosts_of(&path).map(|(host, _)| host).collect();
    let hosts = match hosts.len() {
        0..=3 => hosts.join(", "),
        n => format!("{n} hosts"),
    };
    let operators = match needs.operators.len() {
        1 => "1 operator".to_owned(),
        n => format!("{n} operators"),
    };
    println!("{path} is encrypted for {hosts} and {operators}.");
    if listed {
        println!("It is listed in etc.toml now; commit both.");
    }
    if needs.operators.is_empty() {
        println!("No operator can open it: write their keys into [secrets] of domus.toml.");
    }
    Ok(ExitCode::SUCCESS)
}

/// The path in the repository of a file that is named from here, ending with `.age`.
fn inside(root: &Path, path: &Path) -> Result<String> {
    let here = std::env::current_dir().context("finding the current directory")?;
    let mut whole = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    let below = |whole: &Path| whole.strip_prefix(root).ok().map(Path::to_owned);
    // With -C the repository's own paths are meant.
    let found = below(&whole).or_else(|| path.is_relative().then(|| path.to_owned()));
    let text = found.as_deref().and_then(Path::to_str).unwrap_or_default();
    let text = match text.strip_suffix(SECRET) {
        Some(_) => text.to_owned(),
        None => format!("{text}{SECRET}"),
    };
    if !Files::lists(&text) || text.contains("..") {
        let path = path.display();
        bail!(
            "{path} is in no layer: write it as LAYER/etc/PATH, where LAYER is global, \
             groups/GROUP, pservers/HOST or vservers/DOMU"
        );
    }
    Ok(text)
}

/// What an editor makes of `content`. It is in a file in RAM that nobody else can read.
fn edited(path: &str, content: &[u8]) -> Result<Vec<u8>> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os);
    let editor = editor.unwrap_or_else(|| "vi".into());
    let name = Path::new(path).file_stem().unwrap_or_default();
    let directory =
        secret::in_ram().context("no place to edit it in; the content can be piped in")?;
    let file = directory.path().join(name);
    let mut made = fs::File::create_new(&file).context("making a file in RAM")?;
    made.write_all(content).context("writing a file in RAM")?;
    // The shell takes words apart: EDITOR may have arguments.
    let status = Command::new("sh")
        .args(["-c", "$0 \"$1\""])
        .arg(&editor)
        .arg(&file)
        .status()
        .context("starting the editor")?;
    let editor = editor.to_string_lossy();
    ensure!(
        status.success(),
        "{editor} ended with {status}; nothing was written"
    );
    fs::read(&file).context("reading what was edited")
}

/// Lists the secret in `etc.toml`, and says whether it was not.
fn list(root: &Path, path: &str) -> Result<bool> {
    let (layer, inside) = path.split_once("/etc/").unwrap_or((path, ""));
    let file = root.join(layer).join("etc.toml");
    let doing = || format!("listing {inside} in {layer}/etc.toml");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "version = 1\n".to_owned(),
        Err(error) => return Err(error).with_context(doing),
    };
    let mut document: DocumentMut = text.parse().with_context(doing)?;
    let secrets = document.entry("secret").or_insert(value(Array::new()));
    let Item::Value(toml_edit::Value::Array(secrets)) = secrets else {
        bail!("{}: `secret` is no list there", doing());
    };
    if secrets.iter().any(|known| known.as_str() == Some(inside)) {
        return Ok(false);
    }
    secrets.push(inside);
    atomic::write(&file, document.to_string().as_bytes(), 0o644).with_context(doing)?;
    Ok(true)
}
