//! Flow tables: the connections of pods that are isolated in some direction.

use crate::plain;

/// `Judgement::initiator`: the pod opened the connection.
pub const INITIATOR_LOCAL: u8 = 1;
/// `Judgement::initiator`: the far end opened it.
pub const INITIATOR_REMOTE: u8 = 2;
/// `Judgement::initiator`: a process of the pod's own node opened it (S37).
pub const INITIATOR_NODE: u8 = 3;

/// `Judgement::initiator`: nobody saw who opened the connection: it passes where either might have.
pub const INITIATOR_EITHER: u8 = 4;

/// `FlowState::seen`: a packet against the initiator's direction was seen.
pub const SEEN_REPLY: u8 = 1 << 0;
/// `FlowState::seen`: a TCP FIN from the pod.
pub const SEEN_FIN_LOCAL: u8 = 1 << 1;
/// `FlowState::seen`: a TCP FIN from the far end.
pub const SEEN_FIN_REMOTE: u8 = 1 << 2;
/// `FlowState::seen`: a TCP RST from either.
pub const SEEN_RST: u8 = 1 << 3;

/// Key of a flow as its endpoint sees it: `local` is the pod, `remote` the far end.
///
/// Addresses and ports are in network byte order; written by the classifiers, read by both sides.
/// ICMP echo has its identifier in both ports, other ICMP type and code; a protocol without ports
/// has zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey4 {
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// Address of the pod.
    pub local: [u8; 4],
    /// Address of the far end.
    pub remote: [u8; 4],
    /// Port of the pod.
    pub local_port: [u8; 2],
    /// Port of the far end.
    pub remote_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// As `FlowKey4`, for IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey6 {
    /// Host-side interface of the pod.
    pub ifindex: u32,
    /// Address of the pod.
    pub local: [u8; 16],
    /// Address of the far end.
    pub remote: [u8; 16],
    /// Port of the pod.
    pub local_port: [u8; 2],
    /// Port of the far end.
    pub remote_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// What was decided about a flow, and when: one word, so that no reader sees half of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Judgement {
    /// Epoch that the verdict was reached in.
    pub epoch: u32,
    /// `INITIATOR_*`.
    pub initiator: u8,
    /// 0 where the flow passes, else the number of the `Reason` it is denied for.
    pub denied: u8,
    /// Slot of the pod of this node that the flow really comes from, whatever its source
    /// address says; 0 where it comes from none.
    pub sender: u16,
}

/// The part of a flow that changes; each field is a word of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowState {
    /// Verdict, epoch, initiator.
    pub judgement: Judgement,
    /// `CLOCK_MONOTONIC` of about the last packet, nanoseconds.
    pub last_seen: u64,
    /// Slot of the endpoint that the flow belongs to.
    pub slot: u16,
    /// Bits `SEEN_*`.
    pub seen: u8,
    /// Zero.
    pub pad: [u8; 5],
}

/// Value of `flows4` and `new_flows4`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow4 {
    /// The part that changes.
    pub state: FlowState,
    /// The key again: the kernel recycles elements under a reader.
    pub key: FlowKey4,
    /// Zero.
    pub pad: [u8; 4],
}

/// Value of `flows6` and `new_flows6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow6 {
    /// The part that changes.
    pub state: FlowState,
    /// The key again: the kernel recycles elements under a reader.
    pub key: FlowKey6,
    /// Zero.
    pub pad: [u8; 4],
}

plain!(FlowKey4, FlowKey6, Judgement, FlowState, Flow4, Flow6);

const _: () = assert!(size_of::<FlowKey4>() == 20);
const _: () = assert!(size_of::<FlowKey6>() == 44);
const _: () = assert!(size_of::<Judgement>() == 8);
const _: () = assert!(size_of::<FlowState>() == 24);
const _: () = assert!(size_of::<Flow4>() == 48);
const _: () = assert!(size_of::<Flow6>() == 72);
