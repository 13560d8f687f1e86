// SPDX-License-Identifier: GPL-3.0-or-later
//! Stories of keys. Signatures are made here with the crate that reads them; that those of
//! `ssh-keygen` and git are read is for the tests of the command line to show.

mod security_keys;

use super::*;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, SshSig};

/// Somebody's key, always the same for one letter.
fn key(of: char) -> PrivateKey {
    let mut seed = [7; 32];
    seed[0] = u8::try_from(of).expect("ASCII");
    let pair = Ed25519Keypair::from_seed(&seed);
    PrivateKey::new(KeypairData::Ed25519(pair), "").expect("a key")
}

fn public(of: char) -> SigningKey {
    let text = key(of).public_key().to_openssh().expect("text");
    text.parse().expect("a key")
}

fn sign(of: char, namespace: &str, message: &[u8]) -> String {
    let signature = key(of).sign(namespace, HashAlg::Sha512, message);
    let pem = signature.and_then(|it| it.to_pem(LineEnding::LF));
    pem.expect("a signature")
}

/// A document in which each of `keys` has the roles that follow its letter.
fn trust(serial: u32, threshold: u32, keys: &[&str]) -> Trust {
    let trusted = |text: &&str| {
        let letter = text.chars().next().expect("a letter");
        let role = |role: &Role| text[1..].contains(&role.word()[..1]);
        let roles = Role::ALL.into_iter().filter(role).collect();
        let key = public(letter);
        let name = letter.to_string().parse().expect("a name");
        (name, Trusted { key, roles })
    };
    Trust {
        fleet: "example".parse().expect("a name"),
        serial,
        threshold,
        keys: keys.iter().map(trusted).collect(),
    }
}

/// A chain of documents, each signed by these.
fn chain(links: &[(&Trust, &str)]) -> Chain {
    let newest = links.last().expect("one").0.serial;
    let mut files = BTreeMap::new();
    for (trust, signers) in links {
        let document = trust.render();
        let signatures: String = signers
            .chars()
            .map(|of| sign(of, "domus-trust", document.as_bytes()))
            .collect();
        let [text, sig] = match trust.serial == newest {
            true => [DOCUMENT.to_owned(), SIGNATURES.to_owned()],
            false => ["toml", "sig"].map(|end| format!("{EARLIER}/{}.{end}", trust.serial)),
        };
        files.insert(text, document.into_bytes());
        files.insert(sig, signatures.into_bytes());
    }
    let earlier = files.keys().filter_map(|path| path.strip_prefix("trust/"));
    let read = |path: &str| Ok(files.get(path).cloned());
    Chain::read(earlier, read).expect("read").expect("there")
}

fn anchor(trust: &Trust) -> Anchor {
    Anchor::new(trust.render().as_bytes()).expect("an anchor")
}

fn refused(known: &Trust, links: &[(&Trust, &str)]) -> String {
    anchor(known)
        .follow(&chain(links))
        .expect_err("to be refused")
}

#[test]
fn a_document_is_written_and_read_again() {
    let trust = trust(3, 2, &["arcp", "br", "cc"]);
    assert_eq!(Trust::parse(trust.render().as_bytes()), Ok(trust.clone()));
    let chain = chain(&[(&trust, "ab")]);
    assert_eq!(chain.newest().expect("newest").trust(), &trust);
    assert_eq!(chain.files().count(), 2);
}

