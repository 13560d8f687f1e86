// SPDX-License-Identifier: GPL-3.0-or-later
//! Putting the ISO together. Each step is kept by the digest of its inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use domus_build::cache::{Cache, Key};
use domus_build::files::{self, Added};
use domus_build::initramfs::{self, Initramfs};
use domus_build::programs::{Programs, Shipped};
use domus_build::progress::{Progress, step};
use domus_build::roottar::RootTar;
use domus_build::toolroot::ToolRoot;
use domus_build::{EPOCH, pack, verity};
use domus_model::boot::ReleaseIdentity;
use domus_model::contents::EtcList;
use domus_model::fleet::Fleet;
use domus_model::lock::Sha256;
use domus_model::manifest::{FileEntry, MANIFEST, MENU, Payload, ReleaseManifest, publisher};
use domus_model::verity::Verity;
use domus_system::atomic::Pending;
use domus_system::digest;
use domus_system::iso::{self, seal};

use crate::grub::{For, Places};
use crate::signing::Signing;
use crate::{contents, esp, grub, inside, unified, xorriso};

const ISO: &str = "domus.iso";
const BIOS_IMAGE: &str = "BOOT/BIOS.IMG";
const KERNEL: &str = "VMLINUZ";
const INITRAMFS: &str = "INITRD.IMG";
/// Of the step `dom0-root`: the image with its hash tree, and what proves it.
const ROOT: &str = "root.img";
const PROOF: &str = "root.json";
const CPU_MAP: &str = "usr/share/libvirt/cpu_map/index.xml";

/// A built ISO, kept among the steps of builds.
#[derive(Debug, Clone)]
pub struct Built {
    kept: PathBuf,
    /// Its manifest.
    pub manifest: ReleaseManifest,
    /// The release's id, by which it is locked.
    pub digest: Sha256,
    /// What dom0 has in `/etc`.
    pub etc: EtcList,
}

/// Builds the ISO of the release of `fleet`, which says this of itself. With `signing`, UEFI starts
/// a signed image of all that is booted; without, GRUB.
///
/// # Errors
/// A step fails.
pub fn build(
    fleet: &Fleet,
    mirror: Option<&str>,
    release: &ReleaseIdentity,
    signing: Option<&Signing>,
    progress: &dyn Progress,
) -> Result<Built> {
    let (cache, programs) = (Cache::open()?, Programs::find()?);
    let mirror_used = mirror.or(fleet.debian.mirror.as_deref());
    let tools = ToolRoot::open(&cache, &fleet.debian.suite, mirror_used, progress)?;
    let [agent, hotplug, boot] = [
        programs.get("domus-dom0")?,
        programs.get("domus-hotplug")?,
        programs.get("domus-boot")?,
    ];
    let bootstrap = contents::bootstrap(fleet, mirror);
    let debian = bootstrap.tar(&cache, progress, "dom0")?;

    // What is added depends on libvirt's own index, which the tree's digest already stands for.
    let added_key = files::digest(&contents::added(&agent, &hotplug, ""));
    let root_key = Key::new([
        ("tree", debian.digest.as_str()),
        ("added", &added_key),
        ("tools", tools.key()),
        ("selection", &contents::SELECTION.digest()),
        ("pack", &pack::options()),
        ("epoch", EPOCH),
    ]);
    let root = cache.step("dom0-root", &root_key, |out| {
        let tree = RootTar::open(&debian.path)?;
        let index = String::from_utf8_lossy(&tree.read(CPU_MAP)?).into_owned();
        let added = contents::added(&agent, &hotplug, &index);
        step(progress, "dom0: read-only root", || {
            make_root(&tree, &added, &tools, root_key.as_str(), out)
        })
    })?;
    let identity = serde_json::to_string(release)?;
    let xen_arguments = grub::xen_arguments(fleet.release.dom0_memory);
    let payload_of = |parts, root| Payload {
        fleet: release.fleet.clone(),
        release: release.version.clone(),
        unsigned: release.unsigned,
        suite: fleet.debian.suite.clone(),
        xen_arguments: xen_arguments.clone(),
        parts,
        root,
        secure_boot: release.secure_boot.clone(),
    };
    // The menu does not depend on what is not known yet.
    let unproven = Verity {
        root_hash: String::new(),
        salt: String::new(),
        blocks: 0,
    };
    let menu = grub::menu_digest(&payload_of(BTreeMap::new(), unproven));
    let iso_key = Key::new([
        ("root", root_key.as_str()),
        ("boot", &boot.digest),
        ("identity", &identity),
        ("menu", &menu),
        ("grub", &grub::options()),
        ("initramfs", &contents::initramfs()),
        ("signature", esp::SIGNATURE),
        ("dates", EPOCH),
        ("publisher", &publisher(release.secure_boot.as_deref())),
    ]);
    let kept = cache.step("iso", &iso_key, |out| {
        let tree = RootTar::open(&debian.path)?;
        let proof = fs::read(root.join(PROOF)).context("reading the root hash")?;
        let verity: Verity = serde_json::from_slice(&proof).context("reading the root hash")?;
        let parts = Parts {
            tree: &tree,
            root: &root.join(ROOT),
            proof: &proof,
            boot: &boot,
            tools: &tools,
            signing,
        };
        let payload_of = |parts| payload_of(parts, verity.clone());
        parts.write(&identity, &payload_of, out, progress)
    })?;
    let tree = RootTar::open(&debian.path)?;
    // Of what is added its paths count.
    let added = contents::added(&agent, &hotplug, "");
    let chosen = contents::SELECTION.of(&tree)?;
    Built::open(&kept, pack::etc(&tree, &chosen, &added))
}

