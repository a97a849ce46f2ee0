//! From a packet at a hook to a TC action: parse, decide, report.
//!
//! The programs call [`classify`]. It passes what the fast path passes, and leaves the rest to one
//! subprogram for each family and direction, because each has a stack of its own (docs/adr/0004).

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use policy_common::{
    drops::{Direction, Reason},
    protocol::{ETH_P_IP, ETH_P_IPV6},
};

use crate::{
    decide::{
        arrival::{Arrival, Turn, looked_up},
        endpoint, packet,
        quotation::{self, quote_known4, quote_known6, quote_read4, quote_read6},
        translate::{
            self, translate_choose4, translate_choose6, translate_known, translate_quoted,
        },
        verdict::{Refusal, Verdict},
    },
    fast::{self, Path},
    flow::family::{Family, V4, V6},
    maps::{DROP_UNKNOWN, HANDLE_IPV6},
    parse::ip::{Packet, read4, read6},
    report::{drops::drops_report, reject::reject_reply},
    scratch,
    skb::Skb,
    trace,
};

/// The result of a subprogram, as its number.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Outcome {
    Pass = 0,
    /// Dropped, counted and reported.
    Drop = 1,
    /// An ICMP error: the packet that it quotes must be looked up first. The entry function does
    /// that, because the stack has no space for one call deeper.
    CheckQuotation = 2,
    /// As `Drop`; the pod opened the connection, and may get a reply.
    Reject = 3,
    /// This and greater numbers: translate the packet first; the number of a `Turn` is added.
    Translate = 4,
}

const REJECT: u32 = Outcome::Reject as u32;

/// Judges a packet; the result is a TC action. `TC_ACT_UNSPEC` passes the packet on to the next
/// program of the hook.
#[inline(always)]
pub(crate) fn classify(skb: *mut __sk_buff, direction: Direction) -> i32 {
    let packet = Skb::new(skb);
    // Before every other look-up, as in `of_family`.
    let epoch = endpoint::epoch(packet.ifindex());
    let is_open = epoch == 0 && matches!(direction, Direction::Ingress);
    if is_open && DROP_UNKNOWN.load() == 0 {
        return TC_ACT_UNSPEC;
    }
    let ether_type = packet.ether_type();
    let path = if cfg!(feature = "trace") {
        // The slow path gives the same verdict, and shows each step.
        Path::Slow
    } else {
        fast::path(packet, ether_type, direction, epoch)
    };
    let checked = match path {
        Path::Pass => return TC_ACT_UNSPEC,
        Path::Slow => looked_up::NOTHING,
        Path::SlowWithoutFlow => looked_up::NO_FLOW,
    };
    let mut outcome = dispatch(skb, ether_type, direction, checked);
    if outcome == Outcome::CheckQuotation as u32 {
        outcome = match quoted(skb, ether_type, direction) {
            0 => dispatch(skb, ether_type, direction, looked_up::QUOTATION),
            quotation::QUOTES_TRANSLATED_FLOW if translate_quoted(skb, direction as u32) == 0 => {
                trace::verdict(Reason::Malformed as u32);
                drops_report(skb, direction as u32, Reason::Malformed as u32, 0, 0);
                Outcome::Drop as u32
            }
            _ => {
                trace::verdict(0);
                Outcome::Pass as u32
            }
        };
    }
    if outcome >= Outcome::Translate as u32 {
        outcome = translated(skb, ether_type, direction, outcome - Outcome::Translate as u32);
    }
    if outcome == Outcome::Pass as u32 {
        return TC_ACT_UNSPEC;
    }
    if outcome == Outcome::Reject as u32 { reject_reply(skb) } else { TC_ACT_SHOT }
}

/// Looks up the packet that an ICMP error quotes: a number of `quotation`, or 0.
#[inline(always)]
fn quoted(skb: *mut __sk_buff, ether_type: u16, direction: Direction) -> u32 {
    let direction = direction as u32;
    match ether_type {
        ETH_P_IP if quote_read4(skb) != 0 => quote_known4(skb, direction),
        ETH_P_IPV6 if quote_read6(skb) != 0 => quote_known6(skb, direction),
        _ => 0,
    }
}

/// Translates a packet of a connection to a Service, and judges it again; `turn` is the number of a
/// [`Turn`].
#[inline(always)]
fn translated(skb: *mut __sk_buff, ether_type: u16, direction: Direction, turn: u32) -> u32 {
    let is_chosen = match ether_type {
        _ if turn != Turn::Chosen as u32 => 1,
        ETH_P_IP => translate_choose4(skb),
        _ => translate_choose6(skb),
    };
    if is_chosen == 0 || translate_known(skb, direction as u32) == 0 {
        let (allow_map, identity) = translate::chosen_by(turn);
        let reason = Reason::ServicePartlyDenied;
        trace::verdict(reason as u32);
        drops_report(skb, direction as u32, reason as u32, allow_map, identity);
        // If the kernel refused the second half of a translation, the packet is half written, so it
        // gets no reply.
        return if is_chosen == 0 { Outcome::Reject } else { Outcome::Drop } as u32;
    }
    match dispatch(skb, ether_type, direction, turn << looked_up::TURN) {
        // A reply would show the backend.
        REJECT => Outcome::Drop as u32,
        outcome => outcome,
    }
}

