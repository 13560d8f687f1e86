// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a file in `/etc` comes from: which layer gives it, and what it hides.

mod render;

pub use render::Changed;

use crate::contents::{Entry, EtcList};
use crate::etc;
use crate::fleet::{DomU, Fleet, Host};
use crate::guest::GuestConfig;
use crate::layers::{Body, Layer, above};
use crate::rendered::{Contents, RenderedFile};
use serde::Serialize;

/// What the image is called beside the names of layers.
const IMAGE: &str = "image";

/// What the layers of a machine say of a path, the one that is seen first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The path, relative to `/etc`.
    pub path: String,
    /// What layers say, the highest first, and last the image.
    pub says: Vec<Say>,
    /// Whether it is known what the image has.
    pub knows_image: bool,
    /// Of a directory: the files that layers give in it, each with the name of the layer.
    pub inside: Vec<(String, String)>,
}

/// What one layer says of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Say {
    /// The layer's name.
    pub layer: String,
    /// What it does.
    #[serde(flatten)]
    pub what: What,
    /// The file in the repository that says so; none of what is generated.
    pub source: Option<String>,
}

/// What a layer does to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "does", rename_all = "kebab-case")]
pub enum What {
    /// Gives a file as it is.
    File,
    /// Gives a link.
    Link,
    /// Gives a template, filled in.
    Template,
    /// Gives a secret, decrypted.
    Secret,
    /// Gives what Domus generates.
    Generated,
    /// Removes it.
    Removed {
        /// It, or the directory that it is in.
        entry: String,
    },
}

impl What {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Link => "link",
            Self::Template => "template",
            Self::Secret => "secret",
            Self::Generated => "generated",
            Self::Removed { .. } => "removed",
        }
    }
}

/// Explains a path of a host. `has_hosts`: whether the commit has `global/hosts`.
pub fn host(fleet: &Fleet, host: &Host, has_hosts: bool, path: &str) -> Explanation {
    let image = Image::find(fleet, &host.release);
    let generated = etc::for_host(fleet, host, has_hosts);
    explain(image, &generated, &host.layers, path)
}

/// Explains a path of a domU.
pub fn domu(fleet: &Fleet, domu: &DomU, has_hosts: bool, path: &str) -> Explanation {
    let image = Image::find(fleet, &domu.image.to_string());
    let guest = GuestConfig::new(&fleet.name, domu, "");
    explain(
        image,
        &etc::for_guest(&guest, has_hosts),
        &domu.layers,
        path,
    )
}

/// What lies below all layers, where that is known.
struct Image<'f> {
    /// The document that says what it has.
    source: String,
    list: &'f EtcList,
}

impl<'f> Image<'f> {
    fn find(fleet: &'f Fleet, name: &str) -> Option<Self> {
        let list = fleet.lists.get(name)?;
        let source = EtcList::path(name);
        Some(Self { source, list })
    }
}

fn explain(
    image: Option<Image<'_>>,
    generated: &[RenderedFile],
    layers: &[Layer],
    path: &str,
) -> Explanation {
    let mut says = Vec::new();
    let mut inside: Vec<(String, String)> = Vec::new();
    let below = format!("{path}/");
    for layer in layers.iter().rev() {
        for file in layer.files.keys().filter(|file| file.starts_with(&below)) {
            let is_hidden = says
                .iter()
                .any(|say: &Say| matches!(say.what, What::Removed { .. }));
            if !is_hidden && inside.iter().all(|(known, _)| known != file) {
                inside.push((file.clone(), layer.name.clone()));
            }
        }
        let removed = [path].into_iter().chain(above(path));
        let removed = removed.filter(|entry| layer.remove.contains(*entry)).last();
        let (what, source) = match (layer.files.get(path), removed) {
            (Some(file), _) => {
                let what = match file.body {
                    Body::Copy => What::File,
                    Body::Link => What::Link,
                    Body::Text(_) => What::Template,
                    Body::Secret => What::Secret,
                };
                (what, file.source.clone())
            }
            (None, Some(entry)) => {
                let entry = entry.to_owned();
                (
                    What::Removed { entry },
                    format!("{}/etc.toml", layer.directory),
                )
            }
            (None, None) => continue,
        };
        says.push(Say {
            layer: layer.name.clone(),
            what,
            source: Some(source),
        });
    }
    if let Some(file) = generated.iter().find(|file| file.path == path) {
        says.push(Say {
            layer: "generated".to_owned(),
            what: match file.contents {
                Contents::Text(_) => What::Generated,
                Contents::Link(_) => What::Link,
            },
            source: None,
        });
    }
    let is_hidden = |say: &Say| matches!(say.what, What::Removed { .. });
    let hidden = says.iter().any(is_hidden);
    if let Some(image) = &image {
        let files = image.list.files_below(path).filter(|_| !hidden);
        for file in files {
            if inside.iter().all(|(known, _)| known != file) {
                inside.push((file.to_owned(), IMAGE.to_owned()));
            }
        }
        if image.list.get(path) == Some(Entry::File) {
            says.push(Say {
                layer: IMAGE.to_owned(),
                what: What::File,
                source: Some(image.source.clone()),
            });
        }
    }
    inside.sort();
    Explanation {
        path: path.to_owned(),
        says,
        knows_image: image.is_some(),
        inside,
    }
}

