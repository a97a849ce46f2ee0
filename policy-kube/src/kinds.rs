//! The API resources that policy depends on.
//!
//! [`RESOURCES`] is the table that watch, list, presence and Events read; nothing else in this
//! project names a group, a version or a plural of the kinds that are watched. A cluster must have
//! all of them, except for [`Resource::CLUSTER_NETWORK_POLICIES`], a custom resource that an
//! administrator may not have installed.

use std::{collections::BTreeSet, fmt};

use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Resource as _};
use policy_core::{
    compile::Change,
    model::{Kind, ObjectName, ObjectRef, Snapshot},
};

/// A resource of the API: a kind in one version, and where the server has its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// `kind` of the objects.
    pub kind: Kind,
    /// API group; empty for the core.
    pub group: &'static str,
    /// Versions in the group that are read, the newest first.
    pub versions: &'static [&'static str],
    /// The plural, as URLs, RBAC and metric labels have it.
    pub plural: &'static str,
    /// Whether a cluster can be without it.
    pub is_optional: bool,
    /// Which objects a watch asks for; a list returns all.
    pub(crate) watch_selector: Option<&'static str>,
}

/// Every resource that is read, in the order in which lists are read.
pub const RESOURCES: [Resource; 7] = [
    Resource::NAMESPACES,
    Resource::NODES,
    Resource::PODS,
    Resource::SERVICES,
    Resource::ENDPOINT_SLICES,
    Resource::NETWORK_POLICIES,
    Resource::CLUSTER_NETWORK_POLICIES,
];

impl Resource {
    /// `v1` `namespaces`.
    pub const NAMESPACES: Self = Self::core(Kind::Namespace, "namespaces");
    /// `v1` `nodes`.
    pub const NODES: Self = Self::core(Kind::Node, "nodes");
    /// `v1` `pods`. No policy applies to a pod that has finished (S7): a watch does not ask for
    /// those, and reports a pod as deleted when it finishes.
    pub const PODS: Self = Self {
        watch_selector: Some("status.phase!=Succeeded,status.phase!=Failed"),
        ..Self::core(Kind::Pod, "pods")
    };
    /// `v1` `services`.
    pub const SERVICES: Self = Self::core(Kind::Service, "services");
    /// `discovery.k8s.io/v1` `endpointslices`.
    pub const ENDPOINT_SLICES: Self =
        Self { group: "discovery.k8s.io", ..Self::core(Kind::EndpointSlice, "endpointslices") };
    /// `networking.k8s.io/v1` `networkpolicies`.
    pub const NETWORK_POLICIES: Self =
        Self { group: "networking.k8s.io", ..Self::core(Kind::NetworkPolicy, "networkpolicies") };
    /// `policy.networking.k8s.io` `clusternetworkpolicies`, where they are installed.
    pub const CLUSTER_NETWORK_POLICIES: Self = Self {
        group: "policy.networking.k8s.io",
        versions: &["v1beta1", "v1alpha2"],
        is_optional: true,
        ..Self::core(Kind::ClusterNetworkPolicy, "clusternetworkpolicies")
    };

    const fn core(kind: Kind, plural: &'static str) -> Self {
        let (group, versions) = ("", &["v1"]);
        Self { kind, group, versions, plural, is_optional: false, watch_selector: None }
    }

    /// The resource of a kind; `None` for a kind that no API server has.
    #[must_use]
    pub fn of(kind: Kind) -> Option<Self> {
        RESOURCES.into_iter().find(|resource| resource.kind == kind)
    }

    /// The newest `apiVersion` that is read.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.api_resource(self.newest()).api_version
    }

    /// The newest version that is read.
    pub(crate) const fn newest(&self) -> &'static str {
        self.versions[0]
    }

    pub(crate) fn api_resource(&self, version: &str) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, version, self.kind.name());
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

/// Path of the objects of all namespaces.
pub(crate) fn path(resource: &ApiResource) -> String {
    DynamicObject::url_path(resource, None)
}

/// The plural.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)
    }
}

/// Deletions of the objects of `kind` that `snapshot` has and a complete list does not.
///
/// A relist is the only way to hear of an object that was deleted while a watch was broken.
#[must_use]
pub fn deletions(kind: Kind, listed: &BTreeSet<ObjectRef>, snapshot: &Snapshot) -> Vec<Change> {
    let namespaced = |name: &ObjectName| ObjectRef::namespaced(kind, name);
    let cluster_wide = |name: &String| ObjectRef::cluster_wide(kind, name);
    let held: Vec<ObjectRef> = match kind {
        Kind::Namespace => snapshot.namespaces.keys().map(cluster_wide).collect(),
        Kind::Pod => snapshot.pods.keys().map(namespaced).collect(),
        Kind::NetworkPolicy => snapshot.policies.keys().map(namespaced).collect(),
        Kind::ClusterNetworkPolicy => {
            snapshot.cluster_policies.keys().map(|name| cluster_wide(&name.name)).collect()
        }
        Kind::Service => snapshot.services.keys().map(namespaced).collect(),
        Kind::EndpointSlice => snapshot.endpoint_slices.keys().map(namespaced).collect(),
        Kind::Node => snapshot.nodes.keys().map(cluster_wide).collect(),
        Kind::Host => Vec::new(),
    };
    held.iter().filter(|object| !listed.contains(object)).filter_map(deletion).collect()
}

/// The change that an object is deleted; `None` for a kind that no API server has.
pub(crate) fn deletion(object: &ObjectRef) -> Option<Change> {
    let name = object.name().to_owned();
    // A server gives a namespace to the objects of each namespaced kind.
    let namespaced = || ObjectName::new(object.namespace().unwrap_or_default(), object.name());
    Some(match object.kind() {
        Kind::Namespace => Change::Namespace(name, None),
        Kind::Pod => Change::Pod(namespaced(), None),
        Kind::NetworkPolicy => Change::Policy(namespaced(), None),
        Kind::ClusterNetworkPolicy => Change::ClusterPolicy(name.into(), None),
        Kind::Service => Change::Service(namespaced(), None),
        Kind::EndpointSlice => Change::EndpointSlice(namespaced(), None),
        Kind::Node => Change::Node(name, None),
        Kind::Host => return None,
    })
}

#[cfg(test)]
mod tests {
    use policy_core::model::Namespace;

    use super::*;

    #[test]
    fn what_a_list_lacks_is_deleted_and_other_kinds_stay() {
        let namespaces = ["a", "b"].map(|name| (name.to_owned(), Namespace::default()));
        let snapshot = Snapshot { namespaces: namespaces.into(), ..Snapshot::default() };
        let listed = [ObjectRef::cluster_wide(Kind::Namespace, "a")].into();
        let gone = deletions(Kind::Namespace, &listed, &snapshot);
        assert_eq!(gone, [Change::Namespace("b".to_owned(), None)]);
        assert_eq!(deletions(Kind::Pod, &BTreeSet::new(), &snapshot), []);
    }

    #[test]
    fn a_resource_has_the_path_of_its_group() {
        let paths = RESOURCES.map(|resource| path(&resource.api_resource(resource.newest())));
        assert_eq!(paths[0], "/api/v1/namespaces");
        assert_eq!(paths[5], "/apis/networking.k8s.io/v1/networkpolicies");
        let optional = RESOURCES.iter().filter(|resource| resource.is_optional);
        assert_eq!(optional.count(), 1);
    }
}
