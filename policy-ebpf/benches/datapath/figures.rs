//! The figures: which packet, at which pod, held against which look-ups, within which bound.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Result, ensure};
use policy_common::{
    drops::{Direction, DropKey, Reason},
    protocol::{TCP, UDP},
};

use crate::{
    frames::{Connection, FRIEND, Family, Kind, STRANGER, address},
    measure::{Bound, Measured, Round},
    node::{DENIED, IFINDEX, Node},
    programs::{self, Lookup, Packet},
};

/// Runs of a program in one round.
const REPEAT: u32 = 200_000;
/// Runs in one round where each leaves a record in the ring buffer, which must not become full.
const RECORDS: u32 = 8_000;
/// Runs before the first round: they use up the burst of drop records of an interface.
const WARM_UP: u32 = 1_000;

const PASS: i32 = -1;
const DROP: i32 = 2;

/// The loaded objects.
struct Nodes {
    /// A pod isolated in both directions; one more drop record an hour.
    quiet: Node,
    /// The same, and each drop has a record.
    loud: Node,
    /// A pod that nothing isolates.
    open: Node,
}

/// What a figure is held against.
enum Reference {
    /// A program that looks keys up.
    Program(OwnedFd),
    /// The same packet at the pod without drop records.
    Quiet,
    /// Nothing.
    None,
}

/// A figure to measure.
struct Figure {
    name: String,
    node: fn(&mut Nodes) -> &mut Node,
    direction: Direction,
    packet: Packet,
    action: i32,
    repeat: u32,
    reference: Reference,
    text: &'static str,
    bound: Bound,
}

/// Measures all figures, in rounds.
pub(crate) fn measure(rounds: u32) -> Result<Vec<Measured>> {
    let mut nodes = Nodes {
        quiet: Node::isolated(Duration::from_hours(1))?,
        loud: Node::isolated(Duration::ZERO)?,
        open: Node::open()?,
    };
    let mut figures = known(&nodes.quiet)?;
    figures.extend(unreplied(&nodes.quiet)?);
    figures.extend(open(&nodes.open)?);
    figures.extend(denied(&nodes.quiet)?);
    let empty = programs::load(&[])?;
    for figure in &figures {
        let run = (figure.node)(&mut nodes).judge(figure.direction, &figure.packet, WARM_UP)?;
        ensure!(run.action == figure.action, "{}: the program returns {}", figure.name, run.action);
    }
    let mut measured: Vec<Vec<Round>> = figures.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for (figure, rounds) in figures.iter().zip(&mut measured) {
            rounds.push(figure.round(&mut nodes, &empty)?);
        }
    }
    let all = figures.into_iter().zip(measured).map(|(figure, rounds)| Measured {
        name: figure.name,
        reference: figure.text,
        bound: figure.bound,
        rounds,
    });
    Ok(all.collect())
}

impl Figure {
    fn round(&self, nodes: &mut Nodes, empty: &OwnedFd) -> Result<Round> {
        let (packet, repeat) = (&self.packet, self.repeat);
        let empty = programs::run(empty.as_fd(), packet, REPEAT)?.nanoseconds;
        let reference = match &self.reference {
            Reference::Program(program) => programs::run(program.as_fd(), packet, REPEAT)?,
            Reference::Quiet => nodes.quiet.judge(self.direction, packet, repeat)?,
            Reference::None => programs::run(nodes.quiet.program(self.direction)?, packet, 1)?,
        };
        let node = (self.node)(nodes);
        node.drain()?;
        let value = node.judge(self.direction, packet, repeat)?;
        ensure!(value.action == self.action, "{}: {}", self.name, value.action);
        Ok(Round { value: value.nanoseconds - empty, reference: reference.nanoseconds - empty })
    }
}

/// Every combination of family and protocol.
fn connections() -> [(&'static str, Family, u8); 4] {
    [
        ("IPv4 TCP", Family::V4, TCP),
        ("IPv4 UDP", Family::V4, UDP),
        ("IPv6 TCP", Family::V6, TCP),
        ("IPv6 UDP", Family::V6, UDP),
    ]
}

const DIRECTIONS: [(&str, Direction); 2] =
    [("from", Direction::Egress), ("to", Direction::Ingress)];

/// The flow tables of a family: with a reply, without.
fn tables(family: Family) -> [&'static str; 2] {
    match family {
        Family::V4 => ["flows4", "new_flows4"],
        Family::V6 => ["flows6", "new_flows6"],
    }
}

/// Packets of flows with a reply.
fn known(node: &Node) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (text, family, protocol) in connections() {
        let connection = Connection { family, protocol, remote: FRIEND, port: 8080 };
        for (direction, packet) in connection.opening() {
            let action = node.judge(direction, &packet, 1)?.action;
            ensure!(action == PASS, "{text}: an opening packet gives {action}");
        }
        let [table, _] = tables(family);
        for (way, direction) in DIRECTIONS {
            let lookup = Lookup { map: node.map(table)?.fd().as_fd(), key: connection.key() };
            figures.push(Figure {
                name: format!("known flow, {text}, {way} the pod"),
                node: |nodes| &mut nodes.quiet,
                direction,
                packet: connection.packet(direction, Kind::Data),
                action: PASS,
                repeat: REPEAT,
                reference: Reference::Program(programs::load(&[lookup])?),
                text: "one LRU look-up of its key",
                bound: Bound::Ratio(if family == Family::V4 { 1.45 } else { 1.7 }),
            });
        }
    }
    Ok(figures)
}

