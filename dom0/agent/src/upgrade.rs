// SPDX-License-Identifier: GPL-3.0-or-later
//! `upgrade`: another release into the slot that does not run, on trial from the next boot on.
//! Until all of it is there and proved, nothing boots it.

use std::fs::File;
use std::io::{Cursor, IsTerminal, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use domus_model::manifest::{EFI_IMAGE, MENU, ReleaseManifest, publisher};
use domus_model::slots::Choice;
use domus_system::burn::{Phase, Target};
use domus_system::iso::{self, HEAD, Head};
use domus_system::slots::{self as kept, Medium};
use domus_system::{interrupt, program};
use serde::Serialize;

use crate::Refused;
use crate::context::Context;
use crate::lock::Lock;
use crate::slots;

/// What the boot of a release from a slot reads: all of it follows from its id.
const READ: [&str; 5] = [
    "BOOT/XEN.GZ",
    "BOOT/VMLINUZ",
    "BOOT/INITRD.IMG",
    "DOMUS/ROOT.IMG",
    MENU,
];

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct Upgraded {
    host: String,
    release: String,
    id: String,
    slot: domus_model::slots::Slot,
    /// Whether `domus.lock` of the commit that runs has it.
    locked: bool,
    /// The release that the commit wants, if it is another.
    wanted: Option<String>,
}

/// Writes the release of `from`, a file or an address, and lets it be tried; with `again` also one
/// that was left.
///
/// # Errors
/// It is refused, cannot be read, or is damaged. What runs stays what boots.
pub(crate) fn upgrade(context: &Context, from: &str, again: bool) -> Result<Upgraded> {
    interrupt::catch().context("preparing for Ctrl-C")?;
    let medium = slots::medium(context)?;
    let _lock = Lock::of(&context.paths.ram().join("upgrade.lock"), "that upgrades")?;
    let choice = medium.choice()?;
    if choice.is_on_trial(medium.slot) {
        let why = format!(
            "slot {} has the release that this host goes back to if the one that runs does not get \
             healthy; `domus-dom0 health` says what is missing",
            choice.good
        );
        return Err(Refused(why).into());
    }
    let mut source = Source::open(from)?;
    let head = source.head()?;
    let locked = acceptable(context, &medium, &head, again)?;
    if let Some(publisher) = &head.publisher {
        // Its manifest says it too, and from an address comes only after the slot is written.
        ensure_started(context, &medium, publisher, from)?;
    }
    if source.child.is_none() {
        // What is here already is read first: the release in the slot may be worth more.
        proved(context, &medium, Path::new(from), &head)?;
    }
    let slot = medium.slot.other();
    let partition = medium.partition(slot);
    let target = Target::open(partition)?
        .with_context(|| format!("{} is in use: somebody mounted it?", partition.display()))?;
    if head.length > target.size() {
        let (needs, has) = (head.length, target.size());
        let why = format!("{from} has {needs} bytes, slot {slot} {has}: build a new medium");
        return Err(Refused(why).into());
    }
    // From here on nothing boots that slot.
    medium.choose(&Choice::only(medium.slot))?;
    slots::remember_good(context)?;
    let mut bar = Bar::default();
    target.take(&mut source.stream, head.length, &mut |phase, done, all| {
        bar.show(phase, done, all);
    })?;
    drop(bar);
    source.end()?;
    drop(target);
    let manifest = proved(context, &medium, partition, &head).inspect_err(|_| {
        // Its beginning goes: GRUB takes a slot without for an empty one.
        let blanked = std::fs::OpenOptions::new().write(true).open(partition);
        let blanked = blanked.and_then(|file| {
            std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; HEAD], 0)?;
            file.sync_all()
        });
        if let Err(error) = blanked {
            crate::warn(&anyhow::Error::new(error).context("clearing the slot"));
        }
    })?;
    if let Some(boot) = medium.boot_partition(slot) {
        copy_boot(partition, boot, &manifest)?;
    }
    medium.choose(&Choice {
        good: medium.slot,
        trial: Some((slot, 0)),
    })?;
    let release = manifest.payload.release;
    Ok(Upgraded {
        host: context.host.name.to_string(),
        wanted: Some(context.host.release.clone()).filter(|wanted| *wanted != release),
        release,
        id: manifest.id,
        slot,
        locked,
    })
}

