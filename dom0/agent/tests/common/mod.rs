// SPDX-License-Identifier: GPL-3.0-or-later
//! A host in a temporary directory: its documents, its boot record, its XenStore. Its libvirt is
//! the test driver, which every process begins anew from a file: at first the domain `test` runs,
//! with the number 1.
#![allow(dead_code)]

pub(crate) mod keeper;
pub(crate) mod space;
pub(crate) mod sshd;
pub(crate) mod xenstore;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use domus_model::etc::stable_uuid;
use domus_model::fleet::Kind;
use domus_model::report::{REPORT_NODE, Report};
use domus_system::digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use space::Space;
use xenstore::XenStore;

pub(crate) const COMMIT: &str = "8c1d02e4d1f0c5b9a7e6352413f0e1d2c3b4a596";

/// The UUID that the domU `name` of these fleets has.
pub(crate) fn uuid(name: &str) -> Uuid {
    stable_uuid(
        &"example".parse().expect("fleet"),
        "domu",
        &name.parse().expect("name"),
    )
}

pub(crate) struct Host {
    dir: TempDir,
    pub(crate) store: XenStore,
    path: Option<String>,
    environment: Vec<(String, String)>,
    pub(crate) space: Option<Space>,
}

impl Host {
    /// The host alpha, that shall run `domus`: their names and documents.
    pub(crate) fn new(domus: &[(&str, &str)], storage: &str) -> Self {
        Self::named("alpha", domus, storage)
    }

    /// Another one.
    pub(crate) fn named(name: &str, domus: &[(&str, &str)], storage: &str) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let store = XenStore::serve(&dir.path().join("xenstored"));
        let host = Self {
            dir,
            store,
            path: None,
            environment: Vec::new(),
            space: None,
        };
        let machine = "[machine]\nserial = \"8QXK\"\nmemory = \"2GiB\"\n";
        let document = format!("version = 1\n{machine}\n[dom0]\nmemory = \"384MiB\"\n{storage}");
        host.write(
            &format!("run/domus/slice/pservers/{name}/host.toml"),
            &document,
        );
        host.write(
            "run/domus/slice/domus.toml",
            "version = 1\nfleet = \"example\"\n[release]\nversion = \"7\"\n",
        );
        host.write(
            "run/domus/slice/images/base.toml",
            "version = 1\nrevision = 1\n",
        );
        host.write("run/domus/slice/global/hosts", "127.0.0.1 localhost\n");
        for (domu, document) in domus {
            let document =
                format!("version = 1\nimage = \"base@1\"\nmemory = \"96MiB\"\n{document}");
            host.write(
                &format!("run/domus/slice/pservers/{name}/domUs/{domu}.toml"),
                &document,
            );
        }
        let release = json!({"fleet": "example", "version": "7", "unsigned": true});
        let id = "3f9a0b1c2d3e4f50";
        let statement = json!({"id": COMMIT});
        let boot = json!({
            "name": name, "commit": COMMIT, "statement": statement, "release": release,
            "release_id": id,
        });
        host.write("run/domus/boot.json", &boot.to_string());
        host.runs(&["test"]);
        host
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    /// Lets the domains `names` run, with numbers from 1 on.
    pub(crate) fn runs(&self, names: &[&str]) {
        let domains = names.iter().map(|name| (*name, uuid(name)));
        self.runs_as(&domains.collect::<Vec<_>>());
    }

    /// Lets domains with these names and UUIDs run.
    pub(crate) fn runs_as(&self, domains: &[(&str, Uuid)]) {
        let domain = |(name, uuid): &(&str, Uuid)| {
            let os = "<memory unit='MiB'>96</memory><os><type>hvm</type></os>";
            format!("<domain type='test'><name>{name}</name><uuid>{uuid}</uuid>{os}</domain>")
        };
        for id in 1..=domains.len() {
            let state = format!("/local/domain/{id}/device/vbd/51712/state");
            self.store.set(&state, "4");
        }
        let domains: String = domains.iter().map(domain).collect();
        self.write("node.xml", &format!("<node>{domains}</node>"));
    }

    /// Puts programs before those of the system.
    pub(crate) fn programs_in(&mut self, dir: &Path) {
        let path = std::env::var("PATH").expect("PATH");
        self.path = Some(format!("{}:{path}", dir.display()));
    }

