// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration repository as git objects: making one, reading a commit, exporting a host's
//! slice of it, carrying it to a config partition.

mod carry;
mod choose;
mod directories;
mod documents;
mod export;
#[cfg(feature = "remotes")]
mod fetch;
mod generations;
mod history;
mod init;
mod judge;
mod objects;
mod open;
mod packs;
mod publish;
#[cfg(feature = "remotes")]
mod repack;
mod statement;
mod tree;

pub use carry::carry;
pub use choose::Chosen;
pub use directories::{Beside, Directories, TreeId};
pub use documents::CommitDocuments;
pub use export::{Export, Slice};
#[cfg(feature = "remotes")]
pub use fetch::Remote;
pub use generations::Generation;
pub use history::Change;
pub use init::init_with_commit;
pub use judge::{Judge, SEEN_REF};
pub use open::{Commit, Repo};
pub use publish::{NewTarget, Sign};
pub use statement::{Statement, TARGETS_REF};

/// The readers of packs, for fuzz targets.
#[cfg(feature = "fuzz")]
pub mod fuzz {
    pub use crate::packs::fuzz::{read_packs, scan};
}

/// The ref that names what a host runs: a commit, or a target that names one.
pub const RUNNING_REF: &str = "refs/domus/running";