/// Copies what firmware starts of the release in the slot `from` to `to`, and reads it back.
fn copy_boot(from: &Path, to: &Path, manifest: &ReleaseManifest) -> Result<()> {
    let doing = || format!("copying {EFI_IMAGE} to {}", to.display());
    let target = Target::open(to).with_context(doing)?;
    let target =
        target.with_context(|| format!("{} is in use: somebody mounted it?", to.display()))?;
    let written = iso::with_file(from, EFI_IMAGE, |content, size| {
        let has = target.size();
        ensure!(size <= has, "it has {size} bytes, {} {has}", to.display());
        target.take(content, size, &mut |_, _, _| {})
    });
    let written = written.with_context(doing)?;
    let is_whole = manifest
        .files
        .get(EFI_IMAGE)
        .is_some_and(|file| file.sha256 == written);
    ensure!(is_whole, "{}: it is not what the manifest says", doing());
    Ok(())
}

/// Whether the commit that runs names the release that `head` claims to be; refuses one that this
/// host shall not run.
fn acceptable(context: &Context, medium: &Medium, head: &Head, again: bool) -> Result<bool> {
    let id = &head.id;
    let name = slots::short(id);
    let refuse = |why: String| -> Result<bool> { Err(Refused(why).into()) };
    if medium.release(medium.slot)?.as_ref() == Some(id) {
        return refuse(format!("release {name} is the one that runs"));
    }
    let releases = kept::releases(&slots::root(context))?;
    if let Some(why) = releases.failure(id).filter(|_| !again) {
        return refuse(format!(
            "release {name} was left by this host: {why}; --again tries it again"
        ));
    }
    let mut locked = context.wanted.locked.releases.values();
    let is_locked = locked.any(|digest| digest.hex() == *id);
    let is_unsigned = context.identity.as_ref().is_none_or(|it| it.unsigned);
    if !is_locked && !is_unsigned {
        return refuse(format!(
            "domus.lock of the commit that runs has no release {name}: commit the one that \
             `domus iso build` wrote, and let this host take it"
        ));
    }
    Ok(is_locked)
}

/// Makes sure that this medium starts what is signed by `signed`, if it starts signed releases only.
fn ensure_started(context: &Context, medium: &Medium, signed: &str, shown: &str) -> Result<()> {
    let own = context.identity.as_ref();
    let own = own.map(|own| publisher(own.secure_boot.as_deref()));
    if medium.boot_partition(medium.slot).is_none() || own.as_deref() == Some(signed) {
        return Ok(());
    }
    let why = format!(
        "{shown} is not signed with the key that signed what runs, and this medium starts nothing \
         else by UEFI: build a new medium"
    );
    Err(Refused(why).into())
}

/// Reads all of the ISO at `path`; it has to be the release that `head` said, one for this host and
/// this medium, whose id stands for whatever boots.
fn proved(context: &Context, medium: &Medium, path: &Path, head: &Head) -> Result<ReleaseManifest> {
    let manifest = iso::verify(path)?.manifest;
    let shown = path.display();
    ensure!(
        manifest.id == head.id,
        "{shown} claims to be another release than it is"
    );
    let payload = &manifest.payload;
    let refuse = |why: String| -> Result<ReleaseManifest> { Err(Refused(why).into()) };
    if payload.fleet != context.fleet {
        let (other, own) = (&payload.fleet, &context.fleet);
        return refuse(format!(
            "{shown} is of the fleet {other}, this host of {own}"
        ));
    }
    let signed = publisher(payload.secure_boot.as_deref());
    ensure_started(context, medium, &signed, &shown.to_string())?;
    if let Some(part) = READ.iter().find(|part| !payload.parts.contains_key(**part)) {
        return refuse(format!(
            "{shown}: its id does not cover {part}; build it again"
        ));
    }
    let version = &payload.release;
    if let Some(locked) = context.wanted.locked.releases.get(version)
        && locked.hex() != manifest.id
    {
        return refuse(format!(
            "domus.lock of the commit that runs has release {version} as {locked}, {shown} is \
             sha256:{}",
            manifest.id
        ));
    }
    Ok(manifest)
}

/// Where a release comes from.
struct Source {
    name: String,
    stream: Box<dyn Read>,
    /// curl, where it comes from an address.
    child: Option<Child>,
}