/// Packets of flows without a reply yet.
fn unreplied(node: &Node) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (text, family, protocol) in connections() {
        if protocol == TCP {
            continue;
        }
        for ((way, direction), port) in DIRECTIONS.into_iter().zip([9001, 9002]) {
            let connection = Connection { family, protocol, remote: FRIEND, port };
            let lookup = |table| -> Result<_> {
                Ok(Lookup { map: node.map(table)?.fd().as_fd(), key: connection.key() })
            };
            let [with, without] = tables(family);
            figures.push(Figure {
                name: format!("flow without a reply, {text}, {way} the pod"),
                node: |nodes| &mut nodes.quiet,
                direction,
                packet: connection.packet(direction, Kind::Data),
                action: PASS,
                repeat: REPEAT,
                reference: Reference::Program(programs::load(&[lookup(with)?, lookup(without)?])?),
                text: "its two LRU look-ups",
                bound: Bound::Ratio(1.6),
            });
        }
    }
    Ok(figures)
}

/// Packets of a pod that nothing isolates.
fn open(node: &Node) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (text, family, protocol) in connections() {
        let connection = Connection { family, protocol, remote: FRIEND, port: 8080 };
        for (way, direction) in DIRECTIONS {
            let key = IFINDEX.to_ne_bytes().to_vec();
            let lookup = Lookup { map: node.map("endpoints")?.fd().as_fd(), key };
            let (reference, text_of_reference, bound) = match direction {
                Direction::Egress => (
                    Reference::Program(programs::load(&[lookup])?),
                    "one look-up of a 4-byte key",
                    Bound::Ratio(1.5),
                ),
                Direction::Ingress => (Reference::None, "none", Bound::Nanoseconds(5.0)),
            };
            figures.push(Figure {
                name: format!("non-isolated, {text}, {way} the pod"),
                node: |nodes| &mut nodes.open,
                direction,
                packet: connection.packet(direction, Kind::Data),
                action: PASS,
                repeat: REPEAT,
                reference,
                text: text_of_reference,
                bound,
            });
        }
    }
    Ok(figures)
}

/// Packets that no rule allows: with the limit of records reached, and with a record each.
fn denied(node: &Node) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (text, family, protocol) in connections() {
        let connection = Connection { family, protocol, remote: STRANGER, port: 8080 };
        for (way, direction) in DIRECTIONS {
            let reference = Reference::Program(programs::load(&least(node, family, direction)?)?);
            figures.push(Figure {
                name: format!("denied, {text}, {way} the pod"),
                node: |nodes| &mut nodes.quiet,
                direction,
                packet: connection.packet(direction, Kind::Syn),
                action: DROP,
                repeat: REPEAT,
                reference,
                text: "endpoint, identity, allow map, counter",
                bound: Bound::Ratio(1.5),
            });
            figures.push(Figure {
                name: format!("denied with a record, {text}, {way} the pod"),
                node: |nodes| &mut nodes.loud,
                direction,
                packet: connection.packet(direction, Kind::Syn),
                action: DROP,
                repeat: RECORDS,
                reference: Reference::Quiet,
                text: "the same without a record",
                bound: Bound::Ratio(1.2),
            });
        }
    }
    Ok(figures)
}

/// The look-ups without which a denied packet cannot be judged and counted.
fn least(node: &Node, family: Family, direction: Direction) -> Result<[Lookup<'_>; 4]> {
    let remote = address(STRANGER[family as usize]).to_vec();
    let key = DropKey {
        ifindex: IFINDEX,
        direction: direction as u8,
        reason: Reason::NoRule as u8,
        pad: [0; 2],
    };
    let counter = [&key.ifindex.to_ne_bytes()[..], &[key.direction, key.reason, 0, 0]].concat();
    let lookup =
        |name: &str, key| -> Result<_> { Ok(Lookup { map: node.map(name)?.fd().as_fd(), key }) };
    Ok([
        lookup("endpoints", IFINDEX.to_ne_bytes().to_vec())?,
        lookup("identities", remote)?,
        Lookup { map: node.allow_map()?.fd().as_fd(), key: DENIED.to_ne_bytes().to_vec() },
        lookup("drops", counter)?,
    ])
}
