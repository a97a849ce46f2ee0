//! Builders of small clusters, and questions to them.

use std::net::IpAddr;

use policy_core::{
    compile::{Scope, compile},
    explain::{ConnectionEnd, Explanation, Question, explain},
    fault::Fault,
    model::{
        ContainerPort, Direction, EndpointSlice, Family, IpBlock, Labels, NetworkPolicy,
        ObjectName, Operator, Peer, Pod, Port, PortSpec, Protocol, Requirement, Rule, Selector,
        Service, ServicePort, SliceEndpoint, SlicePort, Snapshot, Sorted,
    },
};

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

pub(crate) fn labels(pairs: &str) -> Labels {
    let pairs = pairs.split(',').filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').expect("key=value"));
    split.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// `k=v`, `k!=v`, `k`, `!k`, comma-separated; `k=v|w` for several values.
pub(crate) fn mk_selector(text: &str) -> Selector {
    let values = |values: &str| -> Sorted<String> { values.split('|').map(Into::into).collect() };
    let requirement = |part: &str| {
        let (key, operator) = if let Some((key, none)) = part.split_once("!=") {
            (key, Operator::NotIn(values(none)))
        } else if let Some((key, some)) = part.split_once('=') {
            (key, Operator::In(values(some)))
        } else if let Some(key) = part.strip_prefix('!') {
            (key, Operator::DoesNotExist)
        } else {
            (part, Operator::Exists)
        };
        Requirement { key: key.to_owned(), operator }
    };
    let parts = text.split(',').filter(|part| !part.is_empty());
    Selector { requirements: parts.map(requirement).collect() }
}

/// A pod on node `n1`; `name` is `namespace/name`.
pub(crate) fn mk_pod(pod_labels: &str, addresses: &[&str]) -> Pod {
    Pod {
        labels: labels(pod_labels),
        node: Some("n1".to_owned()),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ..Pod::default()
    }
}

pub(crate) fn mk_port(name: &str, port: u16, protocol: Protocol) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), port, protocol }
}

pub(crate) fn mk_policy(subject: &str) -> NetworkPolicy {
    NetworkPolicy { subject: Some(mk_selector(subject)), ..NetworkPolicy::default() }
}

/// A policy for one direction only.
pub(crate) fn mk_ingress(subject: &str, ingress: Vec<Rule>) -> NetworkPolicy {
    let policy_types = Some(vec![Direction::Ingress]);
    NetworkPolicy { policy_types, ingress, ..mk_policy(subject) }
}

/// A policy for one direction only.
pub(crate) fn mk_egress(subject: &str, egress: Vec<Rule>) -> NetworkPolicy {
    let policy_types = Some(vec![Direction::Egress]);
    NetworkPolicy { policy_types, egress, ..mk_policy(subject) }
}

pub(crate) fn mk_rule(peers: Vec<Peer>, ports: Vec<Port>) -> Rule {
    Rule { peers, ports }
}

pub(crate) fn mk_pods(pods: &str) -> Peer {
    Peer::Pods { namespaces: None, pods: mk_selector(pods) }
}

pub(crate) fn mk_pods_in(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods { namespaces: Some(mk_selector(namespaces)), pods: mk_selector(pods) }
}

pub(crate) fn mk_block(cidr: &str, except: &[&str]) -> Peer {
    let parse = |block: &str| block.parse().expect("a block");
    let except = except.iter().map(|block| parse(block)).collect();
    Peer::Block(IpBlock { cidr: parse(cidr), except })
}

pub(crate) fn tcp(port: u16) -> Port {
    range(Protocol::Tcp, port, port)
}

pub(crate) fn range(protocol: Protocol, first: u16, last: u16) -> Port {
    Port { protocol, port: PortSpec::Range { first, last } }
}

pub(crate) fn named(protocol: Protocol, name: &str) -> Port {
    Port { protocol, port: PortSpec::Named(name.to_owned()) }
}

/// A Service with one TCP port, called `main`.
pub(crate) fn mk_service(cluster_ip: &str, port: u16) -> Service {
    Service {
        cluster_ips: vec![ip(cluster_ip)],
        ports: vec![ServicePort {
            name: "main".to_owned(),
            protocol: Protocol::Tcp,
            port,
            node_port: None,
        }],
        ..Service::default()
    }
}

pub(crate) fn mk_slice(service: &str, port: u16, ready: &[&str]) -> EndpointSlice {
    let endpoint = |address: &&str| SliceEndpoint::ready(ip(address));
    EndpointSlice {
        service: service.to_owned(),
        ports: vec![SlicePort { name: "main".to_owned(), port, protocol: Protocol::Tcp }],
        endpoints: ready.iter().map(endpoint).collect(),
    }
}

/// A snapshot in the making.
#[derive(Clone, Default)]
pub(crate) struct Cluster(pub(crate) Snapshot);

fn name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').expect("namespace/name");
    ObjectName::new(namespace, name)
}

impl Cluster {
    pub(crate) fn namespace(mut self, name: &str, with: &str) -> Self {
        self.0.namespaces.insert(name.to_owned(), labels(with).into());
        self
    }

    pub(crate) fn pod(mut self, at: &str, pod: Pod) -> Self {
        self.0.pods.insert(name(at), pod);
        self
    }

    pub(crate) fn policy(mut self, at: &str, policy: NetworkPolicy) -> Self {
        self.0.policies.insert(name(at), policy);
        self
    }

    pub(crate) fn service(mut self, at: &str, service: Service, slice: EndpointSlice) -> Self {
        self.0.services.insert(name(at), service);
        self.0.endpoint_slices.insert(name(at), slice);
        self
    }

    pub(crate) fn node(mut self, name: &str, addresses: &[&str]) -> Self {
        self.0
            .nodes
            .insert(name.to_owned(), addresses.iter().map(|a| ip(a)).collect::<Vec<_>>().into());
        self
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        compile(&self.0, Scope::Cluster).1
    }

    /// Parties are `namespace/name`, `service/namespace/name` or an address.
    pub(crate) fn ask(
        &self,
        from: &str,
        to: &str,
        protocol: Protocol,
        port: u16,
    ) -> Option<Explanation> {
        let six = |party: &str| party.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
        let family = if six(from) || six(to) { Family::Ipv6 } else { Family::Ipv4 };
        self.ask_in(family, from, to, protocol, port)
    }

    pub(crate) fn ask_in(
        &self,
        family: Family,
        from: &str,
        to: &str,
        protocol: Protocol,
        port: u16,
    ) -> Option<Explanation> {
        let party = |text: &str| match (text.strip_prefix("service/"), text.parse()) {
            (Some(service), _) => ConnectionEnd::Service(name(service)),
            (None, Ok(address)) => ConnectionEnd::Address(address),
            (None, Err(_)) => ConnectionEnd::Pod(name(text)),
        };
        let question = Question { from: party(from), to: party(to), family, protocol, port };
        explain(&self.0, &compile(&self.0, Scope::Cluster).0, &question)
    }

    /// Whether a TCP connection passes in both directions.
    pub(crate) fn passes(&self, from: &str, to: &str, port: u16) -> bool {
        let answer = self.ask(from, to, Protocol::Tcp, port);
        answer.unwrap_or_else(|| panic!("{from} to {to} has no verdict")).allowed()
    }

    /// Holds a table of claims: from, to, TCP port, whether it passes.
    pub(crate) fn holds(&self, cases: &[(&str, &str, u16, bool)]) {
        for &(from, to, port, want) in cases {
            assert_eq!(self.passes(from, to, port), want, "{from} to {to} at {port}");
        }
    }
}