fn make_root(
    tree: &RootTar,
    added: &[Added],
    tools: &ToolRoot,
    salt: &str,
    out: &Path,
) -> Result<()> {
    let (tar, image) = (out.join("root.tar"), out.join(ROOT));
    tree.rewrite(&tar, &contents::SELECTION.of(tree)?, added)?;
    pack::pack(tools, &tar, &image)?;
    let verity = verity::append(tools, &image, salt)?;
    fs::write(out.join(PROOF), serde_json::to_vec(&verity)?).context("writing the root hash")?;
    fs::remove_file(&tar).context("removing the temporary archive")
}

/// What an ISO is written from.
struct Parts<'a> {
    tree: &'a RootTar,
    root: &'a Path,
    proof: &'a [u8],
    boot: &'a Shipped,
    tools: &'a ToolRoot,
    signing: Option<&'a Signing>,
}

impl Parts<'_> {
    fn write(
        &self,
        identity: &str,
        payload_of: &dyn Fn(BTreeMap<String, String>) -> Payload,
        out: &Path,
        progress: &dyn Progress,
    ) -> Result<()> {
        let staging = out.join("staging");
        step(progress, "ISO: hypervisor, kernel, initramfs", || {
            self.stage(identity, &staging)
        })?;
        step(progress, "ISO: writing and sealing", || {
            let mut parts = BTreeMap::new();
            for name in [
                "BOOT/XEN.GZ",
                "BOOT/VMLINUZ",
                "BOOT/INITRD.IMG",
                "DOMUS/ROOT.IMG",
            ] {
                parts.insert(name.to_owned(), digest::of_file(&staging.join(name))?);
            }
            let mut payload = payload_of(parts);
            let menu = grub::menu_digest(&payload);
            payload.parts.insert(MENU.to_owned(), menu);
            self.press(payload, &staging, &out.join(ISO))
        })?;
        fs::remove_dir_all(&staging).context("removing the staging directory")
    }

    /// Puts what the release consists of where the ISO has it.
    fn stage(&self, identity: &str, staging: &Path) -> Result<()> {
        for dir in ["BOOT", "DOMUS"] {
            fs::create_dir_all(staging.join(dir)).context("making the staging directory")?;
        }
        let xen = self.tree.read(self.tree.only("boot/xen-4.20-amd64.gz")?)?;
        fs::write(staging.join("BOOT/XEN.GZ"), xen)?;
        let kernel = self.tree.read(self.tree.only("boot/vmlinuz-")?)?;
        fs::write(staging.join("BOOT").join(KERNEL), kernel)?;
        let mut initramfs = Initramfs::default();
        initramfs.console();
        initramfs.file("init", 0o755, &fs::read(&self.boot.path)?);
        initramfs.link("bin/domus-boot", "/init");
        initramfs.file("bin/busybox", 0o755, &self.tree.read("usr/bin/busybox")?);
        initramfs.file("domus/release.json", 0o644, identity.as_bytes());
        initramfs.file("domus/root.json", 0o644, self.proof);
        initramfs.modules(self.tree, &contents::MODULES)?;
        initramfs.firmware(self.tree, contents::FIRMWARE)?;
        let mut content = initramfs::microcode(self.tree)?;
        content.extend(initramfs.finish()?);
        fs::write(staging.join("BOOT").join(INITRAMFS), content)?;
        let root = staging.join("DOMUS/ROOT.IMG");
        fs::hard_link(self.root, &root).or_else(|_| fs::copy(self.root, &root).map(drop))?;
        Ok(())
    }

    /// Writes what firmware starts: `BIOS.IMG` and `EFI.IMG`.
    fn boot_images(&self, id: &str, payload: &Payload, boot: &Path) -> Result<()> {
        let (tools, uuid) = (self.tools, xorriso::grub_uuid(id));
        grub::image(tools, For::Bios, &uuid, &boot.join("BIOS.IMG"))?;
        let scratch = tempfile::tempdir().context("making a temporary directory")?;
        let efi = scratch.path().join("BOOTX64.EFI");
        let signature = match self.signing {
            Some(signing) => {
                unified::write(tools, self.tree, boot, (id, payload), signing, &efi)?;
                Some(signing.signature(&efi)?)
            }
            None => {
                grub::image(tools, For::Uefi, &uuid, &efi)?;
                None
            }
        };
        esp::write(tools, &efi, signature.as_deref(), &boot.join("EFI.IMG"))
    }

    /// Writes the ISO with its manifest, seals it, and reads it back.
    fn press(&self, payload: Payload, staging: &Path, iso: &Path) -> Result<()> {
        let id = digest::of_bytes(serde_json::to_vec(&payload)?);
        let boot = staging.join("BOOT");
        self.boot_images(&id, &payload, &boot)?;
        // What the signed image has inside is not on the ISO a second time.
        let inside = self.signing.map(|_| iso.with_extension("inside"));
        if let Some(inside) = &inside {
            fs::create_dir(inside).context("making a directory beside the ISO")?;
            for name in [KERNEL, INITRAMFS] {
                fs::rename(boot.join(name), inside.join(name))
                    .with_context(|| format!("moving {name}"))?;
            }
        }
        let menu = staging.join(MENU);
        fs::write(&menu, grub::menu(&id, &payload, &Places::files()))?;
        let chosen = contents::SELECTION.of(self.tree)?;
        let packages = pack::packages(self.tree, &chosen)?;
        let mut manifest = ReleaseManifest {
            version: 1,
            id,
            payload,
            files: list(staging)?,
            packages,
        };
        // xorriso writes the place of BIOS.IMG into BIOS.IMG itself, and the menu may name places.
        // They do not depend on the texts, only on their lengths: the second pass has the final
        // ones.
        for _ in 0..2 {
            fs::write(
                staging.join(MANIFEST),
                serde_json::to_vec_pretty(&manifest)?,
            )?;
            let _ = fs::remove_file(iso);
            xorriso::write(self.tools, &manifest, staging, iso)?;
            let files = &mut manifest.files;
            files.insert(BIOS_IMAGE.into(), iso::entry(iso, BIOS_IMAGE)?);
            if let Some(inside) = &inside {
                let place = |name| {
                    Ok::<_, anyhow::Error>(format!(
                        "($root){}",
                        inside::blocks(iso, &inside.join(name))?
                    ))
                };
                let (kernel, initramfs) = (place(KERNEL)?, place(INITRAMFS)?);
                let places = Places { kernel, initramfs };
                let text = grub::menu(&manifest.id, &manifest.payload, &places);
                fs::write(&menu, text)?;
                files.insert(MENU.into(), pack::entry(&menu)?);
            }
        }
        if let Some(inside) = &inside {
            fs::remove_dir_all(inside).context("removing the directory beside the ISO")?;
        }
        seal::seal(iso)?;
        iso::verify(iso)
            .context("reading the new ISO back")
            .map(drop)
    }
}

