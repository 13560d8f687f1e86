// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus keys`: who may sign what. Each command writes the next `trust.toml`, signs it with the
//! keys at hand and says whose signature is missing.

mod secure_boot;
mod store;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::names::Name;
use domus_model::table::table;
use domus_model::trust::{Chain, DOCUMENT, Role, Standing, Trust, Trusted};
use domus_system::ssh;
use serde_json::json;

use self::store::Store;
use crate::opened::{self, Opened};
use crate::refused::Refused;
use crate::signer::Signer;

/// Say who may sign what: trust.toml
///
/// Releases carry it, and hosts run what is signed by these keys alone. A change is signed by
/// enough root keys of the document before it and of the new one; hosts that know any earlier one
/// follow.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".", global = true)]
    dir: PathBuf,
    /// An SSH key to sign with, private, or public if an agent has it; may be repeated. Without
    /// one, that which git signs with, or ~/.ssh/id_ed25519
    #[arg(short, long, value_name = "FILE", global = true)]
    key: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write the first trust.toml: your key may sign everything, a recovery key the next document
    Init(Init),
    /// Show the keys, what they may sign, and whose signature is missing
    List(List),
    /// Give somebody's key roles; one that is there gets them too
    Add(Add),
    /// Take a key out: nothing that it signed is taken any more
    Revoke {
        /// Whose key it is
        name: Name,
        /// How many root keys must sign from now on
        #[arg(long, value_name = "N")]
        threshold: Option<u32>,
    },
    /// Put another key in the place of somebody's
    Rotate {
        /// Whose key it is
        name: Name,
        /// The public part of the new one
        public: PathBuf,
    },
    /// Sign a trust.toml that somebody else has changed
    Sign,
    /// Make the keys by which UEFI firmware knows this fleet's releases, or take those that are there
    SecureBoot(secure_boot::SecureBoot),
}

#[derive(Debug, clap::Args)]
struct Init {
    /// Whose key it is; without it, your login name
    #[arg(long)]
    name: Option<Name>,
    /// The public part of a key that is kept where nobody steals it: it signs the next document
    /// when yours is lost
    #[arg(long, value_name = "FILE", required_unless_present = "no_recovery")]
    recovery: Option<PathBuf>,
    /// There is none: who loses the key has to build a new release and carry it to every host
    #[arg(long, conflicts_with = "recovery")]
    no_recovery: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Whose key it is
    name: Name,
    /// The public part of the key
    public: PathBuf,
    /// What it may sign; may be repeated
    #[arg(long = "role", value_name = "ROLE", default_values = ["commit", "publish"])]
    #[arg(value_parser = ["root", "commit", "publish"])]
    roles: Vec<String>,
    /// How many root keys must sign from now on
    #[arg(long, value_name = "N")]
    threshold: Option<u32>,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let store = Store(opened::find(&args.dir)?);
    match &args.command {
        Command::Init(init) => begin(&store, &args, init),
        Command::List(list) => show(&store, list),
        Command::Sign => sign(&store, &args),
        Command::SecureBoot(keys) => keys.run(&args.dir),
        Command::Add(add) => change(&store, &args, |trust| add.to(trust)),
        Command::Revoke { name, threshold } => change(&store, &args, |trust| {
            let gone = trust.keys.remove(name);
            ensure!(gone.is_some(), "{}", nobody(trust, name));
            trust.threshold = threshold.unwrap_or(trust.threshold);
            Ok(())
        }),
        Command::Rotate { name, public } => change(&store, &args, |trust| {
            let key = ssh::public_key(public)?;
            let why = nobody(trust, name);
            trust.keys.get_mut(name).context(why)?.key = key;
            Ok(())
        }),
    }
}

fn nobody(trust: &Trust, name: &Name) -> String {
    let known: Vec<&str> = trust.keys.keys().map(Name::as_str).collect();
    format!(
        "{DOCUMENT} has no key of {name}; it has {}",
        known.join(", ")
    )
}

impl Add {
    fn to(&self, trust: &mut Trust) -> Result<()> {
        let key = ssh::public_key(&self.public)?;
        let named = |role: &Role| self.roles.iter().any(|word| word == role.word());
        let roles: BTreeSet<Role> = Role::ALL.into_iter().filter(named).collect();
        match trust.keys.get_mut(&self.name) {
            Some(there) if there.key != key => bail!(
                "{} has another key already: `domus keys rotate` puts this one in its place",
                self.name
            ),
            Some(there) => there.roles.extend(roles),
            None => drop(trust.keys.insert(self.name.clone(), Trusted { key, roles })),
        }
        trust.threshold = self.threshold.unwrap_or(trust.threshold);
        Ok(())
    }
}

