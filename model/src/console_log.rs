// SPDX-License-Identifier: GPL-3.0-or-later
//! What a guest says on its console, made fit to be shown. A guest may write whatever it likes: of
//! that nothing reaches a terminal but text in lines.

/// So many lines are kept of what a guest said before it fell.
pub const LAST_LINES: usize = 5;
/// So many bytes at the end of a log are enough to find them.
pub const ENOUGH: u64 = 8 << 10;
/// A line is shown up to so many characters.
const LONGEST: usize = 160;
/// An escape sequence is not longer, in bytes: what goes on is text again.
const LONGEST_SEQUENCE: usize = 256;

/// Takes from a stream of bytes what is no text: escape sequences (ECMA-48) and control characters.
/// Lines end as in a file.
#[derive(Debug, Default)]
pub struct Cleaner {
    state: State,
    /// The beginning of a character whose rest has not come yet.
    rest: Vec<u8>,
    /// Whether a line has begun.
    is_within: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Text,
    /// A carriage return: what follows says whether a line ends here.
    Return,
    /// An escape character.
    Escape,
    /// One with bytes before the last one.
    Intermediate(usize),
    /// A control sequence, up to its last byte.
    Control(usize),
    /// A string for the terminal, up to what ends it.
    Command(usize),
}

impl Cleaner {
    /// The text of these bytes, which come after those before.
    pub fn clean(&mut self, bytes: &[u8]) -> String {
        let mut bytes = [std::mem::take(&mut self.rest), bytes.to_vec()].concat();
        let whole = whole_characters(&bytes);
        self.rest = bytes.split_off(whole);
        let mut text = String::with_capacity(bytes.len());
        for character in String::from_utf8_lossy(&bytes).chars() {
            self.take(character, &mut text);
        }
        text
    }

    fn take(&mut self, character: char, text: &mut String) {
        self.state = match (self.state, character) {
            (_, '\u{1b}') => State::Escape,
            (_, '\u{9b}') => State::Control(0),
            (State::Escape, '[') => State::Control(0),
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::Command(0),
            (State::Escape | State::Intermediate(..LONGEST_SEQUENCE), ' '..='/') => {
                State::Intermediate(self.state.length() + 1)
            }
            (State::Escape | State::Intermediate(_), '0'..='~') => State::Text,
            (State::Control(..LONGEST_SEQUENCE), ' '..='?') => {
                State::Control(self.state.length() + 1)
            }
            (State::Control(_), '@'..='~') => State::Text,
            (State::Command(_), '\u{7}' | '\u{9c}') => State::Text,
            (State::Command(length @ ..LONGEST_SEQUENCE), other) if other != '\n' => {
                State::Command(length + 1)
            }
            (_, '\r') => State::Return,
            (_, '\n') => {
                text.push('\n');
                self.is_within = false;
                State::Text
            }
            (_, '\t') => self.say('\t', text),
            (_, other) if other.is_control() || is_hidden(other) => State::Text,
            (_, other) => self.say(other, text),
        };
    }

    fn say(&mut self, character: char, text: &mut String) -> State {
        // A line that is written over is shown before and after.
        if matches!(self.state, State::Return) && self.is_within {
            text.push('\n');
        }
        text.push(character);
        self.is_within = true;
        State::Text
    }
}

impl State {
    fn length(self) -> usize {
        match self {
            Self::Text | Self::Return | Self::Escape => 0,
            Self::Intermediate(length) | Self::Control(length) | Self::Command(length) => length,
        }
    }
}

/// Whether a character changes how others are shown and is not seen itself: the direction of text.
fn is_hidden(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many of these bytes are before a character whose rest is missing.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            // Something in it is no UTF-8 at all: only its last three bytes may be a beginning.
            let last = bytes.len().saturating_sub(3);
            let begins = |at: &usize| {
                let end = std::str::from_utf8(&bytes[*at..]);
                end.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
            };
            (last..bytes.len()).find(begins).unwrap_or(bytes.len())
        }
        Ok(_) => bytes.len(),
    }
}

