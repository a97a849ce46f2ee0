//! Clusters as they are: namespaces of workloads, replicas that share their labels.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use policy_core::model::{
    ContainerPort, Direction, EndpointSlice, IpBlock, Labels, NetworkPolicy, ObjectName, Operator,
    Peer, Pod, Port, PortSpec, Protocol, Requirement, Rule, Selector, Service, ServicePort,
    SliceEndpoint, SlicePort, Snapshot, Workload,
};

/// Workloads of a namespace.
const WORKLOADS: usize = 10;

/// Pods of the node that is compiled for.
const LOCAL: usize = 110;

/// How large a cluster is.
pub(crate) struct Size {
    pub(crate) pods: usize,
    pub(crate) nodes: usize,
    pub(crate) namespaces: usize,
    pub(crate) policies: usize,
}

impl Size {
    /// Pods of node `n0`.
    pub(crate) fn local(&self) -> usize {
        LOCAL.min(self.pods)
    }

    /// The cluster. Node `n0` has 110 pods, of as many namespaces as there are; the other nodes
    /// share the rest.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let namespace = |n: usize| format!("namespace-{n:04}");
        let namespaces = (0..self.namespaces).map(|n| {
            let team = [("team", format!("team-{}", n % 50)), ("env", environment(n))];
            (namespace(n), labels(team).into())
        });
        let stride = (self.pods / LOCAL).max(1);
        let pods = (0..self.pods).map(|n| {
            let local = n % stride == 0 && n / stride < LOCAL;
            let node = if local { 0 } else { 1 + n % (self.nodes - 1) };
            // Neighbours in number are of different namespaces.
            let (of, nth) = (n % self.namespaces, n / self.namespaces);
            let name =
                ObjectName::new(namespace(of), format!("workload-{}-{n:06}", nth % WORKLOADS));
            (name, pod(n, of, nth % WORKLOADS, node))
        });
        let policies = (0..self.policies).map(|n| {
            let (of, nth) = (n % self.namespaces, n / self.namespaces);
            (ObjectName::new(namespace(of), format!("policy-{nth}")), policy(of, nth))
        });
        // Each workload is a Service.
        let services = (0..self.namespaces * WORKLOADS).map(|n| {
            let (of, workload) = (n / WORKLOADS, n % WORKLOADS);
            let name = ObjectName::new(namespace(of), format!("workload-{workload}"));
            let stride = self.namespaces * WORKLOADS;
            let pods = (workload * self.namespaces + of..self.pods).step_by(stride);
            (name, service(n), pods)
        });
        let slices = services.clone().map(|(name, _, pods)| {
            let slice = slice(&name.name, pods);
            (name, slice)
        });
        let nodes =
            (0..self.nodes).map(|n| (format!("n{n}"), vec![address(0xc0a8_0000, n)].into()));
        Snapshot {
            namespaces: namespaces.collect(),
            pods: pods.collect(),
            policies: policies.collect(),
            services: services.map(|(name, service, _)| (name, service)).collect(),
            endpoint_slices: slices.collect(),
            nodes: nodes.collect(),
            ..Snapshot::default()
        }
    }
}

fn environment(n: usize) -> String {
    ["prod", "stage", "dev"][n % 3].to_owned()
}

fn labels<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn address(base: u32, n: usize) -> IpAddr {
    Ipv4Addr::from(base + u32::try_from(n).unwrap_or(u32::MAX - base)).into()
}

fn pod(n: usize, namespace: usize, workload: usize, node: usize) -> Pod {
    let hash = format!("{:08x}", (namespace * WORKLOADS + workload) * 2_654_435);
    Pod {
        uid: format!("00000000-0000-0000-0000-{n:012}"),
        labels: labels([
            ("app", format!("workload-{workload}")),
            ("tier", ["front", "back", "store"][workload % 3].to_owned()),
            ("pod-template-hash", hash),
        ]),
        node: Some(format!("n{node}")),
        addresses: vec![address(0x0a00_0000, n)],
        ports: vec![ContainerPort {
            name: Some("http".to_owned()),
            port: 8080,
            protocol: Protocol::Tcp,
        }],
        workload: Some(Arc::new(Workload {
            kind: "Deployment".to_owned(),
            name: format!("workload-{workload}"),
        })),
        ..Pod::default()
    }
}

fn service(n: usize) -> Service {
    let port =
        ServicePort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 80, node_port: None };
    Service { cluster_ips: vec![address(0xac10_0000, n)], ports: vec![port], ..Service::default() }
}

fn slice(service: &str, pods: impl Iterator<Item = usize>) -> EndpointSlice {
    let endpoint = |n| SliceEndpoint::ready(address(0x0a00_0000, n));
    EndpointSlice {
        service: service.to_owned(),
        ports: vec![SlicePort { name: "http".to_owned(), port: 8080, protocol: Protocol::Tcp }],
        endpoints: pods.map(endpoint).collect(),
    }
}

fn selector(key: &str, value: String) -> Selector {
    let operator = Operator::In([value].into());
    Selector { requirements: [Requirement { key: key.to_owned(), operator }].into() }
}

/// One for each workload of a namespace: from the workload before it, from the same tier of
/// another team's namespaces; to the next workload, and to the world without the cluster.
fn policy(of: usize, nth: usize) -> NetworkPolicy {
    let workload = |n: usize| selector("app", format!("workload-{}", n % WORKLOADS));
    let port =
        |first| Port { protocol: Protocol::Tcp, port: PortSpec::Range { first, last: first } };
    let near = |pods| Peer::Pods { namespaces: None, pods };
    let far = Peer::Pods {
        namespaces: Some(selector("team", format!("team-{}", (of + 1) % 50))),
        pods: selector("tier", "front".to_owned()),
    };
    let block = |text: &str| text.parse().expect("a block");
    let world = Peer::Block(IpBlock {
        cidr: block("0.0.0.0/0"),
        except: vec![block("10.0.0.0/8"), block("192.168.0.0/16")],
    });
    let rule = |peers: Vec<Peer>, ports: Vec<Port>| Rule { peers, ports };
    NetworkPolicy {
        subject: Some(workload(nth)),
        policy_types: Some(vec![Direction::Ingress, Direction::Egress]),
        ingress: vec![
            rule(vec![near(workload(nth + WORKLOADS - 1))], vec![port(8080)]),
            rule(vec![far], vec![port(8443), port(9090)]),
        ],
        egress: vec![
            rule(vec![near(workload(nth + 1))], vec![port(8080)]),
            rule(vec![world], vec![port(443)]),
        ],
        ..NetworkPolicy::default()
    }
}
