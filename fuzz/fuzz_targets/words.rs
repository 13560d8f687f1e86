// SPDX-License-Identifier: GPL-3.0-or-later
//! Short things that come from disks and guests: markers, reports, superblocks, age files, keys.
#![no_main]

use domus_model::guest::GuestConfig;
use domus_model::layers::{Owner, Users};
use domus_model::marker::Marker;
use domus_model::report::Report;
use domus_model::secrets::{Recipient, Recipients};
use domus_system::block;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(marker) = Marker::parse(data) {
        assert_eq!(Marker::parse(marker.render().as_bytes()), Ok(marker));
    }
    let _ = Recipients::parse(data);
    let (head, tail) = data.split_at(data.len() / 2);
    let _ = block::identify(head, tail);
    let _ = serde_json::from_slice::<GuestConfig>(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = Report::parse(text);
    let _ = Users::parse(text, text);
    if let Ok(owner) = text.parse::<Owner>() {
        assert_eq!(owner.to_string(), text);
    }
    if let Ok(key) = text.parse::<Recipient>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
});
