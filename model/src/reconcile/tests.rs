// SPDX-License-Identifier: GPL-3.0-or-later

mod converges;

use super::*;
use crate::etc::domu_uuid;
use uuid::Uuid;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn domu(text: &str, after: &[&str]) -> DomU {
    let mut domu = DomU::new(name(text), "base@1".parse().expect("an image"));
    domu.after = after.iter().copied().map(name).collect();
    domu
}

fn absent() -> Known {
    Known {
        sight: Sight::Absent,
        record: Record::default(),
        held: false,
        asked: false,
        busy: false,
        away: None,
    }
}

fn runs(id: u32, heard: Heard, since: Moment) -> Known {
    let mut known = absent();
    known.record.succeed(id, since);
    known.sight = Sight::Runs { id, heard };
    known.note(None, since);
    known
}

fn down(how: How, falls: u32, at: Moment) -> Known {
    let mut known = absent();
    known.record.falls = falls;
    known.record.failures = falls;
    let reason = "it crashed".to_owned();
    known.record.down = Some(Down { at, how, reason });
    known
}

/// A host: its domUs and what is known of them.
#[derive(Default)]
struct Host {
    domus: BTreeMap<Name, DomU>,
    known: BTreeMap<Name, Known>,
    free: Option<Size>,
}

impl Host {
    fn with(mut self, domu: DomU, known: Known) -> Self {
        self.known.insert(domu.name.clone(), known);
        self.domus.insert(domu.name.clone(), domu);
        self
    }

    /// All domains that run on it: those of its domUs, dom0, and one that nobody declared.
    fn domains(&self) -> Vec<Seen> {
        let seen = |name: &str, id, uuid| Seen {
            name: name.to_owned(),
            id,
            uuid: Some(uuid),
            was_started: false,
        };
        let own = self
            .known
            .iter()
            .filter_map(|(name, known)| match known.sight {
                Sight::Runs { id, .. } => {
                    let uuid = domu_uuid(&self::name("example"), &self.domus[name]);
                    Some(seen(name.as_str(), id, uuid))
                }
                _ => None,
            });
        let others = [
            seen("Domain-0", 0, Uuid::nil()),
            seen("foreign", 4000, Uuid::from_u128(1)),
        ];
        own.chain(others).collect()
    }

    fn at(&self, now: Moment) -> Decision {
        decide(&self.domus, &self.known, self.free, now)
    }
}

fn starts(decision: &Decision) -> Vec<&str> {
    decision.start.iter().map(Name::as_str).collect()
}

fn state(decision: &Decision, text: &str) -> (State, String) {
    let standing = &decision.standings[&name(text)];
    (standing.state, standing.reason.clone().unwrap_or_default())
}

#[test]
fn what_depends_on_nothing_is_started_at_once_and_the_others_when_those_are_up() {
    let host = |db: Known| {
        Host::default()
            .with(domu("db", &[]), db)
            .with(domu("log", &[]), absent())
            .with(domu("web", &["db"]), absent())
    };
    let first = host(absent()).at(10);
    assert_eq!(starts(&first), ["db", "log"]);
    let waiting = (State::Pending, "waits for db to be up".to_owned());
    assert_eq!(state(&first, "web"), waiting);
    let starting = host(runs(3, Heard::Nothing, 10)).at(11);
    assert_eq!(starts(&starting), ["log"]);
    assert_eq!(state(&starting, "web"), waiting);
    assert_eq!(starting.wake, Some(10 + PATIENCE));
    let up = host(runs(3, Heard::Up, 10)).at(12);
    assert_eq!(starts(&up), ["log", "web"]);
}

#[test]
fn nobody_waits_for_what_does_not_come() {
    let late = runs(3, Heard::Nothing, 10);
    let nonsense = runs(3, Heard::Ill("too long".into()), 10);
    let mut held = absent();
    held.held = true;
    for (db, now) in [
        (late, 10 + PATIENCE),
        (nonsense, 11),
        (held, 11),
        (down(How::Failed, 1, 10), 11),
        (down(How::Crashed, FALLS, 10), 11),
    ] {
        let host = Host::default().with(domu("db", &[]), db);
        let host = host.with(domu("web", &["db"]), absent());
        let decision = host.at(now);
        assert_eq!(starts(&decision), ["web"], "{:?}", host.known);
    }
}

