// SPDX-License-Identifier: GPL-3.0-or-later
//! Properties of plans: whatever two fleets are, what the plan does not name is as it was, and what
//! it names makes the new one of the old. What each machine comes to is worked out here once more,
//! in the simplest way.

mod plans;
mod repository;

use domus_model::changes::{Changes, Impact, Observed, Side, Subject, changes};
use domus_model::domain::{Domain, Vbd};
use domus_model::etc::{domu_uuid, for_host};
use domus_model::files::Files;
use domus_model::fleet::{Backing, Disk, DomU, Fleet, Host};
use domus_model::guest::GuestConfig;
use domus_model::layers::{Body, Layer};
use domus_model::load::Frame;
use domus_model::names::Name;
use domus_model::rendered::{Contents, RenderedFile};
use plans::{elsewhere, host};
use proptest::prelude::*;
use repository::identify;
use std::collections::{BTreeMap, BTreeSet};

/// A fleet: which of the texts below its documents have.
#[derive(Debug, Clone)]
struct World {
    fleet: usize,
    hosts: [usize; 2],
    /// Of `global`, the group, the hosts and the domUs, in the order of [`LAYERS`].
    layers: Vec<[Fate; PATHS.len()]>,
    domus: [Guest; 3],
}

#[derive(Debug, Clone)]
struct Guest {
    /// The host that it is on.
    on: Option<usize>,
    text: usize,
}

/// What a layer does at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Nothing,
    Given(&'static str, Option<&'static str>),
    Removed,
}

const LAYERS: [&str; 7] = [
    "global",
    "groups/web",
    "pservers/h0",
    "pservers/h1",
    "vservers/d0",
    "vservers/d1",
    "vservers/d2",
];

/// A directory, or a file in its place, comes before what may be in it.
const PATHS: [&str; 6] = ["d", "d/f", "d/g", "d/e/f", "f", "name.tmpl"];

/// What the image has. `e` is no other path's directory.
const IMAGE: [&str; 4] = ["d/f", "d/h", "e/f", "f"];

const FLEETS: [&str; 5] = [
    "",
    "[vars]\nsite = \"south\"\n",
    "[config]\nremote = \"https://git.example.net/x.git\"\n",
    "[config]\nremote = \"https://git.example.net/x.git\"\nevery = \"1h\"\n",
    "[defaults.domU]\nmemory = \"300MiB\"\n",
];

const HOSTS: [&str; 10] = [
    "[networks.lan]\nports = [\"eno1\"]\naddress = \"dhcp\"\n",
    "[networks.lan]\nports = [\"eno1\"]\naddress = \"192.0.2.7/24\"\ngateway = \"192.0.2.1\"\n\
     [dom0]\ndns = [\"192.0.2.53\"]\n",
    "[networks.lan]\naddress = \"192.0.2.1/24\"\nnat = true\n\
     [networks.out]\nports = [\"eno1\"]\naddress = \"dhcp\"\n",
    "[networks.lan]\naddress = \"192.0.2.1/24\"\nnat = true\ndhcp = true\n\
     [networks.out]\nports = [\"eno1\"]\naddress = \"dhcp\"\n[dom0]\ndns = [\"192.0.2.53\"]\n",
    "[networks.lan]\naddress = \"192.0.2.1/24\"\nnat = true\ndhcp = true\n\
     [networks.out]\nports = [\"eno1\"]\naddress = \"dhcp\"\n[dom0]\ndns = [\"192.0.2.54\"]\n",
    "[networks.lan]\nports = [\"eno1\"]\nmtu = 9000\n[networks.dmz]\nports = [\"eno1\"]\nvlan = 20\n",
    "[networks.lan]\n[firewall]\nallow = [\"tcp/9100\"]\n[dom0]\nntp = [\"192.0.2.123\"]\n",
    "[networks.lan]\n[storage]\ndisks = [\"ata-A\"]\nvar = \"8GiB\"\n",
    "[networks.lan]\n[storage.domUs]\ndirectory = \"/srv\"\n[health]\ndeadline = \"5m\"\n\
     [domUs]\nstrays = \"destroy\"\n",
    "[networks.lan]\nports = [\"eno1\"]\naddress = \"dhcp\"\nrouter-advertisements = false\n",
];

