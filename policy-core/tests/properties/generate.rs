//! Clusters of few labels, addresses and ports, so that everything meets everything.

mod tiers;

use std::{collections::BTreeMap, net::IpAddr};

use policy_core::model::{
    ContainerPort, Direction, EndpointSlice, HostPort, IpBlock, Labels, NetworkPolicy, Node,
    ObjectName, Operator, Peer, Phase, Pod, Port, PortSpec, Protocol, Requirement, Rule, Selector,
    Service, ServicePort, SliceEndpoint, SlicePort, Snapshot, TopologyHints,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

pub(crate) const PODS: usize = 6;
pub(crate) const OUTSIDE: [&str; 6] =
    ["203.0.113.1", "10.0.0.9", "192.168.0.1", "192.168.0.2", "2001:db8::1", "fd00::9"];
pub(crate) const PORTS: [u16; 5] = [53, 80, 81, 443, 8080];

const BLOCKS: [&str; 16] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/29",
    "10.0.0.2/31",
    "10.0.0.4/30",
    "10.0.0.1/32",
    "10.0.0.3/32",
    "192.168.0.0/24",
    "192.168.0.1/32",
    "203.0.113.7/24",
    "::/0",
    "fd00::/8",
    "fd00::2/127",
    "fd00::4/126",
    "fd00::1/128",
    "2001:db8::/32",
];

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

pub(crate) fn pod_name(index: usize) -> ObjectName {
    ObjectName::new(if index < PODS / 2 { "x" } else { "y" }, format!("p{index}"))
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let pods = (0..PODS).map(pod).collect::<Vec<_>>();
    let policies = vec((select(vec!["x", "y"]), policy()), 0..5);
    let services = vec(service(), 0..3);
    let all = (pods, policies, services, tiers::policies());
    all.prop_map(|(pods, policies, services, cluster_policies)| {
        let label = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
        let team = |name: &str| label("team", name);
        let zone = |name: &str| label("topology.kubernetes.io/zone", name);
        let mut snapshot = Snapshot {
            namespaces: ["x", "y"].map(|name| (name.to_owned(), team(name).into())).into(),
            nodes: BTreeMap::from([
                (
                    "n1".to_owned(),
                    Node { labels: zone("one"), ..vec![ip("192.168.0.1"), ip("fd00:a::1")].into() },
                ),
                ("n2".to_owned(), Node { labels: team("y"), ..vec![ip("192.168.0.2")].into() }),
            ]),
            cluster_policies,
            ..Snapshot::default()
        };
        for (index, pod) in pods.into_iter().enumerate() {
            snapshot.pods.extend(pod.map(|pod| (pod_name(index), pod)));
        }
        for (index, (namespace, policy)) in policies.into_iter().enumerate() {
            snapshot.policies.insert(ObjectName::new(namespace, format!("np{index}")), policy);
        }
        for (index, (service, slice)) in services.into_iter().enumerate() {
            let name = ObjectName::new("x", format!("s{index}"));
            let mut service = service;
            service.cluster_ips = vec![ip(&format!("10.96.0.{index}"))];
            snapshot.services.insert(name.clone(), service);
            let slice = EndpointSlice { service: name.name.clone(), ..slice };
            snapshot.endpoint_slices.insert(name, slice);
        }
        snapshot
    })
}

fn pod(index: usize) -> BoxedStrategy<Option<Pod>> {
    let last = index + 1;
    let own = vec![ip(&format!("10.0.0.{last}"))];
    let both = vec![ip(&format!("10.0.0.{last}")), ip(&format!("fd00::{last}"))];
    let other = vec![ip(&format!("10.0.0.{}", (last % PODS) + 1))];
    let addresses = prop_oneof![
        4 => Just(own),
        6 => Just(both),
        1 => Just(other),
        1 => Just(Vec::new()),
    ];
    let kind = prop_oneof![10 => Just(0), 1 => Just(1), 1 => Just(2)];
    let pod =
        (labels(), addresses, kind, select(vec!["n1", "n2"]), container_ports(), host_ports());
    let pod = pod.prop_map(|(labels, addresses, kind, node, ports, host_ports)| {
        let host_network = kind == 1;
        let of_node = ip(if node == "n1" { "192.168.0.1" } else { "192.168.0.2" });
        Pod {
            labels,
            node: Some(node.to_owned()),
            addresses: if host_network { vec![of_node] } else { addresses },
            host_network,
            phase: if kind == 2 { Phase::Finished } else { Phase::Live },
            ports,
            host_ports,
            ..Pod::default()
        }
    });
    option::weighted(0.9, pod).boxed()
}

