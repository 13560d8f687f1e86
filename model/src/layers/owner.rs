// SPDX-License-Identifier: GPL-3.0-or-later
//! Owners of files by name, and the numbers that a machine's account files give them.

use crate::bad_value::{BadValue, quoted, serde_as_string};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A user and a group, each by name or number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    user: String,
    group: Option<String>,
}

impl FromStr for Owner {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (user, group) = match text.split_once(':') {
            None => (text, None),
            Some((user, group)) => (user, Some(group)),
        };
        if !is_account(user) || !group.is_none_or(is_account) {
            let problem = format!("{} is no owner of a file", quoted(text));
            let advice = "write a user and a group, as \"root:ssl-cert\"";
            return Err(BadValue::new(problem, advice));
        }
        Ok(Self {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        })
    }
}

/// Names as adduser makes them, or numbers that the kernel has.
fn is_account(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    match is_number {
        // The last one means "none" to chown(2).
        true => text.parse::<u32>().is_ok_and(|id| id != u32::MAX),
        false => {
            (1..=32).contains(&text.len())
                && !text.starts_with(['-', '.'])
                && text.chars().all(known)
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

serde_as_string!(Owner);

/// The accounts of a machine.
#[derive(Debug, Default)]
pub struct Users {
    /// User and primary group by name.
    users: BTreeMap<String, (u32, u32)>,
    groups: BTreeMap<String, u32>,
}

impl Users {
    /// Reads `/etc/passwd` and `/etc/group` (passwd(5), group(5)). Lines that are none are left
    /// out; of a name that is there twice the first counts, as for the C library.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let mut accounts = Self::default();
        for line in passwd.lines() {
            if let [name, _, uid, gid, ..] = line.split(':').collect::<Vec<_>>()[..]
                && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
            {
                let entry = accounts.users.entry(name.to_owned());
                entry.or_insert((uid, gid));
            }
        }
        for line in group.lines() {
            if let [name, _, gid, ..] = line.split(':').collect::<Vec<_>>()[..]
                && let Ok(gid) = gid.parse()
            {
                accounts.groups.entry(name.to_owned()).or_insert(gid);
            }
        }
        accounts
    }

    /// The numbers of an owner.
    ///
    /// # Errors
    /// What is not known: `no user nobody2`.
    pub fn find(&self, owner: &Owner) -> Result<(u32, u32), String> {
        let user = &owner.user;
        let (uid, primary) = match (self.users.get(user), user.parse()) {
            (Some((uid, gid)), _) => (*uid, Some(*gid)),
            (None, Ok(uid)) => (uid, None),
            (None, Err(_)) => return Err(format!("there is no user {user}")),
        };
        let gid = match &owner.group {
            None => primary.ok_or_else(|| format!("user {uid} has no group of its own"))?,
            Some(group) => match (self.groups.get(group), group.parse()) {
                (Some(gid), _) => *gid,
                (None, Ok(gid)) => gid,
                (None, Err(_)) => return Err(format!("there is no group {group}")),
            },
        };
        Ok((uid, gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:34::/:\nbroken\nwww:x:1:1::/:\n";
        let users = Users::parse(passwd, "root:x:0:\nssl-cert:x:110:www\n");
        let find = |text: &str| users.find(&text.parse().expect("an owner"));
        assert_eq!(find("www"), Ok((33, 34)));
        assert_eq!(find("root:ssl-cert"), Ok((0, 110)));
        assert_eq!(find("7:8"), Ok((7, 8)));
        assert_eq!(find("mail"), Err("there is no user mail".to_owned()));
        assert_eq!(find("root:mail"), Err("there is no group mail".to_owned()));
        assert_eq!(find("7"), Err("user 7 has no group of its own".to_owned()));
    }

    #[test]
    fn owners_are_accounts() {
        for right in [
            "root",
            "root:root",
            "_apt:nogroup",
            "0:0",
            "systemd-network:4294967294",
        ] {
            let owner: Owner = right.parse().expect(right);
            assert_eq!(owner.to_string(), right);
        }
        for wrong in [
            "",
            ":",
            "root:",
            ":root",
            "a:b:c",
            "-x",
            "a b",
            "4294967295",
            "9x",
            "ü",
        ] {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong:?}");
        }
    }
}
