//! Addresses and names that every cluster or cloud has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the metadata of a cloud instance are served over HTTP.
pub(super) const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Namespaces that every cluster has, and that repositories hardly define.
pub(super) const NAMESPACES: [&str; 4] =
    ["default", "kube-node-lease", "kube-public", "kube-system"];

/// The namespace of the cluster's own pods.
pub(super) const SYSTEM: &str = "kube-system";

/// The label of the DNS pods: `kube-dns`, whatever program they run.
pub(super) const DNS_LABEL: &str = "k8s-app";
