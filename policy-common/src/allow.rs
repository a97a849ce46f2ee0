//! Allow maps: which ports an identity may use.

use crate::plain;

/// The key of an allow map's default entry, and the identity of every address that no policy in
/// force on the node tells apart.
pub const DEFAULT_IDENTITY: u32 = 0;

/// `PortSet::protocols`: every protocol, ICMP and those without ports included.
pub const EVERY_PROTOCOL: u8 = 1 << 0;
/// `PortSet::protocols`: every TCP port.
pub const EVERY_TCP: u8 = 1 << 1;
/// `PortSet::protocols`: every UDP port.
pub const EVERY_UDP: u8 = 1 << 2;
/// `PortSet::protocols`: every SCTP port.
pub const EVERY_SCTP: u8 = 1 << 3;

/// `PortSet::protocols`: every protocol but TCP, UDP and SCTP.
pub const EVERY_OTHER: u8 = 1 << 4;

/// Ranges that a port set holds in itself; more go into a bitmap.
pub const INLINE_RANGES: usize = 4;

/// Ports `first..=last` of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortRange {
    /// IP protocol number; 0 where the place is unused.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// First port, host byte order.
    pub first: u16,
    /// Last port, included, host byte order.
    pub last: u16,
}

/// Value of an allow map, keyed by identity: what this identity may reach or send.
///
/// Complete in itself: an identity with an entry does not also get the default entry's ports.
/// An identity without one gets the default entry's, and nothing where there is none.
/// Written by the agent, never edited in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortSet {
    /// The key again: the kernel recycles elements under a reader.
    pub identity: u32,
    /// Bitmap in `port_chunks` to look into after the ranges; 0 for none.
    pub bitmap: u32,
    /// Bits `EVERY_*`.
    pub protocols: u8,
    /// For the identity of a Service frontend: the `Reason` it is refused for, 0 where it passes.
    pub refusal: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// Allowed ranges, in no order.
    pub ranges: [PortRange; INLINE_RANGES],
}

/// Key of `port_chunks`: 256 ports of one protocol of one bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortChunkKey {
    /// Bitmap, from 1.
    pub bitmap: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// High byte of the port.
    pub chunk: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// Value of `port_chunks`: port `chunk << 8 | n` is bit `n % 64` of word `n / 64`.
///
/// A chunk without a set bit has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PortChunk {
    /// The key again: the kernel recycles elements under a reader.
    pub key: PortChunkKey,
    /// The ports.
    pub bits: [u64; 4],
}

plain!(PortRange, PortSet, PortChunkKey, PortChunk);

const _: () = assert!(size_of::<PortRange>() == 6);
const _: () = assert!(size_of::<PortSet>() == 36);
const _: () = assert!(size_of::<PortChunkKey>() == 8);
const _: () = assert!(size_of::<PortChunk>() == 40);