#[test]
fn a_delay_begins_when_the_last_of_those_before_is_up() {
    let mut web = domu("web", &["db", "log"]);
    web.delay = Some("10s".parse().expect("an interval"));
    let host = Host::default()
        .with(domu("db", &[]), runs(3, Heard::Up, 100))
        .with(domu("log", &[]), runs(4, Heard::Up, 130))
        .with(web, absent());
    let decision = host.at(133);
    assert_eq!(
        state(&decision, "web"),
        (State::Pending, "waits for 7 s more".into())
    );
    assert_eq!(decision.wake, Some(140));
    assert_eq!(starts(&host.at(140)), ["web"]);
}

#[test]
fn what_falls_is_started_again_later_each_time_and_then_left() {
    let host = |known| Host::default().with(domu("db", &[]), known);
    for (falls, pause) in [(1, 5), (2, 10), (3, 20), (4, 40)] {
        let host = host(down(How::Crashed, falls, 100));
        let decision = host.at(99 + pause);
        let reason = "it crashed; tried again in 1 s".to_owned();
        assert_eq!(state(&decision, "db"), (State::Pending, reason));
        assert_eq!(decision.wake, Some(100 + pause));
        assert_eq!(starts(&host.at(100 + pause)), ["db"]);
    }
    let left = host(down(How::Crashed, FALLS, 100)).at(1_000_000);
    assert_eq!(
        state(&left, "db"),
        (
            State::Crashed,
            "it crashed, 5 times in a row: it is left so; `domus-dom0 start db` starts it".into()
        )
    );
    assert_eq!(left.wake, None);
}

#[test]
fn what_cannot_be_started_is_tried_for_ever_and_more_rarely() {
    for (failures, pause) in [(1, 5), (2, 10), (7, 300), (64, 300), (u32::MAX, 300)] {
        let host = Host::default().with(domu("db", &[]), down(How::Failed, failures, 100));
        assert_eq!(host.at(101).standings[&name("db")].state, State::Failed);
        assert_eq!(starts(&host.at(99 + pause)), [""; 0]);
        assert_eq!(starts(&host.at(100 + pause)), ["db"]);
    }
}

#[test]
fn who_restarts_is_said_by_the_document() {
    use Restart::{Always, Never, OnCrash};
    for (restart, how, expected) in [
        (Always, How::ShutDown, State::Pending),
        (Always, How::Crashed, State::Pending),
        (OnCrash, How::ShutDown, State::Stopped),
        (OnCrash, How::Crashed, State::Pending),
        (Never, How::ShutDown, State::Stopped),
        (Never, How::Crashed, State::Crashed),
        (Never, How::Failed, State::Pending),
    ] {
        let mut db = domu("db", &[]);
        db.restart = restart;
        let decision = Host::default().with(db, down(how, 1, 100)).at(500);
        assert_eq!(state(&decision, "db").0, expected, "{restart:?} {how:?}");
    }
}

#[test]
fn one_that_does_not_start_by_itself_waits_to_be_asked() {
    let mut db = domu("db", &[]);
    db.autostart = false;
    let host = |known| Host::default().with(db.clone(), known);
    let (is, reason) = state(&host(absent()).at(1), "db");
    assert_eq!(is, State::Stopped);
    assert!(reason.contains("`domus-dom0 start db`"), "{reason}");
    let mut asked = absent();
    asked.asked = true;
    assert_eq!(starts(&host(asked).at(1)), ["db"]);
}

#[test]
fn what_an_operator_stopped_stays_so_and_goes_down() {
    let mut ends = runs(3, Heard::Up, 10);
    ends.held = true;
    let host = Host::default().with(domu("db", &[]), ends);
    assert_eq!(state(&host.at(20), "db").0, State::Stopping);
    let mut held = absent();
    held.held = true;
    let host = Host::default().with(domu("db", &[]), held);
    let (is, reason) = state(&host.at(20), "db");
    assert_eq!((is, reason), (State::Stopped, held_reason(&name("db"))));
}

