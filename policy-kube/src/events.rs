//! Events that the agent writes: what goes on is told again before the server forgets it, and what
//! many nodes would tell is one Event.

mod schedule;

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, SystemTime},
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    core::DynamicObject,
};
use policy_core::model::ObjectName;
use tokio::{
    sync::watch::{self, Receiver, Sender},
    time::{Instant, sleep, sleep_until},
};

use super::Kind;
use schedule::{Schedule, Turn};

/// `reportingController` of the Events.
const CONTROLLER: &str = "policy-agent";
/// Where Events about objects of the cluster are.
const DEFAULT: &str = "default";
/// Longest `note` that the API server takes, in bytes.
const NOTE: usize = 1024;
/// Longest `reportingInstance`.
const INSTANCE: usize = 128;
/// Longest name of an object, of which the last 17 bytes are a number.
const NAME: usize = 253 - 17;
/// Least time between two Events.
const PACE: Duration = Duration::from_millis(100);

/// A warning about an object (`events.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Announcement {
    /// `regarding.kind` and `regarding.apiVersion`.
    pub about: Kind,
    /// `regarding.namespace` and `regarding.name`; without a namespace, an object of the cluster.
    pub object: ObjectName,
    /// `regarding.uid`; the API server is asked for it where it is not known.
    pub uid: Option<String>,
    /// `reason`, one word.
    pub reason: &'static str,
    /// `note`, cut to what the API server takes; which node told it is added.
    pub note: String,
}

/// What is to be told at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcements {
    /// Nodes of the cluster, any of which may tell the same.
    pub nodes: usize,
    /// Each is told, and told again, for as long as it is here.
    pub all: BTreeSet<Announcement>,
}

/// Writes what it is told, in the name of a node's agent, for as long as the sender lives.
///
/// # Panics
///
/// Outside of a tokio runtime.
#[must_use]
pub fn announce(client: &Client, node: &str) -> Sender<Announcements> {
    let (sender, current) = watch::channel(Announcements::default());
    tokio::spawn(tell(client.clone(), node.to_owned(), current));
    sender
}

async fn tell(client: Client, node: String, mut current: Receiver<Announcements>) {
    let mut schedule = Schedule::new(&node);
    loop {
        let due = schedule.next();
        let turn = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = current.changed() => {
                if changed.is_err() {
                    return;
                }
                schedule.take(&current.borrow_and_update(), Instant::now());
            }
            () = turn => {
                let Some(turn) = schedule.first() else { continue };
                let outcome = publish(&client, &node, &turn.announcement).await;
                if let Err(error) = &outcome {
                    refused(&turn, error);
                }
                schedule.done(turn, outcome.is_ok(), Instant::now(), now());
                sleep(PACE).await;
            }
        }
    }
}

/// Told once for each; every one is on the log and in the metrics too.
fn refused(turn: &Turn, error: &kube::Error) {
    let Announcement { about, object, reason, .. } = &turn.announcement;
    if turn.failures == 0 {
        tracing::warn!(%about, %object, reason, "the API server takes no Event, tried again: {error}");
    } else {
        tracing::debug!(%about, %object, reason, "the API server takes no Event: {error}");
    }
}

/// Writes an Event, unless another node, or this one before, has.
async fn publish(
    client: &Client,
    node: &str,
    announcement: &Announcement,
) -> Result<(), kube::Error> {
    let uid = match &announcement.uid {
        Some(uid) => uid.clone(),
        None => match uid(client, announcement).await? {
            Some(uid) => uid,
            // It is gone, and so is what there was to tell of it.
            None => return Ok(()),
        },
    };
    let namespace = Some(&*announcement.object.namespace).filter(|namespace| !namespace.is_empty());
    let events = Api::<Event>::namespaced(client.clone(), namespace.unwrap_or(DEFAULT));
    let event = event(announcement, uid, node, schedule::slot(now()));
    match events.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

async fn uid(
    client: &Client,
    Announcement { about, object, .. }: &Announcement,
) -> Result<Option<String>, kube::Error> {
    let (client, resource) = (client.clone(), about.resource());
    let api: Api<DynamicObject> = if object.namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &object.namespace, &resource)
    };
    // What the server remembers will do.
    let that = ListParams::default().fields(&format!("metadata.name={}", object.name)).match_any();
    let found = api.list_metadata(&that).await?.items;
    Ok(found.into_iter().find_map(|found| found.metadata.uid))
}

fn event(announcement: &Announcement, uid: String, node: &str, slot: u64) -> Event {
    let Announcement { about, object, uid: _, reason, note } = announcement;
    let by = format!(" (told by node {node})");
    let end = note.floor_char_boundary(NOTE - by.len().min(NOTE));
    let namespace = Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty());
    let resource = about.resource();
    let name = name(announcement, &uid, slot);
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.clone().unwrap_or_else(|| DEFAULT.to_owned())),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            namespace,
            name: Some(object.name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        }),
        type_: Some("Warning".to_owned()),
        reason: Some((*reason).to_owned()),
        action: Some("Enforce".to_owned()),
        note: Some(format!("{}{by}", &note[..end])),
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(node[..node.floor_char_boundary(INSTANCE)].to_owned()),
        ..Event::default()
    }
}

/// The same on all nodes, so that the API server takes only the first.
fn name(announcement: &Announcement, uid: &str, slot: u64) -> String {
    let Announcement { about, object, uid: _, reason, note } = announcement;
    // Each node has words of its own for the room that a namespace does not find there.
    let note = Some(note).filter(|_| *about != Kind::Namespace);
    let mut hasher = DefaultHasher::new();
    (uid, reason, note, slot).hash(&mut hasher);
    let name = &object.name[..object.name.floor_char_boundary(NAME)];
    format!("{}.{:016x}", name.trim_end_matches(['.', '-']), hasher.finish())
}

/// Since 1970, as all nodes have it.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            about: Kind::Policy,
            object: ObjectName::new("default", "deny"),
            uid: None,
            reason: "NotExpressible",
            note: "a note".to_owned(),
        }
    }

    #[test]
    fn an_event_has_one_name_on_all_nodes_until_it_is_another() {
        let event = |announcement: &Announcement, uid: &str, node, slot| {
            event(announcement, uid.to_owned(), node, slot).metadata.name
        };
        let same = announcement();
        let first = event(&same, "uid", "one", 7);
        assert_eq!(first, event(&same, "uid", "two", 7));
        let other = Announcement { note: "another".to_owned(), ..same.clone() };
        let later = event(&same, "uid", "one", 8);
        for another in [later, event(&same, "new", "one", 7), event(&other, "uid", "one", 7)] {
            assert_ne!(first, another);
        }
        let [one, two] = ["no room for 7", "no room for 9"].map(|note| {
            let (about, note) = (Kind::Namespace, note.to_owned());
            event(&Announcement { about, note, ..announcement() }, "uid", "one", 7)
        });
        assert_eq!(one, two, "each node has its own reasons");
    }

    #[test]
    fn an_event_is_no_longer_than_the_api_server_takes() {
        let object = ObjectName::new("default", format!("{}-{}", "n".repeat(235), "o".repeat(17)));
        let long = Announcement { object, note: "ä".repeat(2000), ..announcement() };
        let event = event(&long, "uid".to_owned(), &"node".repeat(60), 1);
        let length = |text: Option<String>| text.unwrap_or_default().len();
        assert!(length(event.metadata.name) <= 253);
        assert!((NOTE - 1..=NOTE).contains(&length(event.note)));
        assert_eq!(length(event.reporting_instance), INSTANCE);
    }
}
