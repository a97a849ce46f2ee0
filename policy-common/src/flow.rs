//! Flow tables: the tracked connections of pods that are isolated in some direction.
//!
//! Each connection has one flow at each of its pods on this node.
//! Example: `web` (10.244.0.10, interface 12) connects to `api` (10.244.0.11, interface 11):
//!
//! | Table entry at | `local` | `remote` | `initiator` |
//! |---|---|---|---|
//! | `ifindex` 12 | 10.244.0.10:59660 | 10.244.0.11:80 | `Local` |
//! | `ifindex` 11 | 10.244.0.11:80 | 10.244.0.10:59660 | `Remote` |

use crate::{address::Address, plain};

/// Which end opened a connection; `Judgement::initiator` holds its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Initiator {
    /// The pod.
    Local = 1,
    /// The far end.
    Remote = 2,
    /// A process of the pod's own node (S37).
    Node = 3,
    /// Unknown, because nobody saw the connection start: it must be allowed as a connection of
    /// either end.
    Either = 4,
}

impl Initiator {
    /// The initiator with a number.
    ///
    /// A number that no initiator has counts as [`Either`](Self::Either), the reading that allows
    /// least.
    #[must_use]
    #[inline]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Local,
            2 => Self::Remote,
            3 => Self::Node,
            _ => Self::Either,
        }
    }
}

/// Bits of `FlowState::seen`: which packets of a connection passed so far.
pub mod seen {
    /// A packet against the initiator's direction.
    pub const REPLY: u8 = 1 << 0;
    /// A TCP FIN from the pod.
    pub const FIN_LOCAL: u8 = 1 << 1;
    /// A TCP FIN from the far end.
    pub const FIN_REMOTE: u8 = 1 << 2;
    /// A TCP RST from either end.
    pub const RST: u8 = 1 << 3;
    /// TCP, SCTP: the initiator answered a reply. UDP: a packet after a reply, more than two
    /// seconds after the first packet.
    pub const ASSURED: u8 = 1 << 4;
}

/// How long a silent flow lives, in seconds, by protocol and state.
///
/// These are the timeouts of `nf_conntrack` (`Documentation/networking/nf_conntrack-sysctl.rst`);
/// a flow must not outlive the kernel's entry, because then address translation may give its ports
/// to another sender (S27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Lifetimes {
    /// TCP, a SYN without an answer.
    pub tcp_syn_sent: u32,
    /// TCP, answered, but the initiator has not confirmed it.
    pub tcp_syn_recv: u32,
    /// TCP, established.
    pub tcp_established: u32,
    /// TCP, one end has sent a FIN.
    pub tcp_close_wait: u32,
    /// TCP, both ends have sent a FIN.
    pub tcp_last_ack: u32,
    /// TCP, one end has sent an RST.
    pub tcp_close: u32,
    /// UDP without a reply, or not yet a stream.
    pub udp: u32,
    /// UDP, [`seen::ASSURED`].
    pub udp_stream: u32,
    /// SCTP, not established.
    pub sctp_cookie_wait: u32,
    /// SCTP, established.
    pub sctp_established: u32,
    /// SCTP, a SHUTDOWN or ABORT was seen.
    pub sctp_shutdown: u32,
    /// ICMP and `ICMPv6` queries.
    pub icmp: u32,
    /// Every other protocol.
    pub generic: u32,
}

impl Lifetimes {
    /// The defaults of Linux; a day for established TCP, which is what kube-proxy sets.
    pub const DEFAULT: Self = Self {
        tcp_syn_sent: 120,
        tcp_syn_recv: 60,
        tcp_established: 86_400,
        tcp_close_wait: 60,
        tcp_last_ack: 30,
        tcp_close: 10,
        udp: 30,
        udp_stream: 120,
        sctp_cookie_wait: 3,
        sctp_established: 210,
        sctp_shutdown: 3,
        icmp: 30,
        generic: 600,
    };
}

/// Places of flow tables in `pod_flows4` and `pod_flows6`, by the interface of the pod.
///
/// Every interface has a word, as in `epochs`, and every word has two places, so that one pod's flows
/// take no other pod's room (S60). A place is empty until a pod at such an interface is isolated.
/// Example, with 4096 words:
///
/// ```text
/// interface 12, and 4108   word 12   flows with a reply: 12   without: 4108
/// a word without tables of its own   flows with a reply: 8192 without: 8193
/// ```
pub mod place {
    use crate::limits::EPOCHS;

    /// Words, and the distance between the two places of one.
    #[expect(clippy::cast_possible_truncation, reason = "asserted inside")]
    pub const WORDS: u32 = {
        assert!(EPOCHS <= 1 << 16, "places must fit into 32 bits");
        EPOCHS as u32
    };

    /// The table `flows4` or `flows6`, of flows with a reply at words without a table of their own.
    pub const SHARED: u32 = 2 * WORDS;

    /// The table `new_flows4` or `new_flows6`, of flows without a reply at such words.
    pub const SHARED_NEW: u32 = SHARED + 1;

    /// An interface's word.
    #[must_use]
    #[inline]
    pub const fn word(ifindex: u32) -> u32 {
        ifindex & (WORDS - 1)
    }

