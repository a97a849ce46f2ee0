//! Builds links, addresses and routes in one network namespace, for the lab and for tests.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnetwork::IpNetwork;
use netlink_packet_route::{
    address::AddressHeaderFlags,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage},
    route::RouteScope,
};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
};

/// Why something could not be added to the network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel gives no netlink socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel refuses a change.
    #[error("the kernel refused to {operation}")]
    Refused {
        /// What should be done.
        operation: String,
        /// The kernel's reason.
        #[source]
        source: rtnetlink::Error,
    },
}

/// An end of a new link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Interface index, free in its namespace.
    pub index: u32,
    /// Interface name, at most 15 bytes.
    pub name: String,
}

/// A netlink connection into the namespace that it was opened in.
#[derive(Clone, Debug)]
pub struct NetBuilder {
    handle: Handle,
}

impl NetBuilder {
    /// Opens the connection, which stays in the calling thread's network namespace.
    ///
    /// The thread must be inside a tokio runtime, which then runs the connection.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Adds a veth pair with the far end in another namespace. Both ends are down.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn add_veth(
        &self,
        near: &End,
        far: &End,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let mut peer = LinkMessage::default();
        peer.header.index = far.index;
        peer.attributes.push(LinkAttribute::IfName(far.name.clone()));
        peer.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(near.name.clone())
            .index(near.index)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let added = self.handle.link().add(message).execute().await;
        refused(added, || format!("add the veth pair {} - {}", near.name, far.name))
    }

    /// Adds a bridge, up; `netfilter` sets its `bridge-nf-call-ip(6)tables`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn add_bridge(&self, bridge: &End, netfilter: bool) -> Result<(), Error> {
        let message = LinkBridge::new(&bridge.name)
            .index(bridge.index)
            .nf_call_iptables(netfilter)
            .nf_call_ip6tables(netfilter)
            .up()
            .build();
        let added = self.handle.link().add(message).execute().await;
        refused(added, || format!("add the bridge {}", bridge.name))
    }

    /// Makes an interface a port of a bridge.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn add_port(&self, index: u32, bridge: u32, hairpin: bool) -> Result<(), Error> {
        let operation = || format!("add interface {index} to the bridge {bridge}");
        let join = LinkMessageBuilder::<LinkUnspec>::new().index(index).controller(bridge).build();
        refused(self.handle.link().change(join).execute().await, operation)?;
        let port = LinkBridgePort::new(index).hairpin(hairpin).build();
        refused(self.handle.link().set_port(port).execute().await, operation)
    }

    /// Sets an interface up.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        let message = LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build();
        let changed = self.handle.link().change(message).execute().await;
        refused(changed, || format!("set interface {index} up"))
    }

    /// Deletes an interface, and the far end of a veth with it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn delete(&self, index: u32) -> Result<(), Error> {
        let deleted = self.handle.link().del(index).execute().await;
        refused(deleted, || format!("delete interface {index}"))
    }

    /// Gives an interface that is down a hardware address.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn set_hardware(&self, index: u32, hardware: [u8; 6]) -> Result<(), Error> {
        let link = LinkMessageBuilder::<LinkUnspec>::new().index(index);
        let message = link.address(hardware.to_vec()).build();
        let changed = self.handle.link().change(message).execute().await;
        refused(changed, || format!("add a hardware address to interface {index}"))
    }

    /// Adds a permanent neighbour, so that no ARP or neighbour discovery takes place.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn add_neighbour(
        &self,
        index: u32,
        address: IpAddr,
        hardware: [u8; 6],
    ) -> Result<(), Error> {
        let request = self.handle.neighbours().add(index, address);
        let added = request.link_layer_address(&hardware).execute().await;
        refused(added, || format!("add the neighbour {address} to interface {index}"))
    }

    /// Adds an address that can be used at once, with the route to its prefix.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> Result<(), Error> {
        let mut request = self.handle.address().add(index, address, prefix).replace();
        if address.is_ipv6() {
            // Without the flag the address is tentative until duplicate address detection is over.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        let added = request.execute().await;
        refused(added, || format!("add the address {address}/{prefix} to interface {index}"))
    }

    /// Adds a route over an interface: by a gateway, which needs no route of its own, or without one to
    /// a destination on the link.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub async fn add_route(
        &self,
        destination: IpNetwork,
        via: Option<IpAddr>,
        index: u32,
    ) -> Result<(), Error> {
        let message = match (destination, via) {
            (IpNetwork::V4(block), Some(IpAddr::V4(gateway))) => {
                route4(block.ip(), block.prefix(), index).gateway(gateway).onlink().build()
            }
            (IpNetwork::V6(block), Some(IpAddr::V6(gateway))) => {
                route6(block.ip(), block.prefix(), index).gateway(gateway).onlink().build()
            }
            (IpNetwork::V4(block), _) => {
                route4(block.ip(), block.prefix(), index).scope(RouteScope::Link).build()
            }
            (IpNetwork::V6(block), _) => route6(block.ip(), block.prefix(), index).build(),
        };
        let added = self.handle.route().add(message).replace().execute().await;
        refused(added, || format!("add the route to {destination}"))
    }
}

fn route4(address: Ipv4Addr, prefix: u8, index: u32) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, prefix)
        .output_interface(index)
}

fn route6(address: Ipv6Addr, prefix: u8, index: u32) -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(address, prefix)
        .output_interface(index)
}

fn refused(
    outcome: Result<(), rtnetlink::Error>,
    operation: impl Fn() -> String,
) -> Result<(), Error> {
    outcome.map_err(|source| Error::Refused { operation: operation(), source })
}