#[test]
fn an_operator_is_revoked_and_a_recovery_key_takes_over() {
    let first = trust(1, 1, &["arcp", "vr"]);
    let links = [(&first, "a")];
    assert_eq!(chain(&links).prove(), Ok(anchor(&first)));
    // a is stolen, or lost: v, who was kept in a vault, makes b the operator.
    let second = trust(2, 1, &["brcp", "vr"]);
    let links = [(&first, "a"), (&second, "v")];
    let newest = anchor(&first).follow(&chain(&links)).expect("followed");
    assert_eq!(newest, anchor(&second));
    assert_eq!(chain(&links).prove(), Ok(anchor(&second)));

    // From then on a says nothing, and is not let back in by itself.
    let commit = sign('a', "git", b"commit");
    let commit = Signature::parse(commit.as_bytes()).expect("a signature");
    let signer = |trust: &Trust| {
        let signer = trust.signer(Role::Commit, Namespace::Git, b"commit", &commit);
        signer.map(ToString::to_string)
    };
    assert_eq!(signer(&first), Ok("a".to_owned()));
    let error = signer(newest.trust()).expect_err("revoked");
    assert!(error.contains("serial 2) does not have"), "{error}");
    let back = trust(3, 1, &["arcp"]);
    let links = [(&first, "a"), (&second, "v"), (&back, "a")];
    let error = refused(&second, &links);
    assert!(
        error.contains("signed by 0 of 1 root keys that serial 2"),
        "{error}"
    );
}

#[test]
fn whoever_knows_an_old_document_follows_to_the_newest() {
    let (first, second) = (trust(1, 1, &["arcp"]), trust(2, 1, &["br"]));
    let third = trust(3, 2, &["br", "cr"]);
    let fourth = trust(4, 1, &["dr"]);
    // Each is signed by enough of the one before, and of its own.
    let whole = [
        (&first, "a"),
        (&second, "ab"),
        (&third, "bc"),
        (&fourth, "bcd"),
    ];
    for known in [&first, &second, &third, &fourth] {
        let newest = anchor(known).follow(&chain(&whole)).expect("followed");
        assert_eq!(newest, anchor(&fourth));
    }
    // Who knows more than the chain keeps to that.
    let newest = anchor(&fourth).follow(&chain(&whole[..2])).expect("kept");
    assert_eq!(newest, anchor(&fourth));

    let without = |links: &[(&Trust, &str)], known| refused(known, links);
    let cases: [(&[(&Trust, &str)], &str); 6] = [
        (
            &[(&first, "a"), (&second, "b")],
            "0 of 1 root keys that serial 1",
        ),
        (
            &[(&first, "a"), (&second, "a")],
            "0 of 1 root keys that serial 2",
        ),
        (&[(&first, "a"), (&second, "")], "0 of 1"),
        (
            &[(&first, "a"), (&second, "ab"), (&third, "bb")],
            "1 of 2 root keys that serial 3",
        ),
        (&[(&first, "a"), (&third, "bc")], "trust/2.toml is missing"),
        (&[(&trust(1, 1, &["xrcp"]), "x")], "another than the one"),
    ];
    for (links, expected) in cases {
        let error = without(links, &first);
        assert!(error.contains(expected), "{error}");
    }
    let broken = [(&second, "ab"), (&third, "bc")];
    let error = chain(&broken).prove().expect_err("its beginning is gone");
    assert!(error.contains("trust/1.toml is missing"), "{error}");
}

#[test]
fn a_signature_counts_for_what_it_was_made_for_and_by_whom() {
    let trust = trust(1, 1, &["arcp", "bc", "cp"]);
    let judged = |of, namespace, role| {
        let text = sign(of, namespace, b"this");
        let signature = Signature::parse(text.as_bytes()).expect("a signature");
        let signer = trust.signer(role, Namespace::Git, b"this", &signature);
        signer.map(ToString::to_string)
    };
    assert_eq!(judged('b', "git", Role::Commit), Ok("b".to_owned()));
    assert_eq!(judged('c', "git", Role::Publish), Ok("c".to_owned()));
    let error = judged('b', "git", Role::Publish).expect_err("no publisher");
    assert!(error.contains("b, who has not the role publish"), "{error}");
    let error = judged('b', "domus-trust", Role::Commit).expect_err("another namespace");
    assert!(error.contains("of something else"), "{error}");
    let error = judged('x', "git", Role::Commit).expect_err("a stranger");
    assert!(error.contains("does not have"), "{error}");
    let text = sign('a', "git", b"that");
    let signature = Signature::parse(text.as_bytes()).expect("a signature");
    let signer = trust.signer(Role::Commit, Namespace::Git, b"this", &signature);
    assert!(signer.is_err());
}