/// Calls the subprograms for the packet's family and direction: one parses it, and another judges it,
/// because the stack has no space for both. `checked` has bits of [`looked_up`].
#[inline(always)]
fn dispatch(skb: *mut __sk_buff, ether_type: u16, direction: Direction, checked: u32) -> u32 {
    match (ether_type, direction) {
        (ETH_P_IP, _) => {
            packet_read4(skb);
            match direction {
                Direction::Egress => classify_sent4(skb, checked),
                Direction::Ingress => classify_received4(skb, checked),
            }
        }
        (ETH_P_IPV6, _) if HANDLE_IPV6.load() == 0 => Outcome::Pass as u32,
        (ETH_P_IPV6, _) => {
            packet_read6(skb);
            match direction {
                Direction::Egress => classify_sent6(skb, checked),
                Direction::Ingress => classify_received6(skb, checked),
            }
        }
        (_, Direction::Egress) => classify_sent_other(skb),
        (_, Direction::Ingress) => classify_received_other(skb),
    }
}

/// Parses an IPv4 packet into the scratch map.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn packet_read4(skb: *mut __sk_buff) -> u32 {
    read(Skb::new(skb), read4)
}

/// As `packet_read4`, for IPv6.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn packet_read6(skb: *mut __sk_buff) -> u32 {
    read(Skb::new(skb), read6)
}

#[inline(always)]
fn read(skb: Skb, read: impl Fn(&Skb, &mut Packet) -> Result<(), Reason>) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &mut (*scratch).packet };
    let result = read(&skb, packet);
    packet.set_read(result);
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn classify_sent4(skb: *mut __sk_buff, checked: u32) -> u32 {
    of_family::<V4>(Skb::new(skb), Direction::Egress, checked)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn classify_received4(skb: *mut __sk_buff, checked: u32) -> u32 {
    of_family::<V4>(Skb::new(skb), Direction::Ingress, checked)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn classify_sent6(skb: *mut __sk_buff, checked: u32) -> u32 {
    of_family::<V6>(Skb::new(skb), Direction::Egress, checked)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn classify_received6(skb: *mut __sk_buff, checked: u32) -> u32 {
    of_family::<V6>(Skb::new(skb), Direction::Ingress, checked)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn classify_sent_other(skb: *mut __sk_buff) -> u32 {
    let skb = Skb::new(skb);
    trace::frame(Direction::Egress, skb.ether_type());
    conclude(skb, Direction::Egress, packet::other(skb, Direction::Egress))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn classify_received_other(skb: *mut __sk_buff) -> u32 {
    let skb = Skb::new(skb);
    trace::frame(Direction::Ingress, skb.ether_type());
    conclude(skb, Direction::Ingress, packet::other(skb, Direction::Ingress))
}

#[inline(always)]
fn of_family<F: Family>(skb: Skb, direction: Direction, checked: u32) -> u32 {
    // Before every other look-up: a verdict must not carry a newer epoch than what it depends on.
    let epoch = endpoint::epoch(skb.ifindex());
    let Some(scratch) = scratch::get() else {
        return Outcome::Drop as u32;
    };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one;
    // `packet_read4` or `packet_read6` has written it.
    let packet = unsafe { &(*scratch).packet };
    trace::packet(direction, epoch, checked != looked_up::NOTHING);
    let verdict = if packet.has_addresses {
        // SAFETY: as above; another field than `packet`.
        let flow = unsafe { &mut *F::scratch_flow(scratch) };
        let arrival = Arrival { skb, direction, epoch, packet, looked_up: checked };
        packet::ip::<F>(&arrival, flow)
    } else {
        let reason = packet.transport().err().unwrap_or(Reason::Malformed);
        packet::unparsed(skb, direction, reason)
    };
    conclude(skb, direction, verdict)
}

/// Reports a drop; the result is the number of an [`Outcome`].
#[inline(always)]
fn conclude(skb: Skb, direction: Direction, verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => {
            trace::verdict(0);
            Outcome::Pass as u32
        }
        Verdict::CheckQuotation => Outcome::CheckQuotation as u32,
        Verdict::Translate(turn) => Outcome::Translate as u32 + turn as u32,
        Verdict::Drop(Refusal { reason, allow_map, identity, opened_by_pod }) => {
            trace::verdict(reason as u32);
            drops_report(skb.context(), direction as u32, reason as u32, allow_map, identity);
            if opened_by_pod && reason.is_policy() {
                Outcome::Reject as u32
            } else {
                Outcome::Drop as u32
            }
        }
    }
}