    /// Sets an environment variable of its programs.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Gives the host the image `base@1`.
    pub(crate) fn give_image(&self) {
        let mut files = serde_json::Map::new();
        for name in ["root.img", "vmlinux", "initrd.img"] {
            self.write(&format!("config/images/base@1/{name}"), &"x".repeat(8192));
            let sha256 = digest::of_bytes("x".repeat(8192));
            files.insert(name.into(), json!({"size": 8192, "sha256": sha256}));
        }
        let manifest = json!({
            "version": 1, "image": "base@1", "suite": "trixie", "inputs": "0",
            "files": files, "packages": {},
        });
        self.write("config/images/base@1/manifest.json", &manifest.to_string());
    }

    /// Lets the guest of that name, which is in domain 1, report.
    pub(crate) fn report(&self, name: &str) {
        // The name last: whoever looks in between sees nothing of it.
        self.is_up(1);
        self.store.set("/local/domain/1/name", name);
        self.store.introduce();
    }

    /// Lets the agent remember of a domU that it could not be started.
    pub(crate) fn failed(&self, name: &str, reason: &str) {
        let now = domus_system::machine::uptime().as_secs();
        let down = json!({"at": now, "how": "failed", "reason": reason});
        let record = json!({"failures": 64, "down": down});
        let path = format!("run/domus/domus/{name}/record.json");
        self.write(&path, &record.to_string());
    }

    /// Lets the guest in domain `id` report, now or as soon as there is one.
    pub(crate) fn is_up(&self, id: u32) {
        self.says(id, |_| ());
    }

    /// As [`Host::is_up`], with something else to say.
    pub(crate) fn says(&self, id: u32, change: impl FnOnce(&mut Report)) {
        let mut report = Report {
            version: 1,
            kind: Kind::Pv,
            memory_mib: 88,
            vcpus: 2,
            macs: Vec::new(),
            image: "base@1".parse().expect("image"),
            commit: COMMIT.into(),
            root_read_only: true,
            ill: None,
            refreshes: false,
            refreshed: None,
        };
        change(&mut report);
        let node = format!("/local/domain/{id}/{REPORT_NODE}");
        self.store.set(&node, &report.render());
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let agent = env!("CARGO_BIN_EXE_domus-dom0");
        let mut command = match &self.space {
            Some(space) => space.command(agent),
            None => Command::new(agent),
        };
        command.args(arguments).env("DOMUS_ROOT", self.root());
        command.env(
            "DOMUS_LIBVIRT_URI",
            format!("test://{}", self.at("node.xml").display()),
        );
        command.env("XENSTORED_PATH", self.at("xenstored"));
        command.envs(self.environment.iter().cloned());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }

    /// Runs the agent to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("run"))
    }

    /// Loop devices that show files of this host.
    pub(crate) fn loops(&self) -> Vec<PathBuf> {
        self.attached().into_iter().map(|(_, file)| file).collect()
    }

    /// Lets XenStore say that the domain `id` has all loop devices of this host as disks.
    pub(crate) fn uses_loops(&self, id: u32) {
        for (index, (device, _)) in self.attached().iter().enumerate() {
            let node = format!("/local/domain/0/backend/vbd/{id}/{index}/params");
            self.store.set(&node, &device.to_string_lossy());
        }
    }

    /// Mounts `/etc` and `/config` as a boot of `commit` does, for this host alone.
    pub(crate) fn boot(&mut self, commit: &str) {
        self.space = Some(Space::boot(self.dir.path(), commit));
    }

    /// A path as this host sees it, mounts and all.
    pub(crate) fn seen(&self, path: &str) -> PathBuf {
        self.space.as_ref().expect("it was booted").at(path)
    }

    fn attached(&self) -> Vec<(PathBuf, PathBuf)> {
        let attached = domus_system::loopdev::attached().expect("list").into_iter();
        let mine = attached.filter(|(_, file, _)| file.starts_with(self.root()));
        mine.map(|(device, file, _)| (device, file)).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (device, _) in self.attached() {
            let _ = domus_system::loopdev::detach(&device);
        }
    }
}

/// How a run of the agent went.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("an exit code");
        Self {
            code,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}