#[test]
fn what_is_no_signature_is_refused() {
    let one = sign('a', "git", b"this");
    let half = &one[..one.len() / 2];
    let damaged = one.replacen("U1NI", "U1NJ", 1);
    assert_ne!(one, damaged);
    let two = format!("{one}{one}");
    for text in ["", "x", half, &damaged, &two, "-----END SSH SIGNATURE-----"] {
        assert!(Signature::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(
        Signature::parse_all(two.as_bytes()).map(|all| all.len()),
        Ok(2)
    );
    assert!(Signature::parse_all(&vec![b' '; 1 << 20]).is_err());
    let many = one.repeat(65);
    assert!(Signature::parse_all(many.as_bytes()).is_err());
    assert!(Signature::parse(b"\xff").is_err());
    let key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDJ";
    assert!(key.parse::<SigningKey>().is_err());
}

#[test]
fn documents_that_make_no_sense_are_refused() {
    let whole = trust(1, 1, &["arcp"]);
    let text = whole.render();
    let cases = [
        (
            text.replace("threshold = 1", "threshold = 2"),
            "2 root keys must sign",
        ),
        (
            text.replace("serial = 1", "serial = 0"),
            "`serial` cannot be",
        ),
        (text.replace("\"root\"", "\"rot\""), "no role"),
        (text.replace("[keys.a]", "x = 1\n[keys.a]"), "unknown key"),
        (
            format!(
                "{text}{}",
                text[text.find("[keys").expect("keys")..].replace("keys.a", "keys.b")
            ),
            "there twice",
        ),
        (text.replace("serial = 1", "serial = 1001"), "beyond"),
        (String::new(), "`version` is missing"),
    ];
    for (text, expected) in cases {
        let error = Trust::parse(text.as_bytes()).expect_err(&text);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_target_says_who_runs_what() {
    let commit = "8c1d02e0".repeat(5);
    let fleet: Name = "example".parse().expect("a name");
    let hosts = vec!["@web".parse().expect("a group")];
    let mut target = Target::new(fleet.clone(), 12, hosts, commit);
    assert_eq!(target.ensure_release("2026.12", None), Ok(()));
    target.release = Some("2026.11".into());
    let text = target.render();
    assert_eq!(Target::parse(text.as_bytes()), Ok(target.clone()));

    let host: Name = "alpha".parse().expect("a name");
    let web: Name = "web".parse().expect("a name");
    assert!(target.selects(&host, &[web]) && !target.selects(&host, &[]));
    assert_eq!(target.ensure(&fleet, 12), Ok(()));
    let old = target.ensure(&fleet, 13).expect_err("old");
    assert!(old.to_string().contains("13 is the least"), "{old}");
    assert!(target.ensure(&host, 1).is_err());
    assert_eq!(target.ensure_release("2026.11", Some("x")), Ok(()));
    assert!(target.ensure_release("2026.12", None).is_err());
    let mut exact = target;
    exact.release_id = Some("y".into());
    assert!(exact.ensure_release("2026.11", Some("x")).is_err());
    assert_eq!(exact.ensure_release("2026.11", Some("y")), Ok(()));

    for (from, to) in [
        ("version = 1", "version = 2"),
        ("serial = 12", "serial = 0"),
        ("8c1d02e0", "8c1d02"),
        ("fleet", "flet"),
        ("@web", "@"),
    ] {
        assert!(
            Target::parse(text.replacen(from, to, 1).as_bytes()).is_err(),
            "{to}"
        );
    }
    assert!(Target::parse(b"\xff").is_err() && Target::parse(&[b'#'; 70_000]).is_err());
}
