//! Connections to Services of which the pod may reach some backends: they go to one of these (S40).
//!
//! kube-proxy would choose among all backends, so the programs translate such connections themselves.
//! A packet is judged twice, before and after its translation, each time with the flow of its address:
//!
//! ```text
//! web:59660 → 10.96.0.20:80     some backends are allowed: a flow is recorded that leads to one
//! web:59660 → 10.244.1.7:8080   the same packet, translated: an ordinary flow, of that backend
//! 10.244.1.7:8080 → web:59660   its reply, a packet of the second flow
//! 10.96.0.20:80 → web:59660     the same reply, translated: a packet of the first flow
//! ```
//!
//! `classify` calls the subprograms between the two. Flows of both kinds are
//! [`policy_common::flow::TRANSLATED`].

use aya_ebpf::bindings::__sk_buff;
use policy_common::{
    backend::BackendKey,
    drops::{Direction, Reason},
    flow::{Flow, Initiator, Judgement, TRANSLATED, Translation, translation},
};

use super::{
    arrival::{Arrival, Turn},
    endpoint,
    verdict::{Refusal, Verdict},
};
use crate::{
    address::Ip,
    element::{copy_words, is_still, read_address, read_once},
    flow::{
        family::{Ends, Family, Ports, V4, V6, write_key},
        table::{self, FlowEntry, Lookup, NewFlow},
    },
    maps::{ALLOW, BACKENDS},
    parse::{headers::Fragment, ip::Packet, transport::Transport},
    rewrite::{self, AddressPort, End},
    scratch::{self, Scratch},
    service::Choice,
    skb::Skb,
};

/// Backends of one list that are tried: those to which the packet cannot go are passed over.
const TRIES: u32 = 4;

/// The verdict on a packet whose flow passes it: translate it first, if the flow says so.
#[inline(always)]
pub(crate) fn of_flow(arrival: &Arrival<'_>, entry: &FlowEntry) -> Verdict {
    if !entry.is_translated() || arrival.turn() != Turn::Plain {
        return Verdict::Pass;
    }
    let Some(scratch) = scratch::get() else { return Verdict::Pass };
    let (bit, turn) = if arrival.sent() {
        (translation::TO_BACKEND, Turn::Forwarded)
    } else {
        (translation::TO_FRONTEND, Turn::Returned)
    };
    if entry.translation().bits & bit == 0 {
        return Verdict::Pass;
    }
    // Later fragments have no ports, so that nothing shows where they belong.
    if arrival.packet.fragment != Fragment::WHOLE {
        return Verdict::drop(Reason::Fragment);
    }
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let copy = unsafe { &mut (*scratch).translation };
    copy_words(entry.translation(), copy);
    Verdict::Translate(turn)
}

/// The verdict on a new connection that was refused: of a Service with some allowed backends it goes
/// to one of these.
#[inline(always)]
pub(crate) fn of_refusal(arrival: &Arrival<'_>, refusal: Refusal) -> Verdict {
    let is_partly = matches!(refusal.reason, Reason::ServicePartlyDenied);
    if !is_partly || !arrival.sent() || !refusal.opened_by_pod || arrival.turn() != Turn::Plain {
        return Verdict::Drop(refusal);
    }
    if arrival.packet.fragment != Fragment::WHOLE {
        return Verdict::Drop(Refusal { reason: Reason::Fragment, ..refusal });
    }
    let Some(scratch) = scratch::get() else { return Verdict::Drop(refusal) };
    let Refusal { allow_map, identity, .. } = refusal;
    let choice = Choice { epoch: arrival.epoch, allow_map, identity };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    unsafe { (*scratch).choice = choice };
    Verdict::Translate(Turn::Chosen)
}

