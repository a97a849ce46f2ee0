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
    packet::{ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, Packet, read4, read6},
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
}

/// Host-side interface of the pod.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel hands a valid context to the program.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// EtherType, host byte order; 0 for a frame with a VLAN tag.
#[inline(always)]
pub(crate) fn ether_type(ctx: &TcContext) -> u16 {
    // SAFETY: the kernel hands a valid context to the program.
    let tagged = unsafe { (*ctx.skb.skb).vlan_present };
    // SAFETY: as above.
    let protocol = unsafe { (*ctx.skb.skb).protocol };
    if tagged == 0 { u16::from_be(protocol as u16) } else { 0 }
}

/// Judges a packet at the entrance of a program. Passing leaves it to the next one of the hook.
#[inline(always)]
pub(crate) fn inspect(ctx: &TcContext, direction: Direction) -> i32 {
    let skb = ctx.skb.skb;
    match (ether_type(ctx), direction) {
        (ETH_P_IP, Direction::Egress) => inspect_sent4(skb),
        (ETH_P_IP, Direction::Ingress) => inspect_received4(skb),
        (ETH_P_IPV6, _) if HANDLE_IPV6.load() == 0 => TC_ACT_UNSPEC,
        (ETH_P_IPV6, Direction::Egress) => inspect_sent6(skb),
        (ETH_P_IPV6, Direction::Ingress) => inspect_received6(skb),
        (ether_type, _) => act(ctx, direction, other(ctx, direction, ether_type)),
    }
}

/// A subprogram for each way and family: each has a stack of its own.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent4(skb: *mut __sk_buff) -> i32 {
    of_family::<V4>(&TcContext::new(skb), Direction::Egress, read4)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received4(skb: *mut __sk_buff) -> i32 {
    of_family::<V4>(&TcContext::new(skb), Direction::Ingress, read4)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_sent6(skb: *mut __sk_buff) -> i32 {
    of_family::<V6>(&TcContext::new(skb), Direction::Egress, read6)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn inspect_received6(skb: *mut __sk_buff) -> i32 {
    of_family::<V6>(&TcContext::new(skb), Direction::Ingress, read6)
}

#[inline(always)]
fn of_family<F: Family>(
    ctx: &TcContext,
    direction: Direction,
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
            ip::<F>(&Arrival { ctx, direction, ifindex, epoch, packet }, flow)
        }
        Err(reason) => unreadable(ctx, direction, ifindex, reason),
    };
    act(ctx, direction, verdict)
}

#[inline(always)]
fn act(ctx: &TcContext, direction: Direction, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop(Refusal { reason, content, identity }) => {
            drops_report(ctx.skb.skb, direction as u32, reason as u32, content, identity);
            TC_ACT_SHOT
        }
    }
}

/// Judges a frame that is not IP.
#[inline(always)]
fn other(ctx: &TcContext, direction: Direction, ether_type: u16) -> Verdict {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: the map has one element for each CPU, and no other program runs on this one.
        unsafe { (*scratch).packet.has_addresses = false };
    }
    match endpoint::find(ifindex(ctx)) {
        None => unknown(),
        Some(endpoint) if ether_type == ETH_P_ARP => neighbour::arp(ctx, direction, endpoint),
        Some(endpoint) if endpoint::is_isolated(endpoint) => Verdict::drop(Reason::EtherType),
        Some(_) => Verdict::Pass,
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
