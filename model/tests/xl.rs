// SPDX-License-Identifier: GPL-3.0-or-later
//! Golden tests: each `xl/NAME.cfg` and, in `xl/NAME.txt`, what comes of it. Properties of what
//! comes of any. `UPDATE_EXPECTED=1 cargo test -p domus-model xl` writes those files anew.

mod repository;

use domus_model::load::load;
use domus_model::xl::{Imported, Options, Refused, convert, parse};
use proptest::prelude::*;
use repository::{add, manifest_dir, sorted};
use std::fmt::Write;
use std::fs;
use std::io;

fn options() -> Options {
    let name = |text: &str| text.parse().expect("a name");
    Options {
        image: Some("base@1".parse().expect("an image")),
        networks: [("xenbr0".to_owned(), name("lan"))].into(),
    }
}

fn import(text: &str) -> Result<Imported, Refused> {
    convert(&parse(text)?, &options())
}

#[test]
fn xl_configurations_become_what_is_expected() -> io::Result<()> {
    let mut failed = Vec::new();
    let mut seen = 0;
    for path in sorted(&manifest_dir().join("tests/xl")) {
        if path.extension().is_none_or(|it| it != "cfg") {
            continue;
        }
        seen += 1;
        let said = report(&fs::read_to_string(&path)?);
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said)?;
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            failed.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(seen >= 12, "only {seen}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// The document and the notes, or the error.
fn report(text: &str) -> String {
    let imported = match import(text) {
        Ok(imported) => imported,
        Err(refused) => return format!("error: {refused}\n"),
    };
    prove(&imported);
    let Imported {
        name,
        summary,
        document,
        notes,
    } = imported;
    let mut said = format!("{name}: {summary}\n\n{document}\n");
    for note in notes {
        let effect = if note.carried { "changed" } else { "lost" };
        let (line, setting, message) = (note.line, note.setting, note.message);
        let _ = writeln!(said, "{line}: {effect}: {setting}: {message}");
    }
    said
}

/// That the document is one, on a host that has its networks, and says what the summary says.
fn prove(imported: &Imported) {
    toml::from_str::<toml::Table>(&imported.document).expect("TOML");
    let mut files = domus_model::files::Files::new();
    add(&mut files, &manifest_dir().join("tests/base"), "");
    files.hosts.clear();
    let document = &imported.document;
    let bridges = document.lines().filter_map(|line| {
        let bridge = line.strip_prefix("bridge = \"")?;
        bridge.strip_suffix('"')
    });
    let bridges: std::collections::BTreeSet<&str> = bridges.collect();
    let mut host = "version = 1\n[machine]\nserial = \"8QXK\"\nmemory = \"1024TiB\"\n".to_owned();
    for bridge in bridges {
        let _ = writeln!(host, "[networks.{bridge}]");
    }
    files.insert("pservers/beta/host.toml", host.into_bytes());
    let path = format!("pservers/beta/domUs/{}.toml", imported.name);
    files.insert(path, document.clone().into_bytes());
    let fleet = load(&files).unwrap_or_else(|notes| panic!("{document}\n{notes:#?}"));
    let domu = &fleet.hosts["beta"].domus[&imported.name];
    assert_eq!(
        imported.document.matches("[[disk]]").count(),
        domu.disks.len()
    );
}

/// Texts that are nearly configurations.
fn almost() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "name",
        "=",
        "+=",
        "'",
        "\"",
        "[",
        "]",
        ",",
        ";",
        "\n",
        "#",
        "\\",
        " ",
        "0x",
        "12",
        "vif",
        "disk",
        "'web'",
        "memory",
        "phy:",
        "/dev/vg/x",
        "ü",
        "\0",
        "target=",
        "bridge=",
        "'',",
    ]);
    prop::collection::vec(words, 0..80).prop_map(|words| words.concat())
}

fn disk() -> impl Strategy<Value = String> {
    let target = prop_oneof![
        "/dev/[a-z-]{1,6}/[A-Za-z0-9._+-]{1,70}",
        "/dev/mapper/[a-z-]{1,9}",
        "/dev/disk/by-id/[a-z:.-]{1,9}",
        "[a-z/.:]{0,9}",
    ];
    prop_oneof![
        (target.clone(), "(xvd[a-d]|[a-z0-9]{0,3})").prop_map(|(t, v)| format!("phy:{t},{v},w")),
        (target, "[a-z]{1,4}").prop_map(|(t, v)| format!("vdev={v},target={t}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_as_xl(text: String, almost in almost()) {
        for text in [text, almost] {
            match import(&text) {
                Ok(imported) => prop_assert!(imported.notes.iter().all(|note| note.line >= 1)),
                Err(refused) => {
                    prop_assert!(refused.line >= 1 && refused.column >= 1);
                    prop_assert!(!refused.to_string().contains(char::is_control));
                }
            }
        }
    }

    #[test]
    fn what_xl_has_becomes_a_document_that_proves(
        name in "[a-zA-Z0-9][a-zA-Z0-9_]{0,20}[a-z0-9]",
        memory in 0..8192_u64,
        vcpus in 0..200_u64,
        disks in prop::collection::vec(disk(), 0..8),
        macs in prop::collection::vec("(00:16:3e:00:00:0[0-9]|[0-9a-f]{2}(:[0-9a-f]{2}){5}|x)", 0..4),
        bridge in "([a-z]{1,9}|)",
        other: String,
    ) {
        let vifs: Vec<String> =
            macs.iter().map(|mac| format!("'mac={mac},bridge={bridge},{}'", other.escape_debug())).collect();
        let text = format!(
            "name = '{name}'\nmemory = {memory}\nvcpus = '{vcpus}'\nvif = [{}]\ndisk = {disks:?}\n",
            vifs.join(",\n"),
        );
        match import(&text) {
            Ok(imported) => {
                let texts = imported.notes.iter().map(|note| &note.message);
                prop_assert!(!texts.clone().any(|text| text.contains(char::is_control)));
                prove(&imported);
            }
            // What the text has in it may end a string.
            Err(refused) => prop_assert!(other.contains(['\'', '\\', 'b']), "{refused}: {text}"),
        }
    }
}
