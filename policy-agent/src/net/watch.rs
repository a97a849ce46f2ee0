//! Changes of links and addresses, as the kernel tells them.

use futures::{StreamExt as _, channel::mpsc::UnboundedReceiver};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    sys::SocketAddr,
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
    /// Returns the indices of links that were made or moved into the namespace.
    ///
    /// That the kernel had to leave something out counts as a change.
    ///
    /// # Errors
    ///
    /// [`NetError::Closed`].
    pub async fn next(&mut self) -> Result<Vec<u32>, NetError> {
        let Some((first, _)) = self.messages.next().await else {
            return Err(NetError::Closed { what: "changes" });
        };
        let mut born: Vec<u32> = born(&first).into_iter().collect();
        while let Ok((message, _)) = self.messages.try_recv() {
            born.extend(self::born(&message));
        }
        Ok(born)
    }
}

/// The link that a message tells the beginning of: of a new one, every flag is said to have changed
/// (`register_netdevice`, `__dev_change_net_namespace`).
fn born(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<u32> {
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = &message.payload else {
        return None;
    };
    (link.header.change_mask.bits() == u32::MAX).then_some(link.header.index)
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
