// SPDX-License-Identifier: GPL-3.0-or-later
//! The boot of a host: medium, config partition, `/etc`, systemd.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use domus_model::boot::{self, BootRecord, ConfigSource, HOST_KEY, ReleaseIdentity, SLICE};
use domus_model::etc;
use domus_model::layers::Layer;
use domus_model::names::Name;
use domus_system::documents::{self, HostSlice};
use domus_system::kmod::Modules;
use domus_system::machine;
use domus_system::mount::{Attributes, Mount};
use domus_system::secret::{self, Key};

use crate::compose::{self, Source};
use crate::discover::{self, Candidate};
use crate::init::Boot;
use crate::rescue::Request;
use crate::{console, handover, record};

const RELEASE: &str = "/domus/release.json";
const MEDIUM: &str = "/run/domus/medium";
const ROOT: &str = "/sysroot";

/// Boots this machine as a host of the release `id`.
pub(crate) fn boot(id: &str, request: &Request, modules: &mut Modules) -> Boot {
    let mut record = record::new();
    let result = prepare(id, request, modules, &mut record);
    // The record is kept whatever happened: it is what a rescue begins with.
    let written = record::write(&record);
    result?;
    written?;
    console::say("starting systemd");
    handover::to_systemd(Path::new(ROOT))
}

fn prepare(
    id: &str,
    request: &Request,
    modules: &mut Modules,
    record: &mut BootRecord,
) -> Result<()> {
    let text = fs::read(RELEASE).with_context(|| format!("reading {RELEASE}"))?;
    let release: ReleaseIdentity =
        serde_json::from_slice(&text).with_context(|| format!("reading {RELEASE}"))?;
    record.release = Some(release.clone());
    record.release_id = Some(id.into());
    record.machine = Some(machine::identity());
    let signed = if release.unsigned {
        "   UNSIGNED: runs commits that nobody signed"
    } else {
        ""
    };
    let short = id.get(..12).unwrap_or(id);
    console::say(format!(
        "release {} ({short}) of fleet {}{signed}",
        release.version, release.fleet
    ));

    let medium = discover::medium(id, modules)?;
    record.medium = Some(medium.display().to_string());
    mount_root(&medium)?;
    record::note(record, "medium");

    let candidate = match request {
        Request::Use(device) => discover::by_hand(device)
            .map_err(|reason| anyhow!("domus: {}: {reason}", device.display()))?,
        Request::Retry => {
            let search = discover::partitions(&release.fleet, &medium, Path::new(ROOT), modules)?;
            record.looked_at = search.verdicts;
            record.machine = Some(search.machine.clone());
            match <[Candidate; 1]>::try_from(search.fits) {
                Ok([candidate]) => candidate,
                Err(_) => bail!(boot::refusal(&search.machine, &record.looked_at)),
            }
        }
    };
    take(&candidate, record)?;
    compose_etc(&release.fleet, &candidate, record)
}

/// Mounts the release's root read-only. Done once; a retry finds it there.
fn mount_root(medium: &Path) -> Result<()> {
    if Path::new(ROOT).join("usr").exists() {
        return Ok(());
    }
    Mount::read_only("iso9660", medium).at(Path::new(MEDIUM))?;
    // File-backed EROFS (Linux 6.12): no loop device between the file and its pages.
    Mount::read_only("erofs", &Path::new(MEDIUM).join("DOMUS/ROOT.IMG")).at(Path::new(ROOT))
}

/// Mounts the config partition for good, which replays its journal, and exports the commit.
fn take(candidate: &Candidate, record: &mut BootRecord) -> Result<()> {
    let config = Path::new(ROOT).join("config");
    let mut mount = Mount::new("ext4", &candidate.device, Attributes::Data);
    mount.options.push(("errors", "remount-ro".into()));
    mount.at(&config)?;
    discover::export(&config, candidate)?;
    let (device, bound_by) = (candidate.device.display().to_string(), &candidate.bound_by);
    console::say(format!("config {device}, bound by {bound_by}"));
    record.name = Some(candidate.host.clone());
    record.commit = Some(candidate.commit.clone());
    record.config = Some(ConfigSource {
        device,
        bound_by: bound_by.clone(),
    });
    record::note(record, "config-mounted");
    Ok(())
}

fn compose_etc(fleet: &Name, candidate: &Candidate, record: &mut BootRecord) -> Result<()> {
    let slice = Path::new(SLICE);
    let HostSlice {
        fleet: loaded,
        host,
        ..
    } = documents::read_slice(slice, &candidate.commit, &candidate.host)?;
    if loaded.name != *fleet {
        let other = &loaded.name;
        bail!("domus: the commit is of the fleet {other}, this release of {fleet}");
    }
    let source = Source {
        tree: slice,
        local: &format!("pservers/{}", host.name),
        generated: &etc::for_host(&loaded, &host, slice.join("global/hosts").is_file()),
        layers: &host.layers,
        secret: &|layer, path| open(slice, layer, path),
    };
    compose::machine(Path::new(ROOT), &source, record)
}

/// Decrypts the file that a layer gives at a path, with the host's own key. A host makes it when
/// it boots for the first time, so that there is none yet.
fn open(slice: &Path, layer: &Layer, path: &str) -> Result<Vec<u8>> {
    let key = Path::new(ROOT).join(HOST_KEY.trim_start_matches('/'));
    let key = Key::read(&key, None)?;
    let file = slice.join(&layer.files[path].source);
    let encrypted = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    secret::open(&encrypted, &[key])
}
