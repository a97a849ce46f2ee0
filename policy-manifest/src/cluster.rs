//! Puts the objects of all sources together, and completes them as a cluster would: namespaces that
//! are only named, and slices of Services that have none.

mod backends;

use std::{collections::BTreeMap, sync::Arc};

use policy_core::model::{Labels, NAMESPACE_NAME, ObjectName, ObjectRef};

use crate::{
    Ignored, ManifestError, Manifests, Place, Source,
    decode::{Field, Log},
    error::Origin,
    object::{self, DecodedService, Inherited, Object},
    problem::Problem,
    yaml::{self, Node},
};

/// Most errors about second objects that are listed one by one.
const LISTED_DUPLICATES: usize = 3;

/// Objects read so far.
#[derive(Default)]
pub(crate) struct Cluster {
    manifests: Manifests,
    services: BTreeMap<ObjectName, DecodedService>,
    /// Where each object is defined, to report a second one.
    defined: BTreeMap<ObjectRef, Place>,
    errors: Vec<ManifestError>,
}

impl Cluster {
    /// Reads every object of a source.
    pub(crate) fn read(&mut self, source: &Source) {
        let origin = Origin::new(source);
        match yaml::documents(&source.text) {
            Ok(documents) => {
                for node in &documents {
                    self.add(&origin, node, &Inherited::default());
                }
            }
            Err((span, problem)) => {
                self.errors.push(ManifestError::of_source(&origin, span, problem));
            }
        }
    }

    /// The result: all objects, or all errors.
    pub(crate) fn finish(mut self) -> Result<Manifests, Vec<ManifestError>> {
        if !self.errors.is_empty() {
            return Err(shorten(self.errors));
        }
        self.complete_namespaces();
        backends::derive(&self.services, &mut self.manifests.snapshot);
        Ok(self.manifests)
    }

    /// Adds an object, or those of a list.
    fn add(&mut self, origin: &Arc<Origin>, node: &Node, inherited: &Inherited) {
        if let Some((items, inherited)) = object::items(node) {
            for item in items {
                self.add(origin, item, &inherited);
            }
            return;
        }
        let log = Log::new(origin);
        if let Some(object) = object::decode(node, inherited, &log) {
            let place = log.place(node);
            let reference = object.reference();
            if let Some(first) = reference.as_ref().and_then(|name| self.defined.get(name)) {
                Field::root(node, &log).reject(Problem::DuplicateObject { first: first.clone() });
            } else {
                if let Some(reference) = reference {
                    self.manifests.places.add(reference.clone(), node, &log);
                    self.defined.insert(reference, place.clone());
                }
                self.insert(object, place);
            }
        }
        self.errors.extend(log.into_errors());
    }

    fn insert(&mut self, object: Object, place: Place) {
        let snapshot = &mut self.manifests.snapshot;
        match object {
            Object::Namespace(name, labels) => {
                snapshot.namespaces.insert(name, labels);
            }
            Object::Pod(name, pod) => {
                snapshot.pods.insert(name, pod);
            }
            Object::Policy(name, policy) => {
                snapshot.policies.insert(name, policy);
            }
            Object::ClusterPolicy(name, policy) => {
                snapshot.cluster_policies.insert(name, policy);
            }
            Object::Service(name, decoded) => {
                if decoded.translated {
                    snapshot.services.insert(name.clone(), decoded.service.clone());
                    self.services.insert(name, *decoded);
                }
            }
            Object::Slice(name, slice) => {
                snapshot.endpoint_slices.extend(slice.map(|slice| (name, slice)));
            }
            Object::Machine(name, machine) => {
                snapshot.nodes.insert(name, machine);
            }
            Object::Host(name, host) => {
                self.manifests.hosts.insert(name, host);
            }
            Object::Other(api_version, kind) => {
                self.manifests.ignored.push(Ignored { place, api_version, kind });
            }
        }
    }

    /// Adds namespaces that other objects are in, and the label with its name to each namespace.
    fn complete_namespaces(&mut self) {
        let snapshot = &mut self.manifests.snapshot;
        let names = snapshot
            .pods
            .keys()
            .chain(snapshot.policies.keys())
            .chain(snapshot.services.keys())
            .chain(snapshot.endpoint_slices.keys());
        let used: Vec<String> = names.map(|name| name.namespace.clone()).collect();
        for namespace in used {
            snapshot.namespaces.entry(namespace).or_default();
        }
        for (name, labels) in &mut snapshot.namespaces {
            *labels = with_its_name(name, std::mem::take(labels));
        }
    }
}

/// The errors without most of those about second objects: the files of several clusters, or a base
/// and its overlays, have hundreds.
fn shorten(errors: Vec<ManifestError>) -> Vec<ManifestError> {
    let is_second =
        |error: &ManifestError| matches!(error.problem, Problem::DuplicateObject { .. });
    let (second, mut errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(is_second);
    let more = second.len().saturating_sub(LISTED_DUPLICATES);
    let last = second.get(LISTED_DUPLICATES).cloned();
    errors.extend(second.into_iter().take(LISTED_DUPLICATES));
    errors.extend(last.map(|error| error.with_problem(Problem::ManyDuplicates { more })));
    errors
}

/// Labels of a namespace, with the label that has its name (S9).
pub(crate) fn with_its_name(name: &str, mut labels: Labels) -> Labels {
    labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
    labels
}