#[test]
fn one_that_is_elsewhere_is_not_started_whoever_asks() {
    let beta = || name("beta");
    for (away, expected, says) in [
        (
            Away::Left(beta()),
            State::Stopped,
            "never starts here again",
        ),
        (
            Away::Expected(beta()),
            State::Stopped,
            "has not come from beta",
        ),
        (
            Away::Unknown("damaged".to_owned()),
            State::Failed,
            "damaged",
        ),
    ] {
        let mut known = down(How::Crashed, 1, 10);
        (known.asked, known.away) = (true, Some(away));
        let host = Host::default()
            .with(domu("db", &[]), known)
            .with(domu("web", &["db"]), absent());
        let decision = host.at(500);
        let (is, reason) = state(&decision, "db");
        assert_eq!((is, reason.contains(says)), (expected, true), "{reason}");
        assert_eq!(
            starts(&decision),
            ["web"],
            "it waits for nobody who is not here"
        );
    }
}

#[test]
fn memory_goes_to_the_first_and_the_reason_says_how_much_is_missing() {
    let mut host = Host::default()
        .with(domu("a", &[]), absent())
        .with(domu("b", &[]), absent())
        .with(domu("c", &["b"]), absent());
    let each = needs(&host.domus[&name("a")]);
    host.free = Some(Size::from_mib(each.mib() + 101));
    let decision = host.at(7);
    assert_eq!(starts(&decision), ["a"]);
    let (is, reason) = state(&decision, "b");
    assert_eq!(is, State::Failed);
    assert!(reason.ends_with(" MiB are missing"), "{reason}");
    assert_eq!(
        state(&decision, "c").0,
        State::Failed,
        "it waits for nobody"
    );
    assert_eq!(decision.wake, Some(7 + LONGEST_PAUSE));
    // What is being made has not all of its memory yet.
    host.known.get_mut(&name("a")).expect("a").busy = true;
    let decision = host.at(8);
    assert_eq!(starts(&decision), [""; 0]);
    host.free = None;
    assert_eq!(starts(&host.at(8)), ["b"], "nobody knows: Xen says so");
}

#[test]
fn what_libvirt_lost_half_made_is_cleared_and_what_others_made_is_not() {
    let lost = |is_unused, attempted, busy| {
        let mut known = absent();
        known.sight = Sight::Lost { id: 9, is_unused };
        known.record.attempted = attempted;
        known.busy = busy;
        let host = Host::default().with(domu("db", &[]), known);
        let decision = host.at(5);
        assert_eq!(starts(&decision), [""; 0]);
        (decision.clear.len(), state(&decision, "db").0)
    };
    assert_eq!(lost(true, true, false), (1, State::Starting));
    assert_eq!(
        lost(true, true, true),
        (0, State::Starting),
        "it is being made"
    );
    assert_eq!(lost(false, true, false), (0, State::Failed));
    assert_eq!(lost(true, false, false), (0, State::Failed));
    // Whoever made it was told that libvirt ended; an operator who wants it tried again does not
    // change that.
    let mut failed = absent();
    failed.record.begin("c");
    failed.record.fail("libvirt ended".to_owned(), 4);
    failed.record.forgive();
    failed.sight = Sight::Lost {
        id: 9,
        is_unused: true,
    };
    let host = Host::default().with(domu("db", &[]), failed);
    assert_eq!(host.at(5).clear, [(name("db"), 9)].into());
}

#[test]
fn what_libvirt_makes_is_starting_and_what_it_makes_again_says_so() {
    let between = |making| {
        let mut known = absent();
        known.sight = Sight::Between;
        known.record.making = making;
        let decision = Host::default().with(domu("db", &[]), known).at(5);
        assert_eq!(starts(&decision), [""; 0]);
        state(&decision, "db")
    };
    assert_eq!(between(true), (State::Starting, String::new()));
    assert_eq!(
        between(false),
        (State::Starting, "it restarts itself".into())
    );
}

