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
use domus_model::rendered::RenderedFile;
use domus_system::documents;
use domus_system::kmod::Modules;
use domus_system::mount::Mount;
use rustix::fs::{Advice, fadvise};
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
        Mount::read_only("squashfs", &root).at(Path::new(ROOT))?;
    }
    let disk = wait(device, modules)?;
    let given = Given::read(&disk, Path::new(SLICE))?;
    record.name = Some(given.guest.name.clone());
    record.commit = Some(given.guest.commit.clone());
    record.image = Some(given.guest.image.clone());
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
    let source = Source {
        tree: &given.slice,
        local: &given.own_tree(),
        generated: &given.generated,
        layers: &given.layers,
        secret: &|layer, path| given.secret(layer, path),
    };
    compose::machine(Path::new(ROOT), &source, record)?;
    given.remove_secrets()
}

/// What a config disk brings, in RAM.
pub(crate) struct Given {
    /// Its document.
    pub(crate) guest: GuestConfig,
    /// Where its files are, laid out as in the repository.
    pub(crate) slice: PathBuf,
    /// What follows from its documents.
    pub(crate) generated: Vec<RenderedFile>,
    /// The layers above that, the lowest first.
    pub(crate) layers: Vec<Layer>,
}

impl Given {
    /// Copies the config disk, a tar archive, into RAM, so that dom0 can swap it later.
    pub(crate) fn read(disk: &Path, to: &Path) -> Result<Self> {
        let guest = unpack(disk, to)?;
        let own = documents::read_vserver(to, guest.name.as_str())?;
        let layers = guest.layers(&documents::read_shared(to)?, &own);
        let layers = layers.map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(Diagnostic::line).collect();
            anyhow!("dom0 gave layers with errors:\n  {}", lines.join("\n  "))
        })?;
        Ok(Self {
            generated: etc::for_guest(&guest, to.join("global/hosts").is_file()),
            slice: to.to_owned(),
            guest,
            layers,
        })
    }

    /// The directory in it that is this domU's own.
    pub(crate) fn own_tree(&self) -> String {
        format!("vservers/{}", self.guest.name)
    }

    /// What dom0 decrypted.
    pub(crate) fn secret(&self, layer: &Layer, path: &str) -> Result<Vec<u8>> {
        let plain = self.slice.join(SECRETS).join(&layer.directory).join(path);
        fs::read(plain).context("dom0 did not give it")
    }

    /// Removes what dom0 decrypted: `/etc` has it.
    pub(crate) fn remove_secrets(&self) -> Result<()> {
        match fs::remove_dir_all(self.slice.join(SECRETS)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context("removing secrets that are in /etc now")
            }
            _ => Ok(()),
        }
    }
}

/// What its config disk brought: of the boot, or of the last refresh.
pub(crate) fn document() -> Result<GuestConfig> {
    read_document(Path::new(SLICE))
}

fn read_document(slice: &Path) -> Result<GuestConfig> {
    let path = slice.join(GUEST_DOCUMENT);
    let doing = || format!("reading {}", path.display());
    let document = fs::read(&path).with_context(doing)?;
    serde_json::from_slice(&document).with_context(doing)
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

fn unpack(disk: &Path, to: &Path) -> Result<GuestConfig> {
    let doing = || format!("reading the config disk {}", disk.display());
    if to.exists() {
        fs::remove_dir_all(to).with_context(doing)?;
    }
    fs::create_dir_all(to).with_context(doing)?;
    let file = File::open(disk).with_context(doing)?;
    // What was read of it before may be what it had before.
    fadvise(&file, 0, None, Advice::DontNeed).with_context(doing)?;
    tar::Archive::new(file).unpack(to).with_context(doing)?;
    read_document(to)
}
