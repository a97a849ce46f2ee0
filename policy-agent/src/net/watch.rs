//! Changes of links and addresses, as the kernel tells them.

use futures::{StreamExt as _, channel::mpsc::UnboundedReceiver};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    MulticastGroup, new_multicast_connection, packet_core::NetlinkMessage, sys::SocketAddr,
};
use tokio::task::JoinHandle;

use super::NetError;

/// A socket that hears of every change of a link or an address in one network namespace.
#[derive(Debug)]
pub struct Changes {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
}

impl Changes {
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
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, messages) =
            new_multicast_connection(&groups).map_err(NetError::Open)?;
        Ok(Self { messages, connection: tokio::spawn(connection) })
    }

    /// Waits until something changed; what came meanwhile is one change. Cancelling it loses none.
    ///
    /// That the kernel had to leave something out counts as a change.
    ///
    /// # Errors
    ///
    /// [`NetError::Closed`].
    pub async fn next(&mut self) -> Result<(), NetError> {
        if self.messages.next().await.is_none() {
            return Err(NetError::Closed { what: "changes" });
        }
        while let Ok(_message) = self.messages.try_recv() {}
        Ok(())
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
