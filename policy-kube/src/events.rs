//! Warnings as Kubernetes Events (`events.k8s.io/v1`), one Event for all nodes.
//!
//! Input: the set of warnings that hold now, whenever it changes. Output: Events, which
//! `kubectl describe` shows beside the object. The agent calls [`write_events`] once and replaces
//! the set after each reconciliation.
//!
//! An API server forgets an Event after an hour, and each of 5,000 nodes may have the same warning
//! (docs/adr/0017). So time is cut into slots of half an hour, and the name of an Event is a hash of
//! the object, the text and the slot:
//!
//! ```text
//! slot 7   node one  creates deny.5f3a…   201 Created
//!          node two  creates deny.5f3a…   409 Conflict: it is written
//! slot 8   node two  creates deny.91c0…   201 Created: the warning still holds
//! ```

mod object;
mod schedule;
mod warning;

use std::time::{Duration, SystemTime};

use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, PostParams},
    core::DynamicObject,
};
use policy_core::model::ObjectRef;
use tokio::{
    sync::watch::{self, Receiver, Sender},
    time::{Instant, sleep, sleep_until},
};

use crate::{Client, Resource};
use schedule::{Due, Schedule};

pub use warning::{ActiveWarnings, Warning};

/// Shortest time between two Events.
const PACE: Duration = Duration::from_millis(100);

/// Writes Events in the name of a node's agent until the sender is dropped.
///
/// # Panics
///
/// Outside of a tokio runtime.
#[must_use]
pub fn write_events(client: &Client, node: &str) -> Sender<ActiveWarnings> {
    let (sender, active) = watch::channel(ActiveWarnings::default());
    tokio::spawn(run(client.clone(), node.to_owned(), active));
    sender
}

async fn run(client: Client, node: String, mut active: Receiver<ActiveWarnings>) {
    let mut schedule = Schedule::new(&node);
    loop {
        let next = schedule.next();
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = active.changed() => {
                if changed.is_err() {
                    return;
                }
                schedule.replace(&active.borrow_and_update(), Instant::now());
            }
            () = due => {
                let Some(due) = schedule.first() else { continue };
                let outcome = write(&client, &node, &due.warning).await;
                if let Err(error) = &outcome {
                    log_refusal(&due, error);
                }
                schedule.written(due.warning, outcome.is_ok(), Instant::now(), since_1970());
                sleep(PACE).await;
            }
        }
    }
}

/// A warning for the first refusal of each Event. What the Event reports is on the log anyway.
fn log_refusal(Due { warning, is_retry }: &Due, error: &kube::Error) {
    let Warning { about, reason, .. } = warning;
    let (kind, object) = (about.kind(), about);
    if *is_retry {
        tracing::debug!(%kind, %object, reason, "the API server refuses the Event: {error}");
    } else {
        tracing::warn!(%kind, %object, reason, "the API server refuses the Event, retrying: {error}");
    }
}

/// Writes one Event. It is written, too, where another node has written it in this slot.
async fn write(client: &Client, node: &str, warning: &Warning) -> Result<(), kube::Error> {
    let uid = match &warning.uid {
        Some(uid) => Some(uid.clone()),
        None => uid(client, &warning.about).await?,
    };
    // Without a uid the object is deleted, and nobody needs the warning.
    let Some((uid, resource)) = uid.zip(Resource::of(warning.about.kind())) else { return Ok(()) };
    let namespace = object::namespace(&warning.about);
    let events = Api::<Event>::namespaced(client.kube.clone(), namespace);
    let event = object::event(warning, &resource, uid, node, schedule::slot(since_1970()));
    match events.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

/// The uid of an object, from the server's cache. The agent may list, but not get.
async fn uid(client: &Client, object: &ObjectRef) -> Result<Option<String>, kube::Error> {
    let Some(resource) = Resource::of(object.kind()) else { return Ok(None) };
    let by_name = format!("metadata.name={}", object.name());
    let by_name = ListParams::default().fields(&by_name).match_any();
    for version in resource.versions {
        let (client, resource) = (client.kube.clone(), resource.api_resource(version));
        let api: Api<DynamicObject> = match object.namespace() {
            None => Api::all_with(client, &resource),
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        };
        match api.list_metadata(&by_name).await {
            // The server has the resource in an older version only.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            found => return Ok(found?.items.into_iter().find_map(|found| found.metadata.uid)),
        }
    }
    Ok(None)
}

/// Time since 1970, which all nodes of a cluster share.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
