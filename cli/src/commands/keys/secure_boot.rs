// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus keys secure-boot`: the keys by which UEFI firmware knows the fleet's releases.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use domus_model::names::Name;
use domus_model::secure_boot::{DIRECTORY, KEYS, SIGNER, owner, signature_list};
use domus_system::atomic::{self, PendingDir};
use domus_system::interrupt;
use domus_system::program::Program;

use crate::opened::Opened;
use crate::refused::Refused;
use crate::secure_boot::{certificate, key, private};

/// Valid for so many days. Firmware does not look, and nothing of Domus does.
const DAYS: &str = "10950";

#[derive(Debug, clap::Args)]
pub(super) struct SecureBoot {
    /// Where the private keys are, or shall be; without it, domus/secure-boot/FLEET in your
    /// configuration directory
    #[arg(long, value_name = "DIR")]
    private: Option<PathBuf>,
}

impl SecureBoot {
    /// Makes the keys, unless they are there, and writes their certificates into the repository.
    pub(super) fn run(&self, dir: &Path) -> Result<ExitCode> {
        interrupt::catch().context("preparing for Ctrl-C")?;
        let opened = Opened::at(dir)?;
        let fleet = &opened.fleet.name;
        let keys = self.private.clone();
        let keys = keys.map_or_else(|| private(fleet), Ok)?;
        let public = opened.root.join(DIRECTORY);
        let is_new = !keys.exists();
        if is_new && public.exists() {
            let why = format!(
                "hosts may know the certificates in {} already, and their private keys are not in \
                 {}; --private names the directory that has them",
                public.display(),
                keys.display()
            );
            return Err(Refused(why).into());
        }
        if is_new {
            make(fleet, &keys)?;
        }
        publish(fleet, &keys, &public)?;
        let done = if is_new { "made" } else { "there already" };
        println!(
            "private keys   {done}   {}\ncertificates   {}",
            keys.display(),
            public.display()
        );
        println!(
            "\nCommit {DIRECTORY}/. `domus iso build` signs with {SIGNER}.key from now on, and a \
             host starts\nnothing else once its firmware knows the three certificates \
             (docs/manual/secure-boot.md).\nWhoever has {SIGNER}.key signs what every host \
             starts: keep a copy where nobody steals it."
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes all keys, or none.
fn make(fleet: &Name, to: &Path) -> Result<()> {
    let pending = PendingDir::new(to)?;
    for name in KEYS {
        // 2048 bits: some firmware takes no longer ones. /dev/null: nothing of this machine's own
        // settings gets into them.
        Program::new("openssl")
            .env("OPENSSL_CONF", "/dev/null")
            .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256"])
            .args(["-noenc", "-days", DAYS, "-outform", "DER", "-subj"])
            .arg(format!("/CN={fleet} Secure Boot {name}"))
            .arg("-keyout")
            .arg(key(pending.path(), name))
            .arg("-out")
            .arg(certificate(pending.path(), name))
            .run()
            .with_context(|| format!("making the key {name}"))?;
        let file = key(pending.path(), name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("setting the mode of {}", file.display()))?;
    }
    pending.commit()
}

/// Writes certificates and lists into the repository.
///
/// # Errors
/// Refused: one that is there is another.
fn publish(fleet: &Name, keys: &Path, public: &Path) -> Result<()> {
    let mut files = Vec::new();
    for name in KEYS {
        let from = certificate(keys, name);
        let content = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        let list = signature_list(owner(fleet), &content);
        files.push((certificate(public, name), content));
        files.push((public.join(format!("{name}.esl")), list));
    }
    for (path, content) in &files {
        if path.exists() && fs::read(path).context("reading a certificate")? != *content {
            let why = format!(
                "{} is not the certificate of the key in {}; hosts may know it",
                path.display(),
                keys.display()
            );
            return Err(Refused(why).into());
        }
    }
    fs::create_dir_all(public).with_context(|| format!("making {}", public.display()))?;
    for (path, content) in &files {
        atomic::write(path, content, 0o644)?;
    }
    Ok(())
}
