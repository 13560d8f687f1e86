// SPDX-License-Identifier: GPL-3.0-or-later
//! UEFI Secure Boot: which keys a fleet has, where their certificates stand in its repository, and
//! the lists that firmware takes. Formats: UEFI specification, 32.4.1.

use uuid::Uuid;

use crate::etc;
use crate::names::Name;

/// Where the certificates stand in a fleet's repository.
pub const DIRECTORY: &str = "secure-boot";
/// The key that signs releases, by the name that firmware gives to the list of such keys.
pub const SIGNER: &str = "db";
/// All keys, as firmware names its variables: who may change the others, and who may sign what is
/// started.
pub const KEYS: [&str; 3] = ["PK", "KEK", SIGNER];

/// `EFI_CERT_X509_GUID`.
const X509: Uuid = Uuid::from_u128(0xa5c0_59a1_94e4_4aa7_87b5_ab15_5c2b_f072);

/// Who firmware is told that the certificates of a fleet belong to.
pub fn owner(fleet: &Name) -> Uuid {
    etc::stable_uuid(fleet, "secure-boot", fleet)
}

/// The `EFI_SIGNATURE_LIST` of one certificate in DER.
pub fn signature_list(owner: Uuid, certificate: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let signature = 16 + certificate.len();
    let mut list = Vec::with_capacity(28 + signature);
    list.extend(X509.to_bytes_le());
    list.extend(length(28 + signature));
    list.extend(length(0));
    list.extend(length(signature));
    list.extend(owner.to_bytes_le());
    list.extend(certificate);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_its_own_length() {
        let owner = owner(&"example".parse().expect("a name"));
        let list = signature_list(owner, b"certificate");
        assert_eq!(list.len(), 28 + 16 + 11);
        // As in the specification: the first fields of a GUID are little-endian.
        assert_eq!(&list[..6], &[0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94]);
        assert_eq!(&list[16..20], &[55, 0, 0, 0]);
        assert_eq!(&list[20..24], &[0; 4]);
        assert_eq!(&list[24..28], &[27, 0, 0, 0]);
        assert!(list.ends_with(b"certificate"));
    }
}
