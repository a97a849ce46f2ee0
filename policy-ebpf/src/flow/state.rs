//! The state of a flow: how long a silent one lives, and what a packet changes.
//!
//! Pure: values in, values out. The states and their timeouts are those of `nf_conntrack`
//! (`net/netfilter/nf_conntrack_proto_{tcp,udp,sctp,generic}.c`).

use policy_common::{
    flow::{Judgement, Lifetimes, seen},
    protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
};

use crate::{element::read_once, parse::transport::Transport};

/// A second in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A FIN or an RST counts if its sequence number is this near to the last one that was noted.
///
/// A number is noted again after [`NOTED`] bytes, so that it is never older than these, what is in
/// flight and what one packet carries. An RST with a random number counts once in 512.
const NEAR: u32 = 1 << 22;

/// Bytes after which a sequence number is noted again.
const NOTED: u32 = 1 << 20;

/// How long a silent flow lives, in nanoseconds.
#[inline(always)]
pub(crate) fn lifetime(lifetimes: &Lifetimes, protocol: u8, seen: u8) -> u64 {
    let fins = seen::FIN_LOCAL | seen::FIN_REMOTE;
    let assured = seen & seen::ASSURED != 0;
    let seconds = match protocol {
        TCP if seen & seen::RST != 0 => &lifetimes.tcp_close,
        TCP if seen & fins == fins => &lifetimes.tcp_last_ack,
        TCP if seen & fins != 0 => &lifetimes.tcp_close_wait,
        TCP if assured => &lifetimes.tcp_established,
        TCP if seen & seen::REPLY != 0 => &lifetimes.tcp_syn_recv,
        TCP => &lifetimes.tcp_syn_sent,
        UDP if assured => &lifetimes.udp_stream,
        UDP => &lifetimes.udp,
        SCTP if seen & (seen::RST | fins) != 0 => &lifetimes.sctp_shutdown,
        SCTP if assured => &lifetimes.sctp_established,
        SCTP => &lifetimes.sctp_cookie_wait,
        ICMP | ICMPV6 => &lifetimes.icmp,
        _ => &lifetimes.generic,
    };
    u64::from(read_once(seconds)) * SECOND
}

/// Whether the first packet of a connection is recognisable (SYN, INIT), so that no other packet
/// can start one (S29).
#[inline(always)]
pub(crate) fn starts_visibly(protocol: u8) -> bool {
    matches!(protocol, TCP | SCTP)
}

/// What is known of a packet that passes, beside its header.
pub(crate) struct Passage {
    /// The pod sent it.
    pub(crate) sent: bool,
    /// The initiator of its flow sent it.
    pub(crate) by_initiator: bool,
    /// The flow's first packet was more than two seconds ago; see [`is_old`].
    pub(crate) is_old: bool,
    /// The sequence numbers that the flow holds.
    pub(crate) sequences: u64,
}

/// The bits of `seen` after a packet that passes.
#[inline(always)]
pub(crate) fn after(seen: u8, transport: &Transport, passage: &Passage) -> u8 {
    let mut new = seen;
    if !passage.by_initiator {
        new |= seen::REPLY;
    }
    let assures = match transport.protocol {
        TCP | SCTP => passage.by_initiator,
        _ => passage.is_old,
    };
    if seen & seen::REPLY != 0 && assures {
        new |= seen::ASSURED;
    }
    if (transport.closes || transport.resets) && is_plausible(seen, transport, passage) {
        new |= match (transport.resets, passage.sent) {
            (true, _) => seen::RST,
            (false, true) => seen::FIN_LOCAL,
            (false, false) => seen::FIN_REMOTE,
        };
    }
    new
}

/// Whether a flow is more than two seconds old; `created` is a second, rounded down.
#[inline(always)]
pub(crate) fn is_old(created: u32, now: u64) -> bool {
    now >= (u64::from(created) + 3) * SECOND
}

/// Whether a FIN or an RST can end its connection.
///
/// The receiver ignores one outside of its window (RFC 9293, 3.10.7.4), so the connection lives on.
/// Before a connection is established the answer to a SYN may be an RST with any number.
#[inline(always)]
fn is_plausible(seen: u8, transport: &Transport, passage: &Passage) -> bool {
    if transport.protocol != TCP || seen & seen::ASSURED == 0 || passage.sequences == 0 {
        return true;
    }
    let noted = sender_sequence(passage.sequences, passage.sent);
    transport.sequence.wrapping_sub(noted).wrapping_add(NEAR) < 2 * NEAR
}

/// Whether a packet is so far from the sequence number of its sender that was noted that the
/// numbers must be noted again.
#[inline(always)]
pub(crate) fn has_advanced(sequences: u64, transport: &Transport, sent: bool) -> bool {
    let ahead = transport.sequence.wrapping_sub(sender_sequence(sequences, sent));
    transport.protocol == TCP && ahead > NOTED && ahead < 1 << 31
}

/// The sequence numbers to note after a packet: its own, and, if it acknowledges, the one that its
/// sender expects next; otherwise the one that was noted stays.
#[inline(always)]
pub(crate) fn sequences(noted: u64, transport: &Transport, sent: bool) -> u64 {
    let other =
        if transport.acknowledges { transport.acknowledged } else { sender_sequence(noted, !sent) };
    let (local, remote) =
        if sent { (transport.sequence, other) } else { (other, transport.sequence) };
    u64::from(local) | u64::from(remote) << 32
}

/// The sequence number of the pod, or of the far end.
#[inline(always)]
fn sender_sequence(sequences: u64, sent: bool) -> u32 {
    if sent { sequences as u32 } else { (sequences >> 32) as u32 }
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
