// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line of `volume`.

use std::path::PathBuf;

use clap::Subcommand;
use domus_model::names::Name;
use domus_model::volumes::DiskOf;

/// What to do with volumes.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List all volumes: whose they are, how large, who uses them, and which are nobody's
    List {
        /// Print them as one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Destroy volumes that no domU of this host has, with all that is on them
    ///
    /// One that is in use, or has snapshots, is refused, and then none is destroyed.
    Destroy {
        /// The volumes, by their names in `list`.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Also those that a domU has which was stopped: it starts with new, empty ones.
        #[arg(long)]
        declared: bool,
    },
    /// Keep what a volume in LVM holds now, while its domU goes on
    ///
    /// `lvconvert --merge` goes back to it, `volume destroy` ends it.
    Snapshot {
        /// The disk of a domU, as web/data.
        #[arg(value_name = "DOMU/DISK")]
        disk: DiskOf,
        /// What it is called behind the volume's name; else the day.
        #[arg(long, value_name = "NAME")]
        name: Option<Name>,
    },
    /// Copy a volume to a file or a pipe, with what proves that the copy is whole
    ///
    /// A domU may run on while its volume in LVM is copied, by a snapshot that goes then; any other has
    /// to be stopped.
    Backup {
        /// The disk of a domU, as web/data.
        #[arg(value_name = "DOMU/DISK")]
        disk: DiskOf,
        /// The file, which is not there yet; else standard output.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Replace a volume by a copy, once all of that was read and found right
    ///
    /// Its domU must not run. There has to be room for both.
    Restore {
        /// The disk of a domU, as web/data.
        #[arg(value_name = "DOMU/DISK")]
        disk: DiskOf,
        /// The file that `backup` wrote; else standard input.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Even if it is a copy of another disk, or of another fleet's.
        #[arg(long)]
        of_another: bool,
    },
}
