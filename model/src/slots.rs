// SPDX-License-Identifier: GPL-3.0-or-later
//! Two releases on one medium: the block in which GRUB and dom0 keep which of them boots, and what
//! a host remembers of releases. Why it is so: `docs/decisions/slots.md`.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::trial::MOST_BOOTS;

/// Name of the partition that has the block, beside those of [`Slot::partition`].
pub const ESP: &str = "domus-esp";
/// The directory and file of the block there, as FAT has them: 8 characters and 3.
pub const FILE: [&[u8; 11]; 2] = [b"GRUB       ", b"DOMUS   ENV"];
/// Bytes of the block: GRUB's save_env keeps the length of the file.
pub const LENGTH: usize = 1024;
/// What it says stands in so many bytes: a sector, which a disk writes whole or not at all.
pub const SECTOR: usize = 512;
/// The first slot begins here on a medium, in bytes.
pub const SLOT_A: u64 = 66 << 20;
/// What a host remembers of releases, on its config partition.
pub const RELEASES: &str = "/config/state/releases.json";

/// The first line (GRUB, include/grub/lib/envblk.h).
const HEADER: &str = "# GRUB Environment Block\n";
/// How the block says that nothing is on trial. Not by nothing: what GRUB writes keeps its length.
const NONE: &str = "-";
/// How many releases of a kind are remembered.
const REMEMBERED: usize = 16;

/// One of the places for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// What a new medium boots.
    A,
    /// Empty on a new medium.
    B,
}

impl Slot {
    /// Reads `a` or `b`.
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Name of its partition.
    pub fn partition(self) -> &'static str {
        match self {
            Self::A => "domus-a",
            Self::B => "domus-b",
        }
    }

    /// Name of the partition with what firmware starts of its release, on a medium whose releases
    /// are signed for Secure Boot.
    pub fn boot_partition(self) -> &'static str {
        match self {
            Self::A => "domus-a-efi",
            Self::B => "domus-b-efi",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// Which slot boots: what GRUB's environment block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// What boots if nothing is on trial.
    pub good: Slot,
    /// The slot on trial, and how many boots of it GRUB began.
    pub trial: Option<(Slot, u32)>,
}

impl Choice {
    /// Nothing but this one.
    pub fn only(good: Slot) -> Self {
        Self { good, trial: None }
    }

    /// The block.
    pub fn render(&self) -> Vec<u8> {
        let (trial, tries) = match self.trial {
            Some((slot, tries)) => (slot.to_string(), tries),
            None => (NONE.to_owned(), 0),
        };
        let mut text = HEADER.to_owned();
        let good = self.good;
        let _ = write!(
            text,
            "domus_good={good}\ndomus_trial={trial}\ndomus_tries={tries}\n"
        );
        let mut block = text.into_bytes();
        block.resize(LENGTH, b'#');
        block
    }

    /// Reads a block.
    ///
    /// # Errors
    /// It is damaged; why.
    pub fn parse(block: &[u8]) -> Result<Self, String> {
        if block.len() != LENGTH {
            return Err(format!("{} bytes, it has {LENGTH}", block.len()));
        }
        let text = block.strip_prefix(HEADER.as_bytes());
        let text = text.ok_or("its first line is not GRUB's")?;
        let text = String::from_utf8_lossy(text);
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(name, _)| *name == key).map(|(_, value)| value);
            found.ok_or_else(|| format!("it has no {key}"))
        };
        let slot =
            |key: &str, value: &str| Slot::read(value).ok_or_else(|| format!("{key} is {value:?}"));
        let good = slot("domus_good", value("domus_good")?)?;
        let tries = value("domus_tries")?;
        let known = tries.parse().ok().filter(|tries| *tries <= MOST_BOOTS);
        let tries = known.ok_or_else(|| format!("domus_tries is {tries:?}"))?;
        let trial = match value("domus_trial")? {
            NONE => None,
            other => Some((slot("domus_trial", other)?, tries)),
        };
        Ok(Self { good, trial })
    }

    /// What follows when `running` was booted: the choice from now on, and why the slot on trial is
    /// left, if GRUB left it.
    pub fn settle(self, running: Slot) -> (Self, Option<String>) {
        match self.trial {
            Some((slot, tries)) if slot != running => {
                let why = match tries {
                    MOST_BOOTS => {
                        format!(
                            "{tries} boots of it began, and nothing is known of any of them since"
                        )
                    }
                    _ => {
                        "GRUB could not count its boots, or found nothing in its slot that it may start"
                            .to_owned()
                    }
                };
                (Self::only(running), Some(why))
            }
            _ => (self, None),
        }
    }

    /// What GRUB did if it took the release in this slot: it counts before it boots.
    pub fn booted(&self, slot: Slot) -> Booted {
        let attempt = self.trial.filter(|(on, tries)| *on == slot && *tries > 0);
        Booted {
            slot,
            attempt: attempt.map(|(_, tries)| tries),
        }
    }

    /// Whether what runs in this slot has yet to get healthy.
    pub fn is_on_trial(&self, running: Slot) -> bool {
        self.trial.is_some_and(|(slot, _)| slot == running)
    }
}

/// What GRUB told dom0 that it booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booted {
    /// The slot.
    pub slot: Slot,
    /// The number of this boot, if the release in it is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// What a host remembers of releases, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Releases {
    /// Those that were healthy here.
    pub good: Vec<String>,
    /// Those that were left, the last one last.
    pub left: Vec<LeftRelease>,
}

/// A release that a host left by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRelease {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