const DOMUS: [&str; 8] = [
    "",
    "vcpus = 2\n",
    "memory = \"512MiB\"\nkind = \"pv\"\n",
    "[[network]]\nbridge = \"lan\"\n",
    "[[disk]]\nname = \"data\"\nsize = \"1GiB\"\nmount = \"/srv\"\n",
    "[[disk]]\nname = \"log\"\nsize = \"1GiB\"\n[[disk]]\nname = \"data\"\nsize = \"1GiB\"\nmount = \"/opt\"\n",
    "[[disk]]\nname = \"data\"\ndevice = \"/dev/disk/by-id/one\"\nmount = \"/srv\"\n",
    "uuid = \"0192c1de-0000-4000-8000-000000000001\"\nmay-run-on = [\"h1\"]\n",
];

fn fates() -> impl Strategy<Value = Fate> {
    let modes = prop::sample::select(&[None, None, Some("0600"), Some("0644")][..]);
    let texts = prop::sample::select(&["one", "two", "{{ site }} {{ domus.name }}"][..]);
    prop_oneof![
        5 => Just(Fate::Nothing),
        3 => (texts, modes).prop_map(|(text, mode)| Fate::Given(text, mode)),
        1 => Just(Fate::Removed),
    ]
}

fn guests() -> impl Strategy<Value = Guest> {
    let on = prop::sample::select(&[None, Some(0), Some(1)][..]);
    (on, 0..DOMUS.len()).prop_map(|(on, text)| Guest { on, text })
}

fn worlds() -> impl Strategy<Value = World> {
    let hosts = [0..HOSTS.len(), 0..HOSTS.len()];
    let layer = || std::array::from_fn::<_, { PATHS.len() }, _>(|_| fates());
    let layers = (0..LAYERS.len()).map(|_| layer()).collect::<Vec<_>>();
    let domus = std::array::from_fn::<_, 3, _>(|_| guests());
    let world = (0..FLEETS.len(), hosts, layers, domus);
    world.prop_map(|(fleet, hosts, layers, domus)| World {
        fleet,
        hosts,
        layers,
        domus,
    })
}

/// Two fleets, of which the second has some of what the first has.
fn pairs() -> impl Strategy<Value = (World, World)> {
    (worlds(), worlds(), any::<[bool; 12]>()).prop_map(|(from, mut to, kept)| {
        for (index, layer) in from.layers.iter().enumerate() {
            if kept[index] {
                to.layers[index] = *layer;
            }
        }
        for (index, domu) in from.domus.iter().enumerate() {
            if kept[LAYERS.len() + index] {
                to.domus[index] = domu.clone();
            }
        }
        if kept[10] {
            to.hosts = from.hosts;
        }
        if kept[11] {
            to.fleet = from.fleet;
        }
        (from, to)
    })
}

impl World {
    fn files(&self) -> Files {
        let mut files = Files::new();
        let mut put =
            |path: String, text: &str| identify(&mut files, &path, text.as_bytes(), false);
        let site = match FLEETS[self.fleet].contains("site") {
            true => "",
            false => "[vars]\nsite = \"north\"\n",
        };
        let fleet = FLEETS[self.fleet];
        let domus = format!("version = 1\nfleet = \"example\"\n[groups.web]\n{site}{fleet}");
        put("domus.toml".to_owned(), &domus);
        let names = "127.0.0.1 localhost\n192.0.2.5 d0\n192.0.2.6 d1\n";
        put("global/hosts".to_owned(), names);
        put("images/base.toml".to_owned(), "version = 1\nrevision = 1\n");
        for (index, text) in self.hosts.iter().enumerate() {
            let host = format!(
                "version = 1\ngroups = [\"web\"]\n[machine]\nserial = \"H{index}\"\nmemory = \"64GiB\"\n{}",
                HOSTS[*text]
            );
            put(format!("pservers/h{index}/host.toml"), &host);
        }
        for (index, Guest { on, text }) in self.domus.iter().enumerate() {
            if let Some(host) = on {
                let domu = format!("version = 1\nimage = \"base@1\"\n{}", DOMUS[*text]);
                put(format!("pservers/h{host}/domUs/d{index}.toml"), &domu);
            }
        }
        for (directory, fates) in LAYERS.iter().zip(&self.layers) {
            layer(directory, fates, &mut put);
        }
        files
    }
}

