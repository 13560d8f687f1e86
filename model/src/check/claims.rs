// SPDX-License-Identifier: GPL-3.0-or-later
//! Proof: what must be unique in the fleet is given once. Hosts are read one after another and
//! forgotten; what each claims is kept, small, and compared at the end.

use super::devices::identity;
use crate::diagnostic::{Diagnostic, Place};
use crate::documents::{HostDocs, Shared};
use crate::etc::derived_mac;
use crate::units::Mac;
use crate::vouch::ClaimId;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The name of a domU.
    DomU,
    /// The name of a host, which no domU may have. Directories see to it that no two hosts do.
    Host,
    /// The address of a network card.
    Mac,
    /// The UUID of a machine.
    MachineUuid,
    /// The serial number of a machine.
    Serial,
    /// The SSH host key of a machine.
    Key,
    /// The UUID of a domU.
    DomUUuid,
    /// A device: one of the fleet's, or of its host.
    Device,
    /// An address on a network.
    Address,
}

impl Kind {
    /// What it is claimed among: one name is that of one machine, be it host or domU.
    fn space(self) -> Self {
        match self {
            Self::Host => Self::DomU,
            other => other,
        }
    }
}

/// One claim: 32 bytes, of which a large fleet has millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// The thing itself where it has at most 128 bits, else a digest of its text.
    key: u128,
    kind: Kind,
    document: u32,
    start: u32,
    end: u32,
}

/// The claims of many hosts.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claims: Vec<Claim>,
    /// The documents that claims point into.
    documents: Paths,
    /// Those of the host that was added last.
    recent: Vec<(Arc<str>, u32)>,
}

/// The paths of documents: of a large fleet there are a million, so they are kept close together.
#[derive(Debug, Default)]
struct Paths {
    /// One after another.
    text: String,
    ends: Vec<usize>,
}

impl Paths {
    fn len(&self) -> u32 {
        small(self.ends.len())
    }

    fn push(&mut self, path: &str) {
        self.text.push_str(path);
        self.ends.push(self.text.len());
    }

    fn extend(&mut self, others: &Self) {
        let base = self.text.len();
        self.text.push_str(&others.text);
        self.ends.extend(others.ends.iter().map(|end| base + end));
    }

    fn get(&self, index: u32) -> &str {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }
}

/// A number of bytes of a document, or of documents: these have 1 MiB at most, and no fleet has
/// 2^32 of them.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The namespace of digests of claims (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x9e5a_41c7_2f0b_4d38_b1a6_7c1d_80ee_3f52);

/// Short texts themselves; of others a digest, which is none of those: its ninth byte is no ASCII
/// character.
fn digest(text: &str) -> u128 {
    let mut bytes = [0; 16];
    if text.len() < bytes.len() && text.is_ascii() {
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes[15] = text.len() as u8;
        return u128::from_be_bytes(bytes);
    }
    Uuid::new_v5(&NAMESPACE, text.as_bytes()).as_u128()
}

/// The claim of a domU of this name.
pub(crate) fn domu(name: &str) -> ClaimId {
    ClaimId::new(Kind::DomU as u8, digest(name))
}

/// The other claim that cannot be beside this one: that the name of a host is a domU's, and the
/// other way round. Both are neighbours where claims are in order.
pub(crate) fn rival(claim: ClaimId) -> Option<ClaimId> {
    const HOST: u8 = Kind::Host as u8;
    const DOMU: u8 = Kind::DomU as u8;
    match claim.kind() {
        HOST => Some(claim.with_kind(DOMU)),
        DOMU => Some(claim.with_kind(HOST)),
        _ => None,
    }
}

impl Claims {
    /// Adds what the documents of one host claim.
    pub(crate) fn add(&mut self, shared: &Shared<'_>, docs: &HostDocs) {
        let fleet = shared.fleet().and_then(|fleet| fleet.name.as_ref());
        let fleet = fleet.map(|fleet| &fleet.value);
        self.recent.clear();
        self.add_host(docs);
        for guest in docs.guests() {
            let settings = &guest.domu.settings;
            if let Some(uuid) = &settings.uuid {
                self.claim(Kind::DomUUuid, uuid.value.as_u128(), &uuid.place);
            }
            for (index, vif) in settings.vifs.iter().enumerate() {
                let derived = || Some(derived_mac(fleet?, guest.doc.name.as_ref()?, index));
                match (&vif.mac, vif.has_mac) {
                    (Some(mac), _) => self.claim(Kind::Mac, bits(mac.value), &mac.place),
                    (None, true) => {}
                    (None, false) => {
                        let place = vif.bridge.as_ref().map(|bridge| &bridge.place);
                        if let (Some(mac), Some(place)) = (derived(), place) {
                            self.claim(Kind::Mac, bits(mac), place);
                        }
                    }
                }
            }
            for device in settings
                .disks
                .iter()
                .filter_map(|disk| disk.device.as_ref())
            {
                let device_of = identity(&docs.directory, &device.value);
                self.claim(Kind::Device, digest(&device_of), &device.place);
            }
        }
        for (name, doc) in &docs.domus {
            self.claim(Kind::DomU, digest(name), &doc.place());
        }
    }

