//! The path of every packet: parse, flow, endpoint, rules, verdict.
//!
//! `main` calls [`inspect`] with the packet and its direction; the result is a TC action.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    programs::TcContext,
};
use policy_common::{
    drops::{Direction, Reason},
    endpoint::flags,
    flow::Flow,
    protocol::{ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6},
};

use crate::{
    address::Ip,
    drops::drops_report,
    endpoint,
    family::{Ends, Family, Ports, V4, V6, write_key},
    flow::{self, Lookup},
    judge,
    maps::{DROP_UNKNOWN, HANDLE_IPV6, SCRATCH},
    neighbour,
    packet::{Packet, TAGGED, read4, read6},
    quote::{quote_known4, quote_known6},
    transport::Transport,
    verdict::{Refusal, Verdict},
};

/// A packet at a hook, with the interface and its epoch.
pub(crate) struct Arrival<'a> {
    pub(crate) ctx: &'a TcContext,
    pub(crate) direction: Direction,
    pub(crate) ifindex: u32,
    /// Epoch of the interface, read before anything else.
    pub(crate) epoch: u32,
    pub(crate) packet: &'a Packet,
    /// The packet that this ICMP error quotes was looked up already, and belongs to no known flow.
    pub(crate) quotation_checked: bool,
}

/// Host-side interface of the pod.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel passes a valid context to the program.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// EtherType, host byte order; `TAGGED` for a frame whose VLAN tag the kernel has taken off.
#[inline(always)]
pub(crate) fn ether_type(ctx: &TcContext) -> u16 {
    // SAFETY: the kernel passes a valid context to the program.
    let tagged = unsafe { (*ctx.skb.skb).vlan_present };
    // SAFETY: as above.
    let protocol = unsafe { (*ctx.skb.skb).protocol };
    if tagged == 0 { u16::from_be(protocol as u16) } else { TAGGED }
}

/// Returned by a subprogram for an ICMP error: the packet that it quotes must be looked up first.
///
/// The entry function does that, because the stack has no space for one call deeper.
const CHECK_QUOTATION: i32 = 100;

/// Judges a packet at the entry of a program. `TC_ACT_UNSPEC` passes it on to the next program of
/// the hook.
#[inline(always)]
pub(crate) fn inspect(ctx: &TcContext, direction: Direction) -> i32 {
    let (skb, ether_type) = (ctx.skb.skb, ether_type(ctx));
    let action = dispatch(skb, ether_type, direction, 0);
    if action != CHECK_QUOTATION {
        return action;
    }
    let known = if ether_type == ETH_P_IP {
        quote_known4(skb, direction as u32)
    } else {
        quote_known6(skb, direction as u32)
    };
    if known == 0 { dispatch(skb, ether_type, direction, 1) } else { TC_ACT_UNSPEC }
}

/// Calls the subprogram for the packet's family and direction; `checked` is 1 if the packet that it
/// quotes was looked up already.
#[inline(always)]
fn dispatch(skb: *mut __sk_buff, ether_type: u16, direction: Direction, checked: u32) -> i32 {
    match (ether_type, direction) {
        (ETH_P_IP, Direction::Egress) => inspect_sent4(skb, checked),
        (ETH_P_IP, Direction::Ingress) => inspect_received4(skb, checked),
        (ETH_P_IPV6, _) if HANDLE_IPV6.load() == 0 => TC_ACT_UNSPEC,
        (ETH_P_IPV6, Direction::Egress) => inspect_sent6(skb, checked),
        (ETH_P_IPV6, Direction::Ingress) => inspect_received6(skb, checked),
        (_, Direction::Egress) => inspect_sent_other(skb),
        (_, Direction::Ingress) => inspect_received_other(skb),
    }
}

