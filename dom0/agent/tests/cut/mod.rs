// SPDX-License-Identifier: GPL-3.0-or-later
//! The agent under strace, which sees each call that it makes and kills it at one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::fleet::{Fleet, text};

/// A call: its name, and how many of that name there were up to it.
pub(crate) type Point = (String, usize);

/// A call, and the line of a log that shows it.
pub(crate) type Call = (Point, String);

/// Runs a command of the agent on the fleet's host, with strace around it.
pub(crate) fn traced(fleet: &Fleet, command: &str, arguments: &[&str]) -> ExitStatus {
    let agent = fleet.host.command(&[command]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y"]).args(arguments);
    strace.arg(agent.get_program()).args(agent.get_args());
    for (key, value) in agent.get_envs() {
        strace.env(key, value.unwrap_or_default());
    }
    strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    strace.status().expect("strace runs")
}

/// Runs a command of the agent that is killed when it comes to this call, and what it then was, if
/// it came there.
pub(crate) fn kill(fleet: &Fleet, command: &str, point: &Point) -> Option<Call> {
    let (call, number) = point;
    let log = fleet.host.at("killed.log");
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let trace = format!("trace={call}");
    let status = traced(
        fleet,
        command,
        &["-e", &trace, "-e", &inject, "-o", &text(&log)],
    );
    let is_killed = status.signal() == Some(9);
    let mut calls = calls(&log).into_iter();
    is_killed
        .then(|| calls.find(|(found, _)| found == point))
        .flatten()
}

/// The calls in a log of strace, and the line of each.
pub(crate) fn calls(log: &Path) -> Vec<Call> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in fs::read_to_string(log).expect("a log").lines() {
        // `PID  CALL(ARGUMENTS) = RESULT`
        let call = line
            .split_whitespace()
            .nth(1)
            .and_then(|call| call.split('(').next());
        let Some(call) = call.filter(|_| line.contains('(')) else {
            continue;
        };
        let number = counted.entry(call.to_owned()).or_default();
        *number += 1;
        calls.push(((call.to_owned(), *number), line.to_owned()));
    }
    calls
}
