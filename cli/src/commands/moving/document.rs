// SPDX-License-Identifier: GPL-3.0-or-later
//! The document of a domU that goes to another host: what is not said anew stays byte for byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use domus_model::files::Files;
use domus_model::names::Name;
use domus_repo::Repo;
use domus_system::{atomic, interrupt};
use serde::Serialize;
use toml_edit::{Array, DocumentMut, Item, Value};

use super::Args;
use crate::opened;
use crate::refused::Refused;

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Moved {
    #[serde(rename = "domU")]
    domu: Name,
    from: Name,
    to: Name,
    /// The document that goes, and the one that comes, by their paths in the repository.
    documents: [String; 2],
    written: bool,
}

impl Moved {
    pub(super) fn render(&self) -> String {
        let Self { domu, from, to, .. } = self;
        let [old, new] = &self.documents;
        let moved = match self.written {
            true => "moved",
            false => "would be moved",
        };
        format!(
            "{old} {moved} to {new}\n\n\
             Next:\n  git add -A pservers && git commit\n  let {from} and {to} take it: {from} shuts {domu} \
             down, {to} waits for it\n  domus move {domu}   brings its volumes, and {to} starts it\n"
        )
    }
}

/// The document of the domU `name` on `host`.
pub(super) fn path(host: &Name, name: &Name) -> String {
    format!("pservers/{host}/domUs/{name}.toml")
}

/// Moves the document from `from` to `to`, proved; nothing is written in a dry run.
///
/// # Errors
/// Refused: what would change is not committed. The fleet would not prove.
pub(super) fn relocate(
    args: &Args,
    root: &Path,
    files: &mut Files,
    from: &Name,
    to: &Name,
) -> Result<Moved> {
    let name = &args.domu;
    let [old, new] = [path(from, name), path(to, name)];
    let changed = Repo::open(root)?.uncommitted([old.as_str()])?;
    if !changed.is_empty() {
        bail!(Refused(format!(
            "{old} is not committed as it is, and would be moved; nothing was written"
        )));
    }
    let text = std::str::from_utf8(files.content(&old)).context("it is no UTF-8");
    let edited = text.and_then(|text| edit(text, from, to));
    let edited = edited.with_context(|| format!("writing into {old} where it comes from"))?;
    files.remove(&old);
    files.insert(new.as_str(), edited.clone().into_bytes());
    opened::prove(files)
        .with_context(|| format!("{name} cannot go to {to}; nothing was written"))?;
    if !args.dry_run {
        interrupt::catch().context("preparing for Ctrl-C")?;
        let (old, new) = (root.join(&old), root.join(&new));
        let dir = new.parent().context("no directory")?;
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        // If this is cut off in between, two hosts have it, which `domus check` refuses.
        atomic::write(&new, edited.as_bytes(), 0o644)?;
        fs::remove_file(&old).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(Moved {
        domu: name.clone(),
        from: from.clone(),
        to: to.clone(),
        documents: [old, new],
        written: !args.dry_run,
    })
}

/// The document on the other host: it comes from `from`, and may go back.
fn edit(text: &str, from: &Name, to: &Name) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    if let Some(Item::Value(Value::Array(hosts))) = document.get_mut("may-run-on") {
        exchange(hosts, to.as_str(), from.as_str());
    }
    match document.get_mut("moved-from") {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = Value::from(from.as_str());
            *old.decor_mut() = decor;
        }
        _ => drop(document.insert("moved-from", toml_edit::value(from.as_str()))),
    }
    let edited = document.to_string();
    // toml_edit ends all lines as Unix does.
    Ok(match text.contains("\r\n") {
        true => edited.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => edited,
    })
}

fn exchange(hosts: &mut Array, old: &str, new: &str) {
    for host in hosts.iter_mut().filter(|host| host.as_str() == Some(old)) {
        let decor = host.decor().clone();
        *host = Value::from(new);
        *host.decor_mut() = decor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> String {
        let [alpha, beta] = ["alpha", "beta"].map(|name| name.parse().expect("a name"));
        edit(text, &alpha, &beta).expect("edited")
    }

    #[test]
    fn it_comes_from_the_old_host_and_may_go_back() {
        let text = "version = 1  # one\nmay-run-on = [ \"beta\", \"@web\" ]\n\n[[disk]]\nname = \"data\"\n";
        let expected = "version = 1  # one\nmay-run-on = [ \"alpha\", \"@web\" ]\nmoved-from = \"alpha\"\n\n\
                        [[disk]]\nname = \"data\"\n";
        assert_eq!(edited(text), expected);
        let again = "version = 1\r\nmoved-from = \"gamma\"  # once\r\n";
        let expected = "version = 1\r\nmoved-from = \"alpha\"  # once\r\n";
        assert_eq!(edited(again), expected);
    }
}