    fn add_host(&mut self, docs: &HostDocs) {
        if let Some(doc) = &docs.host {
            self.claim(Kind::Host, digest(&docs.directory), &doc.place());
        }
        let Some((_, host)) = docs.body() else {
            return;
        };
        if let Some(machine) = &host.settings.machine {
            if let Some(uuid) = &machine.dmi_uuid {
                self.claim(Kind::MachineUuid, uuid.value.as_u128(), &uuid.place);
            }
            if let Some(serial) = &machine.serial {
                self.claim(Kind::Serial, digest(&serial.value), &serial.place);
            }
            if let Some(key) = &machine.key {
                self.claim(Kind::Key, digest(&key.value.to_string()), &key.place);
            }
            if let Some(mac) = &machine.mac {
                self.claim(Kind::Mac, bits(mac.value), &mac.place);
            }
        }
        for disk in host.settings.storage.iter().flat_map(|it| &it.disks) {
            let device = format!("/dev/disk/by-id/{}", disk.value);
            let device = identity(&docs.directory, &device);
            self.claim(Kind::Device, digest(&device), &disk.place);
        }
        for (name, network) in &host.settings.networks {
            // A network that leaves the host is one for all that call it so.
            let leaves = !network.ports.is_empty();
            for (net, at) in network.statics().filter(|_| leaves) {
                let key = digest(&format!("{}/{}", name.value, net.addr()));
                self.claim(Kind::Address, key, &at.place);
            }
        }
    }

    fn claim(&mut self, kind: Kind, key: u128, place: &Place) {
        // Places of one document share its path and come close to each other. One that is not
        // found again is only listed twice.
        let mut known = self.recent.iter().rev().take(64);
        let document = match known.find(|(file, _)| Arc::ptr_eq(file, &place.file)) {
            Some((_, document)) => *document,
            None => {
                let document = self.documents.len();
                self.documents.push(&place.file);
                self.recent.push((Arc::clone(&place.file), document));
                document
            }
        };
        self.claims.push(Claim {
            key,
            kind,
            document,
            start: small(place.start),
            end: small(place.end),
        });
    }

    /// Both together.
    pub(crate) fn join(&mut self, other: Self) {
        let base = self.documents.len();
        self.documents.extend(&other.documents);
        self.claims
            .extend(other.claims.into_iter().map(|claim| Claim {
                document: base.saturating_add(claim.document),
                ..claim
            }));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.claims.len()
    }

    /// What some of them claim, before they are put in order.
    pub(crate) fn ids(&self, range: Range<usize>) -> impl Iterator<Item = ClaimId> {
        let claims = self.claims[range].iter();
        claims.map(|claim| ClaimId::new(claim.kind as u8, claim.key))
    }

    /// Puts them in order, as the proofs below need them.
    pub(crate) fn sort(&mut self) {
        self.claims
            .sort_unstable_by_key(|claim| (claim.kind.space(), claim.key, claim.kind));
    }

    /// Directories in `vservers/` that no domU has.
    pub(crate) fn prove_vservers(&self, directories: &[String], notes: &mut Vec<Diagnostic>) {
        for directory in directories {
            let key = (Kind::DomU, digest(directory), Kind::DomU);
            let found = self
                .claims
                .binary_search_by_key(&key, |it| (it.kind.space(), it.key, it.kind));
            if found.is_err() {
                let place = Place::whole(format!("vservers/{directory}"));
                let note = place.warning("this directory belongs to no domU");
                notes.push(note.help("rename it after its domU, or remove it"));
            }
        }
    }

    /// What is claimed twice.
    pub(crate) fn conflicts(self, notes: &mut Vec<Diagnostic>) {
        let same = |a: &Claim, b: &Claim| (a.kind.space(), a.key) == (b.kind.space(), b.key);
        for claims in self.claims.chunk_by(same).filter(|claims| claims.len() > 1) {
            let (hosts, others): (Vec<&Claim>, Vec<&Claim>) =
                claims.iter().partition(|claim| claim.kind == Kind::Host);
            let mut places: Vec<Place> = others.iter().map(|claim| self.place(claim)).collect();
            places.sort();
            // What a host takes from a group or default is one place, claimed by many.
            let first = &places[0];
            for place in &places[1..] {
                notes.push(conflict(others[0].kind, first, place));
            }
            for host in hosts.into_iter().map(|claim| self.place(claim)) {
                let places = places.iter();
                notes.extend(places.map(|place| conflict(Kind::Host, &host, place)));
            }
        }
    }