#[test]
fn a_guest_that_restarts_without_end_is_degraded_until_it_holds() {
    let mut known = runs(3, Heard::Up, 10);
    known.record.falls = FALLS;
    let host = Host::default().with(domu("db", &[]), known);
    let decision = host.at(20);
    assert_eq!(
        state(&decision, "db"),
        (State::Degraded, "it restarted 5 times in a row".into())
    );
    assert_eq!(decision.wake, Some(10 + SOUND));
}

#[test]
fn what_it_said_last_is_asked_while_nobody_else_has_spoken_since() {
    let fell = |sight, heard: Option<u32>| {
        let mut known = runs(3, Heard::Up, 10);
        known.sight = sight;
        let words = |domain| LastWords {
            domain,
            lines: vec!["panic".into()],
        };
        known.record.last_words = heard.map(words);
        known
    };
    let other = |id| Sight::Runs {
        id,
        heard: Heard::Nothing,
    };
    for (sight, heard, expected) in [
        (Sight::Absent, None, Some(3)),
        (Sight::Between, None, Some(3)),
        (Sight::Between, Some(3), None),
        (other(3), None, None),
        (other(4), None, Some(3)),
        (other(4), Some(2), Some(3)),
        (other(4), Some(3), None),
    ] {
        let known = fell(sight, heard);
        assert_eq!(known.fell_in(), expected, "{known:?}");
    }
    // xenconsoled may write its last line later than Xen says that it is gone.
    let mut known = fell(Sight::Absent, Some(3));
    known.note(None, 20);
    assert_eq!(known.fell_in(), Some(3));
    known.busy = true;
    assert_eq!(known.fell_in(), None, "it is being made again");
    assert_eq!(down(How::Failed, 1, 5).fell_in(), None, "it never ran");
    assert_eq!(absent().fell_in(), None);
}

#[test]
fn what_it_said_last_is_shown_until_it_holds_or_somebody_else_decides() {
    let words = LastWords {
        domain: 3,
        lines: vec!["panic".into()],
    };
    let shown = |mut known: Known, now| {
        known.record.last_words = Some(words.clone());
        known.note(None, now);
        let decision = Host::default().with(domu("db", &[]), known).at(now);
        decision.standings[&name("db")].last_words.len()
    };
    assert_eq!(shown(down(How::Crashed, 1, 100), 101), 1);
    assert_eq!(shown(down(How::Crashed, FALLS, 100), 101), 1);
    assert_eq!(
        shown(runs(4, Heard::Nothing, 100), 101),
        1,
        "the next start does not hide it"
    );
    assert_eq!(shown(runs(4, Heard::Up, 100), 101), 0);
    let mut held = down(How::Crashed, 1, 100);
    held.held = true;
    assert_eq!(shown(held, 101), 0);
    let mut sound = runs(4, Heard::Up, 100);
    sound.record.last_words = Some(words.clone());
    sound.note(None, 100 + SOUND);
    assert_eq!(sound.record.last_words, None);
    sound.record.last_words = Some(words.clone());
    sound.record.forgive();
    assert_eq!(sound.record.last_words, None);
}

#[test]
fn a_cycle_ends() {
    let host = Host::default()
        .with(domu("a", &["b"]), absent())
        .with(domu("b", &["a"]), absent());
    assert_eq!(starts(&host.at(1)), ["a"]);
}

#[test]
fn a_foreign_guest_is_up_since_it_used_its_disks_and_says_nothing() {
    let shop = DomU {
        foreign: true,
        ..domu("shop", &[])
    };
    let host = |known: Known| Host::default().with(shop.clone(), known);
    assert_eq!(
        state(&host(runs(3, Heard::Nothing, 10)).at(11), "shop"),
        (State::Starting, String::new())
    );
    let mut up = runs(3, Heard::Up, 20);
    assert_eq!(state(&host(up.clone()).at(21), "shop").0, State::Up);
    let id = 3;
    up.sight = Sight::Runs {
        id,
        heard: Heard::Nothing,
    };
    assert_eq!(state(&host(up).at(22), "shop").0, State::Up);
    let never = host(runs(3, Heard::Nothing, 10)).at(10 + PATIENCE);
    let (state, reason) = state(&never, "shop");
    assert_eq!(state, State::Degraded);
    assert!(reason.ends_with("and does not use its disks"), "{reason}");
}
