// SPDX-License-Identifier: GPL-3.0-or-later
//! How a host's local disks are, for people and in JSON.

use serde::{Deserialize, Serialize};

use super::mirror::{HalfState, Mirror};

/// How they are, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// All is as the document says.
    Ok,
    /// In use, but not as it should be.
    Degraded,
    /// A disk is not there; nothing was prepared without it.
    Waiting,
    /// A disk holds what nobody said may be erased, or cannot be used.
    Refused,
}

impl Standing {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// What became of a host's local disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How they are.
    pub standing: Standing,
    /// Why they are not all as they should be.
    pub reasons: Vec<String>,
    /// What is on them: `/var`, `/tmp`, `swap`, the volume group.
    pub holds: Vec<String>,
    /// What else there is to know.
    pub remarks: Vec<String>,
    /// How the mirror is now, if one runs; a boot does not keep it.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// Which of the reasons is that a mirror had one half only when disks were prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half: Option<String>,
}

impl Note {
    /// With nothing in it.
    pub fn new(standing: Standing) -> Self {
        Self {
            standing,
            reasons: Vec::new(),
            holds: Vec::new(),
            remarks: Vec::new(),
            mirror: None,
            half: None,
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        let mut line = format!("storage {}", self.standing.word());
        if !self.holds.is_empty() {
            line += &format!(": {}", self.holds.join(", "));
        }
        if let Some(mirror) = &self.mirror {
            line += &format!("; {}", mirror.words());
        }
        for more in self.reasons.iter().chain(&self.remarks) {
            line += &format!("; {more}");
        }
        line
    }

    /// Notes that something is not as it should be: not better than `standing`.
    pub fn worse(&mut self, standing: Standing, reason: impl Into<String>) {
        self.standing = self.standing.max(standing);
        self.reasons.push(reason.into());
    }

    /// Notes that a mirror has one half only, and why.
    pub fn halved(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        self.half = Some(reason.clone());
        self.worse(Standing::Degraded, reason);
    }

    /// Takes in how the mirror is now: what was said of its halves when disks were prepared holds
    /// no longer than they are so. `left_out`: what to do about a half that is not used.
    pub fn set_mirror(&mut self, mirror: Mirror, left_out: &str) {
        if let Some(then) = &self.half {
            let is_said = mirror.words().contains(then);
            if mirror.whole || mirror.is_recovering() || is_said {
                self.reasons.retain(|reason| reason != then);
            }
            if mirror.whole && self.reasons.is_empty() && self.standing == Standing::Degraded {
                self.standing = Standing::Ok;
            }
        }
        if !mirror.whole {
            self.standing = self.standing.max(Standing::Degraded);
            let is_explained = self.half.is_some() || mirror.is_recovering();
            if mirror.has(HalfState::LeftOut) && !is_explained {
                self.reasons.push(left_out.to_owned());
            }
            if mirror.has(HalfState::Failed) {
                self.reasons.push(FAILED.to_owned());
            }
        }
        self.mirror = Some(mirror);
    }
}

/// What to do about a half that failed.
const FAILED: &str = "exchange the disk that failed, name the new one in host.toml, and run \
    `domus-dom0 storage`";

#[cfg(test)]
mod tests {
    use super::super::mirror::{Array, Doing, Member};
    use super::*;

    fn mirror(state: Option<HalfState>, doing: Option<u64>) -> Mirror {
        let member = |disk: &str, state| Member {
            disk: disk.into(),
            state,
        };
        let one = member("sda", HalfState::InSync);
        let two = state.map(|state| member("sdb", state));
        let array = Array {
            missing: u32::from(state != Some(HalfState::InSync)),
            members: std::iter::once(one).chain(two).collect(),
            doing: doing.map(|percent| Doing {
                what: "recover".into(),
                percent: Some(percent),
            }),
        };
        let named = ["one", "two"].map(str::to_owned);
        let devices = ["sda", "sdb"].map(|it| Some(it.to_owned()));
        Mirror::new(&array, &named.into_iter().zip(devices).collect::<Vec<_>>())
    }

    #[test]
    fn what_a_boot_said_of_a_mirror_gives_way_to_how_it_is() {
        let mut booted = Note::new(Standing::Ok);
        booted.halved("two holds ext4");
        let lines = [
            (mirror(Some(HalfState::InSync), None), "ok; mirror whole"),
            (
                mirror(Some(HalfState::Behind), Some(37)),
                "degraded; mirror degraded, two is behind, recover 37%",
            ),
            (
                mirror(None, None),
                "degraded; mirror degraded, two is not in it; two holds ext4",
            ),
        ];
        for (mirror, line) in lines {
            let mut note = booted.clone();
            note.set_mirror(mirror, "exchange it");
            assert_eq!(note.line(), format!("storage {line}"));
        }
        // The same in other words is not said twice.
        let mut same = Note::new(Standing::Ok);
        same.halved("two is not in it");
        same.set_mirror(mirror(None, None), "exchange it");
        assert_eq!(
            same.line(),
            "storage degraded; mirror degraded, two is not in it"
        );
        // What else is not as it should be stays.
        let mut full = booted.clone();
        full.worse(Standing::Degraded, "/var is full");
        full.set_mirror(mirror(Some(HalfState::InSync), None), "exchange it");
        assert_eq!(full.line(), "storage degraded; mirror whole; /var is full");
        // It failed since.
        let mut well = Note::new(Standing::Ok);
        well.set_mirror(mirror(Some(HalfState::Failed), None), "exchange it");
        assert!(
            well.line().starts_with(
                "storage degraded; mirror degraded, two has FAILED; exchange the disk"
            ),
            "{}",
            well.line()
        );
        let mut left_out = Note::new(Standing::Ok);
        left_out.set_mirror(mirror(None, None), "exchange it");
        assert!(left_out.line().ends_with("two is not in it; exchange it"));
    }
}