    fn place(&self, claim: &Claim) -> Place {
        let file = Arc::from(self.documents.get(claim.document));
        Place::new(&file, claim.start as usize..claim.end as usize)
    }
}

/// The bits of an address.
fn bits(mac: Mac) -> u128 {
    let [a, b, c, d, e, f] = mac.octets();
    u128::from(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// Whose a document is, for people.
fn owner(file: &str) -> String {
    match file.split('/').collect::<Vec<_>>()[..] {
        [_, host, "domUs", domu] => {
            let name = domu.strip_suffix(".toml").unwrap_or(domu);
            format!("{name} on {host}")
        }
        [_, host, _] => format!("the machine of {host}"),
        _ => file.to_owned(),
    }
}

fn conflict(kind: Kind, first: &Place, place: &Place) -> Diagnostic {
    let other = owner(&first.file);
    let also = format!("also given to {other}");
    if first == place {
        let message = match kind {
            Kind::Mac => "hosts or domUs take one MAC address from here",
            Kind::MachineUuid | Kind::Serial | Kind::Key => "hosts take one identity from here",
            Kind::DomUUuid => "domUs take one UUID from here",
            Kind::Device => "hosts or domUs take one device from here",
            Kind::Address => "hosts take one address from here",
            Kind::DomU | Kind::Host => "two machines have one name",
        };
        let help = "it belongs to one of them: write it there";
        return place.error(message).help(help);
    }
    match kind {
        Kind::DomU => {
            let name = owner(&place.file);
            let name = name.split(' ').next().unwrap_or_default();
            let at = |place: &Place| place.file.split('/').nth(1).map(str::to_owned);
            let (one, two) = (at(first), at(place));
            let (one, two) = (one.unwrap_or_default(), two.unwrap_or_default());
            place
                .error(format!(
                    "two domUs are called {name}: on {one} and on {two}"
                ))
                .see(first, "")
                .help("one vservers/NAME belongs to one domU: rename one, or keep one")
        }
        Kind::Host => {
            let name = owner(&place.file);
            let name = name.split(' ').next().unwrap_or_default();
            place
                .error(format!("a host and a domU are called {name}"))
                .see(first, "the host")
                .help(
                    "one name belongs to one machine, or `domus show NAME` could mean either: \
                     rename the domU, and its vservers/NAME with it",
                )
        }
        Kind::Mac => place
            .error("two network cards with one MAC address")
            .remark(also)
            .see(first, "")
            .help(
                match place.file.contains("/domUs/") || first.file.contains("/domUs/") {
                    true => "leave a domU's `mac` out and Domus derives one from its name",
                    false => "read it on both machines: `ip link`",
                },
            ),
        Kind::MachineUuid | Kind::Serial => {
            let what = match kind {
                Kind::Serial => "serial number",
                _ => "DMI UUID",
            };
            let host = |place: &Place| owner(&place.file).replace("the machine of ", "");
            let (one, two) = (host(first), host(place));
            place
                .error(format!("two hosts with one {what}"))
                .remark(format!("also given to {one}"))
                .see(first, "")
                .help(format!(
                    "read it on both machines; neither could tell if it is {one} or {two}"
                ))
        }
        Kind::Key => place
            .error("two hosts with one SSH host key")
            .remark(also.replace("the machine of ", ""))
            .see(first, "")
            .help("whoever has the one can pass for the other: make a new key for one of them"),
        Kind::DomUUuid => place
            .error("two domUs with one UUID")
            .remark(also)
            .see(first, "")
            .help("leave `uuid` out and Domus derives one from the domU's name"),
        Kind::Device if [first, place].iter().any(|it| !it.file.contains("/domUs/")) => place
            .error("one disk is given twice")
            .remark(also.replace("the machine of ", ""))
            .see(first, "")
            .help("what a host has in [storage] is its own alone: name another"),
        Kind::Device => place
            .error("two disks are kept on one device")
            .remark(also)
            .see(first, "")
            .help("two file systems on one device destroy each other: name another"),
        Kind::Address => place
            .error("two hosts with one address on one network")
            .remark(also.replace("the machine of ", ""))
            .see(first, "")
            .help("give one of them another"),
    }
}