/// A layer as it is written: where `d` is a file nothing is in it, and what goes with it is not
/// removed again.
fn layer(directory: &str, fates: &[Fate], put: &mut impl FnMut(String, &str)) {
    let (mut removed, mut modes) = (Vec::new(), String::new());
    for (path, fate) in PATHS.iter().zip(fates) {
        let inside = path.starts_with("d/");
        match fate {
            Fate::Given(..) if inside && matches!(fates[0], Fate::Given(..)) => {}
            Fate::Removed if inside && fates[0] != Fate::Nothing => {}
            Fate::Given(text, mode) => {
                put(format!("{directory}/etc/{path}"), text);
                let target = path.trim_end_matches(".tmpl");
                if let Some(mode) = mode {
                    modes += &format!("[files.\"{target}\"]\nmode = \"{mode}\"\n");
                }
                // A directory with a mode of its own.
                if *path == "d/g" && *text == "two" {
                    modes += "[files.d]\nmode = \"0750\"\n";
                }
            }
            Fate::Removed => removed.push(format!("{:?}", path.trim_end_matches(".tmpl"))),
            Fate::Nothing => {}
        }
    }
    let removed = removed.join(", ");
    let text = format!("version = 1\nremove = [{removed}]\n{modes}");
    put(format!("{directory}/etc.toml"), &text);
}

/// A fleet, read.
struct Read {
    files: Files,
    fleet: Fleet,
    hosts: [Host; 2],
    /// For each host where the domUs of the other are.
    elsewhere: [BTreeMap<Name, Name>; 2],
}

impl Read {
    fn new(world: &World) -> Self {
        let files = world.files();
        let frame = Frame::read(&files.shared);
        let fleet = frame.fleet().expect("a fleet");
        let hosts = ["h0", "h1"].map(|name| host(&files, &frame, name).expect("a host"));
        Self {
            elsewhere: ["h0", "h1"].map(|name| elsewhere(&files, name)),
            files,
            fleet,
            hosts,
        }
    }

    /// The plans for both hosts from here to there.
    fn plans(&self, to: &Self) -> [Changes; 2] {
        let observed = Observed::default();
        [0, 1].map(|index| changes(self.side(index), to.side(index), &observed))
    }

    fn side(&self, index: usize) -> Side<'_> {
        Side {
            fleet: &self.fleet,
            host: Some(&self.hosts[index]),
            names: self.files.shared.id_of("global/hosts"),
            elsewhere: &self.elsewhere[index],
        }
    }
}

/// What is at a path: its content and mode, or the mode of a directory.
type Etc = BTreeMap<String, (String, u32)>;

/// What `/etc` holds when these layers lie over the image.
fn etc(layers: &[Layer]) -> Etc {
    let image = IMAGE.map(|path| (path.to_owned(), ("image".to_owned(), 0o604)));
    let (mut etc, mut directories) = (Etc::from(image), Etc::new());
    for layer in layers {
        let lower = etc.clone();
        for path in &layer.remove {
            drop_below(&mut etc, path);
            drop_below(&mut directories, path);
        }
        for (path, file) in &layer.files {
            drop_below(&mut etc, path);
            drop_below(&mut directories, path);
            etc.retain(|file, _| above(path).all(|directory| directory != file));
            let content = match &file.body {
                Body::Text(text) => text.clone(),
                _ => format!("{:?}", file.id),
            };
            let own = layer.attributes.get(path).and_then(|own| own.mode);
            let covered = lower.get(path).map(|(_, mode)| mode & 0o666);
            let mode = own.or(covered).unwrap_or(0o644);
            etc.insert(path.clone(), (content, mode));
        }
        let own = layer.attributes.iter();
        for (path, attributes) in own.filter(|(path, _)| !layer.files.contains_key(*path)) {
            let mode = attributes.mode.unwrap_or(0o755);
            directories.insert(path.clone(), ("directory".to_owned(), mode));
        }
    }
    directories.into_iter().chain(etc).collect()
}