    /// The place of an interface's flows with a reply.
    #[must_use]
    #[inline]
    pub const fn replied(ifindex: u32) -> u32 {
        word(ifindex)
    }

    /// The place of an interface's flows without a reply.
    #[must_use]
    #[inline]
    pub const fn new(ifindex: u32) -> u32 {
        WORDS + word(ifindex)
    }
}

/// Bit of [`Judgement::denied`]: the flow has a [`Translation`], so that its packets cannot pass as they
/// are. A flow with it is never one that passes by a comparison of `denied` with 0.
pub const TRANSLATED: u8 = 1 << 7;

/// Bit of [`FlowState::arrival`] that is set once the far end has sent a packet.
pub const ARRIVED: u64 = 1 << 63;

/// Key of a flow as its endpoint sees it: `local` is the pod, `remote` the far end.
///
/// Addresses and ports are in network byte order; written by the programs, read by both sides.
/// ICMP echo has its identifier in both ports, other ICMP has its type and code there; a protocol
/// without ports has zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey<Address> {
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// Address of the pod.
    pub local: Address,
    /// Address of the far end.
    pub remote: Address,
    /// Port of the pod.
    pub local_port: [u8; 2],
    /// Port of the far end.
    pub remote_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// Key of the flow tables of IPv4.
pub type FlowKey4 = FlowKey<[u8; 4]>;

/// Key of the flow tables of IPv6.
pub type FlowKey6 = FlowKey<[u8; 16]>;

/// The verdict on a flow and the epoch it belongs to: one word, so that no reader sees half of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Judgement {
    /// Epoch in which the verdict was reached.
    pub epoch: u32,
    /// Number of an [`Initiator`].
    pub initiator: u8,
    /// 0 where the flow passes, else the number of the `Reason` for which it is denied; and
    /// [`TRANSLATED`].
    pub denied: u8,
    /// Slot of the pod of this node that really sends the far end's packets, whatever their
    /// source address is; 0 if it is no pod of this node.
    pub sender: u16,
}

/// The part of a flow that changes; each field is one word.
///
/// [`Default`] is a flow of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowState {
    /// Verdict, epoch, initiator.
    pub judgement: Judgement,
    /// `CLOCK_MONOTONIC` of the last packet that passed, in nanoseconds, at most a second old. Of a
    /// denied flow of UDP, or of another protocol without a visible start: of its initiator's last
    /// packet.
    pub last_seen: u64,
    /// How packets of the far end arrive: `ingress_ifindex`, in the upper half `tc_index`, and
    /// [`ARRIVED`]. A packet with the same word has the same sender (S27); 0 before the first one.
    pub arrival: u64,
    /// TCP: the sequence numbers of the last packet that was noted, the far end's in the upper half.
    pub sequences: u64,
    /// `CLOCK_MONOTONIC` of the first packet, in seconds.
    pub created: u32,
    /// Slot of the endpoint that the flow belongs to.
    pub slot: u16,
    /// Bits of [`seen`].
    pub seen: u8,
    /// Zero.
    pub pad: u8,
}

/// The far end that packets of a flow get in place of the one in its key; zero for none.
///
/// A connection to a Service of which the pod may reach some backends has two flows that refer to one
/// another (S40):
///
/// ```text
/// key: far end 10.96.0.20:80     translation: to 10.244.1.7:8080     of the packets that the pod sends
/// key: far end 10.244.1.7:8080   translation: to 10.96.0.20:80       of the packets that it receives
/// ```
///
/// It is aligned as words are, so that programs copy it by words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Translation {
    /// Port, network byte order.
    pub port: [u8; 2],
    /// Bits of [`translation`].
    pub bits: u8,
    /// Zero.
    pub pad: u8,
    /// Address.
    pub address: Address,
}

/// Bits of [`Translation::bits`].
pub mod translation {
    /// The address is a backend's: packets that the pod sends go there.
    pub const TO_BACKEND: u8 = 1 << 0;
    /// The address is a frontend's: packets that the pod receives come from there.
    pub const TO_FRONTEND: u8 = 1 << 1;
    /// Policy must allow the frontend's own address too: it is no cluster IP.
    pub const CHECKS_FRONTEND: u8 = 1 << 2;
}

/// Value of the flow tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow<KeyAddress> {
    /// The part that changes.
    pub state: FlowState,
    /// The key again: the kernel recycles elements while a program reads them.
    pub key: FlowKey<KeyAddress>,
    /// Where packets of a [`TRANSLATED`] flow go, or come from.
    pub translation: Translation,
}

/// Value of the flow tables of IPv4.
pub type Flow4 = Flow<[u8; 4]>;

/// Value of the flow tables of IPv6.
pub type Flow6 = Flow<[u8; 16]>;

plain!(FlowKey4, FlowKey6, Judgement, FlowState, Translation, Flow4, Flow6, Lifetimes);

// A change here is a format change of pinned maps.
const _: () = assert!(size_of::<FlowKey4>() == 20);
const _: () = assert!(size_of::<FlowKey6>() == 44);
const _: () = assert!(size_of::<Judgement>() == 8);
const _: () = assert!(size_of::<FlowState>() == 40);
const _: () = assert!(size_of::<Translation>() == 20);
const _: () = assert!(size_of::<Flow4>() == 80);
const _: () = assert!(size_of::<Flow6>() == 104);
