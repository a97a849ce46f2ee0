//! Builds the network of a lab: a layout becomes namespaces with links, addresses and routes.
//!
//! Input: a [`Layout`]. Output: a [`Network`], one namespace per machine and one for the switch.
//! Links come first, since an address or a route needs its interface; within each of the two
//! passes all namespaces are built at once.

use std::{collections::BTreeMap, io, os::fd::AsFd};

use futures::future::try_join_all;
use policy_agent::net::build::{self as wire, NetBuilder};

use crate::{
    blueprint::Machine,
    netns::{self, Namespace, Sysctl},
    topology::{Layout, Piece, Topology},
};

/// Why the network of a lab could not be built.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A namespace could not be created or configured.
    #[error(transparent)]
    Namespace(#[from] netns::NetnsError),
    /// The kernel refused a link, an address or a route.
    #[error("cannot set up the network namespace of {machine}")]
    Wire {
        /// The machine; `fabric` for the switch.
        machine: String,
        /// What was refused.
        #[source]
        source: wire::Error,
    },
    /// A netlink socket could not be opened.
    #[error(transparent)]
    Netlink(#[from] wire::Error),
    /// The bridge topology needs a kernel module.
    #[error("the kernel module br_netfilter is not loaded: run `modprobe br_netfilter`")]
    NoBridgeFilter,
}

/// The network of a lab; dropping it removes all namespaces.
#[derive(Debug)]
pub struct Network {
    /// The namespace of each machine.
    pub machines: BTreeMap<Machine, Namespace>,
    /// The namespace of the switch.
    fabric: Namespace,
}

impl Network {
    /// Builds all namespaces, then all links, then everything that needs a link.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a piece; what was built until then is removed.
    pub async fn build(layout: &Layout, topology: Topology) -> Result<Self, NetworkError> {
        let mut network =
            Self { machines: BTreeMap::new(), fabric: new_namespace(FABRIC, topology)? };
        for machine in layout.machines.keys() {
            let sysctls: &[Sysctl] = if matches!(machine, Machine::Node(_)) { NODE } else { &[] };
            let namespace = new_namespace(sysctls, topology)?;
            network.machines.insert(machine.clone(), namespace);
        }
        let mut builders = vec![NamespaceBuilder::open("fabric", &network.fabric, &layout.fabric)?];
        for (machine, pieces) in &layout.machines {
            if let Some(namespace) = network.machines.get(machine) {
                builders.push(NamespaceBuilder::open(&machine.to_string(), namespace, pieces)?);
            }
        }
        try_join_all(builders.iter().map(|one| one.add_links(&network.machines))).await?;
        try_join_all(builders.iter().map(NamespaceBuilder::add_rest)).await?;
        Ok(network)
    }
}

/// Builds the pieces of one namespace.
struct NamespaceBuilder<'a> {
    machine: String,
    builder: NetBuilder,
    pieces: &'a [Piece],
}

impl<'a> NamespaceBuilder<'a> {
    fn open(
        machine: &str,
        namespace: &Namespace,
        pieces: &'a [Piece],
    ) -> Result<Self, NetworkError> {
        let builder = namespace.run(|| NetBuilder::open().map_err(NetworkError::from))?;
        Ok(Self { machine: machine.to_owned(), builder, pieces })
    }

    /// Creates veth pairs and bridges; the far end of a pair is configured by another builder, so
    /// all pairs exist before [`Self::add_rest`].
    async fn add_links(&self, machines: &BTreeMap<Machine, Namespace>) -> Result<(), NetworkError> {
        for piece in self.pieces {
            let added = match piece {
                Piece::Veth { near, far, to } => match machines.get(to) {
                    Some(namespace) => self.builder.add_veth(near, far, namespace.as_fd()).await,
                    None => Ok(()),
                },
                Piece::Bridge { bridge, netfilter } => {
                    self.builder.add_bridge(bridge, *netfilter).await
                }
                Piece::BridgePort { .. }
                | Piece::Up(_)
                | Piece::HardwareAddress { .. }
                | Piece::Neighbour { .. }
                | Piece::Address { .. }
                | Piece::Route { .. } => Ok(()),
            };
            self.in_machine(added)?;
        }
        Ok(())
    }