/// The directories that `path` is in.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

fn is_at(path: &str, file: &str) -> bool {
    file == path || file.starts_with(&format!("{path}/"))
}

fn drop_below(etc: &mut Etc, path: &str) {
    etc.retain(|file, _| !is_at(path, file));
}

/// `from` after the plan was followed: where it names something there is what `to` has.
fn followed(plan: &Changes, subject: &Subject, from: &Etc, to: &Etc) -> Etc {
    let mut made = from.clone();
    let steps = plan.steps.iter().filter(|step| step.subject == *subject);
    let named = steps.filter_map(|step| step.what.strip_prefix("/etc/"));
    for path in named.filter_map(|what| what.split(' ').next()) {
        drop_below(&mut made, path);
        let new = to.iter().filter(|(file, _)| is_at(path, file));
        made.extend(new.map(|(file, it)| (file.clone(), it.clone())));
    }
    made
}

/// What is run when a generated file changed; nothing where it is read each time.
fn reader(path: &str) -> Option<&'static str> {
    let readers = [
        (
            "nftables.conf",
            "systemctl reload-or-restart nftables.service",
        ),
        ("systemd/network/", "networkctl reload"),
        (
            "systemd/networkd.conf.d/",
            "systemctl try-restart systemd-networkd.service",
        ),
        (
            "systemd/timesyncd.conf.d/",
            "systemctl try-restart systemd-timesyncd.service",
        ),
        ("systemd/system/domus-pull.timer", "systemctl daemon-reload"),
        (
            "systemd/system/systemd-networkd-",
            "systemctl daemon-reload",
        ),
        ("systemd/system/local-fs.target.wants/", "a reboot"),
    ];
    let found = readers.iter().find(|(start, _)| path.starts_with(start));
    found.map(|(_, run)| *run)
}

fn generated(side: &Read, index: usize) -> BTreeMap<String, Contents> {
    let files = for_host(&side.fleet, &side.hosts[index], true).into_iter();
    files
        .map(|RenderedFile { path, contents }| (path, contents))
        .collect()
}

/// What a domU is started with: its domain, and what its config disk says of volumes.
fn started(fleet: &Fleet, host: &Host, domu: &DomU) -> (String, GuestConfig) {
    let disk = |(index, disk): (usize, &Disk)| Vbd {
        source: match &disk.backing {
            Backing::Volume { name, .. } => format!("{:?} {name}", host.storage.domus),
            Backing::Device { path } => path.clone(),
            Backing::Image { image } => image.to_string(),
        },
        target: index.to_string(),
        read_only: false,
    };
    let domain = Domain {
        domu,
        uuid: domu_uuid(&fleet.name, domu),
        kernel: domu.image.to_string(),
        initrd: Some(domu.image.to_string()),
        disks: domu.disks.iter().enumerate().map(disk).collect(),
    };
    let mut guest = GuestConfig::new(&fleet.name, domu, "");
    // What these fill is seen in layers.
    guest.vars.clear();
    (domain.xml(), guest)
}

