// SPDX-License-Identifier: GPL-3.0-or-later
//! The boot of a domU: its root image, the config disk that dom0 named, `/etc`, systemd. A domU
//! never searches.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use domus_model::boot::{BootRecord, ConfigKind, ConfigSource, SLICE};
use domus_model::diagnostic::Diagnostic;
use domus_model::etc;
use domus_model::guest::{GUEST_DOCUMENT, GuestConfig, SECRETS, root_beside};
use domus_model::layers::Layer;
use domus_system::documents;
use domus_system::kmod::Modules;
use domus_system::mount::Mount;
use rustix::system::{RebootCommand, reboot};

use crate::compose::{self, Source};
use crate::init::Boot;
use crate::rescue::PAUSE;
use crate::{console, handover, record};

/// As what Linux runs this program when dom0 asks a domU to shut down that has no systemd yet.
pub(crate) const POWER_OFF: &str = "/sbin/poweroff";

const ROOT: &str = "/sysroot";
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Runs this machine as a domU whose config disk is `/dev/DEVICE`, and tries for ever.
pub(crate) fn run(device: &str, modules: &mut Modules) -> ! {
    loop {
        let Err(error) = boot(device, modules);
        console::show(&format!("{error:#}\nLooking again in 10 s.\n"));
        sleep(PAUSE);
    }
}

/// Ends this domU at once: nothing in it was mounted to be written yet.
pub(crate) fn power_off() -> ExitCode {
    let failed = reboot(RebootCommand::PowerOff);
    console::say(format!("powering off: {failed:?}"));
    ExitCode::FAILURE
}

fn boot(device: &str, modules: &mut Modules) -> Boot {
    let mut record = record::new();
    let result = prepare(device, modules, &mut record);
    let written = record::write(&record);
    result.context("domus: this domU cannot be composed")?;
    written?;
    console::say("starting systemd");
    handover::to_systemd(Path::new(ROOT), None)
}

fn prepare(device: &str, modules: &mut Modules, record: &mut BootRecord) -> Result<()> {
    let root = wait(root_beside(device), modules)?;
    if !Path::new(ROOT).join("usr").exists() {
        Mount::read_only("erofs", &root).at(Path::new(ROOT))?;
    }
    let disk = wait(device, modules)?;
    let slice = Path::new(SLICE);
    let guest = unpack(&disk, slice)?;
    record.name = Some(guest.name.clone());
    record.commit = Some(guest.commit.clone());
    record.image = Some(guest.image.clone());
    let name = disk.display().to_string();
    console::say(format!("config {name}, given by dom0"));
    record.config = Some(ConfigSource {
        device: name,
        kind: ConfigKind::Disk,
        bound_by: "dom0".into(),
        seed: None,
    });
    record::note(record, "config-mounted");

    Mount::ram("755").at(&Path::new(ROOT).join("config"))?;
    let own = documents::read_vserver(slice, guest.name.as_str())?;
    let layers = guest.layers(&documents::read_shared(slice)?, &own);
    let layers = layers.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Diagnostic::line).collect();
        anyhow!("dom0 gave layers with errors:\n  {}", lines.join("\n  "))
    })?;
    let secrets = slice.join(SECRETS);
    let secret = |layer: &Layer, path: &str| {
        let plain = fs::read(secrets.join(&layer.directory).join(path));
        plain.context("dom0 did not give it")
    };
    let source = Source {
        tree: slice,
        local: &format!("vservers/{}", guest.name),
        generated: &etc::for_guest(&guest, slice.join("global/hosts").is_file()),
        layers: &layers,
        secret: &secret,
    };
    compose::machine(Path::new(ROOT), &source, record)?;
    match fs::remove_dir_all(&secrets) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("removing secrets that are in /etc now")
        }
        _ => Ok(()),
    }
}

/// Waits for `/dev/NAME`.
fn wait(name: &str, modules: &mut Modules) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    ensure!(
        !name.is_empty() && name.chars().all(plain),
        "{name:?} is no device name"
    );
    let device = Path::new("/dev").join(name);
    let begin = Instant::now();
    while !device.exists() {
        if begin.elapsed() > PATIENCE {
            bail!("dom0 gave no /dev/{name} within {} s", PATIENCE.as_secs());
        }
        modules.load_for_devices();
        sleep(LOOK);
    }
    Ok(device)
}

/// Copies the config disk, a tar archive, into RAM, so that dom0 can swap it later.
fn unpack(disk: &Path, to: &Path) -> Result<GuestConfig> {
    let doing = || format!("reading the config disk {}", disk.display());
    if to.exists() {
        fs::remove_dir_all(to).with_context(doing)?;
    }
    fs::create_dir_all(to).with_context(doing)?;
    let file = File::open(disk).with_context(doing)?;
    tar::Archive::new(file).unpack(to).with_context(doing)?;
    let document = fs::read(to.join(GUEST_DOCUMENT)).with_context(doing)?;
    serde_json::from_slice(&document).with_context(|| format!("{}: {GUEST_DOCUMENT}", doing()))
}
