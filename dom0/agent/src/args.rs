// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line.

pub(crate) mod moving;
pub(crate) mod volume;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use domus_model::names::Name;

const EXIT_CODES: &str = "\
Exit codes: 0 done and clean, 1 error, 2 differences found (`plan`), 3 refused for safety.";

/// Runs the domUs of this host as its commit wants them.
#[derive(Debug, Parser)]
#[command(name = "domus-dom0", version, about, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Where libvirt is; for tests.
    #[arg(long, global = true, hide = true, value_name = "URI")]
    #[arg(env = "DOMUS_LIBVIRT_URI", default_value = domus_virt::XEN)]
    pub(crate) uri: String,
    /// What stands for `/` wherever this host keeps something; for tests.
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    #[arg(env = "DOMUS_ROOT", default_value = "/")]
    pub(crate) root: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take the commit that is booted next, and start every domU that should run and does not
    ///
    /// What is live is done; domUs are restarted if the fleet says so (`apply` of domus.toml) or
    /// with --restart. Each is started by itself: one that cannot be does not hold up the others,
    /// and `status` says why. Running it twice changes nothing. Exits with 1 if something failed,
    /// with 3 if a file was left that was changed on the host.
    Apply {
        /// Only start these domUs, those of them too that were stopped by hand.
        #[arg(value_name = "NAME")]
        names: Vec<Name>,
        /// Restart domUs that have to be.
        #[arg(long, conflicts_with = "names")]
        restart: bool,
        /// Replace files that were changed on the host and by the commit.
        #[arg(long, conflicts_with = "names")]
        force: bool,
        /// Take no other commit than the one that runs.
        #[arg(long)]
        no_take: bool,
        /// Print what was done as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Keep the domUs of this host running, until it is ended itself
    ///
    /// It starts what should run in its order, starts again what ended by itself (`restart` of the
    /// domU), later each time, and leaves what falls too often. `status` shows what it does and why.
    /// domus-dom0.service runs it; several at once do no harm.
    Run,
    /// Show what `apply` would do, and do nothing
    ///
    /// Exits with 2 if there is something to do.
    Plan {
        /// Print the plan as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Start domUs that do not run, those stopped by hand too
    Start {
        /// The domUs.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<Name>,
        /// Print what was done as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Shut domUs down and start them again
    ///
    /// Those that started last are shut down first. What has to be restarted for a new commit is
    /// restarted by `apply --restart`.
    Restart {
        /// The domUs.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<Name>,
        /// Print what was done as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Be at the console of a domU; Ctrl-] leaves it
    Console {
        /// The domU.
        #[arg(value_name = "NAME")]
        name: Name,
    },
    /// Show what a domU said on its console, without what would upset a terminal
    ///
    /// The log is kept over crashes and starts, its last part: as much as `console-log` of the domU says.
    Logs {
        /// The domU.
        #[arg(value_name = "NAME")]
        name: Name,
        /// Only the last so many lines.
        #[arg(short = 'n', long, value_name = "N")]
        lines: Option<usize>,
        /// Then show what it says as it says it, without end.
        #[arg(short, long)]
        follow: bool,
    },
    /// Shut domUs down and leave them so until `start` or the next boot
    ///
    /// Those that started last are shut down first.
    Stop {
        /// The domUs.
        #[arg(
            value_name = "NAME",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        names: Vec<Name>,
        /// All domUs of this host.
        #[arg(long)]
        all: bool,
        /// And first the domains that nobody declared: this host goes down.
        #[arg(long, requires = "all")]
        strays: bool,
        /// How long a domU may take to shut down, if not as long as its document says.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Destroy those that have not shut down by then: as if their power were cut.
        #[arg(long)]
        force: bool,
    },
    Depart(moving::Depart),
    Arrive(moving::Arrive),
    /// List the domUs of this host, and the domains that nobody declared, in a line each
    List {
        /// Print them as one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Show how every domU of this host is, by its own word where it runs
    Status {
        /// Print everything as one JSON object.
        #[arg(long)]
        json: bool,
        /// Wait so long until every domU is up, failed or stopped by hand.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Fetch the fleet's branch, prove this host's part, keep it as what is booted next, and apply it
    ///
    /// It is applied as the fleet says (`apply` of domus.toml).
    /// A branch that was rewound, or a commit that does not prove, is refused, and the host goes on
    /// with what it has.
    Pull {
        /// Leave it out after failures, longer each time; for the timer.
        #[arg(long)]
        timer: bool,
        /// Do not apply it, whatever the fleet says.
        #[arg(long)]
        no_apply: bool,
        /// Print what was done as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Prepare and mount the local disks of this host, as `[storage]` of host.toml says
    ///
    /// For the boot. A disk that holds anything is left alone, unless `erase` names all of it. Running
    /// it twice changes nothing. Exits with 1 if not all is as it should be.
    Storage {
        /// Print how they are as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List, destroy, copy and restore the volumes of domUs
    Volume {
        /// What to do with them.
        #[command(subcommand)]
        verb: volume::Verb,
    },
    /// Show whether this host is healthy: what a generation that it runs for the first time has to be
    ///
    /// Its domUs are up, what it reached before it reaches still, and what `[health]` of host.toml
    /// says. Exits with 1 if it is not.
    Health {
        /// Wait until it is, so long as `[health]` says, and keep what runs or go back.
        #[arg(long, conflicts_with = "json")]
        judge: bool,
        /// Print everything as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show the commits that this host took, and which it boots
    Generations {
        /// Print them as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Boot an earlier generation next, hold the one that it goes back from, and apply it
    ///
    /// It is applied as the fleet says in that generation (`apply` of domus.toml).
    Rollback {
        /// Its number or commit; without one, that before the one which is booted next.
        #[arg(value_name = "GENERATION|COMMIT")]
        generation: Option<String>,
        /// Do not apply it, whatever the fleet says.
        #[arg(long)]
        no_apply: bool,
        /// Boot the release in the other slot next, one that was healthy here.
        #[arg(long, conflicts_with_all = ["generation", "no_apply"])]
        release: bool,
    },
    /// Put another release into the slot that does not run, and try it at the next boot
    ///
    /// It has to be of this fleet and, unless this host runs unsigned, named by domus.lock of the
    /// commit that runs. Nothing boots it before all of it was written, read back and proved. If it
    /// does not get healthy the host goes back by itself, and does not take it again.
    Upgrade {
        /// The ISO: a file, or an http(s) address.
        #[arg(value_name = "ISO|URL")]
        from: String,
        /// Reboot then.
        #[arg(long)]
        reboot: bool,
        /// Even if this host left it before.
        #[arg(long)]
        again: bool,
        /// Print what was done as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show which layer gave a file in /etc, who wrote it, and whether it was changed since the boot
    Explain {
        /// The file or directory, as /etc/motd.
        path: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the boot and every change of a domU's state as JSON lines, without end
    ///
    /// For a rehearsal, which reads them from the port that a unit connects this to.
    Events,
    /// Print a completion script
    Completions {
        /// The shell it is for.
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    fn undocumented(command: &clap::Command, found: &mut Vec<String>) {
        if command.get_about().is_none() {
            found.push(command.get_name().to_owned());
        }
        for argument in command
            .get_arguments()
            .filter(|argument| argument.get_help().is_none())
        {
            found.push(format!("{} {}", command.get_name(), argument.get_id()));
        }
        for below in command.get_subcommands() {
            undocumented(below, found);
        }
    }

    #[test]
    fn everything_is_documented() {
        let command = super::Args::command();
        command.clone().debug_assert();
        let mut found = Vec::new();
        undocumented(&command, &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