/// The domUs for which a plan has a step like this.
fn with(plan: &Changes, impact: Impact) -> BTreeMap<&str, &str> {
    let steps = plan.steps.iter().filter(|step| step.impact == impact);
    let domus = steps.filter_map(|step| match &step.subject {
        Subject::DomU(name) => Some((name.as_str(), step.what.as_str())),
        Subject::Host => None,
    });
    domus.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_of_a_fleet_as_it_is_is_empty(world in worlds()) {
        let [one, same] = [Read::new(&world), Read::new(&world)];
        for plan in one.plans(&same) {
            prop_assert!(plan.is_empty(), "{}", plan.render());
        }
    }

    #[test]
    fn files_that_a_plan_does_not_name_are_as_they_were((from, to) in pairs()) {
        let (from, to) = (Read::new(&from), Read::new(&to));
        let plans = from.plans(&to);
        for (index, plan) in plans.iter().enumerate() {
            let (was, is) = (&from.hosts[index], &to.hosts[index]);
            let layers = [(Subject::Host, &was.layers, &is.layers)];
            let domus = was.domus.iter().filter_map(|(name, domu)| {
                Some((Subject::DomU(name.clone()), &domu.layers, &is.domus.get(name)?.layers))
            });
            for (subject, was, is) in layers.into_iter().chain(domus) {
                let (was, is) = (etc(was), etc(is));
                let made = followed(plan, &subject, &was, &is);
                prop_assert_eq!(made, is, "{:?} {}", subject, plan.render());
            }
        }
    }

    #[test]
    fn who_reads_generated_files_reads_them_anew((from, to) in pairs()) {
        let (from, to) = (Read::new(&from), Read::new(&to));
        for (index, plan) in from.plans(&to).iter().enumerate() {
            let (was, is) = (generated(&from, index), generated(&to, index));
            let paths: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            let runs: Vec<String> = plan.deeds().iter().map(ToString::to_string).collect();
            for path in paths.into_iter().filter(|path| was.get(*path) != is.get(*path)) {
                prop_assert!(!plan.is_empty(), "{path}");
                if let Some(reader) = reader(path) {
                    let waits = plan.waits().count() > 0;
                    let is_read = waits || runs.iter().any(|it| it == reader);
                    prop_assert!(is_read, "{path} {}", plan.render());
                }
            }
        }
    }

    #[test]
    fn domus_are_where_plans_bring_them((from, to) in pairs()) {
        let (from, to) = (Read::new(&from), Read::new(&to));
        let plans = from.plans(&to);
        for (index, plan) in plans.iter().enumerate() {
            let (was, is) = (&from.hosts[index], &to.hosts[index]);
            let (here, there) = (format!("h{index}"), format!("h{}", 1 - index));
            let other = |side: &Read, name: &str| side.hosts[1 - index].domus.contains_key(name);
            let [start, stop] = [Impact::DomuStart, Impact::DomuStop].map(|it| with(plan, it));
            for (name, what) in &start {
                let from_there = other(&from, name);
                let expected = match from_there {
                    true => format!("comes from {there}"),
                    false => "is new".to_owned(),
                };
                prop_assert_eq!(*what, expected);
                if from_there {
                    let leaves = with(&plans[1 - index], Impact::DomuStop);
                    prop_assert_eq!(leaves.get(name), Some(&&*format!("moves to {here}")));
                }
            }
            for (name, what) in &stop {
                let expected = match other(&to, name) {
                    true => format!("moves to {there}"),
                    false => "is gone".to_owned(),
                };
                prop_assert_eq!(*what, expected);
            }
            let mut made: BTreeSet<&str> = was.domus.keys().map(|name| name.as_str()).collect();
            made.retain(|name| !stop.contains_key(name));
            made.extend(start.into_keys());
            let wanted: BTreeSet<&str> = is.domus.keys().map(|name| name.as_str()).collect();
            prop_assert_eq!(made, wanted);

            let restarts = plan.restarts();
            for (name, domu) in &is.domus {
                if let Some(before) = was.domus.get(name) {
                    let was = started(&from.fleet, was, before);
                    let is_same = was == started(&to.fleet, is, domu);
                    let is_started_anew = restarts.contains(name);
                    prop_assert!(is_same || is_started_anew, "{name} {}", plan.render());
                }
            }
        }
    }
}
