//! The node's network, read by rtnetlink: which veth leads to which pod, and the node's addresses.
//!
//! Input: the addresses that pods may have. Output: the host sides of veths, with the addresses at
//! their far ends. `node` calls it before every plan, which then matches addresses to pods. The
//! socket stays in the network namespace that it was opened in: the agent enters no namespace, asks
//! no container runtime and relies on no naming convention.
//!
//! Example:
//!
//! ```text
//! RTM_GETLINK      veth3f2a   index 7, master 4, kind veth,
//!                             peer index 2 (IFLA_LINK) in namespace 5 (IFLA_LINK_NETNSID)
//!                  cni0       index 4, kind bridge
//! RTM_GETADDR      index 2, target namespace 5 (IFA_TARGET_NETNSID)
//!                             10.244.1.9, fe80::1
//! result           Interface { ifindex: 7, bridge: 4, addresses: [10.244.1.9], … }
//! plan             10.244.1.9 is in the `podIPs` of shop/web: interface 7 is its endpoint
//! ```
//!
//! A link-local address is dropped because no pod of the cluster has it.

mod address;
pub mod build;
mod conntrack;
mod dump;
mod enforcers;
mod error;
mod filters;
mod link;
mod monitor;
mod netfilter;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::chain::chain;
use policy_core::plan::{Interface, InterfaceOwner, Interfaces};
use rtnetlink::Handle;
use tokio::task::JoinHandle;

use link::{Link, VethPeer};

pub use conntrack::{TrackedConnections, tracked_connections};
pub use enforcers::{Enforcer, chains, enforcers};
pub use error::NetError;
pub use filters::{Filter, FilterHook, FilterReader};
pub use monitor::LinkMonitor;

/// How many times a link without a known peer is read again.
const PEER_ATTEMPTS: usize = 3;

/// Interfaces and addresses of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Veths with the peer in another network namespace. They have no addresses where the kernel
    /// does not report the peer, or where it has none of the wanted addresses.
    pub interfaces: Interfaces,
    /// Addresses of the node's own interfaces, including bridges and tunnels (S37). Loopback
    /// addresses are left out because they never reach a pod, and IPv6 link-local addresses because
    /// a node has one per pod and none of them identifies it.
    pub node_addresses: BTreeSet<IpAddr>,
    /// UDP ports at which VXLAN and Geneve devices of the node unpack packets (S46).
    pub tunnel_ports: BTreeSet<u16>,
}

/// The interfaces of a node that may lead to pods, for a check before an install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodInterfaces {
    /// Names of veths that lead into another network namespace.
    pub veths: Vec<String>,
    /// Names of netkit devices.
    pub netkit: Vec<String>,
    /// Whether one of the veths is a port of a bridge.
    pub has_bridge_ports: bool,
}

/// Rtnetlink sockets in one network namespace.
#[derive(Debug)]
pub struct Network {
    node: Socket,
    /// For lists that pods control: one that does not end must not delay those of the node.
    peers: Socket,
}

#[derive(Debug)]
struct Socket {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Network {
    /// Opens sockets, which stay in the calling thread's network namespace.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled, which the sockets' tasks are spawned on.
    ///
    /// # Errors
    ///
    /// [`NetError::Open`].
    pub fn open() -> Result<Self, NetError> {
        Ok(Self { node: Socket::open()?, peers: Socket::open()? })
    }

