//! The lines, one subprogram each: a subprogram has a stack of its own, and takes scalars.
//!
//! Each line begins with the number of the CPU, because lines of several CPUs are mixed in the ring
//! buffer, and with the kind of the line: 1 is the first one of a packet, 2 the last one, 0 any other. The
//! agent puts those of a packet together, and replaces the numbers of protocols and reasons by their
//! names.
//!
//! A packet is read twice if it was translated between. It has lines from the first reading with the
//! wanted far end, up to its verdict. Example, a reply of a backend, with the frontend as that far end:
//!
//! ```text
//! first reading    from 10.244.1.7 port 8080, the backend    no line
//! second reading   from 10.96.0.20 port 80, the frontend     0 1 packet: to the pod, …
//! verdict                                                    0 2 verdict: passes
//! ```

use aya_ebpf::{
    Global, btf_maps::PerCpuArray, helpers::generated::bpf_get_smp_processor_id, macros::btf_map,
};
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

/// Whether the packet that a CPU judges has lines: 1, or 0 if not.
#[btf_map(name = "traced")]
static TRACED: PerCpuArray<u32, 1> = PerCpuArray::new();

/// The CPU that judges the packet, until its verdict.
#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_smp_processor_id() }
}

/// Whether the packet has lines.
#[inline(always)]
fn is_traced() -> bool {
    TRACED.get(0).is_some_and(|traced| *traced != 0)
}

#[inline(always)]
fn set_traced(is_traced: bool) {
    if let Some(traced) = TRACED.get_ptr_mut(0) {
        // SAFETY: the map has one element for each CPU, and no other program runs on this one.
        unsafe { *traced = u32::from(is_traced) };
    }
}

/// Whether a packet has the far end that is traced; `None` stands for one without addresses.
#[inline(always)]
fn is_wanted(packet: Option<&Packet>) -> bool {
    let peer = Ip { high: TRACE_PEER_HIGH.load(), low: TRACE_PEER_LOW.load() };
    let is_any = peer.high == 0 && peer.low == 0;
    is_any || packet.is_some_and(|packet| packet.source == peer || packet.destination == peer)
}

/// The ends of the packet, and whether it has lines from here on.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_packet(direction: u32, epoch: u32, is_again: u32) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &(*scratch).packet };
    let continues = is_again != 0 && is_traced();
    if !continues {
        set_traced(is_wanted(packet.has_addresses.then_some(packet)));
    }
    if !is_traced() {
        return 0;
    }
    let (kind, protocol) = (u32::from(!continues), packet.protocol);
    if direction == Direction::Egress as u32 {
        info!(
            &(),
            "{} {} packet: from the pod, protocol {}, epoch {}",
            cpu(),
            kind,
            protocol,
            epoch
        );
    } else {
        info!(&(), "{} {} packet: to the pod, protocol {}, epoch {}", cpu(), kind, protocol, epoch);
    }
    if !packet.has_addresses {
        return 0;
    }
    let (from, to) = packet.transport().map_or((0, 0), |transport| {
        (u16::from_be_bytes(transport.source), u16::from_be_bytes(transport.destination))
    });
    info!(&(), "{} 0 packet: from {:i} port {}", cpu(), packet.source.bytes(), from);
    info!(&(), "{} 0 packet: to {:i} port {}", cpu(), packet.destination.bytes(), to);
    0
}

/// The only step of a frame that is not IP.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_frame(direction: u32, ether_type: u32) -> u32 {
    set_traced(is_wanted(None));
    if !is_traced() {
        return 0;
    }
    if direction == Direction::Egress as u32 {
        info!(&(), "{} 1 packet: from the pod, EtherType 0x{:x}", cpu(), ether_type);
    } else {
        info!(&(), "{} 1 packet: to the pod, EtherType 0x{:x}", cpu(), ether_type);
    }
    0
}

/// The flow was looked up, and none is live.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_no_flow() -> u32 {
    if is_traced() {
        info!(&(), "{} 0 flow: none is known", cpu());
    }
    0
}

/// No flow was looked up.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_flow_not_needed() -> u32 {
    if is_traced() {
        info!(
            &(),
            "{} 0 flow: not looked up: the packet opens a connection, or its protocol has no flows",
            cpu()
        );
    }
    0
}

