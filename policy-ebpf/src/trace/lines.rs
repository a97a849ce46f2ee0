//! The lines, one subprogram each: a subprogram has a stack of its own, and takes scalars.
//!
//! Each line begins with the number of the CPU, because lines of several CPUs are mixed in the ring
//! buffer. The agent puts those of a packet together, and replaces the numbers of protocols and reasons
//! by their names.

use aya_ebpf::{Global, helpers::generated::bpf_get_smp_processor_id};
use aya_log_ebpf::info;
use policy_common::{
    allow::{DEFAULT_IDENTITY, PortSet},
    drops::Direction,
};

use crate::{address::Ip, maps::ALLOW, parse::ip::Packet, scratch};

/// The far end that is traced, as the words of its address; zero for every far end. The agent sets it.
#[unsafe(no_mangle)]
static TRACE_PEER_HIGH: Global<u64> = Global::new(0);

/// See `TRACE_PEER_HIGH`.
#[unsafe(no_mangle)]
static TRACE_PEER_LOW: Global<u64> = Global::new(0);

/// The CPU that judges the packet, until its verdict.
#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_smp_processor_id() }
}

/// The packet in the scratch map, if it is one to trace.
#[inline(always)]
fn wanted() -> Option<&'static Packet> {
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &(*scratch).packet };
    let peer = Ip { high: TRACE_PEER_HIGH.load(), low: TRACE_PEER_LOW.load() };
    let is_any = peer.high == 0 && peer.low == 0;
    let is_wanted =
        is_any || packet.has_addresses && (packet.source == peer || packet.destination == peer);
    if is_wanted { Some(packet) } else { None }
}

/// The ends of the packet.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_packet(direction: u32, epoch: u32) -> u32 {
    let Some(packet) = wanted() else { return 0 };
    if direction == Direction::Egress as u32 {
        info!(&(), "{} packet: from the pod, protocol {}, epoch {}", cpu(), packet.protocol, epoch);
    } else {
        info!(&(), "{} packet: to the pod, protocol {}, epoch {}", cpu(), packet.protocol, epoch);
    }
    if !packet.has_addresses {
        return 0;
    }
    let (from, to) = packet.transport().map_or((0, 0), |transport| {
        (u16::from_be_bytes(transport.source), u16::from_be_bytes(transport.destination))
    });
    info!(&(), "{} packet: from {:i} port {}", cpu(), packet.source.bytes(), from);
    info!(&(), "{} packet: to {:i} port {}", cpu(), packet.destination.bytes(), to);
    0
}

/// The flow was looked up, and none is live.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_no_flow() -> u32 {
    if wanted().is_some() {
        info!(&(), "{} flow: none is known", cpu());
    }
    0
}

/// No flow was looked up.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_flow_not_needed() -> u32 {
    if wanted().is_some() {
        info!(&(), "{} flow: not looked up, the packet opens a connection or has none", cpu());
    }
    0
}

/// The flow was found.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_flow(epoch: u32, initiator: u32, denied: u32) -> u32 {
    if wanted().is_none() {
        return 0;
    }
    if denied == 0 {
        info!(&(), "{} flow: known, allowed in epoch {}, initiator {}", cpu(), epoch, initiator);
    } else {
        info!(&(), "{} flow: known, denied in epoch {}, initiator {}", cpu(), epoch, initiator);
    }
    0
}

/// The endpoint was found.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_endpoint(slot: u32, ingress: u32, egress: u32, flags: u32) -> u32 {
    if wanted().is_some() {
        info!(&(), "{} endpoint: slot {}, flags {}", cpu(), slot, flags);
        info!(&(), "{} endpoint: allow map {} for ingress, {} for egress", cpu(), ingress, egress);
    }
    0
}

/// No endpoint has the interface.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_no_endpoint() -> u32 {
    if wanted().is_some() {
        info!(&(), "{} endpoint: the interface belongs to no known pod", cpu());
    }
    0
}

/// The frontend was looked up.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_frontend(high: u64, low: u64, port: u32, identity: u32) -> u32 {
    if wanted().is_none() {
        return 0;
    }
    let address = Ip { high, low }.bytes();
    if identity == DEFAULT_IDENTITY {
        info!(&(), "{} frontend: {:i} port {} is none of a Service", cpu(), address, port);
    } else {
        info!(&(), "{} frontend: {:i} port {} has identity {}", cpu(), address, port, identity);
    }
    0
}

/// The identity was looked up.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_identity(high: u64, low: u64, identity: u32) -> u32 {
    if wanted().is_some() {
        info!(&(), "{} identity: {:i} has identity {}", cpu(), Ip { high, low }.bytes(), identity);
    }
    0
}

/// The entry that decides, and its port set.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_allow_map(allow_map: u32, identity: u32) -> u32 {
    if wanted().is_none() {
        return 0;
    }
    let Some(allow) = ALLOW.get(allow_map) else {
        info!(&(), "{} allow map: {} is missing", cpu(), allow_map);
        return 0;
    };
    // SAFETY: the kernel keeps the element readable while the program runs.
    if let Some(set) = unsafe { allow.get(identity) } {
        info!(&(), "{} allow map: {} has an entry for identity {}", cpu(), allow_map, identity);
        return port_set(set);
    }
    info!(&(), "{} allow map: {} has no entry for identity {}", cpu(), allow_map, identity);
    // SAFETY: as above.
    if let Some(set) = unsafe { allow.get(DEFAULT_IDENTITY) } {
        info!(&(), "{} allow map: {} has an entry for all others", cpu(), allow_map);
        return port_set(set);
    }
    info!(&(), "{} allow map: {} has no entry for all others", cpu(), allow_map);
    0
}

/// What a port set allows.
#[inline(always)]
fn port_set(set: &PortSet) -> u32 {
    info!(&(), "{} port set: whole protocols {}, bitmap {}", cpu(), set.protocols, set.bitmap);
    for range in &set.ranges {
        if range.protocol != 0 {
            trace_range(range.protocol.into(), range.first.into(), range.last.into());
        }
    }
    0
}

/// A range of a port set.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn trace_range(protocol: u32, first: u32, last: u32) -> u32 {
    info!(&(), "{} port set: protocol {} from port {} to {}", cpu(), protocol, first, last);
    0
}

/// The port was looked up in the port set.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_port(port: u32, protocol: u32, reason: u32) -> u32 {
    if wanted().is_none() {
        return 0;
    }
    if reason == 0 {
        info!(&(), "{} port set: allows port {} of protocol {}", cpu(), port, protocol);
    } else {
        info!(&(), "{} port set: does not allow port {} of protocol {}", cpu(), port, protocol);
    }
    0
}

/// The end of the decision.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_verdict(reason: u32) -> u32 {
    if wanted().is_none() {
        return 0;
    }
    if reason == 0 {
        info!(&(), "{} verdict: passes", cpu());
    } else {
        info!(&(), "{} verdict: dropped, reason {}", cpu(), reason);
    }
    0
}
