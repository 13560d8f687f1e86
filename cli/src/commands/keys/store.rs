// SPDX-License-Identifier: GPL-3.0-or-later
//! The files of a repository that say who may sign what.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use domus_model::trust::{Chain, DOCUMENT, EARLIER, Namespace, SIGNATURES, Trust};
use domus_system::atomic;

use crate::signer::Signer;

/// The work tree of a fleet.
pub(super) struct Store(pub(super) PathBuf);

impl Store {
    /// What there is.
    pub(super) fn read(&self) -> Result<Option<Chain>> {
        let names = match fs::read_dir(self.0.join(EARLIER)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            entries => {
                let names = entries?.map(|entry| Ok(entry?.file_name()));
                names.collect::<std::io::Result<_>>()?
            }
        };
        let names: Vec<String> = names
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let read = |path: &str| content(&self.0.join(path)).map_err(|error| format!("{error:#}"));
        Chain::read(names.iter().map(String::as_str), read).map_err(|why| anyhow!(why))
    }

    /// What there is, which must be something.
    pub(super) fn chain(&self) -> Result<Chain> {
        let chain = self.read()?;
        chain.with_context(|| format!("there is no {DOCUMENT}: `domus keys init` makes one"))
    }

    /// The document before the one with this serial.
    pub(super) fn before(&self, serial: u32) -> Result<Option<Trust>> {
        let path = self
            .0
            .join(format!("{EARLIER}/{}.toml", serial.saturating_sub(1)));
        let document = content(&path)?;
        let parse = |text: Vec<u8>| Trust::parse(&text).map_err(|why| anyhow!(why));
        document.map(parse).transpose()
    }

    /// Keeps the document and its signatures among the earlier ones.
    pub(super) fn keep(&self, trust: &Trust) -> Result<()> {
        let earlier = self.0.join(EARLIER);
        fs::create_dir_all(&earlier).with_context(|| format!("making {}", earlier.display()))?;
        for (from, ending) in [(DOCUMENT, "toml"), (SIGNATURES, "sig")] {
            let text = content(&self.0.join(from))?.unwrap_or_default();
            atomic::write(
                &earlier.join(format!("{}.{ending}", trust.serial)),
                &text,
                0o644,
            )?;
        }
        Ok(())
    }

    /// Writes a document with these signatures of it.
    pub(super) fn write(&self, trust: &Trust, signers: &[Signer]) -> Result<()> {
        let text = trust.render();
        // Signed first: if the passphrase is wrong, nothing is written.
        let signatures = signed(text.as_bytes(), signers)?;
        atomic::write(&self.0.join(DOCUMENT), text.as_bytes(), 0o644)?;
        atomic::write(&self.0.join(SIGNATURES), signatures.as_bytes(), 0o644)
    }

    /// Adds signatures of the document that is there.
    pub(super) fn add_signatures(&self, document: &[u8], signers: &[Signer]) -> Result<()> {
        let path = self.0.join(SIGNATURES);
        let mut text = content(&path)?.unwrap_or_default();
        text.extend(signed(document, signers)?.into_bytes());
        atomic::write(&path, &text, 0o644)
    }
}

fn signed(document: &[u8], signers: &[Signer]) -> Result<String> {
    let sign = |signer: &Signer| signer.sign(Namespace::Trust, document);
    signers.iter().map(sign).collect()
}

fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
