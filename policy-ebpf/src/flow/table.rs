//! The flow tables: the verdict on each connection.
//!
//! Input is the key of a packet's flow; output is its [`FlowEntry`], or none.
//! A flow is created in its pod's table of flows without a reply and moves to the large table at its
//! first reply, so that a port scan cannot evict live connections. At interface 12:
//!
//! ```text
//! SYN       →  record:  new_flows4_12 += (web → api:80), seen = 0
//! SYN ACK   →  touch:   seen = REPLY: flows4_12 += …, new_flows4_12 -= …
//! data      →  find:    one look-up, in flows4_12
//! ```

use core::ptr;

use aya_ebpf::bindings::BPF_ANY;
use policy_common::flow::{
    Flow, FlowKey, FlowState, Initiator, Judgement, TRANSLATED, Translation, seen, translation,
};

use super::{
    clock::now,
    family::{Family, flows, new_flows},
    state::{self, Passage, SECOND, lifetime, pack, unpack},
};
use crate::{
    element::{copy_words, is_still, read_once, zero_words},
    maps::{FlowTable, LIFETIMES},
    parse::transport::Transport,
};

/// Nanoseconds after which the time of a flow's last packet is written again: less than
/// [`fast::FRESH`](crate::fast), by more than the coarse clock may be wrong.
const RENEWAL: u64 = SECOND / 2;

/// A flow in its table, found by its key and not expired.
pub(crate) struct FlowEntry {
    state: &'static mut FlowState,
    translation: &'static Translation,
    pub(crate) judgement: Judgement,
    seen: u8,
    last_seen: u64,
    /// How packets of the far end arrive; see `FlowState`.
    pub(crate) arrival: u64,
    sequences: u64,
    created: u32,
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

    /// Whether its packets are translated.
    #[inline(always)]
    pub(crate) fn is_translated(&self) -> bool {
        self.judgement.denied & TRANSLATED != 0
    }

    /// Where its packets go, or come from, if it is translated.
    #[inline(always)]
    pub(crate) fn translation(&self) -> &Translation {
        self.translation
    }

    /// Whether packets that the pod sends go to a backend.
    #[inline(always)]
    pub(crate) fn leads_to_backend(&self) -> bool {
        self.is_translated() && self.translation.bits & translation::TO_BACKEND != 0
    }

