// SPDX-License-Identifier: GPL-3.0-or-later
//! A mount namespace in which a host has `/etc` and `/config` as `domus-boot` leaves them. It goes
//! with the process that holds it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use domus_model::boot::{ETC_UPPER, LAYERS, SLICE};
use domus_model::etc;
use domus_system::documents;
use domus_system::layers::{self, Source};
use domus_system::overlay::Overlay;

pub(crate) struct Space {
    holder: Child,
    root: PathBuf,
}

impl Space {
    /// Composes `/etc` of the host below `root` from its slice, and mounts it.
    pub(crate) fn boot(root: &Path, commit: &str) -> Self {
        let at = |path: &str| root.join(path.trim_start_matches('/'));
        let (slice, image) = (at(SLICE), at("etc"));
        fs::create_dir_all(&image).expect("made");
        let name = "alpha".parse().expect("a name");
        let proved = documents::read_slice(&slice, commit, &name).expect("documents");
        let source = Source {
            image: &image,
            tree: &slice,
            generated: &etc::for_host(&proved.fleet, &proved.host, true),
            layers: &proved.host.layers,
            secret: &|_, _| anyhow::bail!("nothing is secret yet"),
        };
        let laid = layers::lay(&source, &at(LAYERS)).expect("laid");
        let mut lower: Vec<PathBuf> = laid.directories.into_iter().rev().collect();
        lower.push(image.clone());
        let upper = at(ETC_UPPER);
        let ram = upper.parent().expect("a parent");
        Overlay::new(lower.clone(), &image, ram).expect("directories");
        for path in ["config/local", "config/global"] {
            fs::create_dir_all(at(path)).expect("made");
        }
        let lower: Vec<String> = lower.iter().map(|it| it.display().to_string()).collect();
        let script = "\
            mount -t overlay domus -o \"lowerdir=$2,upperdir=$3,workdir=$4\" \"$1/etc\" &&
            mount --bind \"$1/run/domus/slice/pservers/alpha\" \"$1/config/local\" &&
            mount --bind \"$1/run/domus/slice/global\" \"$1/config/global\" &&
            echo ready && exec sleep 1000";
        // As systemd has it: what is mounted is seen in services' own namespaces.
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "shared",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .args([root, Path::new(&lower.join(":")), &upper, &ram.join("work")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let out = holder.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "this test needs root and overlays");
        let root = root.to_owned();
        Self { holder, root }
    }

    /// A program in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        command.args([namespace.as_str(), "--", program]);
        command
    }

    /// A path of the host as it is seen in there.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        let root = self.root.display();
        format!("/proc/{}/root{root}/{path}", self.holder.id()).into()
    }

    /// How many mounts lie at a path of the host.
    pub(crate) fn mounts(&self, path: &str) -> usize {
        let table = format!("/proc/{}/mountinfo", self.holder.id());
        let table = fs::read_to_string(table).expect("a table");
        let point = self.root.join(path).display().to_string();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        points.filter(|other| *other == point).count()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
