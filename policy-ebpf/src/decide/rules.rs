//! The rules: at most four look-ups decide a new connection.
//!
//! Example: egress of `web` with allow map 4 to 10.244.0.11, TCP port 80:
//!
//! ```text
//! frontends[10.244.0.11, 80, TCP]  → none: no Service has this port
//! frontends[10.244.0.11, 0, TCP]   → none: no Service that is left out has the address
//! identities[10.244.0.11]          → identity 2
//! allow[4][2]                      → TCP 80-80: pass
//! ```
//!
//! The look-ups are subprograms that take scalars: each has a stack of its own, and kernels before
//! 5.12 refuse pointer arguments.

use aya_ebpf::btf_maps::lpm_trie::Key;
use policy_common::{
    allow::{DEFAULT_IDENTITY, PortChunkKey, PortSet, every},
    drops::Reason,
    frontend::{EVERY_PORT, FrontendKey},
    protocol::{SCTP, TCP, UDP},
};

use super::verdict::{Refusal, Verdict};
use crate::{
    address::Ip,
    element::{is_still, read_address, read_once},
    maps::{ALLOW, Allow, BLOCKS, FRONTENDS, IDENTITIES, PORT_CHUNKS},
    trace,
};

/// A key that is aligned as a word is.
#[repr(C, align(4))]
struct Word<Key>(Key);

/// The far end of a connection, and the port to which it is opened.
pub(crate) struct Peer {
    pub(crate) address: Ip,
    pub(crate) protocol: u8,
    /// The destination's port, network byte order.
    pub(crate) port: [u8; 2],
}

/// Judges a connection that the pod opens: by the backends if the address is a Service's, else by
/// the address.
#[inline(always)]
pub(crate) fn egress(allow_map: u32, peer: &Peer) -> Verdict {
    let Ip { high, low } = peer.address;
    let port = u16::from_be_bytes(peer.port);
    let identity = match rules_frontend(high, low, port, peer.protocol) {
        DEFAULT_IDENTITY => rules_frontend(high, low, EVERY_PORT, TCP),
        identity => identity,
    };
    trace::frontend(peer.address, peer.port, identity);
    match identity {
        DEFAULT_IDENTITY => address(allow_map, peer),
        identity => verdict(rules_serve(allow_map, identity), allow_map, identity),
    }
}

/// Judges a connection by the address of its far end, whether or not it is a Service's.
#[inline(always)]
pub(crate) fn address(allow_map: u32, peer: &Peer) -> Verdict {
    let Ip { high, low } = peer.address;
    let identity = rules_identity(high, low);
    trace::identity(peer.address, allow_map, identity);
    let reason = rules_grant(allow_map, identity, u16::from_be_bytes(peer.port), peer.protocol);
    trace::port(peer.port, peer.protocol, reason);
    verdict(reason, allow_map, identity)
}

/// Judges a packet with an unknown port: it passes if the port does not matter.
#[inline(always)]
pub(crate) fn any_port(allow_map: u32, peer: &Peer) -> Verdict {
    let Ip { high, low } = peer.address;
    let identity = rules_identity(high, low);
    verdict(rules_grant_any(allow_map, identity, peer.protocol), allow_map, identity)
}

#[inline(always)]
fn verdict(reason: u32, allow_map: u32, identity: u32) -> Verdict {
    match Reason::from_number(reason as u8) {
        None => Verdict::Pass,
        Some(reason) => {
            Verdict::Drop(Refusal { reason, allow_map, identity, opened_by_pod: false })
        }
    }
}

/// The identity of an address: the exact entry, else that of the longest matching block.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rules_identity(high: u64, low: u64) -> u32 {
    let address = Ip { high, low };
    if let Some(pointer) = IDENTITIES.get_ptr(address.bytes()) {
        // SAFETY: the kernel keeps the element readable while the program runs; if it is
        // recycled meanwhile, the key that is read last differs.
        let found = unsafe { &*pointer };
        let identity = read_once(&found.identity);
        if read_address(&found.address) == address {
            return identity;
        }
    }
    BLOCKS.get(&Key::new(128, address.bytes())).copied().unwrap_or(DEFAULT_IDENTITY)
}

/// The identity of the backends of a frontend; `DEFAULT_IDENTITY` for none.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rules_frontend(high: u64, low: u64, port: u16, protocol: u8) -> u32 {
    let address = Ip { high, low };
    let port = port.to_be_bytes();
    let key = Word(FrontendKey { address: address.bytes(), port, protocol, pad: 0 });
    let Some(pointer) = FRONTENDS.get_ptr(key.0) else { return DEFAULT_IDENTITY };
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the key that is read last differs.
    let found = unsafe { &*pointer };
    let identity = read_once(&found.identity);
    if is_still(&found.key, &key.0) { identity } else { DEFAULT_IDENTITY }
}