/// One subprogram for each direction and family: each has a stack of its own.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent4(skb: *mut __sk_buff, checked: u32) -> i32 {
    of_family::<V4>(&TcContext::new(skb), Direction::Egress, checked, read4)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received4(skb: *mut __sk_buff, checked: u32) -> i32 {
    of_family::<V4>(&TcContext::new(skb), Direction::Ingress, checked, read4)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent6(skb: *mut __sk_buff, checked: u32) -> i32 {
    of_family::<V6>(&TcContext::new(skb), Direction::Egress, checked, read6)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received6(skb: *mut __sk_buff, checked: u32) -> i32 {
    of_family::<V6>(&TcContext::new(skb), Direction::Ingress, checked, read6)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent_other(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    act(&ctx, Direction::Egress, other(&ctx, Direction::Egress))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received_other(skb: *mut __sk_buff) -> i32 {
    let ctx = TcContext::new(skb);
    act(&ctx, Direction::Ingress, other(&ctx, Direction::Ingress))
}

#[inline(always)]
fn of_family<F: Family>(
    ctx: &TcContext,
    direction: Direction,
    checked: u32,
    read: impl Fn(&TcContext, &mut Packet) -> Result<(), Reason>,
) -> i32 {
    let ifindex = ifindex(ctx);
    // Before every other look-up: a verdict must not carry a newer epoch than what it depends on.
    let epoch = endpoint::epoch(ifindex);
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &mut (*scratch).packet };
    let read = read(ctx, packet);
    packet.has_addresses = read.is_ok();
    let verdict = match read {
        Ok(()) => {
            // SAFETY: as above; another field than `packet`.
            let flow = unsafe { &mut *F::scratch_flow(scratch) };
            let quotation_checked = checked != 0;
            let arrival = Arrival { ctx, direction, ifindex, epoch, packet, quotation_checked };
            ip::<F>(&arrival, flow)
        }
        Err(reason) => unparsed(ctx, direction, ifindex, reason),
    };
    act(ctx, direction, verdict)
}

#[inline(always)]
fn act(ctx: &TcContext, direction: Direction, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::CheckQuotation => CHECK_QUOTATION,
        Verdict::Drop(Refusal { reason, content, identity }) => {
            drops_report(ctx.skb.skb, direction as u32, reason as u32, content, identity);
            TC_ACT_SHOT
        }
    }
}

/// Judges a frame that is not IP.
#[inline(always)]
fn other(ctx: &TcContext, direction: Direction) -> Verdict {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: the map has one element for each CPU, and no other program runs on this one.
        unsafe { (*scratch).packet.has_addresses = false };
    }
    let Some(endpoint) = endpoint::find(ifindex(ctx)) else { return unknown() };
    store_sender_slot(ctx, direction, endpoint.slot);
    let sent = matches!(direction, Direction::Egress);
    match ether_type(ctx) {
        ETH_P_ARP => neighbour::arp(ctx, direction, endpoint),
        // A tagged frame could carry a packet with any source, and Linux removes priority tags.
        TAGGED | ETH_P_8021Q | ETH_P_8021AD if sent && endpoint.flags & flags::MAY_SPOOF == 0 => {
            Verdict::drop(Reason::EtherType)
        }
        _ if endpoint::is_isolated(endpoint) => Verdict::drop(Reason::EtherType),
        _ => Verdict::Pass,
    }
}

/// An interface that belongs to no known pod.
#[inline(always)]
fn unknown() -> Verdict {
    if DROP_UNKNOWN.load() == 0 { Verdict::Pass } else { Verdict::drop(Reason::UnknownEndpoint) }
}

/// Judges a packet with addresses that cannot be parsed: its source cannot be checked either.
#[inline(always)]
fn unparsed(ctx: &TcContext, direction: Direction, ifindex: u32, reason: Reason) -> Verdict {
    match endpoint::find(ifindex) {
        None => unknown(),
        Some(endpoint)
            if endpoint::is_isolated(endpoint)
                || (matches!(direction, Direction::Egress)
                    && endpoint.flags & flags::MAY_SPOOF == 0) =>
        {
            Verdict::drop(reason)
        }
        Some(endpoint) => {
            store_sender_slot(ctx, direction, endpoint.slot);
            Verdict::Pass
        }
    }
}

/// Stores the sender's slot in `skb->tc_index` for the program at a receiver on this node.
#[inline(always)]
pub(crate) fn store_sender_slot(ctx: &TcContext, direction: Direction, slot: u32) {
    if matches!(direction, Direction::Egress) {
        // SAFETY: the kernel passes a valid context to the program and allows writes to this field.
        unsafe { (*ctx.skb.skb).tc_index = slot };
    }
}

/// Judges an IP packet: one of a known flow passes, or is denied, after that look-up alone.
#[inline(always)]
fn ip<F: Family>(arrival: &Arrival<'_>, flow: &mut Flow<F::Address>) -> Verdict {
    let mut in_replied = false;
    if let (Ok(transport), true) = (arrival.packet.transport(), arrival.epoch != 0) {
        write_key::<F>(flow, &arrival.ends(transport));
        match flow::find::<F>(&flow.key, transport.protocol) {
            Lookup::Found(mut entry) => {
                if !judge::starts_connection(arrival, &entry, transport) {
                    return judge::known::<F>(arrival, &mut entry, flow, transport);
                }
                in_replied = !entry.is_new();
            }
            Lookup::Missing { in_replied: expired } => in_replied = expired,
        }
    }
    match endpoint::find(arrival.ifindex) {
        None => unknown(),
        Some(endpoint) => match arrival.direction {
            Direction::Egress => judge::from_pod::<F>(arrival, endpoint, flow, in_replied),
            Direction::Ingress => judge::to_pod::<F>(arrival, endpoint, flow, in_replied),
        },
    }
}

impl Arrival<'_> {
    /// The pod's address.
    #[inline(always)]
    pub(crate) fn local(&self) -> Ip {
        match self.direction {
            Direction::Egress => self.packet.source,
            Direction::Ingress => self.packet.destination,
        }
    }

    /// The far end's address.
    #[inline(always)]
    pub(crate) fn remote(&self) -> Ip {
        match self.direction {
            Direction::Egress => self.packet.destination,
            Direction::Ingress => self.packet.source,
        }
    }

    /// The pod's port and the far end's.
    #[inline(always)]
    pub(crate) fn ports(&self, transport: &Transport) -> Ports {
        match self.direction {
            Direction::Egress => Ports::sent(transport),
            Direction::Ingress => Ports::received(transport),
        }
    }

    /// The ends of the packet's connection.
    #[inline(always)]
    pub(crate) fn ends(&self, transport: &Transport) -> Ends {
        Ends {
            ifindex: self.ifindex,
            local: self.local(),
            remote: self.remote(),
            ports: self.ports(transport),
            protocol: transport.protocol,
        }
    }
}
