//! Events that the agent writes, best effort.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use policy_core::model::ObjectName;
use tokio::sync::mpsc::{self, Sender};

/// `reportingController` of the Events.
const CONTROLLER: &str = "policy-agent";
/// Events that wait for the API server.
const QUEUE: usize = 64;
/// Longest `note` that the API server takes, in bytes.
const NOTE: usize = 1024;

/// A warning about an object (`events.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announcement {
    /// `regarding.apiVersion`.
    pub api_version: &'static str,
    /// `regarding.kind`.
    pub kind: &'static str,
    /// `regarding.namespace` and `regarding.name`; without a namespace, an object of the cluster.
    pub object: ObjectName,
    /// `regarding.uid`.
    pub uid: Option<String>,
    /// `reason`, one word.
    pub reason: &'static str,
    /// `note`, of which the first 1024 bytes are told.
    pub note: String,
}

/// Writes what it is told, in the name of a node's agent, for as long as the sender lives.
///
/// # Panics
///
/// Outside of a tokio runtime.
#[must_use]
pub fn announce(client: &Client, node: &str) -> Sender<Announcement> {
    let (queue, mut inbox) = mpsc::channel::<Announcement>(QUEUE);
    let (controller, instance) = (CONTROLLER.to_owned(), Some(node.to_owned()));
    let recorder = Recorder::new(client.clone(), Reporter { controller, instance });
    tokio::spawn(async move {
        while let Some(announcement) = inbox.recv().await {
            let (event, object) = announcement.event();
            if let Err(error) = recorder.publish(&event, &object).await {
                tracing::debug!("the API server takes no Event: {error}");
            }
        }
    });
    queue
}

impl Announcement {
    /// The Event, and the object that it is about.
    fn event(self) -> (Event, ObjectReference) {
        let Self { api_version, kind, object, uid, reason, mut note } = self;
        note.truncate(note.floor_char_boundary(NOTE));
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Enforce".to_owned(),
            secondary: None,
        };
        let object = ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(object.namespace).filter(|namespace| !namespace.is_empty()),
            name: Some(object.name),
            uid,
            ..ObjectReference::default()
        };
        (event, object)
    }
}