/// Size and digest of every file below `staging`, the manifest excepted.
fn list(staging: &Path) -> Result<BTreeMap<String, FileEntry>> {
    let mut files = BTreeMap::new();
    for dir in ["BOOT", "DOMUS"] {
        for file in fs::read_dir(staging.join(dir))? {
            let name = format!("{dir}/{}", file?.file_name().to_string_lossy());
            if name != MANIFEST {
                files.insert(name.clone(), pack::entry(&staging.join(&name))?);
            }
        }
    }
    Ok(files)
}

impl Built {
    fn open(kept: &Path, etc: EtcList) -> Result<Self> {
        let kept = kept.join(ISO);
        let manifest = iso::manifest(&kept)?;
        Ok(Self {
            digest: Sha256::from_hex(&manifest.id)?,
            manifest,
            etc,
            kept,
        })
    }

    /// Copies it to the file `to`, unless exactly it is there already; whether it was.
    ///
    /// # Errors
    /// The disk is full; `to` is then as it was.
    pub fn deliver(&self, to: &Path) -> Result<bool> {
        let kept = &self.kept;
        let same_size = to
            .metadata()
            .is_ok_and(|meta| kept.metadata().is_ok_and(|kept| kept.len() == meta.len()));
        if same_size && digest::of_file(to)? == digest::of_file(kept)? {
            return Ok(true);
        }
        let pending = Pending::new(to)?;
        fs::copy(kept, pending.temporary()).with_context(|| format!("writing {}", to.display()))?;
        pending.commit(0o644)?;
        Ok(false)
    }
}
