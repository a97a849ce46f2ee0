//! Turns a layout into namespaces with links between them.

use std::collections::BTreeMap;

use futures::future::try_join_all;

use super::{
    blueprint::Machine,
    netns::{self, Namespace, Sysctl},
    topology::{Layout, Piece, Topology},
};
use policy_agent::net::build::{self as wire, Wiring};

/// Why the network of a lab could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    /// A link, an address or a route.
    #[error("in the namespace of {machine}")]
    Wire {
        /// Where; `fabric` for the switch.
        machine: String,
        /// What.
        #[source]
        source: wire::Error,
    },
    /// No netlink socket.
    #[error(transparent)]
    Netlink(#[from] wire::Error),
    /// The bridge topology needs a kernel module.
    #[error("the kernel module br_netfilter is not loaded: run `modprobe br_netfilter`")]
    NoBridgeFilter,
}

/// The network of a lab, standing as long as this value lives.
#[derive(Debug)]
pub struct Network {
    /// The namespace of each machine.
    pub machines: BTreeMap<Machine, Namespace>,
    /// That of the switch.
    fabric: Namespace,
}

impl Network {
    /// Builds the namespaces, then all links, then what goes on them.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a piece; what was built goes away with the error.
    pub async fn build(layout: &Layout, topology: Topology) -> Result<Self, Error> {
        let mut network =
            Self { machines: BTreeMap::new(), fabric: prepared(FABRIC.iter(), topology)? };
        for machine in layout.machines.keys() {
            let sysctls: &[Sysctl] = if matches!(machine, Machine::Node(_)) { NODE } else { &[] };
            let namespace = prepared(sysctls.iter(), topology)?;
            network.machines.insert(machine.clone(), namespace);
        }
        let mut sites = vec![Site::open("fabric", &network.fabric, &layout.fabric)?];
        for (machine, pieces) in &layout.machines {
            if let Some(namespace) = network.machines.get(machine) {
                sites.push(Site::open(&machine.to_string(), namespace, pieces)?);
            }
        }
        try_join_all(sites.iter().map(|site| site.add_links(&network.machines))).await?;
        try_join_all(sites.iter().map(Site::add_rest)).await?;
        Ok(network)
    }
}

/// A namespace to build in.
struct Site<'a> {
    name: String,
    wiring: Wiring,
    pieces: &'a [Piece],
}

impl<'a> Site<'a> {
    fn open(name: &str, namespace: &Namespace, pieces: &'a [Piece]) -> Result<Self, Error> {
        let wiring = namespace.run(|| Wiring::open().map_err(Error::from))?;
        Ok(Self { name: name.to_owned(), wiring, pieces })
    }

    /// Makes the interfaces; those in other namespaces have to be there before they are set up.
    async fn add_links(&self, machines: &BTreeMap<Machine, Namespace>) -> Result<(), Error> {
        use std::os::fd::AsFd;
        for piece in self.pieces {
            let added = match piece {
                Piece::Veth { near, far, to } => match machines.get(to) {
                    Some(namespace) => self.wiring.add_veth(near, far, namespace.as_fd()).await,
                    None => Ok(()),
                },
                Piece::Bridge { bridge, netfilter } => {
                    self.wiring.add_bridge(bridge, *netfilter).await
                }
                Piece::Port { .. }
                | Piece::Up(_)
                | Piece::Hardware { .. }
                | Piece::Neighbour { .. }
                | Piece::Address { .. }
                | Piece::Route { .. } => Ok(()),
            };
            self.or_where(added)?;
        }
        Ok(())
    }

    /// Does everything else, in order.
    async fn add_rest(&self) -> Result<(), Error> {
        for piece in self.pieces {
            let added = match piece {
                Piece::Veth { .. } | Piece::Bridge { .. } => Ok(()),
                Piece::Port { index, bridge, hairpin } => {
                    self.wiring.add_port(*index, *bridge, *hairpin).await
                }
                Piece::Hardware { index, hardware } => {
                    self.wiring.set_hardware(*index, *hardware).await
                }
                Piece::Neighbour { index, address, hardware } => {
                    self.wiring.add_neighbour(*index, *address, *hardware).await
                }
                Piece::Up(index) => self.wiring.set_up(*index).await,
                Piece::Address { index, address, prefix } => {
                    self.wiring.add_address(*index, *address, *prefix).await
                }
                Piece::Route { to, via, index } => self.wiring.add_route(*to, *via, *index).await,
            };
            self.or_where(added)?;
        }
        Ok(())
    }

    fn or_where(&self, outcome: Result<(), wire::Error>) -> Result<(), Error> {
        outcome.map_err(|source| Error::Wire { machine: self.name.clone(), source })
    }
}

/// A new namespace with its sysctls, which interfaces inherit when they are made.
fn prepared<'a>(
    sysctls: impl Iterator<Item = &'a Sysctl>,
    topology: Topology,
) -> Result<Namespace, Error> {
    let namespace = Namespace::create()?;
    let filter: &[Sysctl] = if topology == Topology::Bridge { BRIDGE } else { &[] };
    let all: Vec<Sysctl> = EVERY.iter().chain(filter).chain(sysctls).copied().collect();
    match namespace.set(&all) {
        Err(netns::Error::Sysctl { path, .. }) if path.starts_with("/proc/sys/net/bridge") => {
            Err(Error::NoBridgeFilter)
        }
        outcome => outcome.map(|()| namespace).map_err(Error::from),
    }
}

const fn sysctl(path: &'static str, value: &'static str) -> Sysctl {
    Sysctl { path, value, optional: false }
}

const fn optional(path: &'static str, value: &'static str) -> Sysctl {
    Sysctl { path, value, optional: true }
}

/// Everywhere: no reverse-path filter, which the host may have handed down; IPv6 addresses that
/// are good at once, without a second of duplicate detection; no redirects.
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

/// Nodes forward.
const NODE: &[Sysctl] = &[
    sysctl("ipv4/ip_forward", "1"),
    optional("ipv6/conf/all/forwarding", "1"),
    optional("ipv6/conf/default/forwarding", "1"),
];

/// kubeadm asks for these on every node; kube-proxy does not see a bridge's frames without.
const BRIDGE: &[Sysctl] = &[
    sysctl("bridge/bridge-nf-call-iptables", "1"),
    sysctl("bridge/bridge-nf-call-ip6tables", "1"),
];

/// The switch is no part of any node.
const FABRIC: &[Sysctl] = &[
    optional("bridge/bridge-nf-call-iptables", "0"),
    optional("bridge/bridge-nf-call-ip6tables", "0"),
];
