//! Reads the packets that the fast path knows: plain TCP and UDP in the linear part of the buffer.
//!
//! `None` sends a packet to the slow path, which reads every packet and says what is wrong with it.

use core::mem;

use policy_common::{
    drops::Direction,
    flow::{Flow, FlowKey, FlowKey4, FlowKey6},
    protocol::{TCP, UDP},
};

use crate::{
    address::MAPPED_WORD,
    element::read_once,
    parse::{
        ETHER_LENGTH,
        transport::{FIN, RST, SYN, Transport},
    },
    skb::Skb,
};

/// Offsets in the frame.
const IP: usize = ETHER_LENGTH;
const UPPER4: usize = IP + 20;
const UPPER6: usize = IP + 40;

const UDP_LENGTH: usize = 8;
const TCP_LENGTH: usize = 20;

/// Of an IPv4 header: more fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;

/// The key of a flow on the stack, aligned so that it can be compared by double words.
#[repr(C, align(8))]
pub(super) struct Key<A>(pub(super) FlowKey<A>);

/// A packet that can belong to a known flow without changing it.
pub(super) struct Plain<A> {
    pub(super) key: Key<A>,
    pub(super) transport: Transport,
}

/// The fields of a TCP or UDP header that matter here.
struct PortsAndSequence {
    protocol: u8,
    /// Source port, then destination port, as in the packet.
    ports: u32,
    sequence: u32,
}

impl<A> Key<A> {
    /// Whether an element still has this key after it was read; see `element`.
    #[inline(always)]
    pub(super) fn is_still(&self, flow: &Flow<A>) -> bool {
        const DOUBLE: usize = size_of::<u64>();
        const { assert!(size_of::<FlowKey<A>>() % DOUBLE == size_of::<u32>()) };
        let doubles = size_of::<FlowKey<A>>() / DOUBLE;
        let (ours, theirs) =
            ((&raw const self.0).cast::<u64>(), (&raw const flow.key).cast::<u64>());
        let mut difference = 0;
        for at in 0..doubles {
            // SAFETY: inside of the key, which is aligned to eight.
            let our = unsafe { &*ours.wrapping_add(at) };
            // SAFETY: inside of the key; it follows the state, which is five double words.
            let their = unsafe { &*theirs.wrapping_add(at) };
            difference |= read_once(their) ^ *our;
        }
        // SAFETY: the assertion says that a word is left.
        let our = unsafe { &*ours.wrapping_add(doubles).cast::<u32>() };
        // SAFETY: as above.
        let their = unsafe { &*theirs.wrapping_add(doubles).cast::<u32>() };
        difference | u64::from(read_once(their) ^ *our) == 0
    }
}

/// Reads an IPv4 packet (RFC 791).
#[inline(always)]
pub(super) fn read4(skb: Skb, direction: Direction) -> Option<Plain<[u8; 4]>> {
    let header = skb.linear::<IP, { 20 + UDP_LENGTH }>()?;
    let total = u32::from(u16::from_be(header.read::<u16, 2>()));
    let is_fragment = u16::from_be(header.read::<u16, 6>()) & FRAGMENT != 0;
    if header.read::<u8, 0>() != 0x45 || is_fragment || IP as u32 + total > skb.bytes() {
        return None;
    }
    let upper = upper::<UPPER4>(skb, header.read::<u8, 9>(), total.wrapping_sub(20))?;
    let (source, destination) = (header.read::<u32, 12>(), header.read::<u32, 16>());
    let (local, remote, ports) = upper.ends(direction, source, destination);
    let words = [skb.ifindex(), local, remote, ports, upper.protocol.into()];
    // SAFETY: the key is these five words without padding, each in memory order, protocol first in
    // the last one; every value of them is one of the key.
    let key = Key(unsafe { mem::transmute::<[u32; 5], FlowKey4>(words) });
    Some(Plain { key, transport: Transport::under_way(upper.protocol, upper.sequence) })
}

/// Reads an IPv6 packet (RFC 8200).
#[inline(always)]
pub(super) fn read6(skb: Skb, direction: Direction) -> Option<Plain<[u8; 16]>> {
    let header = skb.linear::<IP, { 40 + UDP_LENGTH }>()?;
    let length = u32::from(u16::from_be(header.read::<u16, 4>()));
    if header.read::<u8, 0>() >> 4 != 6 || UPPER6 as u32 + length > skb.bytes() {
        return None;
    }
    let upper = upper::<UPPER6>(skb, header.read::<u8, 6>(), length)?;
    let (source, destination) = (header.read::<[u32; 4], 8>(), header.read::<[u32; 4], 24>());
    // An IPv4 address in IPv6 form is on no wire (RFC 4291, 2.5.5.2).
    if is_mapped(source) || is_mapped(destination) {
        return None;
    }
    let ([a, b, c, d], [e, f, g, h], ports) = upper.ends(direction, source, destination);
    let words = [skb.ifindex(), a, b, c, d, e, f, g, h, ports, upper.protocol.into()];
    // SAFETY: as for IPv4, with four words for an address.
    let key = Key(unsafe { mem::transmute::<[u32; 11], FlowKey6>(words) });
    Some(Plain { key, transport: Transport::under_way(upper.protocol, upper.sequence) })
}

/// Reads the header at an offset in the frame; the IP header states that `length` bytes follow there.
#[inline(always)]
fn upper<const AT: usize>(skb: Skb, protocol: u8, length: u32) -> Option<PortsAndSequence> {
    if protocol == UDP {
        let header = skb.linear::<AT, UDP_LENGTH>()?;
        let is_whole = (UDP_LENGTH as u32..=u16::MAX.into()).contains(&length);
        return is_whole.then(|| PortsAndSequence {
            protocol,
            ports: header.read::<u32, 0>(),
            sequence: 0,
        });
    }
    if protocol != TCP {
        return None;
    }
    let header = skb.linear::<AT, TCP_LENGTH>()?;
    let header_length = u32::from(header.read::<u8, 12>() >> 4) * 4;
    let is_whole =
        (TCP_LENGTH as u32..=length).contains(&header_length) && length <= u16::MAX.into();
    let changes_state = header.read::<u8, 13>() & (FIN | SYN | RST) != 0;
    if !is_whole || changes_state {
        return None;
    }
    let sequence = u32::from_be(header.read::<u32, 4>());
    Some(PortsAndSequence { protocol, ports: header.read::<u32, 0>(), sequence })
}

#[inline(always)]
fn is_mapped([a, b, c, _]: [u32; 4]) -> bool {
    a | b == 0 && c == MAPPED_WORD
}

impl PortsAndSequence {
    /// The pod's address, the far end's, and their ports in this order.
    #[inline(always)]
    fn ends<T>(&self, direction: Direction, source: T, destination: T) -> (T, T, u32) {
        match direction {
            Direction::Egress => (source, destination, self.ports),
            Direction::Ingress => (destination, source, self.ports.rotate_left(16)),
        }
    }
}
