//! The state of a flow: how long a silent one lives, and what a packet changes.
//!
//! Pure: values in, values out.

use policy_common::{
    flow::{Judgement, seen},
    protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
};

use crate::parse::transport::Transport;

/// A second in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// How long a silent flow lives, in nanoseconds.
///
/// At least as long as `nf_conntrack`'s time-outs, so that address translation never outlives the
/// verdict; kube-proxy sets a day for established TCP.
#[inline(always)]
pub(crate) fn lifetime(protocol: u8, seen: u8) -> u64 {
    let fins = seen::FIN_LOCAL | seen::FIN_REMOTE;
    let replied = seen & seen::REPLY != 0;
    let seconds = match protocol {
        TCP if seen & seen::RST != 0 || seen & fins == fins => 120,
        TCP | SCTP if replied => 86_400,
        TCP => 120,
        UDP if replied => 180,
        ICMP | ICMPV6 | UDP | SCTP => 30,
        _ => 600,
    };
    seconds * SECOND
}

/// The bits of `seen` after a packet that passed.
#[inline(always)]
pub(crate) fn after(seen: u8, transport: &Transport, sent: bool, by_initiator: bool) -> u8 {
    let mut seen = seen;
    if !by_initiator {
        seen |= seen::REPLY;
    }
    if transport.is_fin() {
        seen |= if sent { seen::FIN_LOCAL } else { seen::FIN_REMOTE };
    }
    if transport.is_rst() {
        seen |= seen::RST;
    }
    seen
}

/// A judgement from one word.
#[inline(always)]
pub(crate) fn unpack(word: u64) -> Judgement {
    let [a, b, c, d, initiator, denied, e, f] = word.to_ne_bytes();
    Judgement {
        epoch: u32::from_ne_bytes([a, b, c, d]),
        initiator,
        denied,
        sender: u16::from_ne_bytes([e, f]),
    }
}

/// A judgement as one word.
#[inline(always)]
pub(crate) fn pack(judgement: Judgement) -> u64 {
    let [a, b, c, d] = judgement.epoch.to_ne_bytes();
    let [e, f] = judgement.sender.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, judgement.initiator, judgement.denied, e, f])
}
