//! Requests whose answer is a list.

use std::io;

use futures::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    Handle,
    packet_core::{
        NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
};

use super::NetError;

/// How often a list is read that changes meanwhile.
const ATTEMPTS: usize = 16;
/// How often one that somebody else may change without an end: nobody shall wait long for it.
const FEW: usize = 3;

/// Dumps until a list comes that was not changed while it was read.
pub(super) async fn dump(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    for _ in 0..ATTEMPTS {
        let (messages, steady) = ask(handle, what, request, NLM_F_DUMP, |_| true).await?;
        if steady {
            return Ok(messages);
        }
    }
    Err(NetError::Unsteady { what, attempts: ATTEMPTS })
}

/// Dumps a list that others may make as long as they like, and change without an end: what `keep`
/// takes of it, as it was the last time at least.
pub(super) async fn dump_hostile(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
    mut keep: impl FnMut(&RouteNetlinkMessage) -> bool,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    let mut last = ask(handle, what, request, NLM_F_DUMP, &mut keep).await?;
    for _ in 1..FEW {
        if last.1 {
            break;
        }
        last = ask(handle, what, request, NLM_F_DUMP, &mut keep).await?;
    }
    Ok(last.0)
}

/// Asks for one object.
pub(super) async fn get(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetError> {
    ask(handle, what, request, 0, |_| true).await.map(|(messages, _)| messages)
}

/// The answers to a request that are to be kept, and whether all belong together.
async fn ask(
    handle: &Handle,
    what: &'static str,
    request: &RouteNetlinkMessage,
    flags: u16,
    mut keep: impl FnMut(&RouteNetlinkMessage) -> bool,
) -> Result<(Vec<RouteNetlinkMessage>, bool), NetError> {
    let mut message =
        NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request.clone()));
    message.header.flags = NLM_F_REQUEST | flags;
    let Ok(mut answers) = handle.clone().request(message) else {
        return Err(NetError::Closed { what });
    };
    let mut messages = Vec::new();
    let mut steady = true;
    while let Some(answer) = answers.next().await {
        steady &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        let message = payload(what, answer)?;
        // It is read to its end: the kernel begins no other list on this socket before.
        messages.extend(message.filter(&mut keep));
    }
    Ok((messages, steady))
}

/// What an answer says, if it says anything.
pub(super) fn payload<T>(
    what: &'static str,
    answer: NetlinkMessage<T>,
) -> Result<Option<T>, NetError> {
    match answer.payload {
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
    /// Whether the kernel said that what was asked about does not exist, or no longer.
    pub(super) fn is_gone(&self, also: &[i32]) -> bool {
        match self {
            Self::Refused { source, .. } => source.raw_os_error().is_some_and(|errno| {
                errno == nix::libc::ENODEV || errno == nix::libc::ENOENT || also.contains(&errno)
            }),
            Self::Open(_) | Self::Closed { .. } | Self::Unsteady { .. } => false,
        }
    }
}
