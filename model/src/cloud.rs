// SPDX-License-Identifier: GPL-3.0-or-later
//! A domU's configuration as cloud-init reads it, for images that are none of Domus's own: the files of a NoCloud
//! seed. Formats: docs.cloud-init.io, "NoCloud" and "User-data formats". What is generated is JSON, which is YAML.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::guest::{GuestConfig, Mounted};
use crate::layers::{Attributes, Body, File, Layer};

/// Label of the disk by which cloud-init knows it.
pub const LABEL: &str = "CIDATA";
/// What is not written to the guest's `/etc`, but is the seed's own: paths below `/etc`.
const USER_DATA: &str = "cloud/user-data";
const NETWORK: &str = "cloud/network-config";
/// So much of the commit stands in the id of the instance. Whoever starts from another commit is
/// another instance to cloud-init, which then does everything.
const COMMIT: usize = 12;

/// The files of the seed by name. `content` reads or decrypts what a layer gives.
///
/// # Errors
/// That of `content`.
pub fn seed<E>(
    guest: &GuestConfig,
    uuid: Uuid,
    layers: &[Layer],
    mut content: impl FnMut(&File) -> Result<Vec<u8>, E>,
) -> Result<BTreeMap<&'static str, Vec<u8>>, E> {
    let mut etc = Etc::new(layers);
    let mut own = |path: &str| -> Result<Option<Vec<u8>>, E> {
        match etc.files.remove(path) {
            Some(file) => filled(file, &mut content).map(Some),
            None => Ok(None),
        }
    };
    let (user_data, network) = (own(USER_DATA)?, own(NETWORK)?);
    let mut parts = Vec::new();
    if let Some(text) = user_data {
        parts.push(json!({ "content": String::from_utf8_lossy(&text) }));
    }
    // The last: what it has in lists comes to what others have there.
    let config = etc.config(guest, &mut content)?;
    parts.push(
        json!({ "type": "text/cloud-config", "content": format!("#cloud-config\n{config:#}") }),
    );
    let commit: String = guest.commit.chars().take(COMMIT).collect();
    let meta = json!({
        "instance-id": format!("{uuid}-{commit}"),
        "local-hostname": guest.name,
    });
    let archive = format!("#cloud-config-archive\n{:#}\n", Value::Array(parts));
    let mut files = BTreeMap::from([
        ("meta-data", format!("{meta:#}\n").into_bytes()),
        ("user-data", archive.into_bytes()),
    ]);
    files.extend(network.map(|text| ("network-config", text)));
    Ok(files)
}

/// What the layers make of `/etc`.
struct Etc<'l> {
    files: BTreeMap<&'l str, &'l File>,
    attributes: BTreeMap<&'l str, Attributes>,
    /// What of the image is not to be seen.
    removed: BTreeSet<&'l str>,
}

/// What a file holds, or where a link leads.
fn filled<E>(
    file: &File,
    content: &mut impl FnMut(&File) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    match &file.body {
        Body::Text(text) => Ok(text.clone().into_bytes()),
        Body::Copy | Body::Link | Body::Secret => content(file),
    }
}

impl<'l> Etc<'l> {
    fn new(layers: &'l [Layer]) -> Self {
        let mut etc = Self {
            files: BTreeMap::new(),
            attributes: BTreeMap::new(),
            removed: BTreeSet::new(),
        };
        for layer in layers {
            etc.files.retain(|path, _| !layer.removes(path));
            etc.removed.extend(layer.remove.iter().map(String::as_str));
            let files = layer.files.iter();
            etc.files
                .extend(files.map(|(path, file)| (path.as_str(), file)));
            for (path, attributes) in &layer.attributes {
                let all = etc.attributes.entry(path).or_default();
                all.owner = attributes.owner.clone().or(all.owner.take());
                all.mode = attributes.mode.or(all.mode);
            }
        }
        etc
    }

    /// The cloud-config that makes it, mounts the data disks and swaps to them.
    fn config<E>(
        &self,
        guest: &GuestConfig,
        content: &mut impl FnMut(&File) -> Result<Vec<u8>, E>,
    ) -> Result<Value, E> {
        let mut commands: Vec<Value> = Vec::new();
        for path in &self.removed {
            commands.push(json!(["rm", "-rf", "--", format!("/etc/{path}")]));
        }
        let mut files = Vec::new();
        for (path, file) in &self.files {
            let target = filled(file, content)?;
            let path_in_guest = format!("/etc/{path}");
            if file.body == Body::Link {
                let target = String::from_utf8_lossy(&target);
                let above = path_in_guest
                    .rsplit_once('/')
                    .map_or("/etc", |(above, _)| above);
                commands.push(json!(["mkdir", "-p", "--", above]));
                commands.push(json!(["ln", "-sfnT", "--", target, path_in_guest]));
            } else {
                files.push(self.file(path, file, &target));
            }
        }
        let mut config = Map::new();
        let merge = json!([
            { "name": "list", "settings": ["append"] },
            { "name": "dict", "settings": ["no_replace", "recurse_list"] },
        ]);
        config.insert("merge_how".to_owned(), merge);
        let mounts: Vec<Value> = mounts(guest);
        for (key, list) in [
            ("bootcmd", commands),
            ("mounts", mounts),
            ("write_files", files),
        ] {
            if !list.is_empty() {
                config.insert(key.to_owned(), Value::Array(list));
            }
        }
        Ok(Value::Object(config))
    }