fn begin(store: &Store, args: &Args, init: &Init) -> Result<ExitCode> {
    if store.read()?.is_some() {
        let why = format!(
            "there is a {DOCUMENT} already, which hosts may believe; `domus keys list` shows it"
        );
        return Err(Refused(why).into());
    }
    let fleet = Opened::at(&args.dir)?.fleet.name;
    let login = || std::env::var("USER").ok()?.parse().ok();
    let name = init.name.clone().or_else(login);
    let name = name.context("nobody says whose key it is: use --name")?;
    let signer = Signer::find(args.key.first().map(PathBuf::as_path), &args.dir)?;
    let everything = Trusted {
        key: signer.key.clone(),
        roles: Role::ALL.into(),
    };
    let mut keys = [(name, everything)]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
    if let Some(public) = &init.recovery {
        let recovery = Trusted {
            key: ssh::public_key(public)?,
            roles: [Role::Root].into(),
        };
        let name: Name = "recovery".parse().map_err(|error| anyhow!("{error}"))?;
        ensure!(
            keys.insert(name, recovery).is_none(),
            "your own key cannot be called recovery: use --name"
        );
    }
    let trust = Trust {
        fleet,
        serial: 1,
        threshold: 1,
        keys,
    };
    store.write(&trust, &[signer])?;
    report(store)
}

fn change(
    store: &Store,
    args: &Args,
    change: impl FnOnce(&mut Trust) -> Result<()>,
) -> Result<ExitCode> {
    let chain = store.chain()?;
    let mut next = chain.newest().map_err(|why| anyhow!(why))?.trust().clone();
    let before = next.clone();
    change(&mut next)?;
    ensure!(
        next != before,
        "nothing changes: {DOCUMENT} says so already"
    );
    // One that is not yet signed by enough nobody believes: it is changed, not followed.
    if chain.prove().is_ok() {
        store.keep(&before)?;
        next.serial = before.serial + 1;
    }
    // What is refused is refused before anything is written.
    Trust::parse(next.render().as_bytes()).map_err(|why| anyhow!(why))?;
    store.write(&next, &signers(args, &before, &next)?)?;
    report(store)
}

/// The keys at hand; each must be a root key of one of these.
fn signers(args: &Args, before: &Trust, next: &Trust) -> Result<Vec<Signer>> {
    let files: Vec<Option<&std::path::Path>> = match args.key.is_empty() {
        true => vec![None],
        false => args.key.iter().map(|file| Some(file.as_path())).collect(),
    };
    let find = |file: Option<&std::path::Path>| {
        let signer = Signer::find(file, &args.dir)?;
        let is_root = |trust| signer.name_in(trust, Role::Root).is_some();
        ensure!(
            is_root(before) || is_root(next),
            "the key {} has not the role root; --key names one that has",
            signer.key.fingerprint()
        );
        Ok(signer)
    };
    files.into_iter().map(find).collect()
}

fn sign(store: &Store, args: &Args) -> Result<ExitCode> {
    let chain = store.chain()?;
    let newest = chain.newest().map_err(|why| anyhow!(why))?;
    let trust = newest.trust();
    let before = store.before(trust.serial)?;
    let have = chain.signatures().map_err(|why| anyhow!(why))?;
    let mut signers = signers(args, before.as_ref().unwrap_or(trust), trust)?;
    signers.retain(|signer| have.iter().all(|it| it.key() != signer.key));
    store.add_signatures(newest.document(), &signers)?;
    report(store)
}

/// Says whose signatures are missing.
fn report(store: &Store) -> Result<ExitCode> {
    let chain = store.chain()?;
    let serial = chain.newest().map_err(|why| anyhow!(why))?.trust().serial;
    let standing = chain.standing().map_err(|why| anyhow!(why))?;
    let missing: Vec<String> = standing.iter().filter_map(missing).collect();
    println!("{DOCUMENT} has the serial {serial}.");
    if missing.is_empty() {
        println!("It is signed by enough; commit it with trust.sig and trust/.");
        return Ok(ExitCode::SUCCESS);
    }
    for line in missing {
        println!("{line}");
    }
    println!("Until then hosts refuse it. Who has them runs `domus keys sign`.");
    Ok(ExitCode::from(2))
}

fn missing(standing: &Standing) -> Option<String> {
    if standing.is_met() {
        return None;
    }
    let others = standing.roots.iter();
    let others = others.filter(|name| !standing.signed.contains(name));
    let others: Vec<&str> = others.map(Name::as_str).collect();
    Some(format!(
        "serial {} asks for {} more of the root keys {}",
        standing.serial,
        standing.threshold as usize - standing.signed.len(),
        others.join(", ")
    ))
}

fn show(store: &Store, args: &List) -> Result<ExitCode> {
    let chain: Chain = store.chain()?;
    let newest = chain.newest().map_err(|why| anyhow!(why))?;
    let (trust, standing) = (
        newest.trust(),
        chain.standing().map_err(|why| anyhow!(why))?,
    );
    let proved = chain.prove().map(drop);
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let problem = proved.as_ref().err();
        let report = json!({ "trust": trust, "standing": standing, "problem": problem });
        writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let rows = trust.keys.iter().map(|(name, it)| {
            let roles: Vec<&str> = it.roles.iter().map(|role| role.word()).collect();
            vec![name.to_string(), roles.join(", "), it.key.fingerprint()]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let roots = trust.with_role(Role::Root).count();
        let Trust {
            fleet,
            serial,
            threshold,
            ..
        } = trust;
        writeln!(
            stdout,
            "{fleet}   serial {serial}   a change needs {threshold} of {roots} root keys\n"
        )?;
        write!(
            stdout,
            "{}",
            table(&["key", "may sign", "fingerprint"], &rows)
        )?;
        if let Err(why) = &proved {
            writeln!(stdout, "\nNobody believes it yet: {why}.")?;
        }
    }
    Ok(match proved {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
