// SPDX-License-Identifier: GPL-3.0-or-later
//! Signatures by security keys. They are put together here byte by byte, as OpenSSH's PROTOCOL.u2f
//! and PROTOCOL.sshsig have them: the crate that reads them makes none.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The kinds of keys in security keys.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Ed25519,
    Ecdsa,
}

/// What a security key is asked to do, and what is shown of it.
#[derive(Clone, Copy)]
struct Touch {
    application: &'static str,
    flags: u8,
    counter: u32,
}

const TOUCH: Touch = Touch {
    application: "ssh:",
    flags: 1,
    counter: 9,
};

/// A `string` of SSH: its length, and itself (RFC 4251, 5).
fn string(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let length = u32::try_from(content.len()).expect("short");
    [&length.to_be_bytes(), content].concat()
}

/// A key's own signature: 64 bytes of Ed25519, two numbers of ECDSA (RFC 5656, 3.1.2).
fn bare(key: &impl ssh_key::SigningKey, message: &[u8]) -> Vec<u8> {
    let signature = key.try_sign(message).expect("a signature");
    signature.as_bytes().to_vec()
}

/// The ECDSA key on P-256 whose private part is 1, so that its public one is the curve's base point
/// (SEC 2, secp256r1), in the form of an OpenSSH private key file (PROTOCOL.key).
fn p256() -> PrivateKey {
    const X: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    const Y: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let point = format!("04{X}{Y}").into_bytes();
    let point = point.chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(digits, 16).expect("hex")
    });
    let public = [
        string("ecdsa-sha2-nistp256"),
        string("nistp256"),
        string(point.collect::<Vec<u8>>()),
    ];
    let mut one = [0; 32];
    one[31] = 1;
    // The number that shows that it was decrypted is there twice.
    let mut private = [vec![0; 8], public.concat(), string(one), string("")].concat();
    private.extend((1..=8).take((8 - private.len() % 8) % 8));
    let file = [
        b"openssh-key-v1\0".to_vec(),
        string("none"),
        string("none"),
        string(""),
        1_u32.to_be_bytes().to_vec(),
        string(public.concat()),
        string(private),
    ];
    PrivateKey::from_bytes(&file.concat()).expect("a key")
}

impl Kind {
    const ALL: [Self; 2] = [Self::Ed25519, Self::Ecdsa];

    fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "sk-ssh-ed25519@openssh.com",
            Self::Ecdsa => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// What never leaves the security key.
    fn private(self) -> PrivateKey {
        match self {
            Self::Ed25519 => key('s'),
            Self::Ecdsa => p256(),
        }
    }

    /// The public key of one that signs for an application.
    fn public(self, application: &str) -> Vec<u8> {
        let private = self.private();
        let data = private.public_key().key_data();
        let own = match (data.ed25519(), data.ecdsa()) {
            (Some(key), _) => string(key.0),
            (_, Some(key)) => [string("nistp256"), string(key)].concat(),
            _ => panic!("neither kind"),
        };
        [string(self.word()), own, string(application)].concat()
    }

    fn key(self, application: &str) -> SigningKey {
        let text = BASE64_STANDARD.encode(self.public(application));
        let key = format!("{} {text}", self.word());
        key.parse().expect("a key that signs")
    }

    /// A signature for git. `signed` is what the key signed, `shown` what the signature says.
    fn touched(self, signed: Touch, shown: Touch, message: &[u8]) -> String {
        let trailer = |of: Touch| [&[of.flags][..], &of.counter.to_be_bytes()].concat();
        let message = SshSig::signed_data("git", HashAlg::Sha512, message).expect("data");
        let data = [
            HashAlg::Sha256.digest(signed.application.as_bytes()),
            trailer(signed),
            HashAlg::Sha256.digest(&message),
        ];
        let private = self.private();
        let bare = bare(&private, &data.concat());
        let signature = [string(self.word()), string(bare), trailer(shown)];
        let all = [
            b"SSHSIG".to_vec(),
            1_u32.to_be_bytes().to_vec(),
            string(self.public(shown.application)),
            string("git"),
            string(""),
            string("sha512"),
            string(signature.concat()),
        ];
        pem(&all.concat())
    }
}

