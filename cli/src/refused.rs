// SPDX-License-Identifier: GPL-3.0-or-later
//! What could be done and would do harm: an error that `main` alone says, with an exit code of its
//! own.

use std::fmt;

/// The exit code.
pub(crate) const CODE: u8 = 3;

/// Why not, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Says why a command failed; what it ends with.
pub(crate) fn say(error: &anyhow::Error) -> u8 {
    let (word, code) = match error.is::<Refused>() {
        true => ("refused", CODE),
        false => ("error", 1),
    };
    eprintln!("{word}: {error:#}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn a_refusal_has_its_own_exit_code_wherever_it_comes_from() {
        let refused = || anyhow::Error::from(Refused("it is locked".into()));
        assert_eq!(say(&refused()), 3);
        let within = Err::<(), _>(refused()).context("building");
        assert_eq!(say(&within.expect_err("refused")), 3);
        assert_eq!(say(&anyhow!("it is locked")), 1);
    }
}
