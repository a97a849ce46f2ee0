//! What a packet of a known flow costs: instructions, look-ups and other helper functions. A change that
//! makes it dearer fails here.

use aya::Pod;
use policy_common::{
    drops::Direction::{self, Egress, Ingress},
    endpoint::Endpoint,
    flow::{ARRIVED, Flow, FlowKey, FlowState, Initiator, Judgement, place, seen},
};

use crate::{
    craft::{Ends, Flags, OUT, OUT_V6, TCP, UDP, tcp, udp},
    interpreter::{Cost, Machine, NOW},
    rig::{IFINDEX, POD4, POD6, SLOT, TC_ACT_UNSPEC, bytes},
};

const EPOCH: u32 = 3;

/// A packet: its name, ends, protocol and direction; whether something isolates the pod, and the flow has
/// a reply; what the program calls, and how many instructions it takes at most.
type CostedPacket<'a> = (&'a str, Ends<'a>, u8, Direction, bool, bool, &'a [&'a str], usize);

/// A value as the kernel holds it.
fn raw<T: Pod>(value: &T) -> &[u8] {
    let start = std::ptr::from_ref(value).cast();
    // SAFETY: a `Pod` consists of initialised bytes, and lives as long as the result.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }
}

/// A flow that the pod opened, in use for long.
fn flow<Address>(local: Address, remote: Address, ends: Ends<'_>, protocol: u8) -> Flow<Address>
where
    Flow<Address>: Default,
{
    let (local_port, remote_port) =
        (ends.source_port.to_be_bytes(), ends.destination_port.to_be_bytes());
    let (ifindex, pad) = (IFINDEX, [0; 3]);
    let initiator = Initiator::Local as u8;
    Flow {
        key: FlowKey { ifindex, local, remote, local_port, remote_port, protocol, pad },
        state: FlowState {
            judgement: Judgement { epoch: EPOCH, initiator, denied: 0, sender: 0 },
            last_seen: NOW,
            arrival: u64::from(IFINDEX) | ARRIVED,
            slot: u16::try_from(SLOT).unwrap(),
            seen: seen::REPLY | seen::ASSURED,
            ..FlowState::default()
        },
        ..Flow::default()
    }
}

/// A machine with the pod, isolated or not, and one flow of it: with a reply, or without one yet.
fn machine(isolated: bool, replied: bool, ends: Ends<'_>, protocol: u8) -> Machine {
    let mut machine = Machine::new();
    let (address4, address6) = (POD4, POD6);
    let endpoint =
        Endpoint { ifindex: IFINDEX, slot: SLOT, address4, address6, ..Endpoint::default() };
    machine.put("endpoints", &IFINDEX.to_ne_bytes(), raw(&endpoint));
    let epoch = if isolated { EPOCH } else { 0 };
    machine.put("epochs", &IFINDEX.to_ne_bytes(), &epoch.to_ne_bytes());
    let (local, remote) = (bytes(ends.source), bytes(ends.destination));
    let seen = if replied { seen::REPLY | seen::ASSURED } else { 0 };
    if ends.source.contains(':') {
        let mut flow = flow(local, remote, ends, protocol);
        flow.state.seen = seen;
        put_flow(&mut machine, "pod_flows6", replied, raw(&flow.key), raw(&flow));
    } else {
        let four = |address: [u8; 16]| [address[12], address[13], address[14], address[15]];
        let mut flow = flow(four(local), four(remote), ends, protocol);
        flow.state.seen = seen;
        put_flow(&mut machine, "pod_flows4", replied, raw(&flow.key), raw(&flow));
    }
    machine
}

/// Gives the pod its flow tables, with a flow in one of them.
fn put_flow(machine: &mut Machine, index: &str, replied: bool, key: &[u8], flow: &[u8]) {
    let tables = [place::new(IFINDEX), place::replied(IFINDEX)]
        .map(|place| machine.put_map(index, place, key.len()));
    machine.put(&tables[usize::from(replied)], key, flow);
}

/// The kernel inlines the look-ups in arrays, such as `epochs` and `pod_flows4`.
#[test]
fn a_packet_of_a_known_flow_makes_one_look_up_of_its_flow() {
    let flows4 = ["epochs", "pod_flows4", "pod_flows4[1]", "ticks"];
    let flows6 = ["epochs", "pod_flows6", "pod_flows6[1]", "ticks"];
    let new4 = ["epochs", "pod_flows4", "pod_flows4[1]", "pod_flows4", "pod_flows4[4097]", "ticks"];
    #[rustfmt::skip]
    let cases: [CostedPacket<'_>; 12] = [
        // packet                              ends    protocol direction isolated replied calls               instructions
        ("IPv4, TCP, from the pod",            OUT,    TCP,     Egress,   true,    true,   &flows4,            160),
        ("IPv4, TCP, to the pod",              OUT,    TCP,     Ingress,  true,    true,   &flows4,            172),
        ("IPv4, UDP, from the pod",            OUT,    UDP,     Egress,   true,    true,   &flows4,            144),
        ("IPv4, UDP, to the pod",              OUT,    UDP,     Ingress,  true,    true,   &flows4,            161),
        ("IPv6, TCP, from the pod",            OUT_V6, TCP,     Egress,   true,    true,   &flows6,            247),
        ("IPv6, TCP, to the pod",              OUT_V6, TCP,     Ingress,  true,    true,   &flows6,            266),
        ("IPv6, UDP, from the pod",            OUT_V6, UDP,     Egress,   true,    true,   &flows6,            236),
        ("IPv6, UDP, to the pod",              OUT_V6, UDP,     Ingress,  true,    true,   &flows6,            261),
        ("no reply yet, from the initiator",   OUT,    TCP,     Egress,   true,    false,  &new4,              175),
        ("nothing isolates the pod, from it",  OUT,    TCP,     Egress,   false,   true,   &["epochs", "endpoints"], 96),
        ("nothing isolates the pod, to it",    OUT,    TCP,     Ingress,  false,   true,   &["epochs"],        20),
        ("the same, IPv6, from the pod",       OUT_V6, TCP,     Egress,   false,   true,   &["epochs", "endpoints"], 171),
    ];
    let mut dearer = Vec::new();
    for (packet, ends, protocol, direction, isolated, replied, calls, most) in cases {
        let mut machine = machine(isolated, replied, ends, protocol);
        let ends = if direction == Ingress { ends.back() } else { ends };
        let frame = if protocol == TCP { tcp(ends, Flags::Ack) } else { udp(ends) };
        let Cost { action, instructions, calls: called } = machine.run(direction, &frame);
        assert_eq!(action, TC_ACT_UNSPEC, "{packet}: it passes");
        assert_eq!(called, calls, "{packet}");
        if instructions > most {
            dearer.push(format!("{packet}: {instructions}, and {most} are the most"));
        }
    }
    assert!(dearer.is_empty(), "instructions: {dearer:#?}");
}
