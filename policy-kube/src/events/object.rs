//! The Event of a warning: the same object on every node, except for who reports it.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use policy_core::model::{Kind, ObjectRef};

use super::warning::Warning;
use crate::Resource;

/// `reportingController`.
const CONTROLLER: &str = "policy-agent";
/// Where Events about objects without a namespace are.
const DEFAULT: &str = "default";
/// Longest `note` that the API server accepts, in bytes.
const NOTE: usize = 1024;
/// Longest `reportingInstance`, in bytes.
const INSTANCE: usize = 128;
/// Longest name of an object, less a dot and the 16 digits of a hash, in bytes.
const NAME: usize = 253 - 17;

/// The namespace of an Event about `object`.
pub(super) fn namespace(object: &ObjectRef) -> &str {
    object.namespace().unwrap_or(DEFAULT)
}

/// The Event of a warning in a slot.
pub(super) fn event(
    warning: &Warning,
    resource: &Resource,
    uid: String,
    node: &str,
    slot: u64,
) -> Event {
    let Warning { about, uid: _, reason, note } = warning;
    let reporter = format!(" (reported by node {node})");
    let end = note.floor_char_boundary(NOTE - reporter.len().min(NOTE));
    Event {
        metadata: ObjectMeta {
            name: Some(name(warning, &uid, slot)),
            namespace: Some(namespace(about).to_owned()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version()),
            kind: Some(about.kind().name().to_owned()),
            namespace: about.namespace().map(str::to_owned),
            name: Some(about.name().to_owned()),
            uid: Some(uid),
            ..ObjectReference::default()
        }),
        type_: Some("Warning".to_owned()),
        reason: Some((*reason).to_owned()),
        action: Some("Enforce".to_owned()),
        note: Some(format!("{}{reporter}", &note[..end])),
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(node[..node.floor_char_boundary(INSTANCE)].to_owned()),
        ..Event::default()
    }
}

/// A name that every node computes alike, so that the API server accepts only the first Event.
fn name(Warning { about, uid: _, reason, note }: &Warning, uid: &str, slot: u64) -> String {
    // The note of a namespace has numbers of one node: how much of its maps is in use.
    let note = Some(note).filter(|_| about.kind() != Kind::Namespace);
    let mut hasher = DefaultHasher::new();
    (uid, reason, note, slot).hash(&mut hasher);
    let name = about.name();
    let name = name[..name.floor_char_boundary(NAME)].trim_end_matches(['.', '-']);
    format!("{name}.{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use policy_core::model::ObjectName;

    use super::*;

    fn about(name: impl Into<String>) -> ObjectRef {
        ObjectRef::namespaced(Kind::NetworkPolicy, &ObjectName::new("default", name))
    }

    fn warning() -> Warning {
        let (about, note) = (about("deny"), "a note".to_owned());
        Warning { about, uid: None, reason: "NotExpressible", note }
    }

    fn of(warning: &Warning, uid: &str, node: &str, slot: u64) -> Event {
        event(warning, &Resource::NETWORK_POLICIES, uid.to_owned(), node, slot)
    }

    #[test]
    fn an_event_has_one_name_on_all_nodes_until_it_is_another() {
        let name = |warning: &Warning, uid: &str, node: &str, slot| {
            of(warning, uid, node, slot).metadata.name
        };
        let same = warning();
        let first = name(&same, "uid", "one", 7);
        assert_eq!(first, name(&same, "uid", "two", 7));
        let other = Warning { note: "another".to_owned(), ..same.clone() };
        let later = name(&same, "uid", "one", 8);
        for another in [later, name(&same, "new", "one", 7), name(&other, "uid", "one", 7)] {
            assert_ne!(first, another);
        }
        let [one, two] = ["no capacity for 7", "no capacity for 9"].map(|note| {
            let about = ObjectRef::cluster_wide(Kind::Namespace, "default");
            name(&Warning { about, note: note.to_owned(), ..warning() }, "uid", "one", 7)
        });
        assert_eq!(one, two, "each node has its own reasons");
    }

    #[test]
    fn an_event_is_no_longer_than_the_api_server_accepts() {
        let about = about(format!("{}-{}", "n".repeat(235), "o".repeat(17)));
        let long = Warning { about, note: "ä".repeat(2000), ..warning() };
        let event = of(&long, "uid", &"node".repeat(60), 1);
        let length = |text: Option<String>| text.unwrap_or_default().len();
        assert!(length(event.metadata.name) <= 253);
        assert!((NOTE - 1..=NOTE).contains(&length(event.note)));
        assert_eq!(length(event.reporting_instance), INSTANCE);
    }
}
