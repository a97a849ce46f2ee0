//! Netlink requests and their responses, which may be lists.
//!
//! The kernel marks a list that changed while it was read (`NLM_F_DUMP_INTR`): entries may be missing
//! or twice in it, so it is read again.

use std::io;

use futures::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    Handle,
    packet_core::{
        NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
};

use super::error::NetError;

/// How many times a list is read that changes meanwhile.
const ATTEMPTS: usize = 16;
/// The same for a list that a pod controls: it could keep the agent reading for ever.
const UNTRUSTED_ATTEMPTS: usize = 3;

/// Reads a list until it did not change while it was read.
pub(super) async fn dump(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    for _ in 0..ATTEMPTS {
        let (messages, is_consistent) = send(handle, what, request, NLM_F_DUMP, |_| true).await?;
        if is_consistent {
            return Ok(messages);
        }
    }
    Err(NetError::Inconsistent { what, attempts: ATTEMPTS })
}

/// Reads a list that a pod controls, and which it may change all the time: the messages that `keep`
/// accepts, of the last attempt even if the list changed during it.
pub(super) async fn dump_untrusted(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
    mut keep: impl FnMut(&RouteNetlinkMessage) -> bool,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    let (mut messages, mut is_consistent) =
        send(handle, what, request, NLM_F_DUMP, &mut keep).await?;
    for _ in 1..UNTRUSTED_ATTEMPTS {
        if is_consistent {
            break;
        }
        (messages, is_consistent) = send(handle, what, request, NLM_F_DUMP, &mut keep).await?;
    }
    Ok(messages)
}

/// Reads one object.
pub(super) async fn get(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    send(handle, what, request, 0, |_| true).await.map(|(messages, _)| messages)
}

/// Sends a request; the messages of the response that `keep` accepts, and whether the kernel read
/// them in one consistent state.
async fn send(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
    flags: u16,
    mut keep: impl FnMut(&RouteNetlinkMessage) -> bool,
) -> Result<(Vec<RouteNetlinkMessage>, bool), NetError> {
    let mut message =
        NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request.clone()));
    message.header.flags = NLM_F_REQUEST | flags;
    let Ok(mut responses) = handle.clone().request(message) else {
        return Err(NetError::Closed { what });
    };
    let mut messages = Vec::new();
    let mut is_consistent = true;
    // Read to the end: the kernel starts no other list on this socket before that.
    while let Some(response) = responses.next().await {
        is_consistent &= response.header.flags & NLM_F_DUMP_INTR == 0;
        messages.extend(payload(what, response)?.filter(&mut keep));
    }
    Ok((messages, is_consistent))
}

/// The message in a response; `None` for one that only ends or acknowledges.
pub(super) fn payload<T>(
    what: &'static str,
    response: NetlinkMessage<T>,
) -> Result<Option<T>, NetError> {
    match response.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(error) if error.code.is_some() => {
            Err(NetError::Refused { what, source: error.to_io() })
        }
        NetlinkPayload::Overrun(_) => {
            let source = io::Error::from(io::ErrorKind::OutOfMemory);
            Err(NetError::Refused { what, source })
        }
        NetlinkPayload::Error(_) | NetlinkPayload::Done(_) | NetlinkPayload::Noop | _ => Ok(None),
    }
}

impl NetError {
    /// Whether the kernel reported that the object does not exist; `also` are further errors that mean
    /// so.
    pub(super) fn is_gone(&self, also: &[i32]) -> bool {
        match self {
            Self::Refused { source, .. } => source.raw_os_error().is_some_and(|errno| {
                errno == nix::libc::ENODEV || errno == nix::libc::ENOENT || also.contains(&errno)
            }),
            Self::Open(_) | Self::Closed { .. } | Self::Inconsistent { .. } => false,
        }
    }
}
