//! The flow table: what was decided about a connection, and for how long it counts.

use core::ptr;

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_ktime_get_ns};
use policy_common::flow::{
    FlowState, INITIATOR_LOCAL, Judgement, SEEN_FIN_LOCAL, SEEN_FIN_REMOTE, SEEN_REPLY, SEEN_RST,
};

use crate::{
    element::{is_still, now},
    family::Family,
    transport::{ICMP, ICMPV6, SCTP, TCP, Transport, UDP},
};

const SECOND: u64 = 1_000_000_000;

/// A flow in its table, found by key and not yet expired.
pub(crate) struct Known {
    state: &'static mut FlowState,
    pub(crate) judgement: Judgement,
    seen: u8,
    last_seen: u64,
    /// It sits among those that have not seen a reply.
    is_new: bool,
    now: u64,
    pub(crate) slot: u16,
}

impl Known {
    /// Whether it sits among the flows that have not seen a reply.
    #[inline(always)]
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }
}

/// What the tables know of a key.
pub(crate) enum Found {
    Known(Known),
    /// Nothing that counts. Whether a dead entry sits among the replied flows.
    Nothing {
        in_replied: bool,
    },
}

/// Looks for a flow: one look-up where it has seen a reply.
#[inline(always)]
pub(crate) fn find<F: Family>(key: &F::Key, protocol: u8) -> Found {
    let (pointer, is_new) = match F::flows().get_ptr_mut(key) {
        Some(pointer) => (pointer, false),
        None => match F::new_flows().get_ptr_mut(key) {
            Some(pointer) => (pointer, true),
            None => return Found::Nothing { in_replied: false },
        },
    };
    // SAFETY: the kernel keeps the element readable and writable while the program runs; other
    // CPUs write it too, so each of its words is read and written as volatile.
    let flow = unsafe { &mut *pointer };
    let state = F::state(flow);
    let judgement = now(as_word(&state.judgement));
    let (last_seen, seen, slot) = (now(&state.last_seen), now(&state.seen), now(&state.slot));
    if !is_still(F::key(flow), key) {
        return Found::Nothing { in_replied: false };
    }
    // SAFETY: the helper takes nothing and returns the clock.
    let clock = unsafe { bpf_ktime_get_ns() };
    if clock > last_seen + lifetime(protocol, seen) {
        return Found::Nothing { in_replied: !is_new };
    }
    let state = F::state(flow);
    let judgement = unpack(judgement);
    Found::Known(Known { state, judgement, seen, last_seen, is_new, now: clock, slot })
}

/// How long a silent flow counts, in nanoseconds.
///
/// As long as `nf_conntrack`'s timers or longer, so that translation never outlives the verdict;
/// kube-proxy sets a day for TCP.
#[inline(always)]
fn lifetime(protocol: u8, seen: u8) -> u64 {
    let fins = SEEN_FIN_LOCAL | SEEN_FIN_REMOTE;
    let replied = seen & SEEN_REPLY != 0;
    let seconds = match protocol {
        TCP if seen & SEEN_RST != 0 || seen & fins == fins => 120,
        TCP | SCTP if replied => 86_400,
        TCP => 120,
        UDP if replied => 180,
        ICMP | ICMPV6 | UDP | SCTP => 30,
        _ => 600,
    };
    seconds * SECOND
}

/// Writes a new judgement, as one word, and keeps it.
///
/// If the kernel recycles the element meanwhile, another flow gets it. At another interface it is
/// judged anew then, because no two words of `epochs` ever hold the same number. At this one, it
/// takes a flow that begins at this moment and an element that was looked up a moment ago, which
/// is the last that the kernel evicts.
#[inline(always)]
pub(crate) fn rejudge(known: &mut Known, judgement: Judgement) {
    known.judgement = judgement;
    // SAFETY: the kernel keeps the element writable while the program runs; one aligned word.
    unsafe {
        ptr::from_mut(&mut known.state.judgement).cast::<u64>().write_volatile(pack(judgement));
    };
}

/// Notes a packet of a known flow. `sent`: by the pod.
#[inline(always)]
pub(crate) fn touch<F: Family>(
    known: &mut Known,
    flow: &mut F::Flow,
    transport: &Transport,
    sent: bool,
) {
    let by_initiator = sent == (known.judgement.initiator == INITIATOR_LOCAL);
    let mut seen = known.seen;
    // What is dropped never reached the far end: it neither answers nor ends anything.
    let passes = known.judgement.denied == 0;
    if passes && !by_initiator {
        seen |= SEEN_REPLY;
    }
    if passes && transport.is_fin() {
        seen |= if sent { SEEN_FIN_LOCAL } else { SEEN_FIN_REMOTE };
    }
    if passes && transport.is_rst() {
        seen |= SEEN_RST;
    }
    if passes && known.is_new && seen & SEEN_REPLY != 0 {
        promote::<F>(known, flow, seen);
        return;
    }
    if seen != known.seen {
        // SAFETY: the kernel keeps the element writable while the program runs; a byte.
        unsafe { ptr::from_mut(&mut known.state.seen).write_volatile(seen) };
    }
    // A write a second keeps the cache line shared between CPUs.
    if known.now > known.last_seen + SECOND {
        // SAFETY: as above; one aligned word.
        unsafe { ptr::from_mut(&mut known.state.last_seen).write_volatile(known.now) };
    }
}

/// Moves a flow that has seen its first reply.
#[inline(always)]
fn promote<F: Family>(known: &Known, flow: &mut F::Flow, seen: u8) {
    *F::state(flow) = FlowState {
        judgement: known.judgement,
        last_seen: known.now,
        slot: known.slot,
        seen,
        pad: [0; 5],
    };
    let key = F::key(flow);
    if F::flows().insert(key, &*flow, u64::from(BPF_ANY)).is_ok() {
        let _ = F::new_flows().remove(key);
    }
}

/// Records a connection that was allowed, under the key in `flow`. `false`: the table took no
/// new entry.
#[inline(always)]
pub(crate) fn record<F: Family>(
    flow: &mut F::Flow,
    judgement: Judgement,
    slot: u16,
    in_replied: bool,
) -> bool {
    *F::state(flow) = FlowState {
        judgement,
        // SAFETY: the helper takes nothing and returns the clock.
        last_seen: unsafe { bpf_ktime_get_ns() },
        slot,
        seen: 0,
        pad: [0; 5],
    };
    let key = F::key(flow);
    if in_replied {
        F::flows().insert(key, &*flow, u64::from(BPF_ANY)).is_ok()
    } else {
        F::new_flows().insert(key, &*flow, u64::from(BPF_ANY)).is_ok()
    }
}

/// A judgement as the word that it is.
#[inline(always)]
fn as_word(judgement: &Judgement) -> &u64 {
    // SAFETY: a judgement is eight bytes without padding, aligned as a word is.
    unsafe { &*ptr::from_ref(judgement).cast() }
}

#[inline(always)]
fn unpack(word: u64) -> Judgement {
    let [a, b, c, d, initiator, denied, e, f] = word.to_ne_bytes();
    Judgement {
        epoch: u32::from_ne_bytes([a, b, c, d]),
        initiator,
        denied,
        sender: u16::from_ne_bytes([e, f]),
    }
}

#[inline(always)]
fn pack(judgement: Judgement) -> u64 {
    let [a, b, c, d] = judgement.epoch.to_ne_bytes();
    let [e, f] = judgement.sender.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, judgement.initiator, judgement.denied, e, f])
}