    fn file(&self, path: &str, file: &File, content: &[u8]) -> Value {
        let attributes = self.attributes.get(path);
        let mode = attributes
            .and_then(|it| it.mode)
            .unwrap_or(match &file.body {
                Body::Secret => 0o600,
                _ if file.is_program => 0o755,
                _ => 0o644,
            });
        let mut written = json!({
            "path": format!("/etc/{path}"),
            "encoding": "b64",
            "content": STANDARD.encode(content),
            "permissions": format!("{mode:04o}"),
        });
        if let Some(owner) = attributes.and_then(|it| it.owner.as_ref()) {
            written["owner"] = Value::from(owner.to_string());
            // cloud-init makes accounts before it writes these.
            written["defer"] = Value::from(true);
        }
        written
    }
}

/// Rows of `/etc/fstab`. A disk that is not there does not hold up the boot.
fn mounts(guest: &GuestConfig) -> Vec<Value> {
    let mounts = guest.mounts.iter().map(|mount| {
        let (fs, options) = match mount.fs {
            Mounted::Ext4 => ("ext4", "defaults,nofail"),
            Mounted::Xfs => ("xfs", "defaults,nofail"),
            Mounted::Image => ("auto", "ro,nofail"),
        };
        json!([
            format!("/dev/{}", mount.device),
            mount.path,
            fs,
            options,
            "0",
            "2"
        ])
    });
    let swaps = guest.swap.iter();
    let swaps = swaps.map(|device| {
        json!([
            format!("/dev/{device}"),
            "none",
            "swap",
            "sw,nofail",
            "0",
            "0"
        ])
    });
    mounts.chain(swaps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::BlobId;
    use crate::fleet::DomU;

    fn file(body: Body, is_program: bool) -> File {
        File {
            source: String::new(),
            id: BlobId([0; 20]),
            is_program,
            body,
        }
    }

    fn layer(name: &str, files: &[(&str, File)], remove: &[&str]) -> Layer {
        let files = files.iter();
        Layer {
            name: name.to_owned(),
            directory: name.to_owned(),
            files: files
                .map(|(path, file)| {
                    let source = name.to_owned();
                    let file = File {
                        source,
                        ..file.clone()
                    };
                    ((*path).to_owned(), file)
                })
                .collect(),
            attributes: BTreeMap::new(),
            remove: remove.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    fn made(layers: &[Layer]) -> BTreeMap<&'static str, Vec<u8>> {
        let domu = DomU::new(
            "web".parse().expect("name"),
            "cloud@1".parse().expect("image"),
        );
        let guest = GuestConfig::new(&"example".parse().expect("fleet"), &domu, &"ab".repeat(20));
        let content = |file: &File| Ok::<_, ()>(format!("of {}", file.source).into_bytes());
        seed(&guest, Uuid::nil(), layers, content).expect("a seed")
    }

    fn parts(files: &BTreeMap<&'static str, Vec<u8>>) -> Vec<Value> {
        let text = std::str::from_utf8(&files["user-data"]).expect("text");
        let json = text
            .strip_prefix("#cloud-config-archive\n")
            .expect("an archive");
        serde_json::from_str(json).expect("JSON")
    }

    /// What Domus's own part says.
    fn own(files: &BTreeMap<&'static str, Vec<u8>>) -> Value {
        let parts = parts(files);
        let content = parts.last().expect("a part")["content"]
            .as_str()
            .expect("text");
        serde_json::from_str(content.strip_prefix("#cloud-config\n").expect("a config"))
            .expect("JSON")
    }

    #[test]
    fn the_uppermost_file_is_written_and_what_is_removed_is_gone() {
        let global = layer(
            "global",
            &[
                ("motd", file(Body::Copy, false)),
                ("cron.daily/x", file(Body::Copy, true)),
                ("issue", file(Body::Text("filled\n".into()), false)),
            ],
            &[],
        );
        let mut web = layer(
            "web",
            &[
                ("motd", file(Body::Secret, false)),
                ("localtime", file(Body::Link, false)),
            ],
            &["cron.daily", "debian_version"],
        );
        let owner = Attributes {
            owner: Some("root:www-data".parse().expect("owner")),
            mode: Some(0o640),
        };
        web.attributes.insert("motd".into(), owner);
        let config = own(&made(&[global, web]));
        assert_eq!(
            config["bootcmd"],
            json!([
                ["rm", "-rf", "--", "/etc/cron.daily"],
                ["rm", "-rf", "--", "/etc/debian_version"],
                ["mkdir", "-p", "--", "/etc"],
                ["ln", "-sfnT", "--", "of web", "/etc/localtime"],
            ])
        );
        let written = |path: &str, content: &str, mode: &str| json!({ "path": path, "encoding": "b64", "content": STANDARD.encode(content), "permissions": mode });
        let mut motd = written("/etc/motd", "of web", "0640");
        motd["owner"] = json!("root:www-data");
        motd["defer"] = json!(true);
        assert_eq!(
            config["write_files"],
            json!([written("/etc/issue", "filled\n", "0644"), motd])
        );
    }

    #[test]
    fn what_is_for_cloud_init_itself_is_not_a_file_of_the_guest() {
        let files = made(&[layer(
            "web",
            &[
                (
                    "cloud/user-data",
                    file(Body::Text("#!/bin/sh\ntrue\n".into()), false),
                ),
                ("cloud/network-config", file(Body::Copy, false)),
            ],
            &[],
        )]);
        assert_eq!(files["network-config"], b"of web");
        let parts = parts(&files);
        assert_eq!(
            (parts.len(), &parts[0]["content"]),
            (2, &json!("#!/bin/sh\ntrue\n"))
        );
        assert_eq!(own(&files)["write_files"], Value::Null);
        let meta: Value = serde_json::from_slice(&files["meta-data"]).expect("JSON");
        let id = "00000000-0000-0000-0000-000000000000-abababababab";
        assert_eq!(meta, json!({ "instance-id": id, "local-hostname": "web" }));
    }
}
