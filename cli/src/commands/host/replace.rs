// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus host replace`: another machine for a host.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use domus_model::files::Files;
use domus_model::fleet::Fleet;
use domus_model::load::load;
use domus_model::marker::Binding;
use domus_model::names::Name;
use domus_model::replace::{self, Exchange, Identity, Replaced};
use domus_model::secrets::{Secret, SshKey, secrets};
use domus_model::units::Mac;
use domus_repo::Repo;
use domus_system::{atomic, documents, interrupt, ssh};
use uuid::Uuid;

use super::document;
use crate::commands::secret;
use crate::refused::Refused;
use crate::{opened, private, render};

/// Give a host another machine: a new binding and a new key, and its secrets encrypted for that
///
/// What is given is the whole new binding: what host.toml says of dmi-uuid, serial and mac beside
/// it is taken out. The new key's private part stays with you, and `domus media build` and `domus
/// config disk` give it to the machine. All is proved before anything is written, and all is
/// written or nothing.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("machine").required(true).multiple(true)
    .args(["dmi_uuid", "serial", "mac", "same_machine"]))]
pub(super) struct Args {
    /// The host
    host: Name,
    /// UUID of the new machine: /sys/class/dmi/id/product_uuid
    #[arg(long, value_name = "UUID", value_parser = replace::dmi_uuid)]
    dmi_uuid: Option<Uuid>,
    /// Serial number of the new machine: product_serial there
    #[arg(long, value_parser = replace::serial)]
    serial: Option<String>,
    /// Address of one of its network cards
    #[arg(long)]
    mac: Option<Mac>,
    /// The machine stays and gets a new key, as when the disk with the old one is lost
    #[arg(long, conflicts_with_all = ["dmi_uuid", "serial", "mac"])]
    same_machine: bool,
    /// A disk of [storage] and the one that takes its place, by their names in /dev/disk/by-id; may
    /// be repeated
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], value_parser = replace::disk)]
    disk: Vec<String>,
    /// Where its private key goes; without it, domus/host-keys/FLEET/ in your configuration
    /// directory
    #[arg(long, value_name = "FILE")]
    private: Option<PathBuf>,
    #[command(flatten)]
    identity: secret::Identity,
    /// A directory of the fleet's repository, or one below it
    #[arg(short = 'C', long = "dir", default_value = ".")]
    dir: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is to be written into the repository, proved.
struct New {
    fleet: Fleet,
    /// The host's document.
    document: (String, Vec<u8>),
    /// Secrets, encrypted anew.
    secrets: Vec<(String, Vec<u8>)>,
    /// The paths of those that the key of before opens.
    known: Vec<String>,
}

/// Runs the command: exit code 3 if something that changes is not committed.
pub(super) fn run(args: Args) -> Result<ExitCode> {
    let (root, host) = (opened::find(&args.dir)?, &args.host);
    let mut files = documents::read(&root)?;
    let before = args.before(&files)?;
    let (private, key) = ssh::make_host_key()?;
    let new = args.prepare(&root, &mut files, &before, &key)?;
    let binding = args.binding().unwrap_or_else(|| before.binding.clone());
    let kept = |key: &SshKey| private::host_key(&new.fleet.name, host, key);
    let old = before.key.as_ref().and_then(|old| kept(old).ok());
    let mut replaced = Replaced {
        host: host.clone(),
        written: !args.dry_run,
        before,
        after: Identity { binding, key: None },
        disks: args.exchanges(),
        private_key: None,
        old_private_key: old
            .filter(|file| file.exists())
            .map(|file| file.display().to_string()),
        rekeyed: new.secrets.iter().map(|(path, _)| path.clone()).collect(),
        known: new.known.clone(),
        next: Vec::new(),
    };
    if !args.dry_run {
        let file = args.private.clone().map_or_else(|| kept(&key), Ok)?;
        replaced.private_key = Some(file.display().to_string());
        replaced.after.key = Some(key);
        new.write(&root, file, private)?;
    }
    let replaced = replaced.with_next(&new.fleet);
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&replaced)?),
        false => print!("{}", replaced.render()),
    }
    Ok(ExitCode::SUCCESS)
}

impl New {
    /// Writes all of it, and the private key, or nothing.
    fn write(&self, root: &Path, key: PathBuf, private: Vec<u8>) -> Result<()> {
        // Nobody is asked anything any more: what was begun is finished.
        interrupt::catch().context("preparing for Ctrl-C")?;
        let mut all = vec![(key, private, 0o600)];
        let changed = [&self.document].into_iter().chain(&self.secrets);
        all.extend(changed.map(|(path, content)| (root.join(path), content.clone(), 0o644)));
        atomic::write_all(&all).context("nothing was written")
    }
}

