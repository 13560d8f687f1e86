// SPDX-License-Identifier: GPL-3.0-or-later
//! From host to host: the old one's word that it never starts the domU again, its volumes, and then the
//! new one's start.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use domus_model::fleet::DomU;
use domus_model::moving::{Arrival, Departed};
use domus_model::names::Name;
use serde::Serialize;
use serde_json::Value;

use super::Args;
use super::reach::{Asked, pour};
use crate::refused::Refused;

/// What was done.
#[derive(Debug, Serialize)]
struct Brought<'a> {
    #[serde(rename = "domU")]
    domu: &'a Name,
    from: &'a Name,
    to: &'a Name,
    /// The disks whose volumes were copied, or would be.
    volumes: Vec<Name>,
    /// Whether it had come before.
    was_there: bool,
    written: bool,
}

/// Brings `domu` from `from` to `to`. Whatever was done before is not done again: above all, what it
/// wrote since it came is not replaced by what it had before.
pub(super) fn run(args: &Args, from: &Name, to: &Name, domu: &DomU) -> Result<ExitCode> {
    let name = &domu.name;
    let (old, new) = (Asked::of(from, &args.ssh), Asked::of(to, &args.ssh));
    // The new host first: if it is not ready, the domU runs on where it is.
    let ask = [
        "arrive",
        name.as_str(),
        "--from",
        from.as_str(),
        "--ask",
        "--json",
    ];
    let arrival: Arrival = new.json(&ask).with_context(|| {
        format!("{to} does not expect {name}: has it taken the commit? `domus-dom0 pull` there")
    })?;
    ensure!(
        (&arrival.domu, &arrival.host, &arrival.from) == (name, to, from),
        "what answers for {to} is {}: --ssh {to}=DESTINATION reaches the right one",
        arrival.host
    );
    let mut brought = Brought {
        domu: name,
        from,
        to,
        volumes: Vec::new(),
        was_there: arrival.arrived,
        written: !args.dry_run,
    };
    let own = domu.disks.iter();
    let own = own.filter(|disk| disk.kept().is_some());
    let own: Vec<&Name> = own.map(|disk| &disk.name).collect();
    if arrival.arrived {
        return said(args, &brought);
    }
    if args.dry_run {
        brought.volumes = own.into_iter().cloned().collect();
        return said(args, &brought);
    }
    say(args, &format!("{from} shuts {name} down for good"));
    brought.volumes = depart(args, old, (from, to), name)?;
    let is_scratch = |name: &Name| {
        domu.disks
            .iter()
            .any(|it| it.name == *name && it.kept().is_none())
    };
    brought.volumes.retain(|name| !is_scratch(name));
    let missing = own.iter().filter(|disk| !brought.volumes.contains(disk));
    let missing: Vec<&str> = missing.map(|disk| disk.as_str()).collect();
    if !missing.is_empty() && !args.empty {
        bail!(Refused(format!(
            "{from} has no volume of {name} for {}, and {name} runs nowhere: `domus move --empty {name}` \
             starts it with an empty one; `domus-dom0 arrive {name} --from {to}` on {from} keeps it \
             there",
            missing.join(", ")
        )));
    }
    brought.volumes.retain(|disk| own.contains(&disk));
    for disk in &brought.volumes {
        say(args, &format!("{name}/{disk} goes from {from} to {to}"));
        let of = format!("{name}/{disk}");
        pour(
            (old, &["volume", "backup", &of]),
            (new, &["volume", "restore", &of]),
        )
        .with_context(|| {
            format!(
                "{of} was not copied, and {name} runs nowhere; `domus move {name}` takes it up again"
            )
        })?;
    }
    say(args, &format!("{to} starts {name}"));
    arrive(args, new, (from, to), name)?;
    said(args, &brought)
}

/// The old host's word. Returns which volumes it has.
fn depart(
    args: &Args,
    old: Asked<'_>,
    (from, to): (&Name, &Name),
    name: &Name,
) -> Result<Vec<Name>> {
    let timeout = args.timeout.map(|seconds| seconds.to_string());
    let mut words = vec!["depart", name.as_str(), "--to", to.as_str(), "--json"];
    if let Some(timeout) = &timeout {
        words.extend(["--timeout", timeout]);
    }
    if args.force {
        words.push("--force");
    }
    let departed: Departed = old.json(&words).with_context(|| {
        format!("{from} did not say that it never starts {name} again, so {to} does not start it")
    })?;
    let Departed {
        domu,
        host,
        to: goal,
        volumes,
    } = departed;
    if (&domu, &host, &goal) != (name, from, to) {
        bail!("what answers for {from} is {host}: --ssh {from}=DESTINATION reaches the right one");
    }
    Ok(volumes)
}

/// The new host starts it.
fn arrive(args: &Args, new: Asked<'_>, (from, to): (&Name, &Name), name: &Name) -> Result<()> {
    let mut words = vec!["arrive", name.as_str(), "--from", from.as_str(), "--json"];
    if args.empty {
        words.push("--empty");
    }
    let doing = || {
        format!("{name} came to {to} and did not start there; `domus-dom0 status` on {to} says why")
    };
    new.json::<Value>(&words).map(drop).with_context(doing)
}

fn say(args: &Args, what: &str) {
    if !args.json {
        eprintln!("{what}");
    }
}

fn said(args: &Args, brought: &Brought<'_>) -> Result<ExitCode> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(brought)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Brought { domu, from, to, .. } = brought;
    let volumes: Vec<&str> = brought.volumes.iter().map(Name::as_str).collect();
    let volumes = match volumes.as_slice() {
        [] => "no volumes".to_owned(),
        some => some.join(", "),
    };
    match (brought.was_there, brought.written) {
        (true, _) => println!("{domu}   is on {to}: it came from {from} before"),
        (false, false) => println!("{domu}   would go from {from} to {to}, with {volumes}"),
        (false, true) => {
            println!("{domu}   went from {from} to {to}, with {volumes}");
            if !brought.volumes.is_empty() {
                println!(
                    "{from} still has its volumes as they were: `domus-dom0 volume list` and `volume \
                     destroy` there"
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
