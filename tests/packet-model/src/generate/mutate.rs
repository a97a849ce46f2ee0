//! Changes bytes of a frame, so that it contradicts itself.

use fastrand::Rng;

use super::one_of;

/// Bytes of the Ethernet header without the EtherType: no verdict depends on them.
const ADDRESSES: usize = 12;

/// The least that the kernel accepts.
const SHORTEST: usize = 15;

/// Changes a frame in one or two places.
pub(super) fn mutate(random: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..random.usize(1..3) {
        let end = frame.len().min(100);
        let at = random.usize(ADDRESSES..end);
        match random.u8(..6) {
            0 => frame.truncate(random.usize(SHORTEST..frame.len().max(SHORTEST + 1))),
            1 => frame.extend([0; 7]),
            2 => frame[at] ^= 1 << random.u8(..8),
            3 => frame[at] = one_of(random, &[0, 1, 5, 6, 17, 44, 58, 0x40, 0x7f, 0x80, 0xff]),
            4 => frame[at] = random.u8(..),
            // Lengths and flags of IPv4, the next header of IPv6.
            _ => {
                let at = one_of(random, &[14, 16, 17, 18, 19, 20, 21, 23]).min(end - 1);
                frame[at] = random.u8(..);
            }
        }
        frame.resize(frame.len().max(SHORTEST), 0);
    }
}
