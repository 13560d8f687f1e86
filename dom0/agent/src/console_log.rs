// SPDX-License-Identifier: GPL-3.0-or-later
//! The logs that xenconsoled keeps of what domUs say on their consoles: each keeps its end. They are
//! cut in place, as xenconsoled has them open, to append to.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use domus_model::console_log;
use domus_model::fleet::{DomU, Host};
use domus_model::names::Name;

use crate::paths::Paths;
use crate::warn;

/// Cuts the logs that are longer than they may be. A log of what is no domU of this host may have
/// what a domU has if nobody says so. What cannot be cut is said, and holds up nobody.
pub(crate) fn trim_all(paths: &Paths, host: &Host) {
    let logs = paths.console_logs();
    let entries = match fs::read_dir(&logs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            let doing = format!("listing {}", logs.display());
            return warn(&anyhow::Error::from(error).context(doing));
        }
    };
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = file.strip_prefix("guest-");
        let Some(name) = name.and_then(|name| name.strip_suffix(".log")) else {
            continue;
        };
        let domu = host.domus.get(name);
        let limit = domu.map_or(DomU::CONSOLE_LOG, |domu| domu.console_log);
        if let Err(error) = trim(&entry.path(), limit.bytes()) {
            warn(&error);
        }
    }
}

/// What `name` said last, if it said anything. What cannot be read is as if it were not there: it is
/// asked for wherever somebody merely looks.
pub(crate) fn last_lines(paths: &Paths, name: &Name) -> Option<Vec<String>> {
    let mut end = Vec::new();
    let mut file = File::open(paths.console_log(name)).ok()?;
    let length = file.metadata().ok()?.len();
    let begin = length.saturating_sub(console_log::ENOUGH);
    file.seek(SeekFrom::Start(begin)).ok()?;
    file.take(console_log::ENOUGH).read_to_end(&mut end).ok()?;
    Some(console_log::last_lines(&end)).filter(|lines| !lines.is_empty())
}

/// Cuts a log of more than `limit` bytes to its last lines, half of that: so that it is not cut
/// again at once. A line that is written meanwhile may be lost.
fn trim(log: &Path, limit: u64) -> Result<()> {
    let doing = || format!("cutting {}", log.display());
    let file = OpenOptions::new().read(true).append(true).open(log);
    let mut file = file.with_context(doing)?;
    let length = file.metadata().with_context(doing)?.len();
    if length <= limit {
        return Ok(());
    }
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length - limit / 2))
        .with_context(doing)?;
    file.read_to_end(&mut end).with_context(doing)?;
    let line = end.iter().position(|byte| *byte == b'\n');
    let from = line.map_or(0, |line| line + 1);
    file.set_len(0).with_context(doing)?;
    file.write_all(&end[from..]).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_last_lines() {
        let dir = tempfile::tempdir().expect("dir");
        let log = dir.path().join("guest-web.log");
        let lines: String = (0..100)
            .map(|number| format!("line {number:04}\n"))
            .collect();
        fs::write(&log, &lines).expect("written");
        // As xenconsoled has it.
        let mut writer = OpenOptions::new().append(true).open(&log).expect("open");
        trim(&log, 1000).expect("nothing to do");
        assert_eq!(fs::read_to_string(&log).expect("read"), lines);
        trim(&log, 200).expect("cut");
        writer.write_all(b"line 0100\n").expect("written");
        let kept = fs::read_to_string(&log).expect("read");
        assert!(kept.starts_with("line 0091\n"), "{kept}");
        assert!(kept.ends_with("line 0099\nline 0100\n"), "{kept}");
        trim(&log, 200).expect("nothing to do");
        assert_eq!(fs::read_to_string(&log).expect("read"), kept);
        fs::write(&log, "x".repeat(300)).expect("written");
        trim(&log, 200).expect("cut");
        assert_eq!(fs::metadata(&log).expect("stat").len(), 100, "no line ends");
    }
}
