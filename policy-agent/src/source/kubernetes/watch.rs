//! The watch of one kind.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, TypeMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Error},
    },
};
use policy_core::model::ObjectName;
use policy_manifest::{Received, receive};
use thiserror::Error;
use tokio::{sync::mpsc::Sender, time::sleep};

use super::{Event, Kind};

/// Objects that are listed at once where the server streams no lists.
const PAGE: u32 = 500;
/// Time after which an API that the server does not have, or does not let us watch, is asked for again.
const ABSENT: Duration = Duration::from_secs(30);

/// Why a watch is broken.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The server does not let this agent list or watch the kind.
    #[error("the API server refuses to let this agent list and watch them: {0}")]
    Refused(String),
    /// Everything else; it is tried again.
    #[error(transparent)]
    Watch(Box<Error>),
}

/// How a watch ended.
enum End {
    /// Nobody listens any more.
    Deaf,
    /// The server streams no lists.
    NoStream,
    /// The server does not have the kind, or does not let us watch it.
    Absent,
}

/// Follows a kind for as long as somebody listens.
pub(super) async fn follow(client: Client, kind: Kind, events: Sender<Event>) {
    let mut streams = true;
    loop {
        match once(&client, kind, &events, streams).await {
            End::Deaf => return,
            End::NoStream => streams = false,
            End::Absent => sleep(ABSENT).await,
        }
    }
}

async fn once(client: &Client, kind: Kind, events: &Sender<Event>, streams: bool) -> End {
    let resource = kind.resource();
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let config = watcher::Config::default();
    let config = if streams { config.streaming_lists() } else { config.page_size(PAGE) };
    let config = match kind.fields() {
        Some(fields) => config.fields(fields),
        None => config,
    };
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    let mut stream = pin!(watcher::watcher(api, config).default_backoff());
    let mut listed = BTreeSet::new();
    while let Some(event) = stream.next().await {
        let sent = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                Ok(())
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(name(&object));
                tell(object, &types, events).await
            }
            Ok(watcher::Event::InitDone) => {
                events.send(Event::Listed(kind, std::mem::take(&mut listed))).await
            }
            Ok(watcher::Event::Apply(object)) => tell(object, &types, events).await,
            Ok(watcher::Event::Delete(object)) => {
                events.send(Event::Changed(kind.gone(name(&object)))).await
            }
            Err(error) => match status(&error) {
                // A feature of servers from 1.32 on; older ones call the question invalid.
                Some((400 | 405 | 422, _)) if streams => return End::NoStream,
                Some((404, _)) if kind.is_optional() => {
                    let none = Event::Listed(kind, BTreeSet::new());
                    return if events.send(none).await.is_ok() { End::Absent } else { End::Deaf };
                }
                // Who we are may be unclear for a moment (401), which says nothing of what is there.
                Some((403, message)) => {
                    let refused = Event::Broken(kind, WatchError::Refused(message));
                    return if events.send(refused).await.is_ok() {
                        End::Absent
                    } else {
                        End::Deaf
                    };
                }
                _ => events.send(Event::Broken(kind, WatchError::Watch(Box::new(error)))).await,
            },
        };
        if sent.is_err() {
            return End::Deaf;
        }
    }
    End::Absent
}

/// HTTP status and message, where the server answered.
fn status(error: &Error) -> Option<(u16, String)> {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => Some((status.code, status.message.clone())),
        Error::InitialListFailed(_)
        | Error::WatchStartFailed(_)
        | Error::WatchFailed(_)
        | Error::NoResourceVersion => None,
    }
}

async fn tell(
    mut object: DynamicObject,
    types: &TypeMeta,
    events: &Sender<Event>,
) -> Result<(), tokio::sync::mpsc::error::SendError<Event>> {
    // Items of lists come without; nobody reads who wrote which field.
    object.types = Some(types.clone());
    object.metadata.managed_fields = None;
    let Ok(json) = serde_json::to_value(&object) else { return Ok(()) };
    let Received { change, errors } = receive(&json, "the API server");
    if !errors.is_empty() {
        events.send(Event::Illegible(errors)).await?;
    }
    match change {
        Some(change) => events.send(Event::Changed(change)).await,
        None => Ok(()),
    }
}

fn name(object: &DynamicObject) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}
