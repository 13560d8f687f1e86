// SPDX-License-Identifier: GPL-3.0-or-later
//! A Debian tree by mmdebstrap, as a tar archive. What all trees of a kind have is bootstrapped by
//! itself and kept; what a release or recipe adds is installed on that:
//! `docs/decisions/two-stages.md`.

use std::fs::{self, File};
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

/// Unpacks what a tree stands on, which mmdebstrap has on its standard input: a place could not be
/// read by its user in a user namespace.
const UNPACK_GROUND: &str =
    r#"tar --extract --file=- --directory="$1" --numeric-owner --xattrs --xattrs-include='*'"#;

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
    /// Packages beyond the variant's that all trees of this kind have.
    pub packages: Vec<String>,
    /// Packages that this tree has beyond them.
    pub more: Vec<String>,
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
    /// What all trees of this kind have: what this one is installed on, if it has anything else.
    fn ground(&self) -> Option<Self> {
        let is_more = !self.more.is_empty() || !self.hooks.is_empty();
        is_more.then(|| Self {
            more: Vec::new(),
            hooks: Vec::new(),
            ..self.clone()
        })
    }

    /// Arguments of mmdebstrap that write the tree to `to`.
    fn arguments(&self, to: &Path) -> Vec<String> {
        let upon = self.ground().is_some();
        let (variant, packages) = match self.variant {
            _ if upon => ("custom", &self.more),
            Variant::Minbase => ("minbase", &self.packages),
            Variant::Extract => ("extract", &self.packages),
        };
        let mut arguments = vec![
            format!("--variant={variant}"),
            "--format=tar".into(),
            // Nobody starts a tree without a /dev of its own, and who is not root cannot unpack one.
            "--skip=output/dev".into(),
            "--aptopt=Apt::Install-Recommends \"false\"".into(),
            "--aptopt=Acquire::Languages \"none\"".into(),
        ];
        arguments.extend(LEFT_OUT.iter().map(|option| format!("--dpkgopt={option}")));
        if !self.components.is_empty() {
            arguments.push(format!("--components=main,{}", self.components.join(",")));
        }
        if upon {
            arguments.push(format!("--setup-hook={UNPACK_GROUND}"));
        }
        if packages.is_empty() {
            arguments.push("--skip=update".into());
        } else {
            arguments.push(format!("--include={}", packages.join(",")));
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

    /// The key of this bootstrap as a step. `ground`: the digest of what it stands on.
    fn key(&self, ground: Option<&str>) -> Key {
        let mut canonical = self.clone();
        for hook in &mut canonical.hooks {
            if let Hook::Unpack { archive, .. } = hook {
                // The content counts, not where it lay.
                archive.clear();
            }
        }
        Key::new([
            ("bootstrap", format!("{canonical:?}").as_str()),
            ("ground", ground.unwrap_or_default()),
            ("epoch", EPOCH),
        ])
    }

    /// The archive, made if it is not kept.
    ///
    /// # Errors
    /// mmdebstrap is missing or fails.
    pub fn tar(&self, cache: &Cache, progress: &dyn Progress, what: &str) -> Result<Tree> {
        let ground = match self.ground() {
            Some(ground) => Some(ground.tar(cache, progress, what)?),
            None => None,
        };
        let key = self.key(ground.as_ref().map(|ground| ground.digest.as_str()));
        let dir = cache.step("debian", &key, |to| {
            program::require("mmdebstrap")?;
            let what = match &ground {
                None => format!(
                    "{what}: Debian {}, {} packages",
                    self.suite,
                    self.packages.len()
                ),
                Some(_) => format!("{what}: {} packages on that", self.more.len()),
            };
            step(progress, &what, || {
                self.run(ground.as_ref(), &to.join(BASE_TAR))
            })?;
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

    fn run(&self, ground: Option<&Tree>, to: &Path) -> Result<()> {
        // mmdebstrap leaves files of its own if it is stopped early. Its user in a user namespace
        // is another, who must be able to write there too, as to /tmp.
        let scratch = tempfile::tempdir().context("making a temporary directory")?;
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o1777))
            .context("opening a temporary directory to all")?;
        let mut program = mmdebstrap();
        if let Some(ground) = ground {
            let path = &ground.path;
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            program = program.stdin_from(file);
        }
        program
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

/// Which of `wanted` are not in `all` already, each once, sorted: their order changes no tree.
pub fn beyond(all: &[&str], mut wanted: Vec<String>) -> Vec<String> {
    wanted.retain(|package| !all.contains(&package.as_str()));
    wanted.sort();
    wanted.dedup();
    wanted
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
            packages: vec!["udev".into()],
            more: vec!["nginx-light".into()],
            hooks: vec![Hook::Shell("echo 'x' > /a".into())],
        }
    }

    fn arguments(bootstrap: &Bootstrap) -> Vec<String> {
        bootstrap.arguments(Path::new("/out/base.tar"))
    }

    fn has(arguments: &[String], wanted: &str) -> bool {
        arguments.iter().any(|argument| argument == wanted)
    }

    #[test]
    fn without_a_mirror_none_is_named() {
        let arguments = arguments(&bootstrap());
        assert_eq!(arguments.last().map(String::as_str), Some("/out/base.tar"));
        let hook = r#"--customize-hook=chroot "$1" /bin/sh -ec 'echo '\''x'\'' > /a'"#;
        assert!(has(&arguments, hook), "{arguments:?}");
        let is_components = |it: &String| it.starts_with("--components");
        assert!(!arguments.iter().any(is_components));
    }

    #[test]
    fn main_is_in_whatever_is_named_beside_it() {
        let firmware = Bootstrap {
            components: vec!["non-free-firmware".into()],
            ..bootstrap()
        };
        let arguments = arguments(&firmware);
        let components = "--components=main,non-free-firmware";
        assert!(has(&arguments, components), "{arguments:?}");
    }

    #[test]
    fn what_a_tree_adds_stands_on_what_all_of_its_kind_have() {
        let own = bootstrap();
        let ground = own.ground().expect("a ground");
        assert!(ground.ground().is_none(), "the ground stands on nothing");
        let (under, upon) = (arguments(&ground), arguments(&own));
        for wanted in ["--variant=minbase", "--include=udev"] {
            assert!(has(&under, wanted), "{under:?}");
        }
        for wanted in ["--variant=custom", "--include=nginx-light"] {
            assert!(has(&upon, wanted), "{upon:?}");
        }
        let unpacks = |it: &String| it.starts_with("--setup-hook=tar ");
        assert!(upon.iter().any(unpacks) && !under.iter().any(unpacks));
        let files_only = Bootstrap {
            more: Vec::new(),
            ..own
        };
        assert_eq!(files_only.ground(), Some(ground));
        let arguments = arguments(&files_only);
        assert!(has(&arguments, "--skip=update"), "{arguments:?}");
    }

    #[test]
    fn the_key_follows_content_and_not_places() {
        let with = |archive: &str, digest: &str| {
            let mut b = bootstrap();
            b.hooks.push(Hook::Unpack {
                archive: archive.into(),
                digest: digest.into(),
            });
            b.key(Some("ground"))
        };
        assert_eq!(with("/tmp/a", "1"), with("/tmp/b", "1"));
        assert_ne!(with("/tmp/a", "1"), with("/tmp/a", "2"));
        assert_ne!(bootstrap().key(Some("ground")), with("/tmp/a", "1"));
        let on = |ground| bootstrap().key(Some(ground));
        assert_ne!(on("of yesterday"), on("of today"));
    }
}
