//! A naive evaluator of one connection, written from the API's text: it walks the objects, and
//! shares nothing with the compiler but the types of the model.

mod tiers;

use std::net::IpAddr;

use policy_core::{
    attribute::DecidingPolicy,
    model::{
        Direction, IpBlock, NetworkPolicy, ObjectName, Operator, Peer, Phase, Pod, PolicyRef, Port,
        PortSpec, Protocol, Rule, Selector, SliceEndpoint, Snapshot, Tier,
    },
};

/// An end of a connection: an address, and the pods that own it.
#[derive(Clone)]
pub(crate) struct End<'a> {
    pub(crate) address: IpAddr,
    /// Pods in question that have the address; more than one where it is reused.
    pub(crate) owners: Vec<(&'a ObjectName, &'a Pod)>,
    /// The node that this process runs on.
    pub(crate) process_of: Option<&'a str>,
}

/// Whether a pod takes part in policy: hostNetwork pods and finished pods do not.
pub(crate) fn takes_part(pod: &Pod) -> bool {
    !pod.host_network && pod.phase != Phase::Finished
}

/// The end that an address is.
pub(crate) fn end(snapshot: &Snapshot, address: IpAddr) -> End<'_> {
    let owners = snapshot.pods.iter();
    let owners = owners.filter(|(_, pod)| takes_part(pod) && pod.addresses.contains(&address));
    End { address, owners: owners.collect(), process_of: None }
}

/// Whether the policies that select `subject` for `direction` let the far end through.
pub(crate) fn direction_allows(
    snapshot: &Snapshot,
    direction: Direction,
    subject: (&ObjectName, &Pod),
    far: &End<'_>,
    protocol: Protocol,
    port: u16,
) -> bool {
    let packet = tiers::Packet { snapshot, direction, subject, far, protocol, port };
    if let Some(verdict) = packet.tier(Tier::Admin) {
        return verdict;
    }
    let mut isolated = false;
    for (name, policy) in &snapshot.policies {
        if !selects(name, policy, direction, subject) {
            continue;
        }
        isolated = true;
        if policy.subject.is_none() {
            continue;
        }
        let rules = match direction {
            Direction::Ingress => &policy.ingress,
            Direction::Egress => &policy.egress,
        };
        for rule in rules {
            let peer = peers_match(snapshot, &name.namespace, rule, far);
            // The destination is the selected pod for ingress, the far end for egress.
            let port = match direction {
                Direction::Ingress => ports_match(&[subject], rule, protocol, port),
                Direction::Egress => ports_match(&far.owners, rule, protocol, port),
            };
            if peer && port {
                return true;
            }
        }
    }
    if isolated {
        return false;
    }
    packet.tier(Tier::Baseline).unwrap_or(true)
}

/// Who denies a connection: the rule of a tier, or every network policy that selects the pod;
/// `None` where it is allowed.
pub(crate) fn denied_by(
    snapshot: &Snapshot,
    direction: Direction,
    subject: (&ObjectName, &Pod),
    far: &End<'_>,
    protocol: Protocol,
    port: u16,
) -> Option<Vec<DecidingPolicy>> {
    if direction_allows(snapshot, direction, subject, far, protocol, port) {
        return None;
    }
    let packet = tiers::Packet { snapshot, direction, subject, far, protocol, port };
    let of_tier = |tier| {
        let (name, rule, allows) = packet.deciding_rule(tier)?;
        let policy = PolicyRef::ClusterWide(name.clone());
        (!allows).then(|| vec![DecidingPolicy { policy, rule: Some(rule) }])
    };
    let isolating = snapshot.policies.iter();
    let isolating = isolating.filter(|(name, policy)| selects(name, policy, direction, subject));
    let isolating = isolating.map(|(name, _)| DecidingPolicy {
        policy: PolicyRef::Namespaced(name.clone()),
        rule: None,
    });
    let isolating: Vec<_> = isolating.collect();
    let of_policies = (!isolating.is_empty()).then_some(isolating);
    of_tier(Tier::Admin).or(of_policies).or_else(|| of_tier(Tier::Baseline))
}