    /// The number of the `Reason` for which it is denied; 0 where it passes.
    #[inline(always)]
    pub(crate) fn denied(&self) -> u8 {
        self.judgement.denied & !TRANSLATED
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

/// A time in seconds, as flows hold that of their first packet.
#[inline(always)]
fn seconds(time: u64) -> u32 {
    (time / SECOND) as u32
}

/// Looks up a flow: one look-up if it has a reply.
#[inline(always)]
pub(crate) fn find<F: Family>(key: &FlowKey<F::Address>, protocol: u8) -> Lookup {
    let ifindex = key.ifindex;
    let (pointer, is_new) = match flows::<F>(ifindex).and_then(|table| table.get_ptr_mut(key)) {
        Some(pointer) => (pointer, false),
        None => match new_flows::<F>(ifindex).and_then(|table| table.get_ptr_mut(key)) {
            Some(pointer) => (pointer, true),
            None => return Lookup::Missing { in_replied: false },
        },
    };
    // SAFETY: the kernel keeps the element readable and writable while the program runs; other
    // CPUs write it too, so each of its words is read and written by a volatile access.
    let flow = unsafe { &mut *pointer };
    let (state, translation) = (&mut flow.state, &flow.translation);
    let judgement = read_once(as_word(&state.judgement));
    let (last_seen, seen, slot) =
        (read_once(&state.last_seen), read_once(&state.seen), read_once(&state.slot));
    let (arrival, sequences, created) =
        (read_once(&state.arrival), read_once(&state.sequences), read_once(&state.created));
    if !is_still(&flow.key, key) {
        return Lookup::Missing { in_replied: false };
    }
    let now = now();
    if now > last_seen + lifetime(&LIFETIMES, protocol, seen) {
        return Lookup::Missing { in_replied: !is_new };
    }
    let judgement = unpack(judgement);
    Lookup::Found(FlowEntry {
        state,
        translation,
        judgement,
        seen,
        last_seen,
        arrival,
        sequences,
        created,
        is_new,
        now,
        slot,
    })
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

/// Stores how packets of the far end arrive.
#[inline(always)]
pub(crate) fn store_arrival(entry: &mut FlowEntry, arrival: u64) {
    entry.arrival = arrival;
    // SAFETY: the kernel keeps the element writable while the program runs; one aligned word.
    unsafe { ptr::from_mut(&mut entry.state.arrival).write_volatile(arrival) };
}

/// Makes a flow one without a reply, so that its life is that of an unreplied one.
#[inline(always)]
pub(crate) fn forget_replies(entry: &mut FlowEntry) {
    store_seen(entry, 0);
}

/// Starts the life of a flow again; at most two writes a second, so that the cache line stays shared
/// between CPUs.
#[inline(always)]
pub(crate) fn renew(entry: &mut FlowEntry) {
    if entry.now > entry.last_seen + RENEWAL {
        // SAFETY: the kernel keeps the element writable while the program runs; one aligned word.
        unsafe { ptr::from_mut(&mut entry.state.last_seen).write_volatile(entry.now) };
    }
}

/// Updates a flow after a packet of it that passes; `sent` if the pod sent the packet.
#[inline(always)]
pub(crate) fn touch<F: Family>(
    entry: &mut FlowEntry,
    flow: &mut Flow<F::Address>,
    transport: &Transport,
    sent: bool,
) {
    let by_initiator = sent == (entry.judgement.initiator == Initiator::Local as u8);
    let is_old = state::is_old(entry.created, entry.now);
    let passage = Passage { sent, by_initiator, is_old, sequences: entry.sequences };
    let seen = state::after(entry.seen, transport, &passage);
    if entry.is_new && seen & seen::REPLY != 0 {
        promote::<F>(entry, flow, seen);
        return;
    }
    let is_due = entry.now > entry.last_seen + RENEWAL
        || state::has_advanced(entry.sequences, transport, sent);
    if seen == entry.seen && !is_due {
        return;
    }
    if seen != entry.seen {
        store_seen(entry, seen);
    }
    let sequences = state::sequences(entry.sequences, transport, sent);
    // SAFETY: the kernel keeps the element writable while the program runs; one aligned word.
    unsafe { ptr::from_mut(&mut entry.state.sequences).write_volatile(sequences) };
    // SAFETY: as above.
    unsafe { ptr::from_mut(&mut entry.state.last_seen).write_volatile(entry.now) };
}

#[inline(always)]
fn store_seen(entry: &mut FlowEntry, seen: u8) {
    // SAFETY: the kernel keeps the element writable while the program runs; a byte.
    unsafe { ptr::from_mut(&mut entry.state.seen).write_volatile(seen) };
}

/// Moves a flow to the table of flows with a reply, at its first reply.
#[inline(always)]
fn promote<F: Family>(entry: &FlowEntry, flow: &mut Flow<F::Address>, seen: u8) {
    flow.state = FlowState {
        judgement: entry.judgement,
        last_seen: entry.now,
        arrival: entry.arrival,
        sequences: entry.sequences,
        created: entry.created,
        slot: entry.slot,
        seen,
        pad: 0,
    };
    if entry.is_translated() {
        copy_words(entry.translation, &mut flow.translation);
    } else {
        zero_words(&mut flow.translation);
    }
    let flow: &Flow<_> = flow;
    let key = &flow.key;
    if insert(flows::<F>(key.ifindex), flow)
        && let Some(table) = new_flows::<F>(key.ifindex)
    {
        let _ = table.remove(key);
    }
}

/// The connection of a new flow.
pub(crate) struct NewFlow<'a> {
    pub(crate) judgement: Judgement,
    /// Slot of the endpoint.
    pub(crate) slot: u16,
    /// How the packet arrived, if the far end sent it; 0 otherwise.
    pub(crate) arrival: u64,
    /// An expired or replaced flow is in the table of flows with a reply.
    pub(crate) in_replied: bool,
    pub(crate) translation: Option<&'a Translation>,
}

/// Creates a flow for an allowed connection, under the key in `flow`; `false` if the table accepts
/// no new entry.
#[inline(always)]
pub(crate) fn record<F: Family>(
    flow: &mut Flow<F::Address>,
    new: &NewFlow<'_>,
    transport: &Transport,
) -> bool {
    let now = now();
    flow.state = FlowState {
        judgement: new.judgement,
        last_seen: now,
        arrival: new.arrival,
        sequences: state::sequences(0, transport, new.arrival == 0),
        created: seconds(now),
        slot: new.slot,
        seen: 0,
        pad: 0,
    };
    match new.translation {
        Some(translation) => copy_words(translation, &mut flow.translation),
        None => zero_words(&mut flow.translation),
    }
    let flow: &Flow<_> = flow;
    let key = &flow.key;
    // A packet that opens a connection is judged without a look-up of the flow that it replaces.
    if new.in_replied || (transport.opens && has_reply::<F>(key)) {
        insert(flows::<F>(key.ifindex), flow)
    } else {
        insert(new_flows::<F>(key.ifindex), flow)
    }
}

/// Whether the table of flows with a reply has a flow, expired or not.
#[inline(always)]
fn has_reply<F: Family>(key: &FlowKey<F::Address>) -> bool {
    flows::<F>(key.ifindex).is_some_and(|table| table.get_ptr(key).is_some())
}

/// Writes a flow to a table; `false` where there is no table, or it accepts no new entry.
#[inline(always)]
fn insert<A: Copy>(table: Option<&FlowTable<A>>, flow: &Flow<A>) -> bool {
    let key = &flow.key;
    table.is_some_and(|table| table.insert(key, flow, u64::from(BPF_ANY)).is_ok())
}

/// A judgement seen as one word.
#[inline(always)]
pub(crate) fn as_word(judgement: &Judgement) -> &u64 {
    // SAFETY: a judgement is eight bytes without padding, aligned to eight.
    unsafe { &*ptr::from_ref(judgement).cast() }
}
