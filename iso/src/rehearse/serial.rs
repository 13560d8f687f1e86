// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading events off a serial console as it grows. Pure.

use domus_model::rehearsal::EventKind;

/// What a line of the console meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An event with its detail.
    Event(EventKind, Option<String>),
    /// The boot ended in a rescue shell.
    Rescue,
    /// Xen or a kernel gave up.
    Panic,
}

/// A console being read.
#[derive(Debug, Default)]
pub(crate) struct Console {
    rest: Vec<u8>,
    lines: Vec<String>,
    seen: Vec<EventKind>,
}

impl Console {
    /// Takes more bytes and says what new lines meant.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.rest.extend(bytes);
        let mut heard = Vec::new();
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if let Some(what) = interpret(&line) {
                match &what {
                    // The first time counts: a domU's console is not this one, but a log may
                    // repeat itself.
                    Heard::Event(kind, _) if self.seen.contains(kind) => {}
                    Heard::Event(kind, _) => {
                        self.seen.push(*kind);
                        heard.push(what);
                    }
                    _ => heard.push(what),
                }
            }
            self.lines.push(line);
        }
        heard
    }

    /// The last `count` lines.
    pub(crate) fn tail(&self, count: usize) -> String {
        self.lines[self.lines.len().saturating_sub(count)..].join("\n")
    }

    /// From the line that says why the boot stopped to the end, if there is one.
    pub(crate) fn refusal(&self) -> Option<String> {
        let end = self.lines.iter().rposition(|line| is_rescue(line))?;
        let begin = self.lines[..=end]
            .iter()
            .rposition(|line| line.starts_with("domus: ") && !line.starts_with("domus: release"));
        Some(self.lines[begin.unwrap_or(end)..=end].join("\n"))
    }
}

fn is_rescue(line: &str) -> bool {
    line.contains("A shell follows") || line.contains("domus rescue#")
}

fn interpret(line: &str) -> Option<Heard> {
    let detail = |rest: &str| Some(rest.trim().to_owned()).filter(|rest| !rest.is_empty());
    let event = |kind, detail| Some(Heard::Event(kind, detail));
    if let Some(rest) = line
        .trim_start_matches("(XEN) ")
        .strip_prefix("Xen version ")
    {
        let version = rest.split(' ').next().unwrap_or_default();
        return event(EventKind::Xen, detail(version));
    }
    if line.contains("] Linux version ") {
        let version = line.split("Linux version ").nth(1)?.split(' ').next()?;
        return event(EventKind::Dom0Kernel, detail(version));
    }
    if line.contains("Kernel panic - not syncing") || line.contains("Panic on CPU") {
        return Some(Heard::Panic);
    }
    if is_rescue(line) {
        return Some(Heard::Rescue);
    }
    let own = line.strip_prefix("domus: ")?;
    if let Some(rest) = own.strip_prefix("config /dev/") {
        return event(EventKind::ConfigMounted, detail(&format!("/dev/{rest}")));
    }
    if let Some(rest) = own.strip_prefix("/etc ") {
        return event(EventKind::EtcComposed, detail(rest));
    }
    if own == "starting systemd" {
        return event(EventKind::Systemd, None);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "(XEN) Xen version 4.20.2 (Debian 4.20.2-1) debug=n\r\n\
        [    0.000000] Linux version 6.12.1-amd64 (x) #1\r\n\
        domus: release 2026.11 (3f9a) of fleet example\r\n\
        domus: config /dev/vda1, bound by DMI UUID\r\n\
        domus: /etc image < generated < global < alpha   14 files\r\n\
        domus: starting systemd\r\n\
        [    9.000000] Linux version 6.12.1-amd64 (x) #1\r\n";

    #[test]
    fn events_are_heard_once_however_the_bytes_arrive() {
        let kinds = |chunks: &[&[u8]]| {
            let mut console = Console::default();
            let heard: Vec<Heard> = chunks
                .iter()
                .flat_map(|chunk| console.feed(chunk))
                .collect();
            heard
        };
        let whole = kinds(&[LOG.as_bytes()]);
        let single: Vec<&[u8]> = LOG.as_bytes().chunks(1).collect();
        assert_eq!(whole, kinds(&single));
        assert_eq!(whole.len(), 5);
        assert_eq!(
            whole[0],
            Heard::Event(EventKind::Xen, Some("4.20.2".into()))
        );
        let config = Heard::Event(
            EventKind::ConfigMounted,
            Some("/dev/vda1, bound by DMI UUID".into()),
        );
        assert_eq!(whole[2], config);
    }

    #[test]
    fn a_refusal_is_shown_from_its_first_line() {
        let mut console = Console::default();
        let log = "domus: release 1 (x)\nnoise\ndomus: no config partition for this machine\n  \
            sda1 vfat no marker\nNothing was written. A shell follows; x\n";
        assert_eq!(console.feed(log.as_bytes()), [Heard::Rescue]);
        let text = console.refusal().expect("refusal");
        assert!(text.starts_with("domus: no config partition"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_panic_is_a_panic_whoever_has_it() {
        for line in [
            "(XEN) Panic on CPU 0:\n",
            "[ 1.0] Kernel panic - not syncing: x\n",
        ] {
            assert_eq!(Console::default().feed(line.as_bytes()), [Heard::Panic]);
        }
    }
}
