// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the operator's keys for Secure Boot are: certificates in the fleet's repository, private
//! keys beside the operator's other settings.

use std::path::{Path, PathBuf};

use anyhow::Result;
use domus_iso::Signing;
use domus_model::names::Name;
use domus_model::secure_boot::{DIRECTORY, SIGNER};
use domus_system::digest;

use crate::opened::Opened;
use crate::private;
use crate::refused::Refused;

/// The directory of the private keys of a fleet, if nobody names another.
///
/// # Errors
/// There is no home directory.
pub(crate) fn private(fleet: &Name) -> Result<PathBuf> {
    private::directory(DIRECTORY, fleet)
}

/// The file of a private key in `dir`.
pub(crate) fn key(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key"))
}

/// The file of a certificate in `dir`.
pub(crate) fn certificate(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.cer"))
}

/// Which private key signs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SignerKey {
    /// The private key that signs what UEFI starts, if the fleet has such keys; without it, db.key
    /// where `domus keys secure-boot` puts it
    #[arg(long = "secure-boot-key", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl SignerKey {
    /// Who signs what UEFI starts, if the fleet has keys for that.
    ///
    /// # Errors
    /// Refused: the private key is not here. There is no home directory.
    pub(crate) fn signer(&self, opened: &Opened) -> Result<Option<Signing>> {
        let certificate = certificate(&opened.root.join(DIRECTORY), SIGNER);
        if !certificate.exists() {
            return Ok(None);
        }
        let kept = || Ok(key(&private(&opened.fleet.name)?, SIGNER));
        let key = self
            .file
            .clone()
            .map_or_else(kept, Ok::<_, anyhow::Error>)?;
        if !key.exists() {
            let why = format!(
                "hosts start what is signed for {}, and its private key is not at {}.\n\
                 --secure-boot-key names the file that has it",
                certificate.display(),
                key.display()
            );
            return Err(Refused(why).into());
        }
        Ok(Some(Signing { certificate, key }))
    }

    /// Who signs for the firmware of hosts that start `iso`, which is signed for the certificate
    /// with the SHA-256 digest `signed`.
    ///
    /// # Errors
    /// Refused: the fleet has another certificate, or the private key is not here.
    pub(crate) fn same(&self, opened: &Opened, iso: &Path, signed: &str) -> Result<Signing> {
        let own = certificate(&opened.root.join(DIRECTORY), SIGNER);
        let is_same = own.exists() && digest::of_file(&own)? == signed;
        let signing = is_same.then(|| self.signer(opened)).transpose()?.flatten();
        signing.ok_or_else(|| {
            let why = format!(
                "{} is signed for another certificate than {}: `domus iso build` makes one for this",
                iso.display(),
                own.display()
            );
            Refused(why).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domus_model::files::Files;
    use domus_model::load::load;
    use std::fs;
    use tempfile::TempDir;

    struct Site {
        dir: TempDir,
        opened: Opened,
        key: SignerKey,
    }

    /// A fleet whose certificate is this, and a private key at hand or not.
    fn site(certificate: &str, has_key: bool) -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, content: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        };
        write("secure-boot/db.cer", certificate);
        if has_key {
            write("db.key", "private");
        }
        let mut files = Files::new();
        files.insert("domus.toml", b"version = 1\nfleet = \"small\"\n".to_vec());
        Site {
            opened: Opened {
                root: dir.path().to_owned(),
                fleet: load(&files).expect("a fleet"),
            },
            key: SignerKey {
                file: Some(dir.path().join("db.key")),
            },
            dir,
        }
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.expect_err("refused");
        error.downcast::<Refused>().expect("a refusal").0
    }

    impl Site {
        /// Who signs beside an ISO that is signed for this certificate.
        fn same(&self, certificate: &str) -> Result<Signing> {
            let signed = digest::of_reader(&mut certificate.as_bytes()).expect("a digest");
            self.key.same(&self.opened, Path::new("one.iso"), &signed)
        }
    }

    #[test]
    fn what_is_signed_for_another_certificate_is_not_signed_beside() {
        let site = site("own", true);
        let signing = site.same("own").expect("it is the same");
        assert_eq!(signing.key, site.dir.path().join("db.key"));
        let why = refusal(site.same("another's"));
        let own = site.dir.path().join("secure-boot/db.cer");
        let expected = format!(
            "one.iso is signed for another certificate than {}: `domus iso build` makes one for this",
            own.display()
        );
        assert_eq!(why, expected);
        // A key that is absent does not matter then.
        fs::remove_file(site.dir.path().join("db.key")).expect("it goes");
        assert_eq!(refusal(site.same("another's")), expected);
        fs::remove_file(own).expect("it goes");
        assert_eq!(refusal(site.same("own")), expected);
    }

    #[test]
    fn nobody_signs_without_the_private_key() {
        let site = site("own", false);
        let key = site.dir.path().join("db.key");
        for why in [
            refusal(site.same("own")),
            refusal(site.key.signer(&site.opened)),
        ] {
            let said = format!("its private key is not at {}", key.display());
            assert!(why.contains(&said), "{why}");
            assert!(why.contains("--secure-boot-key names the file"), "{why}");
        }
        // A fleet without a certificate signs nothing for firmware.
        fs::remove_dir_all(site.dir.path().join("secure-boot")).expect("it goes");
        let signer = site.key.signer(&site.opened).expect("nobody is needed");
        assert!(signer.is_none());
    }
}
