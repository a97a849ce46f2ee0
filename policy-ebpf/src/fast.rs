//! The fast path: packets of known flows, and those of pods that nothing isolates.
//!
//! Input is a packet at a hook; output is a [`Path`]. `classify` calls [`path`] first. The fast path
//! passes a packet or leaves it to the slow path (`decide`); it drops nothing, and it writes nothing
//! except the sender's slot. So a packet that would change its flow in any way is not for it:
//!
//! | Packet, of TCP or UDP | Path |
//! |---|---|
//! | of a flow with a reply, judged in this epoch | passes after one look-up |
//! | the same, of a flow without a reply, from its initiator | passes after two |
//! | SYN, FIN, RST; options, extension header, fragment | slow: no look-up |
//! | the first reply, the packet that makes a flow assured, one in half a second | slow |
//! | of a flow of another epoch, denied, or of another sender | slow |
//! | from a pod that nothing ever isolated | passes after the endpoint's look-up |
//!
//! A flow in the table proves what the slow path has checked before it recorded it: that the pod owns
//! the local address, that the packet leads into no tunnel to a node, and that a rule allowed it.

mod headers;
mod open;

use aya_ebpf::bindings::__sk_buff;
use policy_common::{
    drops::Direction,
    flow::Initiator,
    protocol::{ETH_P_IP, ETH_P_IPV6},
};

use crate::{
    element::read_once,
    flow::{
        clock,
        family::{Family, V4, V6, flows, new_flows},
        state::{self, Passage, SECOND, unpack},
        table::as_word,
    },
    maps::HANDLE_IPV6,
    parse::transport::Transport,
    skb::Skb,
};
use headers::{Key, Plain};

/// Nanoseconds for which a flow counts as fresh: no state of a flow lives so shortly, and the slow path
/// writes the time of its last packet sooner.
const FRESH: u64 = SECOND / 4 * 3;

/// The way that a packet takes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Path {
    /// It passes.
    Pass = 0,
    /// The slow path decides.
    Slow = 1,
    /// The slow path decides; no flow table has the packet's flow.
    SlowWithoutFlow = 2,
}

/// The way of a packet at an interface with this epoch.
#[inline(always)]
pub(crate) fn path(skb: Skb, ether_type: u16, direction: Direction, epoch: u32) -> Path {
    match ether_type {
        ETH_P_IP => of_family::<V4>(skb, direction, epoch, headers::read4(skb, direction)),
        ETH_P_IPV6 if HANDLE_IPV6.load() != 0 => {
            let sent = matches!(direction, Direction::Egress);
            match fast_path6(skb.context(), sent.into(), epoch) {
                PASS => Path::Pass,
                SLOW_WITHOUT_FLOW => Path::SlowWithoutFlow,
                _ => Path::Slow,
            }
        }
        _ => Path::Slow,
    }
}

const PASS: u32 = Path::Pass as u32;
const SLOW_WITHOUT_FLOW: u32 = Path::SlowWithoutFlow as u32;

/// The number of the [`Path`] of an IPv6 packet. A subprogram, because the key of its flow does not fit
/// on the stack beside what `classify` calls.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn fast_path6(skb: *mut __sk_buff, sent: u32, epoch: u32) -> u32 {
    let skb = Skb::new(skb);
    let direction = if sent == 0 { Direction::Ingress } else { Direction::Egress };
    of_family::<V6>(skb, direction, epoch, headers::read6(skb, direction)) as u32
}

#[inline(always)]
fn of_family<F: Family>(
    skb: Skb,
    direction: Direction,
    epoch: u32,
    packet: Option<Plain<F::Address>>,
) -> Path {
    let Some(Plain { key, transport }) = packet else { return Path::Slow };
    if epoch == 0 {
        return open::path::<F>(skb, direction, &key.0);
    }
    pass_known_flow::<F>(skb, direction, epoch, &key, &transport)
}

/// The way of a packet with this key.
#[inline(always)]
fn pass_known_flow<F: Family>(
    skb: Skb,
    direction: Direction,
    epoch: u32,
    key: &Key<F::Address>,
    transport: &Transport,
) -> Path {
    let key_of_flow = &key.0;
    let ifindex = key_of_flow.ifindex;
    let (pointer, is_new) = match flows::<F>(ifindex).and_then(|table| table.get_ptr(key_of_flow)) {
        Some(pointer) => (pointer, false),
        None => match new_flows::<F>(ifindex).and_then(|table| table.get_ptr(key_of_flow)) {
            Some(pointer) => (pointer, true),
            None => return Path::SlowWithoutFlow,
        },
    };
    let now = clock::coarse();
    // SAFETY: the kernel keeps the element readable while the program runs; other CPUs write it, so
    // each of its words is read by a volatile access.
    let flow = unsafe { &*pointer };
    let state = &flow.state;
    let sent = matches!(direction, Direction::Egress);
    // Each check follows its read at once, because few values fit into registers.
    let judgement = unpack(read_once(as_word(&state.judgement)));
    let is_settled =
        judgement.epoch == epoch && judgement.denied == 0 && read_once(&state.pad) == 0;
    let by_initiator = sent == (judgement.initiator == Initiator::Local as u8);
    if !is_settled || now > read_once(&state.last_seen) + FRESH {
        return Path::Slow;
    }
    if !sent && read_once(&state.arrival) != skb.arrival() {
        return Path::Slow;
    }
    let sequences = read_once(&state.sequences);
    if state::has_advanced(sequences, transport, sent) {
        return Path::Slow;
    }
    let seen = read_once(&state.seen);
    let is_old = state::is_old(read_once(&state.created), now);
    let passage = Passage { sent, by_initiator, is_old, sequences };
    if state::after(seen, transport, &passage) != seen || (is_new && seen != 0) {
        return Path::Slow;
    }
    let slot = read_once(&state.slot);
    if !key.is_still(flow) {
        return Path::Slow;
    }
    skb.store_sender_slot(direction, slot.into());
    Path::Pass
}
