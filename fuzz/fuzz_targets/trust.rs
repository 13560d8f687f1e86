// SPDX-License-Identifier: GPL-3.0-or-later
//! What says who may sign, and what they signed: nothing panics, whatever is read is written and
//! read again as the same, and nobody is believed by accident.

#![no_main]

use domus_model::trust::{Anchor, Chain, Namespace, Role, Signature, Target, Trust};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(trust) = Trust::parse(data) {
        let again = Trust::parse(trust.render().as_bytes());
        assert_eq!(again.as_ref(), Ok(&trust));
    }
    if let Ok(target) = Target::parse(data) {
        assert_eq!(Target::parse(target.render().as_bytes()).as_ref(), Ok(&target));
    }
    let signatures = Signature::parse_all(data).unwrap_or_default();
    let known = Trust::parse(KNOWN.as_bytes()).expect("a document");
    for signature in &signatures {
        for role in Role::ALL {
            assert!(known.signer(role, Namespace::Git, data, signature).is_err());
        }
    }
    // A chain of files that are all this: the first half the documents, the rest their signatures.
    let (document, signature) = data.split_at(data.len() / 2);
    let read = |path: &str| {
        let is_signature = path.ends_with(".sig");
        Ok(Some(if is_signature { signature } else { document }.to_vec()))
    };
    if let Ok(Some(chain)) = Chain::read(["1.toml", "2.toml", "x"], read) {
        let anchor = Anchor::new(KNOWN.as_bytes()).expect("an anchor");
        if let Ok(newest) = anchor.follow(&chain) {
            assert_eq!(newest, anchor);
        }
        let _ = (chain.prove(), chain.standing());
    }
});

/// Somebody whose key nobody here has.
const KNOWN: &str = "version = 1\nfleet = \"example\"\nserial = 1\nthreshold = 1\n[keys.a]\n\
    key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICRr5KMk9RP4a1uhIrTjdV3O8XboH/WC0Zrj5M3/9hfp\"\n\
    roles = [\"root\", \"commit\", \"publish\"]\n";
