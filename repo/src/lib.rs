// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration repository as git objects: making one, reading a commit, exporting a host's
//! slice of it, carrying it to a config partition.

mod carry;
mod directories;
mod documents;
mod export;
#[cfg(feature = "remotes")]
mod fetch;
mod generations;
mod history;
mod init;
mod open;

pub use carry::carry;
pub use directories::{Beside, Directories, TreeId};
pub use documents::CommitDocuments;
pub use export::{Export, Slice};
#[cfg(feature = "remotes")]
pub use fetch::Remote;
pub use generations::Generation;
pub use history::Change;
pub use init::init_with_commit;
pub use open::{Commit, Repo, read_once};

/// The ref that names the commit a host runs.
pub const RUNNING_REF: &str = "refs/domus/running";
