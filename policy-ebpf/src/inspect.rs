//! One way through for every packet: flow, endpoint, address, rules.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    programs::TcContext,
};
use policy_common::{
    drops::{Direction, Reason},
    endpoint::MAY_SPOOF,
};

use crate::{
    address::Ip,
    drops::drops_report,
    endpoint,
    family::{Family, Ports, V4, V6},
    flow::{self, Found},
    judge::{self, FarEnd},
    maps::{DROP_UNKNOWN, HANDLE_IPV6, SCRATCH},
    neighbour,
    packet::{
        ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, Packet, TAGGED, read4, read6,
    },
    quote::{quote_known4, quote_known6},
    transport::Transport,
    verdict::{Refusal, Verdict},
};

/// A packet at a hook, and what is known of where it came from.
pub(crate) struct Arrival<'a> {
    pub(crate) ctx: &'a TcContext,
    pub(crate) direction: Direction,
    pub(crate) ifindex: u32,
    /// Epoch of the interface, read before anything else.
    pub(crate) epoch: u32,
    pub(crate) packet: &'a Packet,
    /// The packet's quotation, if it is an ICMP error, is of no known flow.
    pub(crate) asked: bool,
}

/// Host-side interface of the pod.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel hands a valid context to the program.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// EtherType, host byte order; `TAGGED` for a frame whose VLAN tag the kernel has taken off.
#[inline(always)]
pub(crate) fn ether_type(ctx: &TcContext) -> u16 {
    // SAFETY: the kernel hands a valid context to the program.
    let tagged = unsafe { (*ctx.skb.skb).vlan_present };
    // SAFETY: as above.
    let protocol = unsafe { (*ctx.skb.skb).protocol };
    if tagged == 0 { u16::from_be(protocol as u16) } else { TAGGED }
}

/// What a subprogram returns for an ICMP error: ask first what it quotes.
///
/// Asked from here and not from there, because the stack holds no more calls.
const ASK_QUOTATION: i32 = 100;

/// Judges a packet at the entrance of a program. Passing leaves it to the next one of the hook.
#[inline(always)]
pub(crate) fn inspect(ctx: &TcContext, direction: Direction) -> i32 {
    let (skb, ether_type) = (ctx.skb.skb, ether_type(ctx));
    let action = look(skb, ether_type, direction, 0);
    if action != ASK_QUOTATION {
        return action;
    }
    let known = if ether_type == ETH_P_IP {
        quote_known4(skb, direction as u32)
    } else {
        quote_known6(skb, direction as u32)
    };
    if known == 0 { look(skb, ether_type, direction, 1) } else { TC_ACT_UNSPEC }
}

/// Judges a packet. `asked`: its quotation is known to be of no flow.
#[inline(always)]
fn look(skb: *mut __sk_buff, ether_type: u16, direction: Direction, asked: u32) -> i32 {
    match (ether_type, direction) {
        (ETH_P_IP, Direction::Egress) => inspect_sent4(skb, asked),
        (ETH_P_IP, Direction::Ingress) => inspect_received4(skb, asked),
        (ETH_P_IPV6, _) if HANDLE_IPV6.load() == 0 => TC_ACT_UNSPEC,
        (ETH_P_IPV6, Direction::Egress) => inspect_sent6(skb, asked),
        (ETH_P_IPV6, Direction::Ingress) => inspect_received6(skb, asked),
        (_, Direction::Egress) => inspect_sent_other(skb),
        (_, Direction::Ingress) => inspect_received_other(skb),
    }
}