impl Args {
    /// How the new machine is recognised; none if it is the same.
    fn binding(&self) -> Option<Binding> {
        (!self.same_machine).then(|| Binding {
            dmi_uuid: self.dmi_uuid,
            serial: self.serial.clone(),
            mac: self.mac,
        })
    }

    /// What the host is known by now.
    ///
    /// # Errors
    /// There is no such host, or nothing would change.
    fn before(&self, files: &Files) -> Result<Identity> {
        let host = &self.host;
        if !files.hosts.contains_key(host.as_str()) {
            let known = files.hosts.keys().map(String::as_str);
            bail!(opened::no_host(host, known));
        }
        if let Some(file) = self.private.as_deref().filter(|file| file.exists()) {
            let file = file.display();
            bail!("{file} is there already: name another file with --private");
        }
        let before = Identity::read(files, host);
        ensure!(
            self.binding().as_ref() != Some(&before.binding),
            "{host} is bound to that machine already; --same-machine gives it a new key"
        );
        Ok(before)
    }

    /// Changes these documents as they are to be, and proves them.
    ///
    /// # Errors
    /// Refused: what would change is not committed. The fleet would not prove.
    fn prepare(
        &self,
        root: &Path,
        files: &mut Files,
        before: &Identity,
        key: &SshKey,
    ) -> Result<New> {
        let (host, old) = (&self.host, before.key.as_ref());
        let path = format!("pservers/{host}/host.toml");
        let binding = self.binding();
        let edited = edit(
            files.content(&path),
            binding.as_ref(),
            key,
            &self.exchanges(),
        )
        .with_context(|| format!("writing the new machine into {path}"))?;
        files.insert(path.as_str(), edited.clone());

        // Whom secrets are for is as before; whom they must be for is not.
        let (all, needs) = secrets(files);
        let concerned = replace::concerned(&all, &needs, host, old);
        let paths = readable(&concerned)?;
        ensure_committed(root, &path, &paths)?;
        let anew = secret::anew(root, paths, &self.identity, &needs);
        let secrets = anew.context("nothing was written")?;
        for (path, content) in &secrets {
            files.insert(path.as_str(), content.clone());
        }
        let binding = binding.as_ref().unwrap_or(&before.binding);
        Ok(New {
            fleet: prove(files, host, binding)?,
            document: (path, edited),
            secrets,
            known: replace::known(concerned, old),
        })
    }

    fn exchanges(&self) -> Vec<Exchange> {
        let pairs = self.disk.chunks_exact(2);
        let exchange = |pair: &[String]| Exchange {
            old: pair[0].clone(),
            new: pair[1].clone(),
        };
        pairs.map(exchange).collect()
    }
}

fn edit(
    content: &[u8],
    binding: Option<&Binding>,
    key: &SshKey,
    disks: &[Exchange],
) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(content).context("it is no UTF-8")?;
    let lines = binding.map(Binding::lines);
    let lines = lines.as_ref().map(<[_; 3]>::as_slice);
    Ok(document::edit(text, lines, key, disks)?.into_bytes())
}

/// The paths of these secrets, all of which must be there.
fn readable<'s>(secrets: &[&'s Secret]) -> Result<Vec<&'s str>> {
    let path = |secret: &&'s Secret| match &secret.recipients {
        Ok(_) => Ok(secret.path.as_str()),
        Err(why) => bail!("{0} {why}: `domus secret edit {0}` makes it", secret.path),
    };
    secrets.iter().map(path).collect()
}

/// Makes sure that nothing that is to change differs from the last commit: that could not be told
/// from what is written here, nor taken back without it.
fn ensure_committed(root: &Path, document: &str, secrets: &[&str]) -> Result<()> {
    let all = [document].into_iter().chain(secrets.iter().copied());
    let changed = Repo::open(root)?.uncommitted(all)?;
    if changed.is_empty() {
        return Ok(());
    }
    let why = format!(
        "these are not committed as they are, and would be changed:\n  {}\n\
         Nothing was written. Commit them, or take them back with `git checkout`.",
        changed.join("\n  ")
    );
    Err(Refused(why).into())
}

/// The fleet as it is to be; its problems are shown.
fn prove(files: &Files, host: &Name, binding: &Binding) -> Result<Fleet> {
    let fleet = load(files).map_err(|problems| {
        render::refuse(files, &problems);
        let (errors, _) = render::tally(&problems);
        anyhow::anyhow!("nothing was written: the fleet would have {errors} error(s)")
    })?;
    match replace::misses(&fleet, host, binding) {
        Some(why) => bail!("nothing was written: {why}"),
        None => Ok(fleet),
    }
}
