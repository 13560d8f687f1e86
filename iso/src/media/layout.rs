// SPDX-License-Identifier: GPL-3.0-or-later
//! Where things are on a medium. Pure.

use domus_model::slots::{self, SLOT_A, Slot};

use crate::partitions::{Kind, MIB, Partition, TAIL};
use domus_model::marker::CONFIG_LABEL;

/// GRUB for a BIOS begins here, in bytes.
pub(super) const BIOS: u64 = MIB;
const BIOS_SIZE: u64 = MIB;
/// The EFI system partition begins here, in bytes: GRUB for UEFI, its menu, the label.
pub(super) const ESP: u64 = BIOS + BIOS_SIZE;
/// In bytes.
pub(super) const ESP_SIZE: u64 = 64 * MIB;
const _: () = assert!(SLOT_A == ESP + ESP_SIZE);
/// A slot has so many bytes at least: releases grow.
const SLOT_LEAST: u64 = 256 * MIB;
/// Slots are multiples of so many bytes.
const SLOT_STEP: u64 = 64 * MIB;
/// What firmware starts of a slot has so many bytes at most: more cannot be said on a CD.
const BOOT_SIZE: u64 = 32 * MIB;

/// Sizes of what differs from medium to medium, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    slot: u64,
    config: u64,
    is_signed: bool,
}

impl Layout {
    /// For an ISO and a config partition of so many bytes. A later release may be a quarter
    /// larger. Of what is signed, firmware reads each slot's EFI program by itself.
    pub(super) fn new(iso: u64, config: u64, is_signed: bool) -> Self {
        let slot = (iso + iso / 4).max(SLOT_LEAST);
        Self {
            slot: slot.next_multiple_of(SLOT_STEP),
            config: config.next_multiple_of(MIB),
            is_signed,
        }
    }

    /// Place and size of the config partition.
    pub(super) fn config(&self) -> (u64, u64) {
        (SLOT_A + 2 * self.slot, self.config)
    }

    /// Place of what firmware starts of the release in slot A, if it starts that by itself.
    pub(super) fn boot(&self) -> Option<u64> {
        let (start, size) = self.config();
        self.is_signed.then_some(start + size)
    }

    /// Length of the whole image.
    pub(super) fn length(&self) -> u64 {
        let (start, size) = self.config();
        self.boot()
            .map_or(start + size, |boot| boot + 2 * BOOT_SIZE)
            + TAIL
    }

    /// The partitions, in their order.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        let partition = |name, kind, start, size| Partition {
            name,
            kind,
            start,
            size: Some(size),
        };
        let (start, size) = self.config();
        let slot_b = SLOT_A + self.slot;
        let mut all = vec![
            partition("domus-bios", Kind::BiosBoot, BIOS, BIOS_SIZE),
            partition(slots::ESP, Kind::Efi, ESP, ESP_SIZE),
            partition(Slot::A.partition(), Kind::Linux, SLOT_A, self.slot),
            partition(Slot::B.partition(), Kind::Linux, slot_b, self.slot),
            partition(CONFIG_LABEL, Kind::Linux, start, size),
        ];
        for (slot, boot) in [Slot::A, Slot::B].into_iter().zip(0..) {
            let start = self.boot().map(|start| start + boot * BOOT_SIZE);
            let name = slot.boot_partition();
            all.extend(start.map(|start| partition(name, Kind::Data, start, BOOT_SIZE)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_and_a_larger_release_fits() {
        for (iso, slot) in [(150 * MIB, 256 * MIB), (240 * MIB, 320 * MIB)] {
            let layout = Layout::new(iso, 10 * MIB + 1, false);
            let partitions = layout.partitions();
            for pair in partitions.windows(2) {
                assert_eq!(pair[0].start + pair[0].size.expect("a size"), pair[1].start);
            }
            assert_eq!(partitions[2].size, Some(slot));
            assert_eq!(partitions[3].size, Some(slot));
            assert_eq!(partitions[4].size, Some(11 * MIB));
            assert_eq!(layout.length(), SLOT_A + 2 * slot + 12 * MIB);
            let signed = Layout::new(iso, 10 * MIB + 1, true);
            assert_eq!(signed.partitions()[..5], partitions);
            let boot = signed.partitions()[5];
            assert_eq!(
                (Some(boot.start), boot.name),
                (signed.boot(), "domus-a-efi")
            );
            assert_eq!(signed.length(), layout.length() + 64 * MIB);
        }
    }
}
