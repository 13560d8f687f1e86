// SPDX-License-Identifier: GPL-3.0-or-later
//! Layers laid out over a small image, and seen through a real overlay. Needs root, as whoever
//! boots has it.

use super::*;
use crate::mount::{Mount, Mounted};
use domus_model::files::BlobId;
use domus_model::layers;
use std::collections::BTreeMap;
use std::process::Command;

fn put(root: &Path, path: &str, text: &str, mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
}

fn layer(name: &str, files: &[(&str, Body)]) -> Layer {
    let file = |(path, body): &(&str, Body)| {
        let ending = match body {
            Body::Text(_) => ".tmpl",
            Body::Secret => ".age",
            _ => "",
        };
        let file = layers::File {
            source: format!("{name}/etc/{path}{ending}"),
            id: BlobId([0; 20]),
            is_program: ["cron.daily/own", "site"].contains(path),
            body: body.clone(),
        };
        (path.to_string(), file)
    };
    Layer {
        name: name.to_owned(),
        directory: name.to_owned(),
        files: files.iter().map(file).collect(),
        attributes: BTreeMap::new(),
        remove: Default::default(),
    }
}

fn attributes(owner: &str, mode: u32) -> Attributes {
    Attributes {
        owner: Some(owner.parse().expect("an owner")),
        mode: Some(mode),
    }
}

/// Owner, group and mode of a file, in one word.
fn owned(path: &Path) -> String {
    let meta = fs::symlink_metadata(path).expect("there");
    let mode = meta.mode() & 0o7777;
    format!("{}:{} {mode:04o}", meta.uid(), meta.gid())
}

/// What an image has in `/etc`.
fn write_image(image: &Path) {
    put(
        image,
        "passwd",
        "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/:\n",
        0o644,
    );
    put(image, "group", "root:x:0:\nssl-cert:x:110:\n", 0o644);
    put(image, "shadow", "root:*\n", 0o640);
    chown(image.join("shadow"), Some(0), Some(42)).expect("chown");
    put(image, "cron.daily/apt", "apt\n", 0o755);
    put(image, "cron.daily/own", "image\n", 0o755);
    put(image, "sources.d/debian", "debian\n", 0o644);
    put(image, "motd", "image\n", 0o644);
    fs::create_dir_all(image.join("ssl/private")).expect("mkdir");
    let private = image.join("ssl/private");
    fs::set_permissions(&private, Permissions::from_mode(0o710)).expect("chmod");
}

/// What two layers have in the repository.
fn write_tree(tree: &Path) {
    put(tree, "global/etc/shadow", "root:!\n", 0o644);
    put(tree, "global/etc/cron.daily/own", "global\n", 0o755);
    put(tree, "global/etc/site.tmpl", "{{ site }}", 0o755);
    put(tree, "global/etc/motd", "global\n", 0o644);
    put(tree, "global/etc/ssl/private/key.age", "encrypted", 0o644);
    put(tree, "alpha/etc/sources.d/own", "own\n", 0o644);
    put(tree, "alpha/etc/odd", "odd\n", 0o644);
    put(tree, "alpha/etc/lost.age", "encrypted", 0o644);
    symlink("../run/x", tree.join("alpha/etc/link")).expect("link");
}

/// The two layers, as they were proved.
fn two_layers() -> [Layer; 2] {
    let text = Body::Text("north\n".to_owned());
    let mut global = layer(
        "global",
        &[
            ("shadow", Body::Copy),
            ("cron.daily/own", Body::Copy),
            ("site", text),
            ("motd", Body::Copy),
            ("ssl/private/key", Body::Secret),
        ],
    );
    global.remove.insert("cron.daily/apt".to_owned());
    global.remove.insert("nowhere".to_owned());
    let key = attributes("root:ssl-cert", 0o640);
    global.attributes.insert("ssl/private/key".to_owned(), key);
    let mut alpha = layer(
        "alpha",
        &[
            ("sources.d/own", Body::Copy),
            ("odd", Body::Copy),
            ("lost", Body::Secret),
            ("link", Body::Link),
        ],
    );
    for removed in ["sources.d", "motd", "cron.daily/apt"] {
        alpha.remove.insert(removed.to_owned());
    }
    alpha
        .attributes
        .insert("odd".to_owned(), attributes("nobody2", 0o644));
    alpha
        .attributes
        .insert("sources.d".to_owned(), attributes("www", 0o750));
    [global, alpha]
}

