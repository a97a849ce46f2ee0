//! Kinds of network policies that this project does not evaluate, by API group and kind.
//!
//! A verdict without them can differ from that of the cluster, so the reader refuses a manifest of
//! one of these kinds, and `policyctl` looks for their objects in a live cluster.
//!
//! Kinds that only preview a verdict, such as `StagedNetworkPolicy`, are not in the table: they deny
//! nothing.

use policy_core::model::Kind;

/// A kind that this project does not evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignKind {
    /// The API group.
    pub group: &'static str,
    /// `kind` of the objects.
    pub kind: &'static str,
    /// The plural in URLs.
    pub plural: &'static str,
}

const fn foreign(group: &'static str, kind: &'static str, plural: &'static str) -> ForeignKind {
    ForeignKind { group, kind, plural }
}

/// The table. The plurals are those of each project's custom resource definitions.
#[rustfmt::skip]
pub const FOREIGN_KINDS: [ForeignKind; 20] = [
    foreign("projectcalico.org",            "NetworkPolicy",                  "networkpolicies"),
    foreign("projectcalico.org",            "GlobalNetworkPolicy",            "globalnetworkpolicies"),
    foreign("crd.projectcalico.org",        "NetworkPolicy",                  "networkpolicies"),
    foreign("crd.projectcalico.org",        "GlobalNetworkPolicy",            "globalnetworkpolicies"),
    foreign("cilium.io",                    "CiliumNetworkPolicy",            "ciliumnetworkpolicies"),
    foreign("cilium.io",                    "CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies"),
    foreign("crd.antrea.io",                "NetworkPolicy",                  "networkpolicies"),
    foreign("crd.antrea.io",                "ClusterNetworkPolicy",           "clusternetworkpolicies"),
    foreign("networking.k8s.aws",           "ApplicationNetworkPolicy",       "applicationnetworkpolicies"),
    foreign("networking.k8s.aws",           "ClusterNetworkPolicy",           "clusternetworkpolicies"),
    foreign("vpcresources.k8s.aws",         "SecurityGroupPolicy",            "securitygrouppolicies"),
    foreign("networking.gke.io",            "FQDNNetworkPolicy",              "fqdnnetworkpolicies"),
    foreign("k8s.cni.cncf.io",              "MultiNetworkPolicy",             "multi-networkpolicies"),
    foreign("k8s.ovn.org",                  "EgressFirewall",                 "egressfirewalls"),
    foreign("k8s.ovn.org",                  "UserDefinedNetwork",             "userdefinednetworks"),
    foreign("k8s.ovn.org",                  "ClusterUserDefinedNetwork",      "clusteruserdefinednetworks"),
    foreign("network.openshift.io",         "EgressNetworkPolicy",            "egressnetworkpolicies"),
    foreign("kubeovn.io",                   "SecurityGroup",                  "security-groups"),
    foreign("policy.networking.k8s.io",     "AdminNetworkPolicy",             "adminnetworkpolicies"),
    foreign("policy.networking.k8s.io",     "BaselineAdminNetworkPolicy",     "baselineadminnetworkpolicies"),
];

/// Whether a kind is a policy that is not evaluated: one of the table, or one of a group that is not
/// known with the name of a policy that is read.
///
/// The kind is not one that is read: the caller has looked for it among those before.
pub(crate) fn is_foreign(group: Option<&str>, kind: &str) -> bool {
    FOREIGN_KINDS.iter().any(|one| Some(one.group) == group && one.kind == kind)
        || Kind::from_name(kind).is_some_and(Kind::is_policy)
}
