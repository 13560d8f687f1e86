// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus secret`: files in layers that only the hosts which need them can read.

mod edit;

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use domus_model::secrets::{Needs, Secret, secrets};
use domus_system::secret::{self, Ask, Key};
use domus_system::{atomic, documents};
use serde::Serialize;

use crate::opened;

/// Keep secrets: files in layers, encrypted with age for the hosts that need them
///
/// A secret is for every host that lays its layer, for itself or for a domU, and for the operators
/// that [secrets] in domus.toml names. Hosts open them with their SSH host key, which host.toml
/// has in [machine].
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Change a secret in $EDITOR, or make a new one; from a pipe, take what comes from there
    Edit(edit::Args),
    /// Encrypt those anew that are not for just whom they must be for
    Rekey(Rekey),
    /// Show all secrets and whom they are for
    List(List),
}

/// Keys to open secrets with.
#[derive(Debug, clap::Args)]
pub(crate) struct Identity {
    /// A private key that opens secrets; may be repeated. Without one, ~/.ssh/id_ed25519
    #[arg(long, short, value_name = "FILE", env = "DOMUS_IDENTITY")]
    identity: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Rekey {
    #[command(flatten)]
    identity: Identity,
    /// All of them: after an operator's age key was changed, which files do not tell
    #[arg(long)]
    all: bool,
    /// Only say which; exit code 2 if there are any
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let root = opened::find(&args.dir)?;
    match args.command {
        Command::Edit(edit) => edit::run(&root, &edit),
        Command::Rekey(args) => rekey(&root, &args),
        Command::List(args) => list(&root, &args),
    }
}

impl Identity {
    fn keys(&self) -> Result<Vec<Key>> {
        let ask = |description: &str| {
            // Nobody can be asked without a terminal; then the key stays shut, and age says so.
            rpassword::prompt_password(format!("passphrase of {description}: ")).ok()
        };
        let mut files = self.identity.clone();
        if files.is_empty() {
            let home = std::env::var_os("HOME").context("there is no $HOME; use --identity")?;
            files.push(Path::new(&home).join(".ssh/id_ed25519"));
        }
        let read = |file: &PathBuf| Key::read(file, Some(Ask(ask)));
        files.iter().map(read).collect()
    }
}

/// `content`, encrypted for all that need the secret at `path`.
fn sealed(path: &str, content: &[u8], needs: &Needs) -> Result<Vec<u8>> {
    let recipients = needs.recipients_of(path).map_err(|hosts| {
        let (host, hosts) = (hosts[0], hosts.join(", "));
        anyhow::anyhow!(
            "{path} cannot be encrypted for {hosts}: host.toml has no key in [machine]; \
             `ssh-keyscan -t ed25519 {host}` reads it"
        )
    })?;
    ensure!(
        !recipients.is_empty(),
        "nobody needs {path}, and [secrets] of domus.toml names no operator"
    );
    secret::make(content, &recipients).with_context(|| format!("making {path}"))
}

/// The secrets at these paths, encrypted anew for all that need them. Nothing is written; without a
/// secret no key is asked for.
///
/// # Errors
/// One cannot be opened with the keys at hand, or somebody who needs it has no key.
pub(crate) fn anew<'p>(
    root: &Path,
    paths: impl IntoIterator<Item = &'p str>,
    identity: &Identity,
    needs: &Needs,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths = paths.into_iter().peekable();
    if paths.peek().is_none() {
        return Ok(Vec::new());
    }
    let keys = identity.keys()?;
    let anew = |path: &str| {
        let content = read(root, path, &keys)?;
        Ok((path.to_owned(), sealed(path, &content, needs)?))
    };
    paths.map(anew).collect()
}

/// Decrypts the secret at `path`.
fn read(root: &Path, path: &str, keys: &[Key]) -> Result<Vec<u8>> {
    let file = root.join(path);
    let encrypted = std::fs::read(&file).with_context(|| format!("reading {path}"))?;
    secret::open(&encrypted, keys).map_err(|why| {
        anyhow::anyhow!("opening {path}: {why:#}; --identity names a key that opens it")
    })
}

