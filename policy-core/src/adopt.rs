//! Turns connections of the kernel's conntrack into flows (S30).
//!
//! Before a pod becomes isolated, the connections that it has are written into the flow table, so
//! that they are judged as connections of their initiator instead of being cut. Input: the entries
//! of `nf_conntrack` (`include/net/netfilter/nf_conntrack.h`) and the endpoints that track. Output:
//! [`Flows`] for the dataplane to write.
//!
//! Conntrack has two tuples for each connection: the packets of the initiator before any address
//! translation, and the replies before they are translated back. The first shows the connection as
//! the initiator's pod sees it, the second as the pod that answers sees it:
//!
//! ```text
//! 10.0.0.1 calls the Service 10.96.0.1:80, of which 10.0.0.2:8080 is the backend
//! original: 10.0.0.1:4000 -> 10.96.0.1:80      flow of 10.0.0.1: opened 10.96.0.1:80
//! reply:    10.0.0.2:8080 -> 10.0.0.1:4000     flow of 10.0.0.2: opened by 10.0.0.1:4000
//! ```

mod backends;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use policy_common::{
    endpoint::Endpoint,
    flow::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState, Initiator, Judgement, Translation, seen},
    protocol::{SCTP, TCP},
};

pub use backends::{BackendSources, LiveBackends};

/// Source and destination of the packets of one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port, host byte order; the identifier of an ICMP echo; 0 for other protocols without
    /// ports.
    pub source_port: u16,
    /// Destination port, host byte order; for protocols without ports the same as the source's.
    pub destination_port: u16,
}

/// An entry of conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// IP protocol number.
    pub protocol: u8,
    /// Packets of the initiator, before address translation.
    pub original: Tuple,
    /// Packets of replies, before they are translated back.
    pub reply: Tuple,
    /// Whether there were replies.
    pub replied: bool,
    /// Whether it is closing: both sides have closed it, or one has reset it.
    pub closing: bool,
    /// Whether conntrack has not seen it start, so that the initiator is a guess.
    pub picked_up: bool,
}

/// Flows to write. Their epoch is 0, which no endpoint ever has, so that each is judged at its next
/// packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// IPv4.
    pub four: Vec<Flow4>,
    /// IPv6.
    pub six: Vec<Flow6>,
}

/// The flows of the pods at `interfaces`, each of which is in `endpoints`.
///
/// `own` are the node's addresses. A connection from one of them is of a process of the node (S37). A
/// connection from the address of an endpoint is of that pod, even where its packets arrive
/// masqueraded (S39).
#[must_use]
pub fn flows(
    connections: &[Connection],
    interfaces: &BTreeSet<u32>,
    endpoints: &BTreeMap<u32, Endpoint>,
    own: &BTreeSet<IpAddr>,
) -> Flows {
    let mut at = BTreeMap::new();
    for endpoint in endpoints.values() {
        at.insert(IpAddr::from(endpoint.address4), endpoint);
        at.insert(IpAddr::from(endpoint.address6), endpoint);
    }
    let wanted = |address: &IpAddr| {
        let endpoint = at.get(address).copied();
        endpoint.filter(|endpoint| interfaces.contains(&endpoint.ifindex))
    };
    let mut flows = Flows::default();
    for connection in connections {
        let Connection { original, reply, .. } = connection;
        // A connection between two pods of the node makes a flow at each: programs run at both.
        if let Some(endpoint) = wanted(&original.source) {
            flows.add(connection, endpoint, original, (Initiator::Local, 0));
        }
        if let Some(endpoint) = wanted(&reply.source) {
            let sender = at.get(&original.source).map_or(0, |sender| sender.slot);
            // A pod's packets may be masqueraded to the node's address on their way, as behind a
            // node port: only where nobody translated the sender is it a process of the node.
            let of_node = own.contains(&original.source) && own.contains(&reply.destination);
            let initiator = if of_node { Initiator::Node } else { Initiator::Remote };
            flows.add(connection, endpoint, reply, (initiator, sender));
        }
    }
    flows
}