/// The flow was found.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_flow(epoch: u32, initiator: u32, denied: u32) -> u32 {
    if !is_traced() {
        return 0;
    }
    if denied == 0 {
        info!(&(), "{} 0 flow: known, allowed in epoch {}, initiator {}", cpu(), epoch, initiator);
    } else {
        info!(&(), "{} 0 flow: known, denied in epoch {}, initiator {}", cpu(), epoch, initiator);
    }
    0
}

/// The endpoint was found.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_endpoint(slot: u32, ingress: u32, egress: u32, flags: u32) -> u32 {
    if is_traced() {
        info!(&(), "{} 0 endpoint: slot {}, flags {}", cpu(), slot, flags);
        info!(
            &(),
            "{} 0 endpoint: allow map {} for ingress, {} for egress",
            cpu(),
            ingress,
            egress
        );
    }
    0
}

/// No endpoint has the interface.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_no_endpoint() -> u32 {
    if is_traced() {
        info!(&(), "{} 0 endpoint: the interface belongs to no known pod", cpu());
    }
    0
}

/// The frontend was looked up.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_frontend(high: u64, low: u64, port: u32, identity: u32) -> u32 {
    if !is_traced() {
        return 0;
    }
    let address = Ip { high, low }.bytes();
    if identity == DEFAULT_IDENTITY {
        info!(&(), "{} 0 frontend: {:i} port {} is not a Service", cpu(), address, port);
    } else {
        info!(&(), "{} 0 frontend: {:i} port {} has identity {}", cpu(), address, port, identity);
    }
    0
}

/// The identity was looked up.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_identity(high: u64, low: u64, identity: u32) -> u32 {
    if is_traced() {
        info!(
            &(),
            "{} 0 identity: {:i} has identity {}",
            cpu(),
            Ip { high, low }.bytes(),
            identity
        );
    }
    0
}

/// The entry that decides, and its port set.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_allow_map(allow_map: u32, identity: u32) -> u32 {
    if !is_traced() {
        return 0;
    }
    let Some(allow) = ALLOW.get(allow_map) else {
        info!(&(), "{} 0 allow map: {} is missing", cpu(), allow_map);
        return 0;
    };
    // SAFETY: the kernel keeps the element readable while the program runs.
    if let Some(set) = unsafe { allow.get(identity) } {
        info!(&(), "{} 0 allow map: {} has an entry for identity {}", cpu(), allow_map, identity);
        return port_set(set);
    }
    info!(&(), "{} 0 allow map: {} has no entry for identity {}", cpu(), allow_map, identity);
    // SAFETY: as above.
    if let Some(set) = unsafe { allow.get(DEFAULT_IDENTITY) } {
        info!(&(), "{} 0 allow map: {} has an entry for all others", cpu(), allow_map);
        return port_set(set);
    }
    info!(&(), "{} 0 allow map: {} has no entry for all others", cpu(), allow_map);
    0
}

/// What a port set allows.
#[inline(always)]
fn port_set(set: &PortSet) -> u32 {
    info!(&(), "{} 0 port set: whole protocols {}, bitmap {}", cpu(), set.protocols, set.bitmap);
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
    info!(&(), "{} 0 port set: protocol {} from port {} to {}", cpu(), protocol, first, last);
    0
}

/// The port was looked up in the port set.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_port(port: u32, protocol: u32, reason: u32) -> u32 {
    if !is_traced() {
        return 0;
    }
    if reason == 0 {
        info!(&(), "{} 0 port set: allows port {} of protocol {}", cpu(), port, protocol);
    } else {
        info!(&(), "{} 0 port set: does not allow port {} of protocol {}", cpu(), port, protocol);
    }
    0
}

/// The end of the decision.
#[inline(never)]
#[unsafe(no_mangle)]
pub(super) extern "C" fn trace_verdict(reason: u32) -> u32 {
    if !is_traced() {
        return 0;
    }
    if reason == 0 {
        info!(&(), "{} 2 verdict: passes", cpu());
    } else {
        info!(&(), "{} 2 verdict: dropped, reason {}", cpu(), reason);
    }
    0
}