impl Releases {
    /// One was healthy; whether that is news.
    pub fn keep(&mut self, id: &str) -> bool {
        let before = self.clone();
        self.left.retain(|left| left.id != id);
        if !self.good.iter().any(|good| good == id) {
            self.good.push(id.to_owned());
            let more = self.good.len().saturating_sub(REMEMBERED);
            self.good.drain(..more);
        }
        *self != before
    }

    /// One was left.
    pub fn leave(&mut self, id: &str, why: &str) {
        self.good.retain(|good| good != id);
        self.left.retain(|left| left.id != id);
        self.left.push(LeftRelease {
            id: id.to_owned(),
            why: why.to_owned(),
        });
        let more = self.left.len().saturating_sub(REMEMBERED);
        self.left.drain(..more);
    }

    /// Why this one was left, if it was.
    pub fn failure(&self, id: &str) -> Option<&str> {
        let left = self.left.iter().find(|left| left.id == id);
        left.map(|left| left.why.as_str())
    }

    /// Whether this one was healthy here.
    pub fn was_good(&self, id: &str) -> bool {
        self.good.iter().any(|good| good == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_block_says_is_in_one_sector() {
        let choice = Choice {
            good: Slot::A,
            trial: Some((Slot::B, 2)),
        };
        let block = choice.render();
        assert_eq!(block.len(), LENGTH);
        let said = "# GRUB Environment Block\ndomus_good=a\ndomus_trial=b\ndomus_tries=2\n###";
        assert!(block.starts_with(said.as_bytes()));
        assert!(block[SECTOR..].iter().all(|byte| *byte == b'#'));
    }

    #[test]
    fn a_damaged_block_is_no_choice() {
        let whole = Choice::only(Slot::B).render();
        let with = |from: &str, to: &str| {
            let text = String::from_utf8(whole.clone()).expect("text");
            let mut block = text.replace(from, to).into_bytes();
            block.resize(LENGTH, b'#');
            Choice::parse(&block).expect_err(to)
        };
        assert_eq!(with("good=b", "good=c"), "domus_good is \"c\"");
        assert_eq!(with("trial=-", "trial="), "domus_trial is \"\"");
        assert_eq!(with("tries=0", "tries=4"), "domus_tries is \"4\"");
        assert_eq!(with("domus_good", "saved_entry"), "it has no domus_good");
        assert_eq!(with("# GRUB", "# grub"), "its first line is not GRUB's");
        assert_eq!(
            Choice::parse(&whole[..512]),
            Err("512 bytes, it has 1024".into())
        );
    }

    #[test]
    fn what_grub_left_is_left() {
        let tried = |tries| Choice {
            good: Slot::A,
            trial: Some((Slot::B, tries)),
        };
        assert_eq!(tried(1).settle(Slot::B), (tried(1), None));
        assert!(tried(1).is_on_trial(Slot::B) && !tried(1).is_on_trial(Slot::A));
        for (tries, word) in [(MOST_BOOTS, "3 boots of it began"), (0, "could not count")] {
            let (choice, why) = tried(tries).settle(Slot::A);
            assert_eq!(choice, Choice::only(Slot::A));
            assert!(why.expect("a reason").contains(word));
        }
        let proven = Choice::only(Slot::B);
        assert_eq!(proven.settle(Slot::B), (proven, None));
    }

    #[test]
    fn what_grub_counted_is_the_number_of_the_boot() {
        let tried = |tries| Choice {
            good: Slot::A,
            trial: Some((Slot::B, tries)),
        };
        let booted = |choice: Choice, slot| {
            let booted = choice.booted(slot);
            assert_eq!(booted.slot, slot);
            booted.attempt
        };
        assert_eq!(booted(tried(2), Slot::B), Some(2));
        assert_eq!(booted(tried(2), Slot::A), None);
        assert_eq!(booted(tried(0), Slot::B), None);
        assert_eq!(booted(Choice::only(Slot::B), Slot::B), None);
    }

    #[test]
    fn a_release_is_good_or_left() {
        let mut releases = Releases::default();
        assert!(releases.keep("one") && !releases.keep("one"));
        releases.leave("two", "db is not up");
        assert_eq!(releases.failure("two"), Some("db is not up"));
        assert!(releases.was_good("one") && !releases.was_good("two"));
        assert!(releases.keep("two"));
        assert_eq!(releases.failure("two"), None);
        releases.leave("one", "why");
        assert!(!releases.was_good("one"));
        let text = serde_json::to_string(&releases).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Releases>(&text).expect("it"),
            releases
        );
        for number in 0..99 {
            releases.keep(&number.to_string());
            releases.leave(&format!("bad{number}"), "why");
        }
        assert_eq!((releases.good.len(), releases.left.len()), (16, 16));
    }

    proptest! {
        #[test]
        fn a_choice_survives_writing(good: bool, trial in prop::option::of((any::<bool>(), 0..=MOST_BOOTS))) {
            let slot = |b| if b { Slot::B } else { Slot::A };
            let trial = trial.map(|(b, tries)| (slot(b), tries));
            let choice = Choice { good: slot(good), trial };
            prop_assert_eq!(Choice::parse(&choice.render()), Ok(choice));
        }

        #[test]
        fn any_block_is_read_or_refused(content: Vec<u8>, text: String) {
            let _ = Choice::parse(&content);
            let mut block = format!("{HEADER}{text}").into_bytes();
            block.resize(LENGTH, b'#');
            if let Ok(choice) = Choice::parse(&block) {
                prop_assert_eq!(Choice::parse(&choice.render()), Ok(choice));
            }
        }
    }
}