/// The text of a signature.
fn pem(bytes: &[u8]) -> String {
    let mut text = BASE64_STANDARD.encode(bytes);
    for place in (70..text.len()).step_by(71) {
        text.insert(place, '\n');
    }
    format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n")
}

#[test]
fn a_security_key_signs_when_it_is_touched() {
    for kind in Kind::ALL {
        let name = "a".parse().expect("a name");
        let key = kind.key("ssh:");
        assert!(key.to_string().starts_with(kind.word()));
        let roles = Role::ALL.into_iter().collect();
        let trust = Trust {
            keys: [(name, Trusted { key, roles })].into(),
            ..trust(1, 1, &[])
        };
        assert_eq!(Trust::parse(trust.render().as_bytes()), Ok(trust.clone()));
        let judged = |signed, shown, message: &[u8]| {
            let text = kind.touched(signed, shown, b"this");
            let signature = Signature::parse(text.as_bytes()).map_err(str::to_owned)?;
            let signer = trust.signer(Role::Commit, Namespace::Git, message, &signature);
            signer.map(ToString::to_string)
        };
        assert_eq!(
            judged(TOUCH, TOUCH, b"this"),
            Ok("a".to_owned()),
            "{kind:?}"
        );
        // Whose PIN or finger was asked for, too.
        let verified = Touch { flags: 5, ..TOUCH };
        assert_eq!(judged(verified, verified, b"this"), Ok("a".to_owned()));

        let untouched = Touch { flags: 0, ..TOUCH };
        let pin_alone = Touch { flags: 4, ..TOUCH };
        let later = Touch {
            counter: 10,
            ..TOUCH
        };
        let other = Touch {
            application: "ssh:other",
            ..TOUCH
        };
        let cases: [(Touch, Touch, &[u8], &str); 8] = [
            (TOUCH, TOUCH, b"that", "of something else"),
            (TOUCH, verified, b"this", "of something else"),
            (untouched, TOUCH, b"this", "of something else"),
            (TOUCH, later, b"this", "of something else"),
            (other, TOUCH, b"this", "of something else"),
            // The application is a part of the key.
            (other, other, b"this", "does not have"),
            (untouched, untouched, b"this", "nobody touched"),
            (pin_alone, pin_alone, b"this", "nobody touched"),
        ];
        for (signed, shown, message, expected) in cases {
            let error = judged(signed, shown, message).expect_err(expected);
            assert!(error.contains(expected), "{kind:?}: {error}");
        }
    }
}

#[test]
fn a_signature_by_one_kind_is_none_by_the_other() {
    let [one, other] = Kind::ALL.map(|kind| {
        let text = kind.touched(TOUCH, TOUCH, b"this");
        let lines = text.lines().filter(|line| !line.starts_with('-'));
        let bytes = BASE64_STANDARD.decode(lines.collect::<String>());
        let bytes = bytes.expect("base64");
        // The key comes first, and the kind stands once more before the signature.
        let word = string(kind.word());
        let places = bytes.windows(word.len()).enumerate();
        let mut found = places.filter(|(_, part)| *part == word).map(|(at, _)| at);
        let (key, signature) = bytes.split_at(found.next_back().expect("a kind") - 4);
        (key.to_vec(), signature.to_vec())
    });
    let is_taken = |key: &[u8], signature: &[u8]| {
        let text = pem(&[key, signature].concat());
        let signature = Signature::parse(text.as_bytes());
        signature.is_ok_and(|it| it.is_of(Namespace::Git, b"this"))
    };
    assert!(is_taken(&one.0, &one.1) && is_taken(&other.0, &other.1));
    assert!(!is_taken(&one.0, &other.1) && !is_taken(&other.0, &one.1));
}
