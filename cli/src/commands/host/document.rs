// SPDX-License-Identifier: GPL-3.0-or-later
//! `host.toml` for another machine: what is not said anew stays byte for byte.

use anyhow::{Context, Result, bail};
use domus_model::replace::Exchange;
use domus_model::secrets::SshKey;
use toml_edit::{Decor, DocumentMut, Item, Table, TableLike, Value, table};

/// What a machine is recognised by: the keys of `[machine]`, and their values if they have one.
type Lines = [(&'static str, Option<String>)];

/// The document with these lines in `[machine]` (`None`: they stay as they are), this key and these
/// disks.
///
/// # Errors
/// It is no TOML, or has not the disks that are to go.
pub(super) fn edit(
    text: &str,
    lines: Option<&Lines>,
    key: &SshKey,
    disks: &[Exchange],
) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let machine = document.entry("machine").or_insert_with(table);
    let column = machine.as_table().and_then(column);
    let machine = machine
        .as_table_like_mut()
        .context("`machine` is no table there")?;
    // What comes, comes first: so that something is left to hold the comments of what goes.
    set(machine, "key", &key.to_string(), column);
    for (name, value) in lines.unwrap_or_default() {
        match value {
            Some(value) => set(machine, name, value, column),
            None => remove(machine, name),
        }
    }
    for disk in disks {
        exchange(&mut document, disk)?;
    }
    let edited = document.to_string();
    // toml_edit ends all lines as Unix does.
    Ok(match text.contains("\r\n") {
        true => edited.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => edited,
    })
}

/// Gives a key a value; one that was there is replaced where it stands. `column`: where the values of
/// its neighbours begin.
fn set(table: &mut dyn TableLike, key: &str, value: &str, column: Option<usize>) {
    let Some(Item::Value(old)) = table.get_mut(key) else {
        table.insert(key, toml_edit::value(value));
        if let (Some(column), Some(mut new)) = (column, table.key_mut(key)) {
            let blanks = column.saturating_sub(key.len()).max(1);
            new.leaf_decor_mut().set_suffix(" ".repeat(blanks));
        }
        return;
    };
    let decor = old.decor().clone();
    *old = Value::from(value);
    *old.decor_mut() = decor;
}

/// Where all values of a table begin, if they are in one column.
fn column(table: &Table) -> Option<usize> {
    let keys = table.iter().filter_map(|(key, _)| table.key(key));
    let mut columns = keys.map(|key| {
        let blanks = key.leaf_decor().suffix().and_then(|raw| raw.as_str());
        key.get().len() + blanks.map_or(1, str::len)
    });
    let first = columns.next()?;
    columns.all(|column| column == first).then_some(first)
}

/// Takes a key out, with the rest of its line. Comments above it stay.
fn remove(table: &mut dyn TableLike, key: &str) {
    let above = table.key(key).map(|key| prefix(key.leaf_decor()));
    let Some(above) = above.filter(|above| above.contains('#')) else {
        table.remove(key);
        return;
    };
    let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
    let at = keys.iter().position(|it| it == key).unwrap_or_default();
    table.remove(key);
    if let Some(mut next) = keys.get(at + 1).and_then(|next| table.key_mut(next)) {
        let whole = above + &prefix(next.leaf_decor());
        next.leaf_decor_mut().set_prefix(whole);
    } else if let Some(before) = at.checked_sub(1).and_then(|before| keys.get(before))
        && let Some(Item::Value(before)) = table.get_mut(before)
    {
        let line = before.decor().suffix().and_then(|raw| raw.as_str());
        let whole = format!("{}\n{}", line.unwrap_or_default(), above.trim_end());
        before.decor_mut().set_suffix(whole);
    }
}

/// What stands above a key.
fn prefix(decor: &Decor) -> String {
    let prefix = decor.prefix().and_then(|raw| raw.as_str());
    prefix.unwrap_or_default().to_owned()
}

/// Puts a disk of `[storage]` in the place of another.
fn exchange(document: &mut DocumentMut, disk: &Exchange) -> Result<()> {
    let storage = document
        .get_mut("storage")
        .and_then(Item::as_table_like_mut);
    let disks = storage.and_then(|storage| storage.get_mut("disks")?.as_array_mut());
    let mut all = disks.into_iter().flat_map(|disks| disks.iter_mut());
    let Some(old) = all.find(|it| it.as_str() == Some(&disk.old)) else {
        bail!("`disks` of [storage] has no {} there", disk.old);
    };
    let decor = old.decor().clone();
    *old = Value::from(&disk.new);
    *old.decor_mut() = decor;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBy/04APQQ0EpxOCz1U7/yLtiAZLNS7dOx+PtgRZDYaw";

    fn lines(
        uuid: Option<&str>,
        serial: Option<&str>,
        mac: Option<&str>,
    ) -> [(&'static str, Option<String>); 3] {
        let own = |value: Option<&str>| value.map(str::to_owned);
        [
            ("dmi-uuid", own(uuid)),
            ("serial", own(serial)),
            ("mac", own(mac)),
        ]
    }

    fn edited(text: &str, lines: Option<&Lines>) -> String {
        let key = KEY.parse().expect("a key");
        edit(text, lines, &key, &[]).expect("edited")
    }

    #[test]
    fn what_is_not_said_anew_stays() {
        let before = "# alpha\nversion = 1\n\n[machine]  # rack 7\ndmi-uuid =   \"old\" # sticker\n\
            # bought in May\nmemory   = \"2GiB\"\nkey = 'old'\n\n# nets\n[networks.lan]\nports   = [\"eno1\"]\n";
        let after = before
            .replace("\"old\"", "\"new\"")
            .replace("'old'", &format!("\"{KEY}\""));
        assert_eq!(edited(before, Some(&lines(Some("new"), None, None))), after);
        let same = before.replace("'old'", &format!("\"{KEY}\""));
        assert_eq!(edited(before, None), same);
    }

    #[test]
    fn lines_come_and_go_and_comments_above_them_stay() {
        let before =
            "[machine]\n# one\nserial = \"x\"   # its own\n# two\nmemory = \"2GiB\"\n\n[dom0]\n";
        let after = format!(
            "[machine]\n# one\n# two\nmemory = \"2GiB\"\nkey    = \"{KEY}\"\nmac    = \"m\"\n\n[dom0]\n"
        );
        assert_eq!(edited(before, Some(&lines(None, None, Some("m")))), after);

        let last = format!(
            "[machine]\nkey = \"{KEY}\" # k\nmac = \"m\"\n# one\nserial = \"x\"\n\n[dom0]\n"
        );
        let after = last.replace("\nserial = \"x\"", "");
        assert_eq!(edited(&last, Some(&lines(None, None, Some("m")))), after);
    }

    #[test]
    fn a_table_may_be_written_in_any_way() {
        let inline = "machine = { serial = \"x\", memory = \"2GiB\" }\n";
        let after = format!("machine = {{ memory = \"2GiB\" , key = \"{KEY}\", mac = \"m\" }}\n");
        assert_eq!(edited(inline, Some(&lines(None, None, Some("m")))), after);
        let dotted = "machine.serial = \"x\"\nmachine.memory = \"2GiB\"\n";
        let after = format!(
            "machine.serial = \"y\"\nmachine.memory = \"2GiB\"\nmachine.key    = \"{KEY}\"\n"
        );
        assert_eq!(edited(dotted, Some(&lines(None, Some("y"), None))), after);
        let none = format!("version = 1\n\n[machine]\nkey = \"{KEY}\"\n");
        assert_eq!(edited("version = 1\n", None), none);
    }

    #[test]
    fn a_disk_takes_the_place_of_another() {
        let before =
            "[machine]\nkey = \"\"\n[storage]\ndisks = [\n  \"a-1\", # left\n  \"a-2\",\n]\n";
        let key: SshKey = KEY.parse().expect("a key");
        let exchange = |old: &str| Exchange {
            old: old.to_owned(),
            new: "b-1".to_owned(),
        };
        let after = before
            .replace("a-1", "b-1")
            .replace("key = \"\"", &format!("key = \"{KEY}\""));
        let done = edit(before, None, &key, &[exchange("a-1")]);
        assert_eq!(done.expect("edited"), after);
        let refused = edit(before, None, &key, &[exchange("c-1")]).expect_err("no such disk");
        assert!(refused.to_string().contains("no c-1"), "{refused}");
        edit("[storage]\n", None, &key, &[exchange("a-1")]).expect_err("no disks");
    }

    #[test]
    fn lines_may_end_as_windows_ends_them() {
        let before = "version = 1\r\n[machine]\r\nserial = \"x\" # s\r\n# c\r\nkey = \"\"\r\n";
        let after = before
            .replace("\"x\"", "\"y\"")
            .replace("key = \"\"", &format!("key = \"{KEY}\""));
        assert_eq!(edited(before, Some(&lines(None, Some("y"), None))), after);
    }
}