    /// Creates everything else, in the order of the layout.
    async fn add_rest(&self) -> Result<(), NetworkError> {
        for piece in self.pieces {
            let added = match piece {
                Piece::Veth { .. } | Piece::Bridge { .. } => Ok(()),
                Piece::BridgePort { index, bridge, hairpin } => {
                    self.builder.add_port(*index, *bridge, *hairpin).await
                }
                Piece::HardwareAddress { index, hardware } => {
                    self.builder.set_hardware(*index, *hardware).await
                }
                Piece::Neighbour { index, address, hardware } => {
                    self.builder.add_neighbour(*index, *address, *hardware).await
                }
                Piece::Up(index) => self.builder.set_up(*index).await,
                Piece::Address { index, address, prefix } => {
                    self.builder.add_address(*index, *address, *prefix).await
                }
                Piece::Route { to, via, index } => self.builder.add_route(*to, *via, *index).await,
            };
            self.in_machine(added)?;
        }
        Ok(())
    }

    fn in_machine(&self, outcome: Result<(), wire::Error>) -> Result<(), NetworkError> {
        outcome.map_err(|source| NetworkError::Wire { machine: self.machine.clone(), source })
    }
}

/// Creates a namespace and writes its sysctls, before it has interfaces: those inherit them.
fn new_namespace(sysctls: &[Sysctl], topology: Topology) -> Result<Namespace, NetworkError> {
    let namespace = Namespace::create()?;
    namespace.set_sysctls(EVERY)?;
    if topology == Topology::Bridge {
        match namespace.set_sysctls(BRIDGE) {
            Err(netns::NetnsError::Sysctl { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                return Err(NetworkError::NoBridgeFilter);
            }
            outcome => outcome?,
        }
    }
    namespace.set_sysctls(sysctls)?;
    Ok(namespace)
}

const fn sysctl(path: &'static str, value: &'static str) -> Sysctl {
    Sysctl { path, value, optional: false }
}

const fn optional(path: &'static str, value: &'static str) -> Sysctl {
    Sysctl { path, value, optional: true }
}

/// Sysctls of every namespace.
///
/// No reverse-path filter, which a namespace may inherit from the host; no duplicate address
/// detection, which delays an IPv6 address by a second; no redirects.
const EVERY: &[Sysctl] = &[
    sysctl("ipv4/conf/all/rp_filter", "0"),
    sysctl("ipv4/conf/default/rp_filter", "0"),
    sysctl("ipv4/conf/all/send_redirects", "0"),
    sysctl("ipv4/conf/default/send_redirects", "0"),
    optional("ipv6/conf/all/disable_ipv6", "0"),
    optional("ipv6/conf/default/disable_ipv6", "0"),
    optional("ipv6/conf/default/accept_dad", "0"),
    optional("ipv6/conf/default/accept_redirects", "0"),
];

/// Sysctls of a node: it forwards.
const NODE: &[Sysctl] = &[
    sysctl("ipv4/ip_forward", "1"),
    optional("ipv6/conf/all/forwarding", "1"),
    optional("ipv6/conf/default/forwarding", "1"),
];

/// Sysctls of the bridge topology: with these, which kubeadm requires on every node, netfilter and
/// so kube-proxy sees the frames of a bridge.
const BRIDGE: &[Sysctl] = &[
    sysctl("bridge/bridge-nf-call-iptables", "1"),
    sysctl("bridge/bridge-nf-call-ip6tables", "1"),
];

/// Sysctls of the switch, which is not part of a node: its frames are not filtered.
const FABRIC: &[Sysctl] = &[
    optional("bridge/bridge-nf-call-iptables", "0"),
    optional("bridge/bridge-nf-call-ip6tables", "0"),
];