#[test]
fn what_a_file_hides_is_not_covered() {
    let dir = tempfile::tempdir().expect("dir");
    let (image, tree) = (dir.path().join("image"), dir.path().join("tree"));
    put(&image, "open/site", "image\n", 0o600);
    put(&image, "shut/site", "image\n", 0o600);
    put(&tree, "global/etc/shut", "global\n", 0o644);
    put(&tree, "alpha/etc/open/site", "alpha\n", 0o644);
    put(&tree, "alpha/etc/shut/site", "alpha\n", 0o644);
    let layers = [
        layer("global", &[("shut", Body::Copy)]),
        layer(
            "alpha",
            &[("open/site", Body::Copy), ("shut/site", Body::Copy)],
        ),
    ];
    let source = Source {
        image: &image,
        tree: &tree,
        generated: &[],
        layers: &layers,
        secret: &|_, _| anyhow::bail!("there is none"),
    };
    let laid = lay(&source, &dir.path().join("layers")).expect("laid out");
    let alpha = laid.directories.last().expect("a layer");
    assert!(owned(&alpha.join("open/site")).ends_with(" 0600"));
    assert!(owned(&alpha.join("shut/site")).ends_with(" 0644"));
}

#[test]
fn layers_are_seen_as_they_say() {
    let dir = tempfile::tempdir().expect("dir");
    let at = |name: &str| dir.path().join(name);
    // tmpfs, as at a boot: the overlay's upper layer may not be on another overlay.
    let ram = Mounted::new(&Mount::ram("755"), &at("ram")).expect("RAM; this test needs root");
    let ram = ram.path();
    let (image, tree) = (ram.join("image"), ram.join("tree"));
    write_image(&image);
    write_tree(&tree);
    let secret = |layer: &Layer, path: &str| match path {
        "lost" => anyhow::bail!("no key opens it"),
        _ => Ok(format!("{} {path}\n", layer.name).into_bytes()),
    };
    let generated = [
        RenderedFile::new("hostname", "alpha\n"),
        RenderedFile::new("motd", "none\n"),
    ];
    let layers = two_layers();
    let source = Source {
        image: &image,
        tree: &tree,
        generated: &generated,
        layers: &layers,
        secret: &secret,
    };
    lay(&source, &ram.join("layers")).expect("laid out once");
    let laid = lay(&source, &ram.join("layers")).expect("laid out again");
    assert_eq!(
        laid.problems,
        [
            "global removes /etc/nowhere, which nothing below global has",
            "/etc/lost is missing: no key opens it",
            "/etc/odd is root's alone: there is no user nobody2",
            "alpha removes /etc/cron.daily/apt, which nothing below alpha has",
        ]
    );

    let mut lower = vec![image.clone()];
    lower.extend(laid.directories);
    lower.reverse();
    let (upper, work) = (ram.join("upper"), ram.join("work"));
    fs::create_dir_all(&upper).expect("mkdir");
    fs::create_dir_all(&work).expect("mkdir");
    let etc = Mounted::new(&Mount::overlay(&lower, &upper, &work), &at("etc")).expect("overlay");
    let etc = etc.path();
    let list = Command::new("find")
        .args([".", "-mindepth", "1", "-printf", "%P\\n"])
        .current_dir(etc)
        .output();
    let list = String::from_utf8(list.expect("find").stdout).expect("text");
    let mut list: Vec<&str> = list.lines().collect();
    list.sort();
    assert_eq!(
        list.join(" "),
        "cron.daily cron.daily/own group hostname link odd passwd shadow site sources.d \
         sources.d/own ssl ssl/private ssl/private/key"
    );
    let read = |path: &str| fs::read_to_string(etc.join(path)).expect("read");
    assert_eq!(
        (read("cron.daily/own"), read("site")),
        ("global\n".into(), "north\n".into())
    );
    assert_eq!(read("ssl/private/key"), "global ssl/private/key\n");
    let modes = [
        ("shadow", "0:42 0640"),
        ("cron.daily/own", "0:0 0755"),
        ("site", "0:0 0755"),
        ("ssl/private", "0:0 0710"),
        ("ssl/private/key", "0:110 0640"),
        ("odd", "0:0 0600"),
        ("sources.d", "33:34 0750"),
    ];
    for (path, expected) in modes {
        assert_eq!(owned(&etc.join(path)), expected, "{path}");
    }
    assert_eq!(
        fs::read_link(etc.join("link")).expect("link"),
        Path::new("../run/x")
    );
}
