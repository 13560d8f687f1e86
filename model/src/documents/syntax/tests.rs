// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use proptest::prelude::*;

/// Lines of which documents are made: plain ones, and others.
const LINES: [&str; 44] = [
    "version = 1",
    "name = \"web\"",
    "name = \"\"",
    "a = 0",
    "a\t=\t10 # ten",
    "b = true",
    "b = false#",
    "list = []",
    "list = [ \"x\", \"y\",]",
    "list = [\n  1,\n\n  2\n]",
    "[a]",
    "[a.b]",
    "[a.b.c] # deep",
    "[b]",
    "[[list]]",
    "[[list]]",
    "[[a.list]]",
    "[list.x]",
    "# ü",
    "",
    "  ",
    "a.b = 1",
    "\"a\" = 1",
    "'a' = 'b'",
    "[\"a\"]",
    "[ a ]",
    "x = { y = 1 }",
    "x = [[1], [\"\"]]",
    "x = [ # one\n 1 ]",
    "x = \"\"\"y\"\"\"",
    "x = \"\\u00fc\"",
    "x = \"ü\"",
    "x = 'y'",
    "x = 0x1f",
    "x = 1_000",
    "x = 007",
    "x = -1",
    "x = 1.5",
    "x = 1979-05-27",
    "x = inf",
    "x = truex",
    "x",
    "x =",
    "= 1",
];

fn documents() -> impl Strategy<Value = String> {
    let line = prop::sample::select(&LINES[..]);
    let end = prop::sample::select(&["\n", "\n", "\n", "\r\n", "\r", " ", ""][..]);
    let lines = prop::collection::vec((line, end), 0..12);
    let lines = lines.prop_map(|lines| {
        let lines = lines.into_iter();
        lines
            .flat_map(|(line, end)| [line, end])
            .collect::<String>()
    });
    // And a character that somebody mistyped.
    let typo = prop::option::of((any::<prop::sample::Index>(), any::<char>()));
    (lines, typo).prop_map(|(mut text, typo)| {
        if let Some((index, char)) = typo {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let at = if places.is_empty() {
                0
            } else {
                *index.get(&places)
            };
            text.insert(at, char);
        }
        text
    })
}

/// The same values at the same places, however they are kept.
fn shown(toml: &Toml<'_>) -> String {
    fn show(value: Value<'_>, out: &mut String) {
        *out += &format!("{:?} {} ", value.span(), value.type_str());
        if let Some(entries) = value.as_table() {
            show_all(entries, out);
        } else if let Some(items) = value.as_array() {
            *out += "[";
            items.for_each(|item| show(item, out));
            *out += "]";
        } else {
            let integer = value.as_integer().map(|integer| integer.to_string());
            *out += &format!("{:?} {integer:?} {:?};", value.as_str(), value.as_bool());
        }
    }
    fn show_all(entries: Entries<'_>, out: &mut String) {
        *out += "{";
        for (key, span, value) in entries.iter() {
            *out += &format!("{key:?} {span:?} = ");
            show(value, out);
        }
        *out += "}";
    }
    let mut out = String::new();
    show_all(toml.root(), &mut out);
    out
}

proptest! {
    #[test]
    fn plain_documents_are_what_the_toml_crate_reads(text in documents()) {
        if let Some(plain) = plain::read(&text) {
            let whole = whole::read(&text).map_err(|error| error.to_string());
            let whole = whole.as_ref().map(shown).map_err(String::as_str);
            prop_assert_eq!(Ok(shown(&plain)), whole);
        }
    }
}

#[test]
fn what_people_write_is_plain() {
    let plain = [
        "",
        "version = 1\n",
        "# A host.\r\nversion = 1\r\n\r\n[machine] # what it has\nmemory = \"4GiB\"",
        "after = [\"a\",\n  \"b\"]\n[[network]]\nbridge = \"lan\"\n[[network]]\n[[disk]]\nx = true\n",
        "[networks.lan]\nports = []\n[networks.dmz]\n[storage.domUs]\n[groups.web.domU]\n",
    ];
    for text in plain {
        assert!(plain::read(text).is_some(), "{text}");
    }
    let others = [
        "x = 'y'",
        "[a]\n[a]",
        "a = 1\na = 2",
        "[a.b]\n[a]",
        "x = 1 y = 2",
        "x = [1",
        "\u{feff}",
    ];
    for text in others {
        assert!(plain::read(text).is_none(), "{text}");
    }
    let many: String = (0..=MANY)
        .map(|number| format!("x{number} = 1\n"))
        .collect();
    assert!(plain::read(&many).is_none());
}

/// More entries than a plain table has.
const MANY: usize = 64;

#[test]
fn no_document_is_too_deep() {
    let key = vec!["a"; 100_000].join(".");
    let deep = [
        format!("{key} = 1\n"),
        format!("[{key}]\n"),
        format!("[[{key}]]\n"),
        format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000)),
    ];
    for text in deep {
        let _ = Toml::parse(&text);
    }
}
