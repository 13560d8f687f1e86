// SPDX-License-Identifier: GPL-3.0-or-later
//! A Debian tree by mmdebstrap, as a tar archive.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_system::digest;
use domus_system::program::{self, Program};

use crate::EPOCH;
use crate::cache::{Cache, Key};
use crate::progress::{Progress, step};

/// File name of the archive in its step's directory.
const BASE_TAR: &str = "base.tar";
/// File name of the archive's digest, beside it.
const BASE_DIGEST: &str = "base.tar.sha256";

/// A bootstrapped tree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The archive.
    pub path: PathBuf,
    /// SHA-256 of it: what later steps are kept by, since the same bootstrap made another day
    /// may give newer packages.
    pub digest: String,
}

/// Documentation that no host reads; licences stay.
const LEFT_OUT: &[&str] = &[
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// What to bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The suite, as `trixie`.
    pub suite: String,
    /// The mirror; none is mmdebstrap's own default.
    pub mirror: Option<String>,
    /// Parts of the archive beside main.
    pub components: Vec<String>,
    /// `minbase` for a root, `extract` for a tree of tools that is never booted.
    pub variant: Variant,
    /// Packages beyond the variant's.
    pub packages: Vec<String>,
    /// Hooks that run in the new root, in order, after its packages are installed.
    pub hooks: Vec<Hook>,
}

/// mmdebstrap's variants, as far as Domus uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Essential packages and apt.
    Minbase,
    /// Packages unpacked and not configured.
    Extract,
}

/// Something done to a new root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// A shell command, run inside the new root.
    Shell(String),
    /// A tar archive unpacked over it: its path, and the digest of its content.
    Unpack {
        /// Path of the archive.
        archive: PathBuf,
        /// SHA-256 of the archive.
        digest: String,
    },
}

impl Bootstrap {
    /// Arguments of mmdebstrap that write the tree to `to`.
    pub fn arguments(&self, to: &Path) -> Vec<String> {
        let variant = match self.variant {
            Variant::Minbase => "minbase",
            Variant::Extract => "extract",
        };
        let mut arguments = vec![
            format!("--variant={variant}"),
            "--format=tar".into(),
            "--aptopt=Apt::Install-Recommends \"false\"".into(),
            "--aptopt=Acquire::Languages \"none\"".into(),
        ];
        arguments.extend(LEFT_OUT.iter().map(|option| format!("--dpkgopt={option}")));
        if !self.components.is_empty() {
            arguments.push(format!("--components=main,{}", self.components.join(",")));
        }
        if !self.packages.is_empty() {
            arguments.push(format!("--include={}", self.packages.join(",")));
        }
        for hook in &self.hooks {
            arguments.push(match hook {
                Hook::Shell(command) => {
                    let quoted = command.replace('\'', r"'\''");
                    format!("--customize-hook=chroot \"$1\" /bin/sh -ec '{quoted}'")
                }
                Hook::Unpack { archive, .. } => {
                    format!("--customize-hook=tar-in {} /", archive.display())
                }
            });
        }
        arguments.push(self.suite.clone());
        arguments.push(to.display().to_string());
        arguments.extend(self.mirror.clone());
        arguments
    }

    /// The key of this bootstrap as a step.
    fn key(&self) -> Key {
        let mut canonical = self.clone();
        for hook in &mut canonical.hooks {
            if let Hook::Unpack { archive, .. } = hook {
                // The content counts, not where it lay.
                archive.clear();
            }
        }
        Key::new([
            ("bootstrap", format!("{canonical:?}").as_str()),
            ("epoch", EPOCH),
        ])
    }

    /// The archive, made if it is not kept.
    ///
    /// # Errors
    /// mmdebstrap is missing or fails.
    pub fn tar(&self, cache: &Cache, progress: &dyn Progress, what: &str) -> Result<Tree> {
        let dir = cache.step("debian", &self.key(), |to| {
            program::require("mmdebstrap")?;
            let what = format!(
                "{what}: Debian {}, {} packages",
                self.suite,
                self.packages.len()
            );
            step(progress, &what, || self.run(&to.join(BASE_TAR)))?;
            let digest = digest::of_file(&to.join(BASE_TAR))?;
            fs::write(to.join(BASE_DIGEST), digest).context("noting the digest of the tree")
        })?;
        let noted = dir.join(BASE_DIGEST);
        let digest =
            fs::read_to_string(&noted).with_context(|| format!("reading {}", noted.display()))?;
        Ok(Tree {
            path: dir.join(BASE_TAR),
            digest,
        })
    }

    fn run(&self, to: &Path) -> Result<()> {
        // mmdebstrap leaves files of its own if it is stopped early. Its user in a user namespace
        // is another, who must be able to write there too, as to /tmp.
        let scratch = tempfile::tempdir().context("making a temporary directory")?;
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o1777))
            .context("opening a temporary directory to all")?;
        mmdebstrap()
            .args(self.arguments(to))
            .env("TMPDIR", scratch.path())
            .env("SOURCE_DATE_EPOCH", EPOCH)
            // Domus makes its own initramfs: the kernel package need not.
            .env("INITRD", "No")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .run()
            .with_context(|| format!("bootstrapping Debian {}", self.suite))
    }
}

/// mmdebstrap. Run by root it mounts into the new root, and leaves those mounts and what runs
/// there if it is stopped at a bad moment: where namespaces can be had they go with it.
fn mmdebstrap() -> Program {
    let name = "mmdebstrap";
    let cage = || {
        let options = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
        Program::new("unshare").args(options)
    };
    if rustix::process::geteuid().is_root() && cage().arg("true").run().is_ok() {
        cage().arg(name)
    } else {
        Program::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap {
            suite: "trixie".into(),
            mirror: None,
            components: Vec::new(),
            variant: Variant::Minbase,
            packages: vec!["nginx-light".into()],
            hooks: vec![Hook::Shell("echo 'x' > /a".into())],
        }
    }

    #[test]
    fn without_a_mirror_none_is_named() {
        let arguments = bootstrap().arguments(Path::new("/out/base.tar"));
        assert_eq!(arguments.last().map(String::as_str), Some("/out/base.tar"));
        assert!(arguments.contains(&"--include=nginx-light".to_owned()));
        let hook = r#"--customize-hook=chroot "$1" /bin/sh -ec 'echo '\''x'\'' > /a'"#;
        assert!(arguments.contains(&hook.to_owned()), "{arguments:?}");
        let is_components = |it: &String| it.starts_with("--components");
        assert!(!arguments.iter().any(is_components));
    }

    #[test]
    fn main_is_in_whatever_is_named_beside_it() {
        let firmware = Bootstrap {
            components: vec!["non-free-firmware".into()],
            ..bootstrap()
        };
        let arguments = firmware.arguments(Path::new("/out/base.tar"));
        let components = "--components=main,non-free-firmware".to_owned();
        assert!(arguments.contains(&components), "{arguments:?}");
    }

    #[test]
    fn the_key_follows_content_and_not_places() {
        let with = |archive: &str, digest: &str| {
            let mut b = bootstrap();
            b.hooks.push(Hook::Unpack {
                archive: archive.into(),
                digest: digest.into(),
            });
            b.key()
        };
        assert_eq!(with("/tmp/a", "1"), with("/tmp/b", "1"));
        assert_ne!(with("/tmp/a", "1"), with("/tmp/a", "2"));
        assert_ne!(bootstrap().key(), with("/tmp/a", "1"));
    }
}
