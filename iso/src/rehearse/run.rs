// SPDX-License-Identifier: GPL-3.0-or-later
//! Starting the machine, watching it, and the verdict.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domus_build::toolroot::ToolRoot;
use domus_model::reconcile::Standing;
use domus_model::rehearsal::{
    Event, EventKind, Firmware, Rehearsal, SetUp, Word, changes, differs, outcome,
};
use domus_model::status::DomuStatus;
use domus_model::units::Size;
use domus_system::{interrupt, program};

use super::accelerator::{self, Accelerator};
use super::machine::{self, Machine};
use super::serial::{Console, Heard};
use super::{Medium, Script};
use crate::config::Content;

const QEMU: &str = "qemu-system-x86_64";
const LOOK: Duration = Duration::from_millis(50);
/// Lines of the console that a failure shows.
const TAIL: usize = 20;

/// A machine that runs on after its rehearsal.
#[derive(Debug)]
pub struct Kept {
    child: Child,
    /// Socket of its serial console.
    pub console: PathBuf,
    /// Port on loopback of its SSH.
    pub ssh_port: u16,
}

impl Kept {
    /// Waits until the machine is switched off, or Domus is interrupted; then it is ended.
    pub fn wait(mut self) {
        while !interrupt::caught() && matches!(self.child.try_wait(), Ok(None)) {
            sleep(LOOK);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        program::terminate(&mut self.child);
    }
}

/// How watching ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every domU is up.
    Up,
    /// Nothing more will happen; why.
    Failed(String),
    /// Xen's banner did not come in time: the accelerator is no good.
    NoXen,
}

pub(super) fn run(
    script: &Script<'_>,
    tools: &ToolRoot,
    heard: &mut dyn FnMut(&Event),
) -> Result<(Rehearsal, Option<Kept>)> {
    program::require(QEMU)?;
    fs::create_dir_all(script.dir).with_context(|| format!("making {}", script.dir.display()))?;
    let config = match script.medium {
        // It has its own.
        Medium::Stick => None,
        Medium::Cd | Medium::Usb => Some(script.dir.join("config-disk.img")),
    };
    let memory = script.dir.join("kvm-does-not-reach-xen");
    for accelerator in accelerator::candidates(script.accelerator, &memory) {
        if let Some(config) = &config {
            Content::gather(&script.configuration, script.dir)?.disk(tools, config)?;
        }
        let mut session = Session::start(script, accelerator, config.clone())?;
        let outcome = session.watch(script.timeout, heard);
        if outcome == Outcome::NoXen && script.accelerator.is_none() {
            session.end();
            accelerator::remember_bad(&memory)?;
            continue;
        }
        return Ok(session.verdict(script, accelerator, outcome));
    }
    anyhow::bail!("no accelerator of {QEMU} reaches Xen on this machine")
}

/// A machine being watched.
struct Session {
    child: Child,
    begin: Instant,
    serial: Follow,
    events: Follow,
    console: Console,
    words: Vec<u8>,
    timeline: Vec<Event>,
    domus: Vec<DomuStatus>,
    /// Whether dom0's agent has said how its domUs are.
    agent_spoke: bool,
    ssh_port: u16,
    /// Whether KVM runs the machine, which may not reach Xen.
    probing: bool,
    dir: PathBuf,
}