fn labels() -> impl Strategy<Value = Labels> {
    let value = |values: Vec<&'static str>| option::weighted(0.8, select(values));
    (value(vec!["a", "b"]), value(vec!["", "t"])).prop_map(|(app, tier)| {
        let app = app.map(|app| ("app".to_owned(), app.to_owned()));
        let tier = tier.map(|tier| ("tier".to_owned(), tier.to_owned()));
        app.into_iter().chain(tier).collect()
    })
}

fn container_ports() -> impl Strategy<Value = Vec<ContainerPort>> {
    let port = (select(vec![Some("http"), Some("dns"), None]), select(PORTS.to_vec()), protocol());
    vec(port, 0..3).prop_map(|ports| {
        let port = |(name, port, protocol): (Option<&str>, u16, Protocol)| ContainerPort {
            name: name.map(Into::into),
            port,
            protocol,
        };
        ports.into_iter().map(port).collect()
    })
}

fn host_ports() -> impl Strategy<Value = Vec<HostPort>> {
    let address = option::weighted(0.2, select(vec!["192.168.0.1", "192.168.0.2"]));
    let ports = (select(vec![80_u16, 443]), select(PORTS.to_vec()));
    let one =
        (address, ports, protocol()).prop_map(|(address, (port, container_port), protocol)| {
            HostPort { address: address.map(ip), port, protocol, container_port }
        });
    prop_oneof![3 => Just(Vec::new()), 1 => vec(one, 1..3)]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![4 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn selector() -> impl Strategy<Value = Selector> {
    let set = |values: Vec<&'static str>| {
        vec(select(values), 1..3).prop_map(|v| v.into_iter().map(str::to_owned).collect())
    };
    let requirement = select(vec!["app", "tier"]).prop_flat_map(move |key| {
        let values = if key == "app" { vec!["a", "b", "c"] } else { vec!["", "t"] };
        let operator = prop_oneof![
            4 => set(values.clone()).prop_map(Operator::In),
            1 => set(values).prop_map(Operator::NotIn),
            1 => Just(Operator::Exists),
            1 => Just(Operator::DoesNotExist),
        ];
        operator.prop_map(move |operator| Requirement { key: key.to_owned(), operator })
    });
    vec(requirement, 0..2).prop_map(|some| Selector { requirements: some.into_iter().collect() })
}

fn namespace_selector() -> impl Strategy<Value = Option<Selector>> {
    let key = select(vec!["team", "kubernetes.io/metadata.name"]);
    let by_value = (key, select(vec!["x", "y"])).prop_map(|(key, value)| {
        let operator = Operator::In([value.to_owned()].into());
        Selector { requirements: [Requirement { key: key.to_owned(), operator }].into() }
    });
    option::of(prop_oneof![2 => by_value, 1 => Just(Selector::default())])
}

fn peer() -> impl Strategy<Value = Peer> {
    let block = |block: &str| block.parse().expect("a block");
    let blocks = (select(BLOCKS.to_vec()), vec(select(BLOCKS.to_vec()), 0..3));
    prop_oneof![
        5 => (namespace_selector(), selector())
            .prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        5 => blocks.prop_map(move |(cidr, except)| {
            let except = except.into_iter().map(block).collect();
            Peer::Block(IpBlock { cidr: block(cidr), except })
        }),
    ]
}

fn port() -> impl Strategy<Value = Port> {
    let spec = prop_oneof![
        2 => Just(PortSpec::Every),
        6 => (select(PORTS.to_vec()), select(vec![0_u16, 0, 1, 400, 60000]))
            .prop_map(|(first, more)| PortSpec::Range { first, last: first.saturating_add(more) }),
        3 => select(vec!["http", "dns", "none"]).prop_map(|name| PortSpec::Named(name.to_owned())),
    ];
    (protocol(), spec).prop_map(|(protocol, port)| Port { protocol, port })
}

fn rule() -> impl Strategy<Value = Rule> {
    (vec(peer(), 0..3), vec(port(), 0..4)).prop_map(|(peers, ports)| Rule { peers, ports })
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
    use Direction::{Egress, Ingress};
    let subject = option::weighted(0.95, selector());
    let types = option::of(select(vec![vec![Ingress], vec![Egress], vec![Ingress, Egress]]));
    (subject, types, vec(rule(), 0..3), vec(rule(), 0..3)).prop_map(
        |(subject, policy_types, ingress, egress)| NetworkPolicy {
            subject,
            policy_types,
            ingress,
            egress,
            ..NetworkPolicy::default()
        },
    )
}

/// A cluster with so many rules of blocks that these are joined.
pub(crate) fn crowded() -> impl Strategy<Value = Snapshot> {
    let blocks = (select(BLOCKS.to_vec()), vec(select(BLOCKS.to_vec()), 1..4));
    let peer = blocks.prop_map(|(cidr, except)| {
        let block = |block: &str| block.parse().expect("a block");
        Peer::Block(IpBlock { cidr: block(cidr), except: except.into_iter().map(block).collect() })
    });
    // Few ports, so that not everything passes by some rule.
    let port = (protocol(), select(PORTS.to_vec()))
        .prop_map(|(protocol, port)| (protocol, PortSpec::Range { first: port, last: port }));
    let named = protocol().prop_map(|protocol| (protocol, PortSpec::Named("http".to_owned())));
    let port =
        prop_oneof![9 => port, 1 => named].prop_map(|(protocol, port)| Port { protocol, port });
    let rule = (vec(peer, 1..3), vec(port, 1..2));
    let policy = (rule, prop::bool::weighted(0.8)).prop_map(|((peers, ports), all)| {
        let selector = Selector::default();
        let requirement = Requirement { key: "app".to_owned(), operator: Operator::Exists };
        let some = Selector { requirements: [requirement].into() };
        let rules = vec![Rule { peers, ports }];
        NetworkPolicy {
            subject: Some(if all { selector } else { some }),
            policy_types: Some(vec![Direction::Ingress, Direction::Egress]),
            ingress: rules.clone(),
            egress: rules,
            ..NetworkPolicy::default()
        }
    });
    (snapshot(), vec(policy, 60..110)).prop_map(|(mut snapshot, policies)| {
        for (index, policy) in policies.into_iter().enumerate() {
            snapshot.policies.insert(ObjectName::new("x", format!("many{index}")), policy);
        }
        snapshot
    })
}

fn service() -> impl Strategy<Value = (Service, EndpointSlice)> {
    // Hints on most endpoints, so that often all ready ones have one.
    let hints = || {
        let place =
            |of: [&'static str; 2]| select(of.to_vec()).prop_map(|one| vec![one.to_owned()]);
        let none = || Just(Vec::new());
        let zones = prop_oneof![1 => none(), 3 => place(["one", "two"])];
        (zones, prop_oneof![3 => none(), 1 => place(["n1", "n2"])])
            .prop_map(|(zones, nodes): (Vec<String>, Vec<String>)| TopologyHints { zones, nodes })
    };
    let hints = prop_oneof![1 => Just(TopologyHints::default()), 2 => hints()];
    let node = option::weighted(0.8, select(vec!["n1".to_owned(), "n2".to_owned()]));
    let backend = (1..=PODS, any::<(bool, bool, bool)>(), node, hints);
    let endpoints = vec(backend, 0..4).prop_map(|backends| {
        let endpoint = |(last, (ready, serving, terminating), node, hints): (usize, _, _, _)| {
            let own = || ip(&format!("10.0.0.{last}"));
            let address = if last == PODS { ip("192.168.0.1") } else { own() };
            let serving = ready || serving;
            SliceEndpoint { address, ready, serving, terminating, node, hints }
        };
        backends.into_iter().map(endpoint).collect()
    });
    let local = prop::bool::weighted(0.3);
    (select(vec![80_u16, 443]), select(PORTS.to_vec()), protocol(), endpoints, local).prop_map(
        |(port, target, protocol, endpoints, internal_traffic_local)| {
            let name = String::new();
            let ports = vec![ServicePort { name: name.clone(), protocol, port, node_port: None }];
            let service = Service { ports, internal_traffic_local, ..Service::default() };
            let ports = vec![SlicePort { name, port: target, protocol }];
            (service, EndpointSlice { service: String::new(), ports, endpoints })
        },
    )
}