impl Source {
    fn open(from: &str) -> Result<Self> {
        let is_address = ["http://", "https://"]
            .iter()
            .any(|it| from.starts_with(it));
        let name = from.to_owned();
        if !is_address {
            let file = File::open(from).with_context(|| format!("reading {from}"))?;
            let stream = Box::new(file);
            return Ok(Self {
                name,
                stream,
                child: None,
            });
        }
        program::require("curl")?;
        let mut child = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--location"])
            .args(["--proto", "=http,https", "--proto-redir", "=http,https"])
            .args([
                "--connect-timeout",
                "30",
                "--speed-limit",
                "1",
                "--speed-time",
                "60",
            ])
            .args(["--url", from])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("running curl")?;
        let stream = child.stdout.take().context("curl has no output")?;
        Ok(Self {
            name,
            stream: Box::new(stream),
            child: Some(child),
        })
    }

    /// What it claims to be. It can still be read from its beginning.
    fn head(&mut self) -> Result<Head> {
        let mut bytes = Vec::with_capacity(HEAD);
        let limit = HEAD as u64;
        let doing = || format!("reading {}", self.name);
        (&mut self.stream)
            .take(limit)
            .read_to_end(&mut bytes)
            .with_context(doing)?;
        if bytes.len() < HEAD {
            // Why curl ended it has said.
            self.end()?;
        }
        let Some(head) = Head::read(&bytes) else {
            bail!("{} is no release of Domus: it has no seal", self.name);
        };
        let rest = std::mem::replace(&mut self.stream, Box::new(std::io::empty()));
        self.stream = Box::new(Cursor::new(bytes).chain(rest));
        Ok(head)
    }

    /// All that was wanted is read.
    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // One that would send more is not waited for.
        self.stream = Box::new(std::io::empty());
        let status = child.wait().context("waiting for curl")?;
        // 23: nobody took what it had beyond the ISO's own length.
        ensure!(
            status.success() || status.code() == Some(23),
            "fetching {}: curl failed ({status})",
            self.name
        );
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            program::terminate(child);
        }
    }
}

/// Progress on a terminal.
#[derive(Default)]
struct Bar {
    shown: Option<(Phase, u64)>,
}

impl Bar {
    fn show(&mut self, phase: Phase, done: u64, all: u64) {
        let now = (phase, done >> 20);
        if self.shown == Some(now) || !std::io::stderr().is_terminal() {
            return;
        }
        self.shown = Some(now);
        let word = match phase {
            Phase::Write => "writing",
            Phase::Compare => "reading back",
        };
        eprint!("\r{word} {} of {} MiB\x1b[K", done >> 20, all >> 20);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Upgraded {
    /// One JSON object.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let (host, release, slot) = (&self.host, &self.release, self.slot);
        let id = slots::short(&self.id);
        let mut text =
            format!("{host}   release {release} ({id}) in slot {slot} is booted next, on trial\n");
        if !self.locked {
            text += "domus.lock of the commit that runs does not have it: nobody says that it is \
                     this fleet's, and this host runs unsigned\n";
        }
        if let Some(wanted) = &self.wanted {
            text += &format!("the commit that runs wants release {wanted}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Answers once with this.
    fn serve(status: &'static str, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody");
            let lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
            let _ = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .count();
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
        });
        format!("http://{address}/domus.iso")
    }

    /// The beginning of an ISO, and more than it says that there is.
    fn iso() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..3_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
        bytes[0x8000..0x9000].fill(b' ');
        bytes[0x8001..0x8006].copy_from_slice(b"CD001");
        bytes[0x8000 + 190..0x8000 + 254].fill(b'a');
        let seal = format!("domus-seal sha256 {} bytes {}", "0".repeat(64), 2 << 20);
        bytes[0x8000 + 883..0x8000 + 883 + seal.len()].copy_from_slice(seal.as_bytes());
        bytes
    }

    #[test]
    fn what_comes_from_an_address_is_read_from_its_beginning() {
        let iso = iso();
        let mut source = Source::open(&serve("200 OK", iso.clone())).expect("curl");
        let head = source.head().expect("a head");
        assert_eq!((head.id, head.length), ("a".repeat(64), 2 << 20));
        let mut read = vec![0; 2 << 20];
        source.stream.read_exact(&mut read).expect("all of it");
        assert_eq!(read, iso[..2 << 20]);
        source.end().expect("more than that is not wanted");
    }

    #[test]
    fn what_is_not_there_or_no_release_is_an_error() {
        let error = |status, body| {
            let mut source = Source::open(&serve(status, body)).expect("curl");
            format!("{:#}", source.head().expect_err("nothing"))
        };
        assert!(error("404 Not Found", Vec::new()).contains("curl failed (exit status: 22)"));
        assert!(error("200 OK", vec![0; 2 << 20]).contains("it has no seal"));
        assert!(Source::open("/no/such.iso").is_err());
    }
}
