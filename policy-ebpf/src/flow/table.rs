//! The flow tables: the verdict on each connection.
//!
//! Input is the key of a packet's flow; output is its [`FlowEntry`], or none.
//! A flow is created in the table of flows without a reply (`new_flows4`, `new_flows6`) and moves
//! to the large table at its first reply, so that a port scan cannot evict live connections:
//!
//! ```text
//! SYN       →  record:  new_flows4 += (web → api:80), seen = 0
//! SYN ACK   →  touch:   seen = REPLY: flows4 += …, new_flows4 -= …
//! data      →  find:    one look-up, in flows4
//! ```

use core::ptr;

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_ktime_get_ns};
use policy_common::flow::{Flow, FlowKey, FlowState, Initiator, Judgement, seen};

use super::{
    family::Family,
    state::{self, SECOND, lifetime, pack, unpack},
};
use crate::{
    element::{is_still, read_once},
    parse::transport::Transport,
};

/// A flow in its table, found by its key and not expired.
pub(crate) struct FlowEntry {
    state: &'static mut FlowState,
    pub(crate) judgement: Judgement,
    seen: u8,
    last_seen: u64,
    /// It is in the table of flows without a reply.
    is_new: bool,
    /// `CLOCK_MONOTONIC` when it was found, nanoseconds.
    now: u64,
    pub(crate) slot: u16,
}

impl FlowEntry {
    /// Whether it is in the table of flows without a reply.
    #[inline(always)]
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }
}

/// The result of a look-up in the flow tables.
pub(crate) enum Lookup {
    Found(FlowEntry),
    /// No live flow; `in_replied` if an expired one is still in the table of flows with a reply,
    /// where a new one must then overwrite it.
    Missing {
        in_replied: bool,
    },
}

/// Looks up a flow: one look-up if it has a reply.
#[inline(always)]
pub(crate) fn find<F: Family>(key: &FlowKey<F::Address>, protocol: u8) -> Lookup {
    let (pointer, is_new) = match F::flows().get_ptr_mut(key) {
        Some(pointer) => (pointer, false),
        None => match F::new_flows().get_ptr_mut(key) {
            Some(pointer) => (pointer, true),
            None => return Lookup::Missing { in_replied: false },
        },
    };
    // SAFETY: the kernel keeps the element readable and writable while the program runs; other
    // CPUs write it too, so each of its words is read and written by a volatile access.
    let flow = unsafe { &mut *pointer };
    let state = &mut flow.state;
    let judgement = read_once(as_word(&state.judgement));
    let (last_seen, seen, slot) =
        (read_once(&state.last_seen), read_once(&state.seen), read_once(&state.slot));
    if !is_still(&flow.key, key) {
        return Lookup::Missing { in_replied: false };
    }
    // SAFETY: the helper takes no argument and only returns the clock.
    let clock = unsafe { bpf_ktime_get_ns() };
    if clock > last_seen + lifetime(protocol, seen) {
        return Lookup::Missing { in_replied: !is_new };
    }
    let judgement = unpack(judgement);
    Lookup::Found(FlowEntry { state, judgement, seen, last_seen, is_new, now: clock, slot })
}

/// Stores a new judgement of a flow, as one word.
///
/// If the kernel recycles the element meanwhile, another flow receives this judgement.
/// A flow of another interface is then judged again, because no two words of `epochs` ever hold
/// the same number. For a flow of this interface, a new connection would have to start at this
/// moment and take the element that was looked up a moment ago, which is the last one that the
/// LRU evicts.
#[inline(always)]
pub(crate) fn store_judgement(entry: &mut FlowEntry, judgement: Judgement) {
    entry.judgement = judgement;
    // SAFETY: the kernel keeps the element writable while the program runs; one aligned word.
    unsafe {
        ptr::from_mut(&mut entry.state.judgement).cast::<u64>().write_volatile(pack(judgement));
    };
}

/// Updates a flow after a packet of it; `sent` if the pod sent the packet.
#[inline(always)]
pub(crate) fn touch<F: Family>(
    entry: &mut FlowEntry,
    flow: &mut Flow<F::Address>,
    transport: &Transport,
    sent: bool,
) {
    let by_initiator = sent == (entry.judgement.initiator == Initiator::Local as u8);
    // A dropped packet never reached the far end, so it is neither a reply nor an end.
    let passes = entry.judgement.denied == 0;
    let seen =
        if passes { state::after(entry.seen, transport, sent, by_initiator) } else { entry.seen };
    if passes && entry.is_new && seen & seen::REPLY != 0 {
        promote::<F>(entry, flow, seen);
        return;
    }
    if seen != entry.seen {
        // SAFETY: the kernel keeps the element writable while the program runs; a byte.
        unsafe { ptr::from_mut(&mut entry.state.seen).write_volatile(seen) };
    }
    // At most one write a second, so that the cache line stays shared between CPUs.
    if entry.now > entry.last_seen + SECOND {
        // SAFETY: as above; one aligned word.
        unsafe { ptr::from_mut(&mut entry.state.last_seen).write_volatile(entry.now) };
    }
}

/// Moves a flow to the table of flows with a reply, at its first reply.
#[inline(always)]
fn promote<F: Family>(entry: &FlowEntry, flow: &mut Flow<F::Address>, seen: u8) {
    flow.state = FlowState {
        judgement: entry.judgement,
        last_seen: entry.now,
        slot: entry.slot,
        seen,
        pad: [0; 5],
    };
    let flow: &Flow<_> = flow;
    let key = &flow.key;
    if F::flows().insert(key, flow, u64::from(BPF_ANY)).is_ok() {
        let _ = F::new_flows().remove(key);
    }
}

/// Creates a flow for an allowed connection, under the key in `flow`; `false` if the table accepts
/// no new entry.
#[inline(always)]
pub(crate) fn record<F: Family>(
    flow: &mut Flow<F::Address>,
    judgement: Judgement,
    slot: u16,
    in_replied: bool,
) -> bool {
    flow.state = FlowState {
        judgement,
        // SAFETY: the helper takes no argument and only returns the clock.
        last_seen: unsafe { bpf_ktime_get_ns() },
        slot,
        seen: 0,
        pad: [0; 5],
    };
    let flow: &Flow<_> = flow;
    let key = &flow.key;
    if in_replied {
        F::flows().insert(key, flow, u64::from(BPF_ANY)).is_ok()
    } else {
        F::new_flows().insert(key, flow, u64::from(BPF_ANY)).is_ok()
    }
}

/// A judgement seen as one word.
#[inline(always)]
fn as_word(judgement: &Judgement) -> &u64 {
    // SAFETY: a judgement is eight bytes without padding, aligned to eight.
    unsafe { &*ptr::from_ref(judgement).cast() }
}