/// The translation to record with a flow; `None` where the packet was not translated.
#[inline(always)]
pub(crate) fn to_record(arrival: &Arrival<'_>) -> Option<&'static Translation> {
    match arrival.turn() {
        Turn::Plain | Turn::Returned => None,
        Turn::Chosen | Turn::Forwarded => {
            let scratch = scratch::get()?;
            // SAFETY: the map has one element for each CPU, and no other program runs on this one;
            // it was written before the packet was judged again.
            Some(unsafe { &(*scratch).translation })
        }
    }
}

/// The allow map and identity that say which backends there are, for a packet that none was chosen for.
#[inline(always)]
pub(crate) fn chosen_by(turn: u32) -> (u32, u32) {
    match scratch::get() {
        Some(scratch) if turn == Turn::Chosen as u32 => {
            // SAFETY: the map has one element for each CPU, and no other program runs on this one;
            // `of_refusal` has written it.
            let choice = unsafe { &(*scratch).choice };
            (choice.allow_map, choice.identity)
        }
        Some(_) | None => (0, 0),
    }
}

/// Chooses a backend for the packet in the scratch map, and records the flow to it: 1, or 0 where there
/// is none that the packet can be sent to.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn translate_choose4(skb: *mut __sk_buff) -> u32 {
    u32::from(choose::<V4>(skb).is_some())
}

/// As `translate_choose4`, for IPv6.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn translate_choose6(skb: *mut __sk_buff) -> u32 {
    u32::from(choose::<V6>(skb).is_some())
}

/// Translates the packet in the scratch map to the far end there: 1, or 0 where the kernel refuses.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn translate_known(skb: *mut __sk_buff, direction: u32) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    let end = if direction == Direction::Egress as u32 { End::Destination } else { End::Source };
    u32::from(change(skb, scratch, end).is_some())
}

/// Translates back what the ICMP error in the scratch map quotes, so that its receiver finds the
/// connection: 1, or 0 where the kernel refuses.
///
/// ```text
/// a router → web   fragmentation needed, quoting web:59660 → 10.244.1.7:8080, the backend
/// the pod gets     the same, quoting web:59660 → 10.96.0.20:80
/// ```
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn translate_quoted(skb: *mut __sk_buff, direction: u32) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one;
    // `quote_read4` or `quote_read6` has written the quotation, and `quote_known4` or `quote_known6` the
    // translation.
    let packet = unsafe { &(*scratch).packet };
    // SAFETY: as above.
    let quotation = unsafe { &(*scratch).quotation };
    // SAFETY: as above.
    let far = unsafe { &(*scratch).translation };
    let sent = direction == Direction::Egress as u32;
    // An error that the pod sends quotes what it received, and goes to the sender of that.
    let (end, outer, sender) = if sent {
        (End::Source, End::Destination, packet.destination)
    } else {
        (End::Destination, End::Source, packet.source)
    };
    let (address, port) = if sent {
        (quotation.source, quotation.source_port)
    } else {
        (quotation.destination, quotation.destination_port)
    };
    let old = AddressPort { address, port };
    let new = AddressPort { address: Ip::new(far.address), port: far.port };
    let icmp = u32::from(packet.upper);
    let places = (u32::from(quotation.start), u32::from(quotation.upper));
    let done = rewrite::write_quoted(skb, end, icmp, places, &old, &new)
        && (sender != old.address || rewrite::write_address_of_error(skb, outer, icmp, &old, &new));
    u32::from(done)
}

#[inline(always)]
fn choose<F: Family>(skb: *mut __sk_buff) -> Option<()> {
    let scratch = scratch::get()?;
    // SAFETY: the map has one element for each CPU, and no other program runs on this one; `classify`
    // has parsed the packet, and `of_refusal` written the choice.
    let packet = unsafe { &(*scratch).packet };
    // SAFETY: as above.
    let choice = unsafe { &(*scratch).choice };
    let transport = packet.transport().ok()?;
    find_backend(scratch, packet, choice, transport)?;
    // SAFETY: as above.
    let flow = unsafe { &mut *F::scratch_flow(scratch) };
    // SAFETY: as above; `find_backend` has written it.
    let backend = unsafe { &(*scratch).translation };
    // SAFETY: as above; the endpoint was looked up before the connection was refused.
    let slot = unsafe { (*scratch).endpoint.slot };
    record::<F>(Skb::new(skb).ifindex(), packet, flow, (choice.epoch, slot as u16), backend)
}

