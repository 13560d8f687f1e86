// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line of `depart` and `arrive`.

use domus_model::names::Name;

/// Shut a domU down for good: it goes to another host, and never starts here again
///
/// Not even for an earlier commit: only when it comes back. `domus move` runs this, and takes the
/// volumes. Running it twice says the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Depart {
    /// The domU.
    #[arg(value_name = "NAME")]
    pub(crate) name: Name,
    /// The host that it goes to.
    #[arg(long, value_name = "HOST")]
    pub(crate) to: Name,
    /// How long it may take to shut down, if not as long as its document says.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Destroy it if it has not shut down by then: as if its power were cut.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print which volumes are there to be taken, as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take a domU as come from another host, and start it
///
/// `domus move` runs this, once that host never starts it again and its volumes are here. By hand it is
/// your word for both.
#[derive(Debug, clap::Args)]
pub(crate) struct Arrive {
    /// The domU.
    #[arg(value_name = "NAME")]
    pub(crate) name: Name,
    /// The host that it comes from.
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Name,
    /// Even without volumes: those that are not here are made, with nothing in them.
    #[arg(long)]
    pub(crate) empty: bool,
    /// Only say whether it came from there before, and do nothing.
    #[arg(long, conflicts_with = "empty")]
    pub(crate) ask: bool,
    /// Print what was done as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
