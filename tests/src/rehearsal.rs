// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus rehearse --json --keep`: the verdict, and a machine that runs on.

use crate::fleet::Fleet;
use crate::ssh::Ssh;
use crate::traces;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long `domus` may take to end its machine and itself.
const END: Duration = Duration::from_secs(30);

/// A rehearsal whose machine still runs.
#[derive(Debug)]
pub struct Rehearsal {
    domus: Child,
    dir: PathBuf,
    /// What `--json` printed.
    pub report: Value,
}

impl Rehearsal {
    /// Rehearses the host alpha of `fleet` under emulation, with `arguments` more, and waits for
    /// the verdict, `limit` at most. Logs go to `dir`.
    ///
    /// # Panics
    /// There is no verdict.
    pub fn start(fleet: &Fleet, dir: &Path, arguments: &[&str], limit: Duration) -> Self {
        let [out, err] = ["rehearsal.json", "rehearsal.log"].map(|name| dir.join(name));
        let mut command = Command::new(crate::shipped());
        command
            .args(["rehearse", "alpha", "--json", "--keep"])
            .args(["--accelerator", "tcg", "--output"])
            .arg(dir)
            .args(["--timeout", &limit.as_secs().to_string()])
            .args(arguments)
            .current_dir(&fleet.dir)
            .env("DOMUS_CACHE", crate::fleet::cache())
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"));
        let mut rehearsal = Self {
            domus: command.spawn().expect("domus starts"),
            dir: dir.to_owned(),
            report: Value::Null,
        };
        let begin = Instant::now();
        loop {
            // One that is half written is no JSON yet.
            let text = fs::read_to_string(&out).unwrap_or_default();
            if let Ok(report) = serde_json::from_str(&text) {
                rehearsal.report = report;
                return rehearsal;
            }
            let ended = rehearsal.domus.try_wait().expect("domus can be waited for");
            let said = || fs::read_to_string(&err).unwrap_or_default();
            assert!(ended.is_none(), "domus ended without a verdict: {}", said());
            assert!(
                begin.elapsed() < limit + Duration::from_secs(60),
                "no verdict: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A connection to the host.
    ///
    /// # Panics
    /// The report names no port, or the host does not let us in.
    pub fn ssh(&self, fleet: &Fleet) -> Ssh {
        let port = self.report["ssh_port"].as_u64();
        let port = port.and_then(|port| u16::try_from(port).ok());
        Ssh::open(port.expect("an SSH port"), &fleet.ssh_key(), &self.dir)
    }

    /// The serial log up to now.
    ///
    /// # Panics
    /// There is none.
    pub fn serial_log(&self) -> String {
        let bytes = fs::read(self.serial_log_path()).expect("a serial log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where the serial log is.
    ///
    /// # Panics
    /// The report does not say.
    pub fn serial_log_path(&self) -> PathBuf {
        self.report["serial_log"].as_str().expect("a path").into()
    }

    /// When `event` happened, to `domu` if one is named, in seconds since power-on.
    ///
    /// # Panics
    /// It never did.
    #[track_caller]
    pub fn seconds(&self, event: &str, domu: Option<&str>) -> f64 {
        let timeline = self.report["timeline"].as_array().expect("a timeline");
        let domu = domu.map_or(Value::Null, Value::from);
        let found = timeline
            .iter()
            .find(|entry| entry["event"] == event && entry["domu"] == domu);
        let found = found.unwrap_or_else(|| panic!("no {event} of {domu} in {timeline:#?}"));
        found["seconds"].as_f64().expect("seconds")
    }

    /// The domU `name` of the report.
    #[track_caller]
    pub fn domu(&self, name: &str) -> &Value {
        domu(&self.report, name)
    }

    /// Asks `domus` to end, as `kill` does, and returns its exit code; the machine must be gone.
    ///
    /// # Panics
    /// It does not end, or its machine stays.
    pub fn end(mut self) -> Option<i32> {
        let code = self.terminate();
        let left = self.machines();
        assert!(left.is_empty(), "QEMU still runs: {left:?}");
        code.expect("domus ends when it is asked to")
    }

    /// Waits until the machine has switched itself off, `limit` at most, and `domus` has ended
    /// for that reason; its exit code.
    ///
    /// # Panics
    /// It goes on.
    pub fn switched_off(mut self, limit: Duration) -> Option<i32> {
        let code = self.ended(limit);
        code.expect("the machine switches itself off")
    }

    /// Its exit code, if it ends.
    fn terminate(&mut self) -> Option<Option<i32>> {
        signal(self.domus.id(), Signal::TERM);
        self.ended(END)
    }

    fn ended(&mut self, limit: Duration) -> Option<Option<i32>> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if let Ok(Some(status)) = self.domus.try_wait() {
                return Some(status.code());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    fn machines(&self) -> Vec<String> {
        let mut found = traces::processes(&self.dir);
        found.retain(|line| line.contains("qemu-system"));
        found
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        if matches!(self.domus.try_wait(), Ok(Some(_))) || self.terminate().is_some() {
            return;
        }
        // The test has failed already; the next one needs the processors.
        let _ = self.domus.kill();
        let _ = self.domus.wait();
        for line in self.machines() {
            let number = line.split(':').next().and_then(|text| text.parse().ok());
            number.into_iter().for_each(|id| signal(id, Signal::KILL));
        }
    }
}

/// The domU `name` of a report or status.
///
/// # Panics
/// There is none.
#[track_caller]
pub fn domu<'a>(report: &'a Value, name: &str) -> &'a Value {
    let domus = report["domus"].as_array().expect("a list of domUs");
    let found = domus.iter().find(|domu| domu["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {domus:#?}"))
}

fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