fn selects(
    name: &ObjectName,
    policy: &NetworkPolicy,
    direction: Direction,
    (pod_name, pod): (&ObjectName, &Pod),
) -> bool {
    let selected = match &policy.subject {
        None => true,
        Some(selector) => selected(selector, |key| pod.labels.get(key).cloned()),
    };
    let applies = match &policy.policy_types {
        Some(types) => types.contains(&direction),
        None => direction == Direction::Ingress || !policy.egress.is_empty(),
    };
    name.namespace == pod_name.namespace && selected && applies
}

fn peers_match(snapshot: &Snapshot, namespace: &str, rule: &Rule, far: &End<'_>) -> bool {
    if rule.peers.is_empty() {
        return true;
    }
    // A selector must match each pod that has the address; a block matches the address itself.
    let by_block = rule.peers.iter().any(|peer| match peer {
        Peer::Block(block) => in_block(block, far.address),
        Peer::Pods { .. } => false,
    });
    let by_selector = |(name, pod): &(&ObjectName, &Pod)| {
        rule.peers.iter().any(|peer| match peer {
            Peer::Pods { namespaces, pods } => {
                let there = match namespaces {
                    None => name.namespace == namespace,
                    Some(selector) => {
                        selected(selector, |key| namespace_label(snapshot, &name.namespace, key))
                    }
                };
                there && selected(pods, |key| pod.labels.get(key).cloned())
            }
            Peer::Block(_) => false,
        })
    };
    by_block || (!far.owners.is_empty() && far.owners.iter().all(by_selector))
}

fn namespace_label(snapshot: &Snapshot, namespace: &str, key: &str) -> Option<String> {
    if key == "kubernetes.io/metadata.name" {
        return Some(namespace.to_owned());
    }
    snapshot.namespaces.get(namespace)?.labels.get(key).cloned()
}

fn selected(selector: &Selector, label: impl Fn(&str) -> Option<String>) -> bool {
    for requirement in &selector.requirements {
        let holds = match (&requirement.operator, label(&requirement.key)) {
            (Operator::In(values), Some(value)) => values.contains(&value),
            (Operator::NotIn(values), Some(value)) => !values.contains(&value),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::In(_), None) => false,
            (Operator::NotIn(_), None) => true,
        };
        if !holds {
            return false;
        }
    }
    true
}

fn in_block(block: &IpBlock, address: IpAddr) -> bool {
    let inside = |ip: IpAddr, prefix: u8| {
        let (block, address) = (bits(ip), bits(address));
        let prefix = usize::from(prefix);
        block.len() == address.len() && block[..prefix] == address[..prefix]
    };
    inside(block.cidr.ip(), block.cidr.prefix())
        && !block.except.iter().any(|except| inside(except.ip(), except.prefix()))
}

/// The address as a list of bits.
fn bits(address: IpAddr) -> Vec<bool> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let of = |octet: &u8| (0..8).rev().map(|bit| octet >> bit & 1 == 1).collect::<Vec<_>>();
    octets.iter().flat_map(of).collect()
}

fn ports_match(
    destination: &[(&ObjectName, &Pod)],
    rule: &Rule,
    protocol: Protocol,
    port: u16,
) -> bool {
    rule.ports.is_empty()
        || rule.ports.iter().any(|entry| port_matches(destination, entry, protocol, port))
}

fn port_matches(
    destination: &[(&ObjectName, &Pod)],
    entry: &Port,
    protocol: Protocol,
    port: u16,
) -> bool {
    let number = match &entry.port {
        PortSpec::Every => true,
        PortSpec::Range { first, last } => *first <= port && port <= *last,
        PortSpec::Named(name) => {
            let has = |pod: &Pod| {
                pod.ports.iter().any(|declared| {
                    declared.name.as_ref() == Some(name)
                        && declared.protocol == protocol
                        && declared.port == port
                })
            };
            !destination.is_empty() && destination.iter().all(|(_, pod)| has(pod))
        }
    };
    entry.protocol == protocol && number
}

