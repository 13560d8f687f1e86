// SPDX-License-Identifier: GPL-3.0-or-later
//! `domus-dom0 logs`: what a domU said on its console.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use domus_model::console_log::{Cleaner, goes_on_at};
use domus_model::names::Name;

use crate::context::Context;

/// How often it is looked whether there is more.
const LOOK: Duration = Duration::from_millis(200);
/// So much is read at a time, in bytes.
const BLOCK: usize = 64 << 10;
/// So much of what was shown is remembered, in bytes: by it the place is found after the log was cut.
const REMEMBERED: usize = 4 << 10;

/// Shows on `out` the last `lines` that `name` said, or all that is kept; and then whatever it says,
/// without end, if `follow`.
///
/// # Errors
/// There is no log, or nobody reads what is shown.
pub(crate) fn show(
    context: &Context,
    name: &Name,
    lines: Option<usize>,
    follow: bool,
    out: &mut impl Write,
) -> Result<()> {
    let path = context.paths.console_log(name);
    let mut log = match Log::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(absent(context, name, &path)?),
        opened => opened.with_context(|| reading(&path))?,
    };
    if let Some(lines) = lines {
        log.skip_to_last(lines).with_context(|| reading(&path))?;
    }
    loop {
        while let Some(text) = log.more().with_context(|| reading(&path))? {
            out.write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .with_context(|| format!("showing what {name} said"))?;
        }
        if !follow {
            return Ok(());
        }
        sleep(LOOK);
        log.catch_up().with_context(|| reading(&path))?;
    }
}

fn reading(path: &Path) -> String {
    format!("reading {}", path.display())
}

/// Why there is no log, and how one comes about.
///
/// # Errors
/// The host has no domU of that name.
fn absent(context: &Context, name: &Name, path: &Path) -> Result<String> {
    context.domu(name)?;
    let path = path.display();
    Ok(format!(
        "{name} has no console log: {path} is not there. It begins when {name} starts \
         (`domus-dom0 start {name}`). If {name} runs, xenconsoled keeps none: `systemctl cat \
         xen.service` shows whether it is run with --log=guest --log-dir=/var/log/xen/console"
    ))
}

/// A log that is read on.
struct Log {
    path: PathBuf,
    file: File,
    /// How far it was read, in bytes.
    at: u64,
    /// The end of what was read.
    seen: Vec<u8>,
    cleaner: Cleaner,
}

impl Log {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: File::open(path)?,
            at: 0,
            seen: Vec::new(),
            cleaner: Cleaner::default(),
        })
    }

    /// Goes to where the last so many lines begin.
    fn skip_to_last(&mut self, lines: usize) -> std::io::Result<()> {
        let end = self.file.seek(SeekFrom::End(0))?;
        let (mut begin, mut left) = (end, lines);
        while begin > 0 && lines > 0 {
            let length = begin.min(BLOCK as u64);
            begin -= length;
            let mut block = Vec::new();
            self.file.seek(SeekFrom::Start(begin))?;
            (&self.file).take(length).read_to_end(&mut block)?;
            for (index, _) in block.iter().enumerate().rev().filter(|it| *it.1 == b'\n') {
                let at = begin + index as u64 + 1;
                // What ends the last line is not before it.
                left -= usize::from(at < end);
                if left == 0 {
                    self.at = at;
                    return Ok(());
                }
            }
        }
        self.at = if lines == 0 { end } else { 0 };
        Ok(())
    }

    /// What comes next, if there is more.
    fn more(&mut self) -> std::io::Result<Option<String>> {
        let mut block = vec![0; BLOCK];
        self.file.seek(SeekFrom::Start(self.at))?;
        let length = self.file.read(&mut block)?;
        if length == 0 {
            return Ok(None);
        }
        block.truncate(length);
        self.at += length as u64;
        let text = self.cleaner.clean(&block);
        self.seen.append(&mut block);
        let forgotten = self.seen.len().saturating_sub(REMEMBERED);
        self.seen.drain(..forgotten);
        Ok(Some(text))
    }

    /// Finds the place again if the log was cut or is another file.
    fn catch_up(&mut self) -> std::io::Result<()> {
        let here = self.file.metadata()?;
        // Gone for now: what there is of it is read on.
        let Ok(there) = self.path.metadata() else {
            return Ok(());
        };
        let is_same = (here.dev(), here.ino()) == (there.dev(), there.ino());
        // Empty for now: it is being cut.
        if is_same && (here.len() >= self.at || here.len() == 0) {
            return Ok(());
        }
        if !is_same {
            *self = Self::open(&self.path)?;
            return Ok(());
        }
        let mut now = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut now)?;
        self.at = goes_on_at(&self.seen, &now) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};

    fn rest(log: &mut Log) -> String {
        std::iter::from_fn(|| log.more().expect("read")).collect()
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("guest-web.log");
        let last = |content: &[u8], lines| {
            fs::write(&path, content).expect("written");
            let mut log = Log::open(&path).expect("opened");
            log.skip_to_last(lines).expect("found");
            rest(&mut log)
        };
        assert_eq!(last(b"one\ntwo\nthree\n", 2), "two\nthree\n");
        assert_eq!(last(b"one\ntwo\nlogin: ", 2), "two\nlogin: ");
        assert_eq!(last(b"one\n", 7), "one\n");
        assert_eq!(last(b"", 7), "");
        assert_eq!(last(b"one\n", 0), "");
        let long = "x".repeat(BLOCK) + "\n" + &"y".repeat(BLOCK) + "\nend\n";
        assert_eq!(last(long.as_bytes(), 2), "y".repeat(BLOCK) + "\nend\n");
    }

    #[test]
    fn it_goes_on_when_the_log_is_cut_and_when_it_is_another() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("guest-web.log");
        fs::write(&path, "one\ntwo\nthree\n").expect("written");
        let mut log = Log::open(&path).expect("opened");
        assert_eq!(rest(&mut log), "one\ntwo\nthree\n");
        let writer = OpenOptions::new().append(true).open(&path).expect("open");
        writer.set_len(0).expect("cut");
        (&writer).write_all(b"three\nfour\n").expect("written");
        log.catch_up().expect("found");
        assert_eq!(rest(&mut log), "four\n");
        log.catch_up().expect("nothing to do");
        assert_eq!(rest(&mut log), "");
        fs::remove_file(&path).expect("removed");
        log.catch_up().expect("nothing to do");
        fs::write(&path, "four\n").expect("written");
        log.catch_up().expect("found");
        assert_eq!(rest(&mut log), "four\n", "another log");
    }
}