fn rekey(root: &Path, args: &Rekey) -> Result<ExitCode> {
    let (secrets, needs) = secrets(&documents::read(root)?);
    let is_due = |secret: &&Secret| args.all || State::of(secret, &needs) != State::Right;
    let due: Vec<&Secret> = secrets.iter().filter(is_due).collect();
    if due.is_empty() {
        println!(
            "Nothing to do: each of {} is for whom it must be for.",
            count(secrets.len())
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.dry_run {
        due.iter()
            .for_each(|secret| println!("  rekey  {}", secret.path));
        return Ok(ExitCode::from(2));
    }
    let paths = due.iter().map(|secret| secret.path.as_str());
    let anew = anew(root, paths, &args.identity, &needs).context("nothing was written")?;
    let file = |(path, content): &(String, Vec<u8>)| (root.join(path), content.clone(), 0o644);
    let files: Vec<_> = anew.iter().map(file).collect();
    atomic::write_all(&files)?;
    for (path, _) in &anew {
        println!("  rekeyed  {path}");
    }
    println!("{} encrypted anew; commit it.", count(anew.len()));
    Ok(ExitCode::SUCCESS)
}

fn count(secrets: usize) -> String {
    match secrets {
        1 => "1 secret".to_owned(),
        n => format!("{n} secrets"),
    }
}

/// Whether a secret is for whom it must be for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Right,
    /// These hosts cannot open it.
    Missing(Vec<String>),
    /// Others can open it too, or an operator cannot.
    Others,
    /// It is none.
    Unreadable(String),
}

impl State {
    fn of(secret: &Secret, needs: &Needs) -> Self {
        let recipients = match &secret.recipients {
            Ok(recipients) => recipients,
            Err(reason) => return Self::Unreadable(reason.clone()),
        };
        let cannot = needs
            .hosts_of(&secret.path)
            .filter(|(_, key)| !key.is_some_and(|key| recipients.include(key)));
        let cannot: Vec<String> = cannot.map(|(host, _)| host.to_owned()).collect();
        if !cannot.is_empty() {
            return Self::Missing(cannot);
        }
        match needs.recipients_of(&secret.path) {
            Ok(wanted) if recipients.are(&wanted) => Self::Right,
            _ => Self::Others,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Right => "ok".to_owned(),
            Self::Missing(hosts) => format!("cannot be opened by {}", hosts.join(", ")),
            Self::Others => "is not just for these and the operators".to_owned(),
            Self::Unreadable(reason) => reason.clone(),
        }
    }
}

/// A secret, as `--json` prints it.
#[derive(Serialize)]
struct Row {
    path: String,
    hosts: Vec<String>,
    state: State,
}

fn list(root: &Path, args: &List) -> Result<ExitCode> {
    let (secrets, needs) = secrets(&documents::read(root)?);
    let rows = secrets.iter().map(|secret| Row {
        path: secret.path.clone(),
        hosts: needs
            .hosts_of(&secret.path)
            .map(|(host, _)| host.to_owned())
            .collect(),
        state: State::of(secret, &needs),
    });
    let rows: Vec<Row> = rows.collect();
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let report = serde_json::json!({ "secrets": rows, "operators": needs.operators });
        writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    let width = rows
        .iter()
        .map(|row| row.path.chars().count())
        .max()
        .unwrap_or(0);
    for row in &rows {
        let hosts = match row.hosts.len() {
            0 => "nobody".to_owned(),
            1..=3 => row.hosts.join(", "),
            n => format!("{n} hosts"),
        };
        let _ = writeln!(
            text,
            "{:width$}  for {hosts}   {}",
            row.path,
            row.state.words()
        );
    }
    if rows.is_empty() {
        text += "no secrets; `domus secret edit LAYER/etc/PATH` makes one\n";
    }
    if rows.iter().any(|row| row.state != State::Right) {
        text += "\n`domus secret rekey` encrypts them for whom they must be for.\n";
    }
    stdout.write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
