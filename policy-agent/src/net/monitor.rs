//! Notifications of the kernel about links and addresses.

use futures::{StreamExt as _, channel::mpsc::UnboundedReceiver};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    sys::SocketAddr,
};
use tokio::task::JoinHandle;

use super::error::NetError;

/// A socket that receives every change of a link or an address in one network namespace.
#[derive(Debug)]
pub struct LinkMonitor {
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
}

impl LinkMonitor {
    /// Opens a socket, which stays in the calling thread's network namespace.
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

    /// Waits for changes and returns all that have arrived, as the indices of links that were created
    /// in the namespace or moved into it. Cancelling it loses none.
    ///
    /// A report that the kernel had to drop notifications counts as a change.
    ///
    /// # Errors
    ///
    /// [`NetError::Closed`].
    pub async fn next(&mut self) -> Result<Vec<u32>, NetError> {
        let Some((first, _)) = self.messages.next().await else {
            return Err(NetError::Closed { what: "changes" });
        };
        let mut new_links: Vec<u32> = new_link(&first).into_iter().collect();
        while let Ok((message, _)) = self.messages.try_recv() {
            new_links.extend(new_link(&message));
        }
        Ok(new_links)
    }
}

/// The link that a message announces as new. The kernel marks every flag of such a link as changed
/// (`register_netdevice`, `__dev_change_net_namespace`).
fn new_link(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<u32> {
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = &message.payload else {
        return None;
    };
    (link.header.change_mask.bits() == u32::MAX).then_some(link.header.index)
}

impl Drop for LinkMonitor {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