/// The last lines of a log of which this is the end, without those that are blank. Their number and
/// length are bounded, whatever the guest wrote.
pub fn last_lines(end: &[u8]) -> Vec<String> {
    let text = Cleaner::default().clean(end);
    let lines = text.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty());
    let mut lines: Vec<&str> = lines.rev().take(LAST_LINES).collect();
    lines.reverse();
    lines.into_iter().map(shortened).collect()
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// Where whoever has `seen` what a log ended with goes on in it after it was cut to its end, `now`:
/// at its beginning if what was seen is not there any more.
pub fn goes_on_at(seen: &[u8], now: &[u8]) -> usize {
    let mut parts = now.windows(seen.len().max(1));
    if let Some(at) = parts.rposition(|part| part == seen) {
        return at + seen.len();
    }
    // What was seen may have been cut itself.
    let longest = seen.len().min(now.len());
    let begins = |length: &usize| now.starts_with(&seen[seen.len() - length..]);
    (1..=longest).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(bytes: &[u8]) -> String {
        Cleaner::default().clean(bytes)
    }

    #[test]
    fn nothing_but_text_is_left() {
        for (said, shown) in [
            (
                &b"[    0.1] Linux\r\nlogin: "[..],
                "[    0.1] Linux\nlogin: ",
            ),
            (
                b"\x1b[2J\x1b[0;32m  OK  \x1b[0m Started\r\n",
                "  OK   Started\n",
            ),
            (b"\x1b]0;title\x07a\x1b]52;c;cm0=\x1b\\b", "ab"),
            (b"\x1bPq#0\x1b\\a\x1b(Bb\x1bMc", "abc"),
            (b"a\x00\x08\x7f\x0eb\tc", "ab\tc"),
            (b"10 %\r20 %\r\n", "10 %\n20 %\n"),
            (b"\n\rDebian\r\r\n", "\nDebian\n"),
            ("gr\u{fc}n \u{202e}olleh".as_bytes(), "gr\u{fc}n olleh"),
            (b"\xff\xfeok", "\u{fffd}\u{fffd}ok"),
            ("\u{9b}31mred".as_bytes(), "red"),
        ] {
            assert_eq!(clean(said), shown, "{said:?}");
        }
    }

    #[test]
    fn a_sequence_that_never_ends_hides_no_more_than_it_may() {
        let long = [b"\x1b]".to_vec(), vec![b'x'; 1000], b"\nnext\n".to_vec()].concat();
        let shown = clean(&long);
        assert!(
            shown.starts_with('x') && shown.ends_with("\nnext\n"),
            "{shown}"
        );
        assert_eq!(clean(b"\x1b]0;cut\nnext"), "\nnext");
    }

    #[test]
    fn the_last_lines_are_few_and_short() {
        let said = b"1\n2\n\n3\r\n4\n5\n \n6\n\x1b[0m\n";
        assert_eq!(last_lines(said), ["2", "3", "4", "5", "6"]);
        assert_eq!(last_lines(b""), [""; 0]);
        let long = last_lines("\u{e4}".repeat(5000).as_bytes());
        assert_eq!(long[0].chars().count(), LONGEST + 1);
        assert!(long[0].ends_with('…'), "{long:?}");
    }

    #[test]
    fn a_reader_goes_on_after_a_log_was_cut() {
        for (seen, now, rest) in [
            ("one\ntwo\n", "two\nthree\n", "three\n"),
            ("one\ntwo\n", "one\ntwo\n", ""),
            ("one\ntwo\n", "four\nfive\n", "four\nfive\n"),
            ("one\ntwo\n", "", ""),
            ("", "one\n", "one\n"),
            ("a\n", "x\na\na\nb\n", "b\n"),
        ] {
            let at = goes_on_at(seen.as_bytes(), now.as_bytes());
            assert_eq!(&now[at..], rest, "{seen:?} {now:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_it_comes(
            said in prop::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80),
            cuts in prop::collection::vec(0usize..80, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(said.len())).collect();
            cuts.sort_unstable();
            let mut cleaner = Cleaner::default();
            let (mut text, mut from) = (String::new(), 0);
            for cut in cuts.into_iter().chain([said.len()]) {
                text += &cleaner.clean(&said[from..cut]);
                from = cut;
            }
            let rest = cleaner.rest.len();
            let shown = |c: char| c == '\n' || c == '\t' || !c.is_control();
            prop_assert!(text.chars().all(shown), "{text:?}");
            prop_assert_eq!(&text, &clean(&said));
            prop_assert!(rest < 4);
            prop_assert!(last_lines(&said).len() <= LAST_LINES);
        }
    }
}