/// The path below `/etc` that an operator named: `/etc/motd`, `etc/motd` or `motd`.
pub fn path_of(text: &str) -> &str {
    let text = text.strip_prefix("/etc/").or(text.strip_prefix("etc/"));
    text.unwrap_or_default().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::BlobId;
    use crate::layers::File;
    use std::collections::BTreeMap;

    fn layer(name: &str, files: &[&str], remove: &[&str]) -> Layer {
        let file = |path: &&str| {
            let file = File {
                source: format!("{name}/etc/{path}"),
                id: BlobId([0; 20]),
                is_program: false,
                body: Body::Copy,
            };
            (path.to_string(), file)
        };
        Layer {
            name: name.to_owned(),
            directory: name.to_owned(),
            files: files.iter().map(file).collect(),
            attributes: BTreeMap::new(),
            remove: remove.iter().map(ToString::to_string).collect(),
        }
    }

    fn lines(path: &str) -> Vec<String> {
        let layers = [
            layer("global", &["motd", "a/x", "a/y"], &["issue"]),
            layer("@web", &["a/x"], &["motd", "a"]),
            layer("alpha", &["motd", "a/z"], &[]),
        ];
        let generated = [RenderedFile::new("hostname", "alpha\n")];
        let list = EtcList::parse("a/\na/x\nissue\npasswd\nssh/\nssh/moduli\n").expect("a list");
        let image = Image {
            source: "locked/1.etc".to_owned(),
            list: &list,
        };
        let explanation = explain(Some(image), &generated, &layers, path);
        let says = explanation.says.iter().map(|say| {
            let source = say.source.as_deref().unwrap_or("-");
            format!("{} {} {source}", say.layer, say.what.word())
        });
        let inside = explanation.inside.iter();
        says.chain(inside.map(|(file, layer)| format!("{file} of {layer}")))
            .collect()
    }

    #[test]
    fn each_layer_has_its_say() {
        let motd = [
            "alpha file alpha/etc/motd",
            "@web removed @web/etc.toml",
            "global file global/etc/motd",
        ];
        assert_eq!(lines("motd"), motd);
        let issue = ["global removed global/etc.toml", "image file locked/1.etc"];
        assert_eq!(lines("issue"), issue);
        let x = [
            "@web file @web/etc/a/x",
            "global file global/etc/a/x",
            "image file locked/1.etc",
        ];
        assert_eq!(lines("a/x"), x);
        assert_eq!(
            lines("a/y"),
            ["@web removed @web/etc.toml", "global file global/etc/a/y"]
        );
        assert_eq!(
            lines("a"),
            ["@web removed @web/etc.toml", "a/x of @web", "a/z of alpha"]
        );
        assert_eq!(lines("hostname"), ["generated generated -"]);
        assert_eq!(lines("passwd"), ["image file locked/1.etc"]);
        assert_eq!(lines("ssh"), ["ssh/moduli of image"]);
        assert_eq!(lines("shadow"), [""; 0]);
    }

    #[test]
    fn paths_are_named_as_people_do() {
        for text in ["/etc/ssh/sshd_config", "etc/ssh/sshd_config/"] {
            assert_eq!(path_of(text), "ssh/sshd_config");
        }
        assert_eq!(path_of("/etc"), "");
        assert_eq!(path_of("/usr/x"), "");
    }
}
