//! Lists of netfilter's subsystems: conntrack and nftables.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_proto::{
    ConnectionHandle,
    sys::{SocketAddr, protocols::NETLINK_NETFILTER},
};
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use tokio::task::JoinHandle;

use super::{dump, error::NetError};

/// A list that is being read; its socket is closed when it is dropped.
pub(super) struct NetfilterList {
    what: &'static str,
    responses: Pin<Box<dyn Stream<Item = NetlinkMessage<NetfilterMessage>> + Send>>,
    connection: JoinHandle<()>,
    /// Unused, but the connection closes its socket as soon as the last handle is dropped.
    _handle: ConnectionHandle<NetfilterMessage>,
}

impl NetfilterList {
    /// Requests a list, in the calling thread's network namespace, on a socket of its own.
    pub(super) fn request(
        what: &'static str,
        request: impl Into<NetfilterMessageInner>,
    ) -> Result<Self, NetError> {
        let socket = netlink_proto::new_connection::<NetfilterMessage>(NETLINK_NETFILTER);
        let (connection, handle, _) = socket.map_err(NetError::Open)?;
        let connection = tokio::spawn(connection);
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
        let payload = NetlinkPayload::from(NetfilterMessage::new(header, request));
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        match handle.request(message, SocketAddr::new(0, 0)) {
            Ok(responses) => {
                Ok(Self { what, responses: Box::pin(responses), connection, _handle: handle })
            }
            Err(_closed) => Err(NetError::Closed { what }),
        }
    }

    /// The next entry; `None` at the end of the list.
    pub(super) async fn next(&mut self) -> Result<Option<NetfilterMessage>, NetError> {
        while let Some(response) = self.responses.next().await {
            if let Some(message) = dump::payload(self.what, response)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

impl Drop for NetfilterList {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
