//! The node's network as rtnetlink shows it: host sides of pods, and the node's own addresses.
//!
//! Everything is asked of the network namespace that the socket was opened in; no namespace is
//! entered, no name is interpreted.

mod address;
pub mod build;
mod connections;
mod dump;
mod enforcers;
mod link;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use crate::chain::chain;
use policy_core::plan::{Interface, Interfaces};
use rtnetlink::Handle;
use thiserror::Error;
use tokio::task::JoinHandle;

use link::{Link, Peer};

pub use connections::{Tracked, tracked};
pub use enforcers::{Enforcer, enforcers};
pub use watch::Changes;

/// How often a link that hides its peer is asked again.
const ATTEMPTS: usize = 3;

/// What went wrong while the kernel was asked for links and addresses.
#[derive(Debug, Error)]
pub enum NetError {
    /// No socket, or for links the kernel has no strict checking (before 4.20).
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The socket's task has ended.
    #[error("the rtnetlink socket is gone while dumping {what}")]
    Closed {
        /// What was asked for.
        what: &'static str,
    },
    /// The kernel refused.
    #[error("cannot dump {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// The list changed each time while it was read; try again later.
    #[error("{what} changed during each of {attempts} dumps")]
    Unsteady {
        /// What was asked for.
        what: &'static str,
        /// How often.
        attempts: usize,
    },
}

/// What a look at the node's network gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Veths whose peer is in another network namespace. Without addresses where the kernel did
    /// not tell the peer's, or it has none yet.
    pub interfaces: Interfaces,
    /// Addresses of the node's own interfaces, bridges and tunnels included (S37). The loopback
    /// blocks are left out, for they never reach a pod, and so are IPv6 link-local addresses: a
    /// node has one per pod, and they are no names for it.
    pub node_addresses: BTreeSet<IpAddr>,
}

/// An rtnetlink socket in one network namespace.
#[derive(Debug)]
pub struct Network {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Network {
    /// Opens a socket in the calling thread's network namespace, where it stays.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled, which the socket's task is spawned on.
    ///
    /// # Errors
    ///
    /// [`NetError::Open`].
    pub fn open() -> Result<Self, NetError> {
        let (connection, handle, _) =
            rtnetlink::new_connection_with_strict_check().map_err(NetError::Open)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Lists the pods' interfaces with those of the pods' addresses that are at their far ends, and the
    /// node's own.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a dump, or what it lists never holds still.
    pub async fn discover(&self, pods: &BTreeSet<IpAddr>) -> Result<Discovered, NetError> {
        let links = link::all(&self.handle).await?;
        let mut interfaces = Interfaces::new();
        for link in links.values().filter(|link| link.is_veth) {
            let Some(peer) = self.peer(link, &links).await? else {
                continue;
            };
            let addresses = match peer {
                Peer::Elsewhere { ifindex, netns } => {
                    match address::of_peer(&self.handle, ifindex, netns, pods).await {
                        // The others are not to wait for it.
                        Err(error @ NetError::Refused { .. }) => {
                            let (interface, why) = (&link.name, chain(&error));
                            tracing::warn!(%interface, "the pod behind it is not known: {why}");
                            Vec::new()
                        }
                        addresses => addresses?,
                    }
                }
                Peer::Here { .. } | Peer::Unknown => Vec::new(),
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
                },
            );
        }
        let node_addresses = address::of_node(&self.handle).await?;
        Ok(Discovered { interfaces, node_addresses })
    }

    /// Where the far end of a veth is; `None` where it is in this namespace and no pod's.
    ///
    /// A fresh pair may not have the netns id yet: it is asked again before it counts as unknown.
    async fn peer(
        &self,
        link: &Link,
        links: &BTreeMap<u32, Link>,
    ) -> Result<Option<Peer>, NetError> {
        let mut peer = link.peer;
        for _ in 0..ATTEMPTS {
            match peer {
                Peer::Elsewhere { .. } => return Ok(Some(peer)),
                Peer::Here { ifindex } => {
                    let back = links.get(&ifindex).filter(|back| back.is_veth);
                    if back.is_some_and(|back| back.peer == Peer::Here { ifindex: link.ifindex }) {
                        return Ok(None);
                    }
                }
                Peer::Unknown => {}
            }
            match link::one(&self.handle, link.ifindex).await? {
                Some(again) => peer = again.peer,
                None => return Ok(None),
            }
        }
        Ok(Some(peer))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