/// Verdicts on a connection: ingress, egress. `None` where no policy is asked.
pub(crate) fn verdict(
    snapshot: &Snapshot,
    from: &End<'_>,
    to: &End<'_>,
    source: Option<(&ObjectName, &Pod)>,
    target: Option<(&ObjectName, &Pod)>,
    (protocol, port): (Protocol, u16),
) -> (bool, bool) {
    let itself = matches!((source, target), (Some((a, _)), Some((b, _))) if a == b);
    let egress = itself
        || source.is_none_or(|pod| {
            direction_allows(snapshot, Direction::Egress, pod, to, protocol, port)
        });
    let ingress = itself
        || target.is_none_or(|pod| {
            let node = from.process_of.is_some() && pod.1.node.as_deref() == from.process_of;
            node || direction_allows(snapshot, Direction::Ingress, pod, from, protocol, port)
        });
    (ingress, egress)
}

/// Addresses and ports of the backends to which kube-proxy of a node would send a connection to a
/// cluster IP.
pub(crate) fn backends(
    snapshot: &Snapshot,
    node: &str,
    service: &ObjectName,
    port: u16,
) -> Vec<(IpAddr, u16)> {
    let declared = &snapshot.services[service];
    let local = declared.internal_traffic_local;
    let declared = declared.ports.iter().find(|one| one.port == port);
    let declared = declared.expect("the port is one of the Service's");
    let (mut ready, mut draining) = (Vec::new(), Vec::new());
    for (name, slice) in &snapshot.endpoint_slices {
        if name.namespace != service.namespace || slice.service != service.name {
            continue;
        }
        for number in &slice.ports {
            if number.name != declared.name || number.protocol != declared.protocol {
                continue;
            }
            for endpoint in &slice.endpoints {
                if local && endpoint.node.as_deref() != Some(node) {
                    continue;
                }
                if endpoint.ready {
                    ready.push((endpoint, number.port));
                } else if endpoint.serving && endpoint.terminating {
                    draining.push((endpoint, number.port));
                }
            }
        }
    }
    let zone = snapshot.nodes.get(node).and_then(|it| it.labels.get("topology.kubernetes.io/zone"));
    let mut chosen = if ready.is_empty() { draining } else { ready.clone() };
    let all_for_nodes = ready.iter().all(|(one, _)| !one.hints.nodes.is_empty());
    let all_for_zones = ready.iter().all(|(one, _)| !one.hints.zones.is_empty());
    let of_node = |one: &SliceEndpoint| one.hints.nodes.iter().any(|it| it == node);
    let of_zone = |one: &SliceEndpoint| one.hints.zones.iter().any(|it| Some(it) == zone);
    if local || ready.is_empty() {
        // Hints are for the endpoints of the whole cluster that are ready.
    } else if all_for_nodes && ready.iter().any(|(one, _)| of_node(one)) {
        chosen.retain(|(one, _)| of_node(one));
    } else if all_for_zones && ready.iter().any(|(one, _)| of_zone(one)) {
        chosen.retain(|(one, _)| of_zone(one));
    }
    chosen.into_iter().map(|(endpoint, number)| (endpoint.address, number)).collect()
}

/// Addresses and ports of the pods to which a node forwards a port of one of its addresses.
pub(crate) fn host_port_backends(
    snapshot: &Snapshot,
    address: IpAddr,
    protocol: Protocol,
    port: u16,
) -> Vec<(IpAddr, u16)> {
    let mut found = Vec::new();
    for pod in snapshot.pods.values().filter(|pod| takes_part(pod)) {
        let node = pod.node.as_ref().and_then(|node| snapshot.nodes.get(node));
        let is_own = node.is_some_and(|node| node.addresses.contains(&address));
        for forwarded in &pod.host_ports {
            let here = forwarded.address.map_or(is_own, |named| named == address);
            if here && forwarded.protocol == protocol && forwarded.port == port {
                let mut own = pod.addresses.iter();
                let own = own.find(|own| own.is_ipv4() == address.is_ipv4());
                found.extend(own.map(|own| (*own, forwarded.container_port)));
            }
        }
    }
    found
}
