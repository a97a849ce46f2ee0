//! The narrowest peers that match the far end of a connection, and the pods that are like it.
//!
//! ```text
//! pod red/web-1, app=web    namespaceSelector kubernetes.io/metadata.name=red, podSelector app=web
//! 203.0.113.9               ipBlock 203.0.113.9/32
//! ```

use ipnetwork::IpNetwork;

use crate::model::{
    ClusterPeer, Direction, IpBlock, Labels, NAMESPACE_NAME, ObjectName, Operator, Peer, Pod,
    PodSet, Requirement, Selector, Snapshot,
};

use super::super::candidate::Side;

/// The narrowest peer that matches the far end and the pods that are like it.
pub(super) fn peer(snapshot: &Snapshot, own: &str, side: &Side) -> Peer {
    let Some((name, pod)) = far_pod(snapshot, side) else {
        return Peer::Block(IpBlock { cidr: IpNetwork::from(side.remote), except: Vec::new() });
    };
    let namespaces = (name.namespace != own).then(|| of_namespace(&name.namespace));
    Peer::Pods { namespaces, pods: selector(&pod.lasting_labels()) }
}

/// The narrowest peer that matches the far end and the pods that are like it; for ingress a peer can
/// only be pods.
pub(super) fn cluster_peer(snapshot: &Snapshot, side: &Side) -> Option<ClusterPeer> {
    if let Some((name, pod)) = far_pod(snapshot, side) {
        let namespaces = of_namespace(&name.namespace);
        return Some(ClusterPeer::Pods(PodSet {
            namespaces,
            pods: selector(&pod.lasting_labels()),
        }));
    }
    let network = || ClusterPeer::Networks(vec![IpNetwork::from(side.remote)]);
    (side.direction == Direction::Egress).then(network)
}

/// The pod at the far end.
fn far_pod<'a>(snapshot: &'a Snapshot, side: &Side) -> Option<(&'a ObjectName, &'a Pod)> {
    snapshot.pods.get_key_value(side.remote_pod.as_ref()?)
}

fn of_namespace(namespace: &str) -> Selector {
    selector(&Labels::from([(NAMESPACE_NAME.to_owned(), namespace.to_owned())]))
}

fn selector(labels: &Labels) -> Selector {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In([value.clone()].into()),
    };
    Selector { requirements: labels.iter().map(requirement).collect() }
}
