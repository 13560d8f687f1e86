// SPDX-License-Identifier: GPL-3.0-or-later
//! Signatures as GRUB checks them: OpenPGP of version 4, RSA with SHA-256 (RFC 4880). The key is
//! the one that firmware knows: what GRUB starts is checked twice, by one key.

use std::path::Path;

use anyhow::{Context, Result};
use domus_build::EPOCH;
use domus_system::program::Program;
use sha1_smol::Sha1;
use sha2::{Digest, Sha256};

/// Version, and the numbers of what is used: RSA, SHA-256 (4, 9.1, 9.4).
const VERSION: u8 = 4;
const RSA: u8 = 1;
const SHA256: u8 = 8;
/// A signature of a file as it is (5.2.1).
const BINARY: u8 = 0;
/// Packets (4.3).
const SIGNATURE: u8 = 2;
const PUBLIC_KEY: u8 = 6;
/// Parts of a signature (5.2.3.1): when it was made, and whose it is.
const CREATED: u8 = 2;
const ISSUER: u8 = 16;

/// An RSA key.
pub(crate) struct Key<'k> {
    file: &'k Path,
    /// The body of its public packet.
    public: Vec<u8>,
}

impl<'k> Key<'k> {
    /// The one in this file, as PEM.
    ///
    /// # Errors
    /// It cannot be read, or is another kind of key.
    pub(crate) fn open(file: &'k Path) -> Result<Self> {
        let doing = || format!("reading the key {}", file.display());
        let output = openssl()
            .args(["rsa", "-RSAPublicKey_out", "-outform", "DER", "-in"])
            .arg(file)
            .output()
            .with_context(doing)?;
        let numbers = numbers(&output.stdout).with_context(doing)?;
        let mut public = vec![VERSION];
        public.extend(time()?);
        public.push(RSA);
        for number in numbers {
            public.extend(integer(number));
        }
        Ok(Self { file, public })
    }

    /// Its public part, for GRUB.
    pub(crate) fn public(&self) -> Vec<u8> {
        packet(PUBLIC_KEY, &self.public)
    }

    /// The signature of these bytes.
    ///
    /// # Errors
    /// openssl cannot sign.
    pub(crate) fn sign(&self, content: &[u8]) -> Result<Vec<u8>> {
        let time = time()?;
        let mut head = vec![VERSION, BINARY, RSA, SHA256];
        head.extend(sized(&[&[5, CREATED], &time[..]].concat()));
        let mut signed = [content, &head].concat();
        signed.extend([VERSION, 0xff]);
        signed.extend(length32(head.len()));
        let digest = Sha256::digest(&signed);
        let signature = openssl()
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.file)
            .input(signed)
            .output()
            .with_context(|| format!("signing with {}", self.file.display()))?;
        let mut body = head;
        body.extend(sized(&[&[9, ISSUER], &self.id()[..]].concat()));
        body.extend(&digest[..2]);
        body.extend(integer(&signature.stdout));
        Ok(packet(SIGNATURE, &body))
    }

    /// The end of its fingerprint (12.2).
    fn id(&self) -> [u8; 8] {
        let mut hash = Sha1::new();
        hash.update(&[0x99]);
        hash.update(&sized(&self.public));
        let mut id = [0; 8];
        id.copy_from_slice(&hash.digest().bytes()[12..]);
        id
    }
}

/// openssl, without the settings of this machine.
fn openssl() -> Program {
    Program::new("openssl").env("OPENSSL_CONF", "/dev/null")
}

/// Everything that is built was made at the same time.
fn time() -> Result<[u8; 4]> {
    let seconds: u32 = EPOCH.parse().context("the time of what is built")?;
    Ok(seconds.to_be_bytes())
}

/// A packet with a length of two bytes, which all here have.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[0x81 | tag << 2][..], &sized(body)].concat()
}

/// Bytes behind how many they are.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&length32(bytes.len())[2..], bytes].concat()
}

fn length32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// A number of many bits (3.2).
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let unused = bytes
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = length32(bytes.len() * 8 - unused);
    [&bits[2..], bytes].concat()
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, A.1.1).
fn numbers(der: &[u8]) -> Option<[&[u8]; 2]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (inside, _) = element(der, SEQUENCE)?;
    let (modulus, rest) = element(inside, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    Some([modulus, exponent])
}

/// What an element of DER has, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(*first), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |all, byte| {
                all.checked_mul(256)?.checked_add(usize::from(*byte))
            });
            (length?, rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn numbers_are_written_without_what_is_zero() {
        assert_eq!(integer(&[0, 1, 0, 1]), [0, 17, 1, 0, 1]);
        assert_eq!(integer(&[0xff]), [0, 8, 0xff]);
        assert_eq!(integer(&[0]), [0, 0]);
        let der = [0x30, 0x09, 0x02, 0x02, 0, 0x8f, 0x02, 0x03, 1, 0, 1];
        assert_eq!(numbers(&der), Some([&[0, 0x8f][..], &[1, 0, 1]]));
        for cut in 0..der.len() {
            assert_eq!(numbers(&der[..cut]), None, "{cut}");
        }
        assert_eq!(numbers(&[0x30, 0xff, 1]), None);
    }

    /// What openssl says of the numbers and of a signature is what is in the packets.
    #[test]
    fn a_signature_is_openssls_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let run = |args: &[&str]| {
            let mut openssl = Command::new("openssl");
            let output = openssl.args(args).current_dir(dir.path()).output();
            let output = output.expect("openssl");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        run(&["genrsa", "-out", "key", "2048"]);
        let file = at("key");
        let key = Key::open(&file).expect("a key");
        let public = key.public();
        assert_eq!(public[..4], [0x99, 1, 13, VERSION]);
        assert!(public.ends_with(&[0, 17, 1, 0, 1]));
        let modulus = String::from_utf8(run(&["rsa", "-in", "key", "-noout", "-modulus"]));
        let modulus = modulus.expect("text").trim().replace("Modulus=", "");
        let own: String = public[11..11 + 256]
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        assert_eq!(own, modulus);

        let signature = key.sign(b"content").expect("signed");
        let (head, number) = signature[3..].split_at(4 + 2 + 6 + 2 + 10 + 2);
        let mut signed = b"content".to_vec();
        signed.extend(&head[..12]);
        signed.extend([VERSION, 0xff, 0, 0, 0, 12]);
        std::fs::write(at("signed"), &signed).expect("written");
        assert_eq!(head[head.len() - 2..], Sha256::digest(&signed)[..2]);
        // Openssl wants leading zeros, of which OpenPGP has none.
        let mut bare = vec![0; 256 - (number.len() - 2)];
        bare.extend(&number[2..]);
        std::fs::write(at("signature"), bare).expect("written");
        run(&["rsa", "-in", "key", "-pubout", "-out", "public"]);
        run(&[
            "dgst",
            "-sha256",
            "-verify",
            "public",
            "-signature",
            "signature",
            "signed",
        ]);
        assert!(Key::open(&at("none")).is_err());
    }
}