/// Whether an allow map has an identity and port: 0, or the number of a `Reason`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rules_grant(allow_map: u32, identity: u32, port: u16, protocol: u8) -> u32 {
    let Some(allow) = ALLOW.get(allow_map) else {
        return Reason::MissingAllowMap as u32;
    };
    let granted = match entry(allow, identity) {
        Some(set) => contains(set, port, protocol) && is_of(set, identity),
        None => entry(allow, DEFAULT_IDENTITY)
            .is_some_and(|set| contains(set, port, protocol) && is_of(set, DEFAULT_IDENTITY)),
    };
    if granted { 0 } else { Reason::NoRule as u32 }
}

/// Whether an allow map has an identity with every port of a protocol: 0, or the number of a `Reason`,
/// which is `Fragment` if some port is allowed.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rules_grant_any(allow_map: u32, identity: u32, protocol: u8) -> u32 {
    let Some(allow) = ALLOW.get(allow_map) else {
        return Reason::MissingAllowMap as u32;
    };
    let (set, owner) = match entry(allow, identity) {
        Some(set) => (set, identity),
        None => match entry(allow, DEFAULT_IDENTITY) {
            Some(set) => (set, DEFAULT_IDENTITY),
            None => return Reason::NoRule as u32,
        },
    };
    let every = set.protocols & every_port(protocol) != 0;
    let some = set.bitmap != 0 || set.ranges.iter().any(|range| range.protocol == protocol);
    match (is_of(set, owner), every, some) {
        (true, true, _) => 0,
        (true, false, true) => Reason::Fragment as u32,
        (true, false, false) | (false, _, _) => Reason::NoRule as u32,
    }
}

/// Whether an allow map passes a frontend, by the identity of its backends (S40, S42): 0, or the
/// number of a `Reason`.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rules_serve(allow_map: u32, identity: u32) -> u32 {
    let Some(allow) = ALLOW.get(allow_map) else {
        return Reason::MissingAllowMap as u32;
    };
    if let Some(set) = entry(allow, identity) {
        let refusal = u32::from(set.refusal);
        return if is_of(set, identity) { refusal } else { Reason::ServiceDenied as u32 };
    }
    match entry(allow, DEFAULT_IDENTITY) {
        Some(set) if set.protocols & every::PROTOCOL != 0 && is_of(set, DEFAULT_IDENTITY) => 0,
        _ => Reason::ServiceDenied as u32,
    }
}

/// The entry of an identity in an allow map.
#[inline(always)]
fn entry(allow: &Allow, identity: u32) -> Option<&PortSet> {
    // SAFETY: the kernel keeps the element readable while the program runs; callers check by
    // `is_of`, after they have read it, whether it was recycled meanwhile.
    unsafe { allow.get(identity) }
}

/// Whether a port set still belongs to an identity after it was read.
#[inline(always)]
fn is_of(set: &PortSet, identity: u32) -> bool {
    read_once(&set.identity) == identity
}

/// Whether a port set contains the protocol and port of a connection.
#[inline(always)]
fn contains(set: &PortSet, port: u16, protocol: u8) -> bool {
    if set.protocols & every_port(protocol) != 0 {
        return true;
    }
    if !matches!(protocol, TCP | UDP | SCTP) {
        return false;
    }
    for range in &set.ranges {
        if range.protocol == protocol && range.first <= port && port <= range.last {
            return true;
        }
    }
    set.bitmap != 0 && in_bitmap(set.bitmap, protocol, port)
}

/// The bits of `PortSet::protocols` that allow every port of a protocol.
#[inline(always)]
fn every_port(protocol: u8) -> u8 {
    let every = match protocol {
        TCP => every::TCP,
        UDP => every::UDP,
        SCTP => every::SCTP,
        _ => every::OTHER,
    };
    every | every::PROTOCOL
}

#[inline(always)]
fn in_bitmap(bitmap: u32, protocol: u8, port: u16) -> bool {
    let key = PortChunkKey { bitmap, protocol, chunk: (port >> 8) as u8, pad: [0; 2] };
    let Some(pointer) = PORT_CHUNKS.get_ptr(key) else {
        return false;
    };
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the key that is read last differs.
    let chunk = unsafe { &*pointer };
    let bits = read_once(&chunk.bits[usize::from(port >> 6 & 3)]);
    is_still(&chunk.key, &key) && bits >> (port & 63) & 1 != 0
}