/// A subprogram for each way and family: each has a stack of its own.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent4(skb: *mut __sk_buff, asked: u32) -> i32 {
    of_family::<V4>(&TcContext::new(skb), Direction::Egress, asked, read4)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received4(skb: *mut __sk_buff, asked: u32) -> i32 {
    of_family::<V4>(&TcContext::new(skb), Direction::Ingress, asked, read4)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent6(skb: *mut __sk_buff, asked: u32) -> i32 {
    of_family::<V6>(&TcContext::new(skb), Direction::Egress, asked, read6)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received6(skb: *mut __sk_buff, asked: u32) -> i32 {
    of_family::<V6>(&TcContext::new(skb), Direction::Ingress, asked, read6)
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
    asked: u32,
    read: impl Fn(&TcContext, &mut Packet) -> Result<(), Reason>,
) -> i32 {
    let ifindex = ifindex(ctx);
    // Before every other look-up: a verdict is stamped with an epoch not younger than its input.
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
            let flow = unsafe { &mut *F::room(scratch) };
            let asked = asked != 0;
            ip::<F>(&Arrival { ctx, direction, ifindex, epoch, packet, asked }, flow)
        }
        Err(reason) => unreadable(ctx, direction, ifindex, reason),
    };
    act(ctx, direction, verdict)
}

#[inline(always)]
fn act(ctx: &TcContext, direction: Direction, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::AskQuotation => ASK_QUOTATION,
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
    leave_slot(ctx, direction, endpoint.slot);
    let sent = matches!(direction, Direction::Egress);
    match ether_type(ctx) {
        ETH_P_ARP => neighbour::arp(ctx, direction, endpoint),
        // Behind a tag could be a packet of any source, and Linux takes priority tags away.
        TAGGED | ETH_P_8021Q | ETH_P_8021AD if sent && endpoint.flags & MAY_SPOOF == 0 => {
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

/// A packet whose addresses cannot be told: nobody vouches for its source either.
#[inline(always)]
fn unreadable(ctx: &TcContext, direction: Direction, ifindex: u32, reason: Reason) -> Verdict {
    match endpoint::find(ifindex) {
        None => unknown(),
        Some(endpoint)
            if endpoint::is_isolated(endpoint)
                || (matches!(direction, Direction::Egress) && endpoint.flags & MAY_SPOOF == 0) =>
        {
            Verdict::drop(reason)
        }
        Some(endpoint) => {
            leave_slot(ctx, direction, endpoint.slot);
            Verdict::Pass
        }
    }
}

/// Tells the program at a receiver on this node which pod a packet comes from.
#[inline(always)]
pub(crate) fn leave_slot(ctx: &TcContext, direction: Direction, slot: u32) {
    if matches!(direction, Direction::Egress) {
        // SAFETY: the kernel hands a valid context to the program and lets it write this field.
        unsafe { (*ctx.skb.skb).tc_index = slot };
    }
}

/// Judges an IP packet: a known flow passes, or is denied, after its look-up.
#[inline(always)]
fn ip<F: Family>(arrival: &Arrival<'_>, flow: &mut F::Flow) -> Verdict {
    let mut in_replied = false;
    if let (Ok(transport), true) = (arrival.packet.transport(), arrival.epoch != 0) {
        arrival.write_key::<F>(flow, transport);
        match flow::find::<F>(F::key(flow), transport.protocol) {
            Found::Known(mut known) => {
                if !judge::begins(arrival, &known, transport) {
                    return judge::known::<F>(arrival, &mut known, flow, transport);
                }
                in_replied = !known.is_new();
            }
            Found::Nothing { in_replied: dead } => in_replied = dead,
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

    /// The far end, as the rules ask for it.
    #[inline(always)]
    pub(crate) fn far_end(&self, transport: &Transport) -> FarEnd {
        let ports = self.ports(transport);
        FarEnd { address: self.remote(), ports, protocol: transport.protocol }
    }

    /// Writes the key of the packet's flow.
    #[inline(always)]
    pub(crate) fn write_key<F: Family>(&self, flow: &mut F::Flow, transport: &Transport) {
        F::write_addresses(flow, self.local(), self.remote());
        F::write_ends(flow, self.ifindex, self.ports(transport), transport.protocol);
    }
}