impl Session {
    fn start(
        script: &Script<'_>,
        accelerator: Accelerator,
        config: Option<PathBuf>,
    ) -> Result<Self> {
        let ssh_port = free_port()?;
        let mut disks: Vec<PathBuf> = config.into_iter().collect();
        for (index, size) in script.blank_disks.iter().enumerate() {
            let path = script.dir.join(format!("blank-disk-{index}.img"));
            let file = File::create(&path).and_then(|file| file.set_len(size.bytes()));
            file.with_context(|| format!("making {}", path.display()))?;
            disks.push(path);
        }
        let machine = Machine {
            host: script.configuration.host,
            firmware: script.firmware,
            medium: script.medium,
            accelerator,
            iso: script.iso.to_owned(),
            disks,
            dir: script.dir.to_owned(),
            ssh_port,
            memory_mib: memory_mib(script),
        };
        for stale in [machine::serial_log, machine::events, machine::console] {
            let _ = fs::remove_file(stale(script.dir));
        }
        if script.firmware == Firmware::Uefi {
            fs::copy(machine::OVMF_VARS, machine::variables(script.dir)).with_context(|| {
                format!("copying {}: `apt-get install ovmf`", machine::OVMF_VARS)
            })?;
        }
        let log = script.dir.join("qemu.log");
        let child = Command::new(QEMU)
            .args(machine.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).with_context(|| format!("writing {}", log.display()))?)
            .spawn()
            .with_context(|| format!("starting {QEMU}"))?;
        let domus = script.configuration.host.domus.values();
        Ok(Self {
            child,
            begin: Instant::now(),
            serial: Follow::new(machine::serial_log(script.dir)),
            events: Follow::new(machine::events(script.dir)),
            console: Console::default(),
            words: Vec::new(),
            timeline: Vec::new(),
            domus: domus
                .map(|domu| DomuStatus::new(domu, Standing::stopped(), None, None))
                .collect(),
            agent_spoke: false,
            ssh_port,
            probing: accelerator == Accelerator::Kvm,
            dir: script.dir.to_owned(),
        })
    }

    fn watch(&mut self, timeout: u64, heard: &mut dyn FnMut(&Event)) -> Outcome {
        let how = if self.probing { "by KVM" } else { "emulated" };
        self.add(EventKind::PowerOn, Some(how.into()), heard);
        loop {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            let bytes = self.serial.more();
            for what in self.console.feed(&bytes) {
                match what {
                    Heard::Event(kind, detail) => self.add(kind, detail, heard),
                    Heard::Rescue => return self.failed("the boot stopped in a shell"),
                    Heard::Panic => {
                        // The lines that say why follow the banner.
                        sleep(Duration::from_secs(1));
                        let bytes = self.serial.more();
                        self.console.feed(&bytes);
                        return self.failed("the machine panicked");
                    }
                }
            }
            if let Some(outcome) = self.hear_agent(heard) {
                return outcome;
            }
            if interrupt::caught() {
                return Outcome::Failed("interrupted".into());
            }
            if ended && self.probing && self.timeline.len() < 2 {
                return Outcome::NoXen;
            }
            if ended {
                return self.failed("the machine switched itself off");
            }
            let elapsed = self.begin.elapsed().as_secs();
            if self.probing && elapsed > accelerator::PROBE_SECONDS && self.timeline.len() < 2 {
                return Outcome::NoXen;
            }
            if elapsed > timeout {
                return self.failed(&format!("not all domUs were up after {timeout} s"));
            }
            sleep(LOOK);
        }
    }

    /// Takes what the agent wrote to the event port since the last look.
    fn hear_agent(&mut self, heard: &mut dyn FnMut(&Event)) -> Option<Outcome> {
        self.words.extend(self.events.more());
        while let Some(end) = self.words.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.words.drain(..=end).collect();
            let Ok(Word::Status { domus }) = serde_json::from_slice(&line) else {
                continue;
            };
            for event in changes(&self.domus, &domus, self.seconds()) {
                heard(&event);
                self.timeline.push(event);
            }
            self.domus = domus;
            self.agent_spoke = true;
        }
        if !self.agent_spoke {
            return None;
        }
        outcome(&self.domus).map(|outcome| match outcome {
            Ok(()) => Outcome::Up,
            Err(why) => Outcome::Failed(why),
        })
    }

    fn add(&mut self, event: EventKind, detail: Option<String>, heard: &mut dyn FnMut(&Event)) {
        let event = Event {
            event,
            seconds: self.seconds(),
            domu: None,
            detail,
        };
        heard(&event);
        self.timeline.push(event);
    }

    fn seconds(&self) -> f64 {
        (self.begin.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }

    /// A failure with what the console said last.
    fn failed(&self, why: &str) -> Outcome {
        let shown = self
            .console
            .refusal()
            .unwrap_or_else(|| self.console.tail(TAIL));
        Outcome::Failed(format!("{why}:\n{shown}"))
    }

    fn end(&mut self) {
        program::terminate(&mut self.child);
    }

    fn verdict(
        mut self,
        script: &Script<'_>,
        accelerator: Accelerator,
        outcome: Outcome,
    ) -> (Rehearsal, Option<Kept>) {
        let config = self
            .timeline
            .iter()
            .find(|event| event.event == EventKind::ConfigMounted);
        let config = config.and_then(|event| event.detail.clone());
        let reason = match outcome {
            Outcome::Up => None,
            Outcome::Failed(reason) => Some(reason),
            Outcome::NoXen => Some("Xen did not start".into()),
        };
        let rehearsal = Rehearsal {
            host: script.configuration.host.name.clone(),
            release: script.configuration.host.release.clone(),
            commit: script.configuration.commit.to_owned(),
            firmware: script.firmware,
            accelerator: accelerator.name().into(),
            config_partition: config.map(|text| text.split(',').next().unwrap_or("").to_owned()),
            ok: reason.is_none(),
            reason,
            differs: differs(script.configuration.host, &set_up(script)),
            timeline: std::mem::take(&mut self.timeline),
            domus: std::mem::take(&mut self.domus),
            serial_log: machine::serial_log(&self.dir).display().to_string(),
            console: None,
            ssh_port: None,
        };
        let console = machine::console(&self.dir);
        (
            rehearsal,
            Some(Kept {
                child: self.child,
                console,
                ssh_port: self.ssh_port,
            }),
        )
    }
}

/// How the machine of a script is made up.
fn set_up<'s>(script: &Script<'s>) -> SetUp<'s> {
    SetUp {
        memory: Size::from_mib(memory_mib(script)),
        has_key: script.configuration.host_key.is_some(),
        is_medium: script.medium == Medium::Stick,
        blank_disks: script.blank_disks,
    }
}

/// Its memory in MiB.
fn memory_mib(script: &Script<'_>) -> u64 {
    let (release, host) = (
        &script.configuration.fleet.release,
        script.configuration.host,
    );
    let needed = || machine::memory_mib(release, host);
    script.memory_mib.unwrap_or_else(needed)
}

/// A file that grows.
struct Follow {
    path: PathBuf,
    file: Option<File>,
}

impl Follow {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// What was written since the last call.
    fn more(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let _ = file.read_to_end(&mut bytes);
        }
        bytes
    }
}

/// A port on loopback that nobody listens on.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("finding a free port")?;
    Ok(listener.local_addr()?.port())
}
