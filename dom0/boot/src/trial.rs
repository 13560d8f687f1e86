// SPDX-License-Identifier: GPL-3.0-or-later
//! The trial of a generation, as far as the boot goes: it is counted before it begins, and a guard
//! stands beside systemd, whatever the new `/etc` makes of that.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domus_model::boot::{BootRecord, Left};
use domus_model::trial::{GRACE, JUDGED, MOST_BOOTS, Standing, TRIAL, Trial, standing};
use domus_model::units::Interval;
use domus_repo::Repo;
use domus_system::atomic;
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::{RebootCommand, reboot};

use crate::{console, slots};

/// How often the guard looks whether somebody has judged.
const LOOK: Duration = Duration::from_secs(1);
/// How long systemd may take to shut down.
const SHUTDOWN: Duration = Duration::from_secs(90);

/// What shall run, and how it stands.
pub(crate) struct Begun {
    running: Option<String>,
    standing: Standing,
}

/// Looks how what shall run stands. A trial is counted before it begins; one that cannot be
/// counted is none, for it would have no end. `root` is where `/config` is.
pub(crate) fn begin(root: &Path, repo: &Repo, record: &mut BootRecord) -> Begun {
    let place = root.join(TRIAL.trim_start_matches('/'));
    let mut note = |error: anyhow::Error| record.problems.push(format!("{error:#}"));
    let running = repo.running().ok();
    let good = repo.good().map_err(&mut note).ok().flatten();
    let noted = read(&place).map_err(&mut note).ok().flatten();
    let mut standing = match &running {
        Some(running) => standing(running, good.as_deref(), noted),
        None => Standing::Proven,
    };
    if let Standing::OnTrial(trial) = &standing
        && let Err(error) = write(&place, trial)
    {
        standing = Standing::Failed(format!("it cannot be tried: {error:#}"));
    }
    Begun { running, standing }
}

impl Begun {
    /// The statement to boot only if there is nothing else.
    pub(crate) fn worst(&self) -> Option<&str> {
        match self.standing {
            Standing::Failed(_) => self.running.as_deref(),
            _ => None,
        }
    }

    /// Says what follows, given what was chosen; what failed is left for good.
    pub(crate) fn settle(self, repo: &Repo, chosen: &str, record: &mut BootRecord) {
        let is_it = self.running.as_deref() == Some(chosen);
        match (self.standing, self.running) {
            (Standing::OnTrial(trial), _) if is_it => {
                let boots = trial.boots;
                console::say(format!("on trial: boot {boots} of {MOST_BOOTS} at most"));
                record.trial = Some(trial);
            }
            (Standing::Failed(why), Some(statement)) if !is_it => {
                console::say(format!("WENT BACK from {statement}: {why}"));
                let left = repo.clear_leftovers();
                if let Err(error) = left.and_then(|()| repo.leave(&statement, chosen)) {
                    record.problems.push(format!("{error:#}"));
                }
                record.left = Some(Left { statement, why });
            }
            (Standing::Failed(why), _) => {
                let problem = format!("nothing else can be booted, so this is again: {why}");
                console::say(&problem);
                record.problems.push(problem);
            }
            _ => {}
        }
    }
}

/// Notes why what is on trial is left.
pub(crate) fn fail(root: &Path, trial: &Trial, why: &str) -> Result<()> {
    let place = root.join(TRIAL.trim_start_matches('/'));
    let failure = Some(why.to_owned());
    let trial = Trial {
        failure,
        ..trial.clone()
    };
    write(&place, &trial)
}

fn read(place: &Path) -> Result<Option<Trial>> {
    let doing = || format!("reading {}", place.display());
    match fs::read(place) {
        Ok(text) => serde_json::from_slice(&text).with_context(doing).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(doing),
    }
}

fn write(place: &Path, trial: &Trial) -> Result<()> {
    atomic::write(place, &serde_json::to_vec(trial)?, 0o644)
}

/// Who stands beside systemd while something is on trial.
pub(crate) struct Guard {
    /// How long it has.
    pub(crate) deadline: Interval,
    /// Medium and id of the release, if that is on trial.
    pub(crate) release: Option<(String, String)>,
}

impl Guard {
    /// Starts this program once more, as a guard that outlives the initramfs.
    pub(crate) fn start(self) -> Result<()> {
        let seconds = (self.deadline.duration() + GRACE).as_secs();
        let release = self
            .release
            .into_iter()
            .flat_map(|(medium, id)| [medium, id]);
        Command::new("/proc/self/exe")
            .arg0("domus-guard")
            .args(["guard", &seconds.to_string()])
            .args(release)
            .stdin(Stdio::null())
            .spawn()
            .map(drop)
            .context("starting the guard of the trial")
    }
}

/// Waits until somebody has judged what is on trial. Who should have may never have been started:
/// then it has failed, and the machine starts again. Where a release is on trial it is that: a
/// commit is tried again without it.
pub(crate) fn guard(limit: Duration, release: Option<(&str, &str)>) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if Path::new(JUDGED).exists() {
            return Ok(());
        }
        sleep(LOOK);
    }
    let seconds = limit.as_secs();
    let why = format!("nobody found it healthy within {seconds} s of its boot");
    console::open_others();
    console::say(format!("{why}: this machine starts again"));
    let root = Path::new("/");
    let noted = match release {
        Some((medium, id)) => slots::leave(root, medium, id, &why),
        None => read(Path::new(TRIAL)).and_then(|trial| match trial {
            Some(trial) => fail(root, &trial, &why),
            None => Ok(()),
        }),
    };
    if let Err(error) = noted {
        // The boots are counted all the same.
        console::say(format!("{error:#}"));
    }
    // Ctrl-Alt-Del, as systemd understands it in whatever state it is.
    let _ = kill_process(Pid::INIT, Signal::INT);
    sleep(SHUTDOWN);
    rustix::fs::sync();
    reboot(RebootCommand::Restart).context("starting this machine again")
}
