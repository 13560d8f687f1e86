// SPDX-License-Identifier: GPL-3.0-or-later
//! Manifests: what an image or a release consists of, by digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{ImageRef, Name};
use crate::verity::Verity;

/// File name of an image's manifest, beside its files.
pub const IMAGE_MANIFEST: &str = "manifest.json";
/// The read-only root of an image or a release.
pub const ROOT: &str = "root.img";
/// The kernel of an image.
pub const KERNEL: &str = "vmlinux";
/// The initramfs of an image.
pub const INITRD: &str = "initrd.img";

/// Size and digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Bytes.
    pub size: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

/// Manifest of a domU image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageManifest {
    /// Version of this document: 1.
    pub version: u32,
    /// NAME@REVISION.
    pub image: ImageRef,
    /// Debian suite.
    pub suite: String,
    /// Digest of everything the build was made from.
    pub inputs: String,
    /// Whether it is none of Domus's own. It may have no kernel then, and no initramfs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub foreign: bool,
    /// Files beside the manifest.
    pub files: BTreeMap<String, FileEntry>,
    /// Debian packages and their versions.
    pub packages: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(it: &bool) -> bool {
    !*it
}

/// Where the manifest stands on an ISO.
pub const MANIFEST: &str = "DOMUS/MANIFEST";
/// GRUB's menu on an ISO. Among [`Payload::parts`] is the digest of what it is without the id.
pub const MENU: &str = "BOOT/GRUB.CFG";
/// The file system that UEFI starts a release from.
pub const EFI_IMAGE: &str = "BOOT/EFI.IMG";

/// Whom an ISO names as its publisher: the certificate that UEFI starts it for, by its SHA-256, or
/// nobody. The manifest says it too, and is far behind; this stands in the first MiB, so that it is
/// known before anything is written of an ISO that comes from a network. The field has capital
/// letters (ECMA-119, 8.4.20).
pub fn publisher(secure_boot: Option<&str>) -> String {
    secure_boot.unwrap_or("nobody").to_uppercase()
}

/// Manifest of a release: [`MANIFEST`] on its ISO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseManifest {
    /// Version of this document: 1.
    pub version: u32,
    /// The release's id: the digest of [`Payload`].
    pub id: String,
    /// What the release is.
    pub payload: Payload,
    /// Every file on the ISO by path, the manifest excepted.
    pub files: BTreeMap<String, FileEntry>,
    /// Debian packages and their versions.
    pub packages: BTreeMap<String, String>,
}

/// What makes a release this release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The fleet it belongs to.
    pub fleet: Name,
    /// Version, as in domus.toml.
    pub release: String,
    /// Whether its hosts run commits that nobody signed.
    pub unsigned: bool,
    /// Debian suite.
    pub suite: String,
    /// Xen's kernel command line.
    pub xen_arguments: String,
    /// Digests of hypervisor, kernel, initramfs, root and menu.
    pub parts: BTreeMap<String, String>,
    /// What proves the root image, block by block; the initramfs carries it too.
    pub root: Verity,
    /// SHA-256 of the certificate that its UEFI boot image is signed for, if it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<String>,
}