impl Flows {
    /// Adds the flow of a connection at the pod that sends `tuple`.
    fn add(
        &mut self,
        connection: &Connection,
        endpoint: &Endpoint,
        tuple: &Tuple,
        (initiator, sender): (Initiator, u32),
    ) {
        let Ok(slot) = u16::try_from(endpoint.slot) else { return };
        let initiator = if connection.picked_up { Initiator::Either } else { initiator };
        let sender = u16::try_from(sender).unwrap_or_default();
        let replied = if connection.replied { seen::REPLY } else { 0 };
        let closing = if connection.closing { seen::FIN_LOCAL | seen::FIN_REMOTE } else { 0 };
        let judgement = Judgement { epoch: 0, initiator: initiator as u8, denied: 0, sender };
        // An answered connection is established, but for the moment of its handshake. An answered
        // UDP flow need not be a stream yet; its next packet decides that.
        let starts_visibly = matches!(connection.protocol, TCP | SCTP);
        let assured = if connection.replied && starts_visibly { seen::ASSURED } else { 0 };
        let seen = replied | assured | closing;
        let state = FlowState { judgement, slot, seen, ..FlowState::default() };
        let (ifindex, protocol) = (endpoint.ifindex, connection.protocol);
        let local_port = tuple.source_port.to_be_bytes();
        let remote_port = tuple.destination_port.to_be_bytes();
        match (tuple.source, tuple.destination) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let (local, remote) = (local.octets(), remote.octets());
                let pad = [0; 3];
                let key =
                    FlowKey4 { ifindex, local, remote, local_port, remote_port, protocol, pad };
                self.four.push(Flow4 { state, key, translation: Translation::default() });
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let (local, remote) = (local.octets(), remote.octets());
                let pad = [0; 3];
                let key =
                    FlowKey6 { ifindex, local, remote, local_port, remote_port, protocol, pad };
                self.six.push(Flow6 { state, key, translation: Translation::default() });
            }
            // Translation between families makes two connections of one.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str) -> Tuple {
        let end = |text: &str| -> (IpAddr, u16) {
            let address: std::net::SocketAddr = text.parse().expect("an address and a port");
            (address.ip(), address.port())
        };
        let ((source, source_port), (destination, destination_port)) =
            (end(source), end(destination));
        Tuple { source, destination, source_port, destination_port }
    }

    fn endpoint(ifindex: u32, last: u8) -> (u32, Endpoint) {
        let address4 = [10, 0, 0, last];
        (ifindex, Endpoint { ifindex, slot: ifindex + 100, address4, ..Endpoint::default() })
    }

    #[test]
    fn s30_a_flow_is_as_its_pod_sees_it_and_has_its_initiator() {
        let endpoints = BTreeMap::from([endpoint(1, 1), endpoint(2, 2)]);
        let own = BTreeSet::from(["10.0.0.254".parse().expect("an address")]);
        let (local, remote, node) =
            (Initiator::Local as u8, Initiator::Remote as u8, Initiator::Node as u8);
        #[rustfmt::skip]
        let cases = [
            // claim, original, reply, flows: interface, far end, initiator, sender
            ("out of the cluster, masqueraded",
             ("10.0.0.1:4000", "1.2.3.4:80"), ("1.2.3.4:80", "10.0.0.254:61000"),
             vec![(1, "1.2.3.4:80", local, 0)]),
            ("to a Service with a backend elsewhere",
             ("10.0.0.1:4000", "10.96.0.1:80"), ("10.0.9.9:8080", "10.0.0.1:4000"),
             vec![(1, "10.96.0.1:80", local, 0)]),
            ("to a Service with the other pod as backend",
             ("10.0.0.1:4000", "10.96.0.1:80"), ("10.0.0.2:8080", "10.0.0.1:4000"),
             vec![(1, "10.96.0.1:80", local, 0), (2, "10.0.0.1:4000", remote, 101)]),
            ("to itself through a Service",
             ("10.0.0.1:4000", "10.96.0.1:80"), ("10.0.0.1:8080", "10.0.0.254:61000"),
             vec![(1, "10.96.0.1:80", local, 0), (1, "10.0.0.254:61000", remote, 101)]),
            ("from elsewhere",
             ("10.0.9.9:4000", "10.0.0.1:80"), ("10.0.0.1:80", "10.0.9.9:4000"),
             vec![(1, "10.0.9.9:4000", remote, 0)]),
            ("from elsewhere by a node port, masqueraded",
             ("10.0.9.9:4000", "10.0.0.254:30080"), ("10.0.0.1:80", "10.0.0.254:61000"),
             vec![(1, "10.0.0.254:61000", remote, 0)]),
            ("from a process of the node",
             ("10.0.0.254:4000", "10.0.0.1:80"), ("10.0.0.1:80", "10.0.0.254:4000"),
             vec![(1, "10.0.0.254:4000", node, 0)]),
            ("past the node's pods",
             ("10.0.9.9:4000", "10.0.9.8:80"), ("10.0.9.8:80", "10.0.9.9:4000"), vec![]),
        ];
        for (claim, original, reply, want) in cases {
            let connection = Connection {
                protocol: 6,
                original: tuple(original.0, original.1),
                reply: tuple(reply.0, reply.1),
                replied: true,
                closing: false,
                picked_up: false,
            };
            let flows = flows(&[connection], &BTreeSet::from([1, 2]), &endpoints, &own);
            let found = flows.four.iter().map(|flow| {
                let FlowKey4 { ifindex, remote, remote_port, .. } = flow.key;
                let far = std::net::SocketAddr::from((remote, u16::from_be_bytes(remote_port)));
                let Judgement { initiator, sender, .. } = flow.state.judgement;
                (ifindex, far.to_string(), initiator, sender)
            });
            let want: Vec<_> =
                want.into_iter().map(|(a, far, b, c)| (a, far.to_owned(), b, c)).collect();
            assert_eq!(found.collect::<Vec<_>>(), want, "{claim}");
        }
    }

    #[test]
    fn s30_only_the_listed_interfaces_get_flows_each_with_its_state() {
        let endpoints = BTreeMap::from([endpoint(1, 1), endpoint(2, 2)]);
        let connection = Connection {
            protocol: 17,
            original: tuple("10.0.0.1:4000", "10.0.0.2:53"),
            reply: tuple("10.0.0.2:53", "10.0.0.1:4000"),
            replied: false,
            closing: true,
            picked_up: true,
        };
        let flows = flows(&[connection], &BTreeSet::from([2]), &endpoints, &BTreeSet::new());
        let [flow] = flows.four.as_slice() else { panic!("one flow: {flows:?}") };
        assert_eq!((flow.key.ifindex, flow.key.protocol), (2, 17));
        assert_eq!((flow.key.local, flow.key.remote), ([10, 0, 0, 2], [10, 0, 0, 1]));
        assert_eq!((flow.key.local_port, flow.key.remote_port), ([0, 53], 4000_u16.to_be_bytes()));
        assert_eq!(flow.state.seen, seen::FIN_LOCAL | seen::FIN_REMOTE);
        assert_eq!(
            flow.state.judgement.initiator,
            Initiator::Either as u8,
            "conntrack did not see it start"
        );
        assert_eq!((flow.state.judgement.epoch, flow.state.slot), (0, 102));
    }
}
