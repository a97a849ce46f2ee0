//! Netlink requests and their responses, which may be lists.
//!
//! The kernel marks a list that changed while it was read (`NLM_F_DUMP_INTR`): entries may be missing
//! or twice in it, so it is read again.

use std::{io, time::Duration};

use futures::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    Handle,
    packet_core::{
        NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
};

use super::error::NetError;

/// How long one request may take. The kernel needs milliseconds for the links of a full node; a list that
/// a pod controls may be of any length.
const DEADLINE: Duration = Duration::from_secs(2);
/// The same for a list that a pod controls.
const UNTRUSTED_DEADLINE: Duration = Duration::from_millis(500);
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
        let all = send(handle, what, request, NLM_F_DUMP, |_| true);
        let (messages, is_consistent) = within(DEADLINE, what, all).await?;
        if is_consistent {
            return Ok(messages);
        }
    }
    Err(NetError::Inconsistent { what, attempts: ATTEMPTS })
}

/// Reads a list that a pod controls, and which it may change all the time: the messages that `keep`
/// accepts, of the last attempt even if the list changed during it.
///
/// After [`NetError::TooSlow`] the rest of the list is still to come at this socket.
pub(super) async fn dump_untrusted(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
    mut keep: impl FnMut(&RouteNetlinkMessage) -> bool,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    let read = async {
        let (mut messages, mut is_consistent) =
            send(handle, what, request, NLM_F_DUMP, &mut keep).await?;
        for _ in 1..UNTRUSTED_ATTEMPTS {
            if is_consistent {
                break;
            }
            (messages, is_consistent) = send(handle, what, request, NLM_F_DUMP, &mut keep).await?;
        }
        Ok((messages, is_consistent))
    };
    within(UNTRUSTED_DEADLINE, what, read).await.map(|(messages, _)| messages)
}

/// Reads one object.
pub(super) async fn get(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    let object = send(handle, what, request, 0, |_| true);
    within(DEADLINE, what, object).await.map(|(messages, _)| messages)
}

/// Messages, and whether the kernel read them in one consistent state.
type Response = (Vec<RouteNetlinkMessage>, bool);

async fn within(
    deadline: Duration,
    what: &'static str,
    response: impl Future<Output = Result<Response, NetError>>,
) -> Result<Response, NetError> {
    let response = tokio::time::timeout(deadline, response).await;
    response.unwrap_or(Err(NetError::TooSlow { what, deadline }))
}

/// Sends a request; the messages of the response that `keep` accepts, and whether the kernel read
/// them in one consistent state.
async fn send(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
    flags: u16,
    mut keep: impl FnMut(&RouteNetlinkMessage) -> bool,
) -> Result<Response, NetError> {
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
            Self::Open(_)
            | Self::Closed { .. }
            | Self::Inconsistent { .. }
            | Self::TooSlow { .. } => false,
        }
    }
}