/// Records the flow of the frontend, which leads to a backend.
#[inline(always)]
fn record<F: Family>(
    ifindex: u32,
    packet: &Packet,
    flow: &mut Flow<F::Address>,
    (epoch, slot): (u32, u16),
    backend: &Translation,
) -> Option<()> {
    let transport = packet.transport().ok()?;
    let (local, remote, protocol) = (packet.source, packet.destination, transport.protocol);
    write_key::<F>(flow, &Ends { ifindex, local, remote, ports: Ports::sent(transport), protocol });
    let in_replied = match table::find::<F>(&flow.key, protocol) {
        Lookup::Found(entry) => !entry.is_new(),
        Lookup::Missing { in_replied } => in_replied,
    };
    let judgement =
        Judgement { epoch, initiator: Initiator::Local as u8, denied: TRANSLATED, sender: 0 };
    let new = NewFlow { judgement, slot, arrival: 0, in_replied, translation: Some(backend) };
    table::record::<F>(flow, &new, transport).then_some(())
}

/// Writes an allowed backend of the packet's Service to the scratch map. The same connection gets the
/// same one as long as the list stays.
#[inline(always)]
fn find_backend(
    scratch: *mut Scratch,
    packet: &Packet,
    choice: &Choice,
    transport: &Transport,
) -> Option<()> {
    let allow = ALLOW.get(choice.allow_map)?;
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the identity that is read last differs.
    let set = unsafe { allow.get(choice.identity)? };
    let (list, count) = (read_once(&set.bitmap), u32::from(read_once(&set.backends)));
    if read_once(&set.identity) != choice.identity || count == 0 {
        return None;
    }
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let own = unsafe { &(*scratch).endpoint };
    let mut place = hash(packet, transport) % count;
    for _ in 0..TRIES {
        let key = BackendKey { list, place };
        let pointer = BACKENDS.get_ptr(key)?;
        // SAFETY: as for the set; the key is read last.
        let found = unsafe { &*pointer };
        let (address, port) = (read_address(&found.address), read_once(&found.port));
        let checks = read_once(&found.checks_frontend);
        if !is_still(&found.key, &key) {
            return None;
        }
        // A packet cannot go from a pod to itself by the node.
        if !endpoint::owns(own, address)
            && rewrite::can_change(transport.protocol, transport.destination, port)
        {
            let checks = if checks == 0 { 0 } else { translation::CHECKS_FRONTEND };
            let bits = translation::TO_BACKEND | checks;
            // SAFETY: as above; another field.
            let far = unsafe { &mut (*scratch).translation };
            *far = Translation { port, bits, pad: 0, address: address.bytes() };
            return Some(());
        }
        place = if place + 1 < count { place + 1 } else { 0 };
    }
    None
}

/// A number that depends on both ends of a connection.
#[inline(always)]
fn hash(packet: &Packet, transport: &Transport) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let [a, b] = transport.source;
    let [c, d] = transport.destination;
    let ports = u64::from(u32::from_ne_bytes([a, b, c, d]));
    let ends = packet.source.low ^ packet.destination.low.rotate_left(23);
    let mixed = (ends ^ ports.wrapping_mul(ODD)).wrapping_mul(ODD);
    (mixed >> 32) as u32
}

/// Writes the far end in the scratch map into the packet, and puts the one before in its place.
#[inline(always)]
fn change(skb: *mut __sk_buff, scratch: *mut Scratch, end: End) -> Option<()> {
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let packet = unsafe { &(*scratch).packet };
    // SAFETY: as above; another field.
    let far = unsafe { &mut (*scratch).translation };
    let transport = packet.transport().ok()?;
    let old = if end == End::Source {
        AddressPort { address: packet.source, port: transport.source }
    } else {
        AddressPort { address: packet.destination, port: transport.destination }
    };
    let new = AddressPort { address: Ip::new(far.address), port: far.port };
    let upper = (transport.protocol, u32::from(packet.upper));
    let checks = far.bits & translation::CHECKS_FRONTEND;
    let bits = translation::TO_FRONTEND | checks;
    *far = Translation { port: old.port, bits, pad: 0, address: old.address.bytes() };
    rewrite::write(skb, end, upper, &old, &new).then_some(())
}