    /// Lists the veths that lead out of this namespace, each with those addresses of `pods` that its
    /// far end has, and the node's own addresses. Addresses of interfaces with a known pod are not read:
    /// the pod may have any number of them, and they change nothing.
    ///
    /// # Errors
    ///
    /// [`NetError::Refused`], [`NetError::Closed`], [`NetError::TooSlow`], and [`NetError::Inconsistent`]
    /// where links or addresses change too fast.
    pub async fn discover(
        &mut self,
        pods: &BTreeSet<IpAddr>,
        has_known_pod: impl Fn(u32) -> bool,
    ) -> Result<Discovered, NetError> {
        let links = link::all(&self.node.handle).await?;
        let mut interfaces = Interfaces::new();
        for link in links.values().filter(|link| link.is_veth) {
            let Some(peer) = self.peer(link, &links).await? else {
                continue;
            };
            let addresses = match peer {
                VethPeer::OtherNamespace { .. } if has_known_pod(link.ifindex) => Vec::new(),
                VethPeer::OtherNamespace { ifindex, netns } => {
                    let found = address::of_peer(&self.peers.handle, ifindex, netns, pods).await;
                    if let Err(NetError::TooSlow { .. }) = found {
                        // The rest of that list would come before the next one.
                        self.peers = Socket::open()?;
                    }
                    match found {
                        // One interface that cannot be read must not stop discovery of the others.
                        Err(error @ (NetError::Refused { .. } | NetError::TooSlow { .. })) => {
                            let (interface, reason) = (&link.name, chain(&error));
                            tracing::warn!(
                                %interface,
                                "cannot find the pod of the interface, so nothing is enforced there; \
                                 retrying: {reason}"
                            );
                            Vec::new()
                        }
                        addresses => addresses?,
                    }
                }
                VethPeer::SameNamespace { .. } | VethPeer::Unknown => Vec::new(),
            };
            let bridge = links.get(&link.controller).filter(|controller| controller.is_bridge);
            interfaces.insert(
                link.ifindex,
                Interface {
                    ifindex: link.ifindex,
                    name: link.name.clone(),
                    bridge: bridge.map_or(0, |bridge| bridge.ifindex),
                    addresses,
                    guarded: false,
                    owner: InterfaceOwner::ByAddress,
                },
            );
        }
        let node_addresses = address::of_node(&self.node.handle).await?;
        let tunnel_ports = links.values().filter_map(|link| link.tunnel_port).collect();
        Ok(Discovered { interfaces, node_addresses, tunnel_ports })
    }

    /// Lists the interfaces that may lead to pods.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover).
    pub async fn pod_interfaces(&self) -> Result<PodInterfaces, NetError> {
        let links = link::all(&self.node.handle).await?;
        let mut found = PodInterfaces::default();
        for link in links.values() {
            if link.is_netkit {
                found.netkit.push(link.name.clone());
            }
            if link.is_veth && matches!(link.peer, VethPeer::OtherNamespace { .. }) {
                found.veths.push(link.name.clone());
                let controller = links.get(&link.controller);
                found.has_bridge_ports |= controller.is_some_and(|controller| controller.is_bridge);
            }
        }
        Ok(found)
    }

    /// Where the far end of a veth is; `None` where it is in this namespace, so belongs to no pod.
    ///
    /// A new pair may not have its netns id yet: the link is read again before it counts as unknown.
    async fn peer(
        &self,
        link: &Link,
        links: &BTreeMap<u32, Link>,
    ) -> Result<Option<VethPeer>, NetError> {
        let mut peer = link.peer;
        for _ in 0..PEER_ATTEMPTS {
            match peer {
                VethPeer::OtherNamespace { .. } => return Ok(Some(peer)),
                // Without a number the far end is here, or its namespace has no number yet. It is
                // here only if the link with that index names this one back:
                //   veth0 (7) -> 8, veth1 (8) -> 7     a pair of the node's own: no pod
                //   veth0 (7) -> 2, and 2 is `ens3`    a namespace without a number: read again
                VethPeer::SameNamespace { ifindex } => {
                    let other = links.get(&ifindex).filter(|other| other.is_veth);
                    let back = VethPeer::SameNamespace { ifindex: link.ifindex };
                    if other.is_some_and(|other| other.peer == back) {
                        return Ok(None);
                    }
                }
                VethPeer::Unknown => {}
            }
            match link::one(&self.node.handle, link.ifindex).await? {
                Some(link) => peer = link.peer,
                None => return Ok(None),
            }
        }
        Ok(Some(peer))
    }
}

impl Socket {
    fn open() -> Result<Self, NetError> {
        let (connection, handle, _) =
            rtnetlink::new_connection_with_strict_check().map_err(NetError::Open)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
