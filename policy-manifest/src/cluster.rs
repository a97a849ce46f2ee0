//! Puts the objects of all sources together, and completes them as a cluster would: namespaces that
//! are only named, and slices of Services that have none.

mod backends;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use policy_core::model::{Labels, NAMESPACE_NAME, Namespace, ObjectName, ObjectRef};

use crate::{
    Ignored, ManifestError, Manifests, Place, ReadOptions, Source,
    decode::{Field, Log},
    made_up, names,
    object::{self, Backends, DecodedRoute, DecodedService, Inherited, Object, Template},
    place::{self, Origin},
    problem::Problem,
    route::{self, RoutedServices},
    yaml::{self, Node},
};

/// Most errors of one sort that are listed one by one.
const LISTED: usize = 3;

/// Objects read so far.
pub(crate) struct Cluster<'a> {
    options: &'a ReadOptions,
    manifests: Manifests,
    /// From what the endpoints of each Service are derived.
    backends: BTreeMap<ObjectName, Backends>,
    templates: Vec<Template>,
    routes: Vec<DecodedRoute>,
    /// Every Service, headless ones too, where routes to them are read.
    services: RoutedServices,
    /// Where each object is defined, to report a second one.
    defined: BTreeMap<ObjectRef, Place>,
    /// The same for workloads, by kind and name.
    workloads: BTreeMap<(&'static str, ObjectName), Place>,
    errors: Vec<ManifestError>,
}

/// A decoded object, and its node.
struct Decoded<'a> {
    object: Object,
    node: &'a Node,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(options: &'a ReadOptions) -> Self {
        Self {
            options,
            manifests: Manifests::default(),
            backends: BTreeMap::new(),
            templates: Vec::new(),
            routes: Vec::new(),
            services: BTreeMap::new(),
            defined: BTreeMap::new(),
            workloads: BTreeMap::new(),
            errors: Vec::new(),
        }
    }

    /// Reads every object of a source.
    pub(crate) fn read(&mut self, source: &Source) {
        let origin = Origin::new(source);
        let documents = match yaml::documents(&source.text) {
            Ok(documents) => documents,
            Err((span, problem)) => {
                let error = ManifestError::of_source(&origin, span, problem);
                self.refuse(source, vec![error]);
                return;
            }
        };
        if self.options.optional.contains(&source.name) && !documents.iter().any(object::is_object)
        {
            self.manifests.left_out.other_files.push(source.name.clone());
            return;
        }
        let (mut decoded, mut errors) = (Vec::new(), Vec::new());
        for node in &documents {
            self.decode(&origin, node, &Inherited::default(), &mut decoded, &mut errors);
        }
        if !errors.is_empty() {
            self.refuse(source, errors);
            return;
        }
        for one in decoded {
            self.add(&origin, one);
        }
    }

    /// The result: all objects, or all errors.
    pub(crate) fn finish(mut self) -> Result<Manifests, Vec<ManifestError>> {
        if !self.errors.is_empty() {
            return Err(shorten(self.errors));
        }
        let Manifests { snapshot, hosts, made_up, .. } = &mut self.manifests;
        if self.options.fill_in {
            *made_up = made_up::fill_in(snapshot, self.templates, hosts);
        }
        complete_namespaces(&mut self.manifests);
        backends::derive(&self.backends, &mut self.manifests.snapshot);
        self.manifests.routes =
            route::resolve(self.routes, &self.services, &self.manifests.snapshot);
        Ok(self.manifests)
    }

    /// Takes note of a source that cannot be read: nothing of it is used.
    fn refuse(&mut self, source: &Source, errors: Vec<ManifestError>) {
        let is_optional = self.options.optional.contains(&source.name);
        if is_optional && !names::policy(&source.text) {
            self.manifests.left_out.broken_files.extend(errors.into_iter().next());
        } else {
            self.errors.extend(errors);
        }
    }

    /// Decodes an object, or those of a list.
    fn decode<'n>(
        &self,
        origin: &Arc<Origin>,
        node: &'n Node,
        inherited: &Inherited,
        decoded: &mut Vec<Decoded<'n>>,
        errors: &mut Vec<ManifestError>,
    ) {
        if let Some((items, inherited)) = object::items(node) {
            for item in items {
                self.decode(origin, item, &inherited, decoded, errors);
            }
            return;
        }
        let log = Log::new(origin);
        if let Some(object) = object::decode(node, inherited, self.options, &log) {
            decoded.push(Decoded { object, node });
        }
        errors.extend(log.into_errors());
    }

    /// Adds an object, unless it is defined already.
    fn add(&mut self, origin: &Arc<Origin>, Decoded { object, node }: Decoded<'_>) {
        let log = Log::new(origin);
        let place = log.place(node);
        let reference = object.reference();
        let first = match (&object, &reference) {
            (Object::Template(template), _) => {
                self.workloads.get(&(template.kind, template.name.clone()))
            }
            (_, Some(reference)) => self.defined.get(reference),
            (_, None) => None,
        };
        if let Some(first) = first.cloned() {
            self.add_second(&object, node, &log, first);
            self.errors.extend(log.into_errors());
            return;
        }
        if let Some(reference) = reference {
            self.manifests.places.add(reference.clone(), node, &log);
            self.defined.insert(reference, place.clone());
        }
        self.insert(object, place);
    }

    /// Takes note of an object that is defined already. One that is the same in all that is read is no
    /// error to `policyctl`, as `kubectl apply` accepts it too; a folder that an agent enforces must be
    /// clear.
    fn add_second(&mut self, object: &Object, node: &Node, log: &Log, first: Place) {
        let place = log.place(node);
        if self.options.fill_in && self.has_equal(object) {
            self.manifests.left_out.repeated.push((first, place));
            return;
        }
        if let Some(subject) = object.subject() {
            log.set_subject(subject);
        }
        let folders = place::folders(&first.source, &place.source);
        Field::root(node, log).reject(Problem::DuplicateObject { first, folders });
    }

    /// Whether the object of this kind and name that was read first is equal.
    fn has_equal(&self, object: &Object) -> bool {
        let Manifests { snapshot, hosts, .. } = &self.manifests;
        match object {
            Object::Namespace(name, new) => snapshot.namespaces.get(name) == Some(new),
            Object::Pod(name, new) => snapshot.pods.get(name) == Some(new),
            Object::Policy(name, new) => snapshot.policies.get(name) == Some(new),
            Object::ClusterPolicy(name, new) => snapshot.cluster_policies.get(name) == Some(new),
            Object::Service(name, new) => self.services.get(name) == Some(&**new),
            Object::Slice(name, new) => snapshot.endpoint_slices.get(name) == new.as_ref(),
            Object::Machine(name, new) => snapshot.nodes.get(name) == Some(new),
            Object::Host(name, new) => hosts.get(name) == Some(new),
            Object::Template(new) => self.templates.contains(new),
            Object::Route(_)
            | Object::Other(..)
            | Object::OtherTemplate(..)
            | Object::Foreign(..) => false,
        }
    }

    fn insert(&mut self, object: Object, place: Place) {
        let Manifests { snapshot, hosts, ignored, left_out, .. } = &mut self.manifests;
        match object {
            Object::Namespace(name, namespace) => {
                snapshot.namespaces.insert(name, namespace);
            }
            Object::Pod(name, pod) => {
                snapshot.pods.insert(name, pod);
            }
            Object::Template(template) => {
                self.workloads.insert((template.kind, template.name.clone()), place);
                self.templates.push(*template);
            }
            Object::Policy(name, policy) => {
                snapshot.policies.insert(name, policy);
            }
            Object::ClusterPolicy(name, policy) => {
                snapshot.cluster_policies.insert(name, policy);
            }
            Object::Service(name, decoded) => {
                if self.options.fill_in {
                    self.services.insert(name.clone(), (*decoded).clone());
                }
                let DecodedService { translated, service, backends } = *decoded;
                if translated {
                    snapshot.services.insert(name.clone(), service);
                    self.backends.insert(name, backends);
                }
            }
            Object::Route(route) => self.routes.push(*route),
            Object::Slice(name, slice) => {
                snapshot.endpoint_slices.extend(slice.map(|slice| (name, slice)));
            }
            Object::Machine(name, machine) => {
                snapshot.nodes.insert(name, machine);
            }
            Object::Host(name, host) => {
                hosts.insert(name, host);
            }
            Object::Other(api_version, kind) => {
                ignored.push(Ignored { place, api_version, kind });
            }
            Object::OtherTemplate(api_version, kind) => {
                left_out.templates.push(Ignored { place, api_version, kind });
            }
            Object::Foreign(api_version, kind) => {
                left_out.foreign_policies.push(Ignored { place, api_version, kind });
            }
        }
    }
}

/// Adds namespaces that other objects are in, and the label with its name to each namespace.
fn complete_namespaces(manifests: &mut Manifests) {
    let snapshot = &mut manifests.snapshot;
    let names = snapshot
        .pods
        .keys()
        .chain(snapshot.policies.keys())
        .chain(snapshot.services.keys())
        .chain(snapshot.endpoint_slices.keys());
    let used: Vec<String> = names.map(|name| name.namespace.clone()).collect();
    for namespace in used {
        if let Entry::Vacant(entry) = snapshot.namespaces.entry(namespace) {
            manifests.left_out.undefined_namespaces.push(entry.key().clone());
            entry.insert(Namespace::default());
        }
    }
    for (name, Namespace { labels, .. }) in &mut snapshot.namespaces {
        *labels = with_its_name(name, std::mem::take(labels));
    }
}

/// The errors without most of those that come in hundreds: second objects, where the files are of
/// several clusters or a base and its overlays, and policies of a kind that is not supported.
fn shorten(errors: Vec<ManifestError>) -> Vec<ManifestError> {
    let is_second =
        |error: &ManifestError| matches!(error.problem, Problem::DuplicateObject { .. });
    let is_unsupported =
        |error: &ManifestError| matches!(error.problem, Problem::UnsupportedPolicy { .. });
    let (second, errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(is_second);
    let (unsupported, mut short): (Vec<_>, Vec<_>) = errors.into_iter().partition(is_unsupported);
    short.extend(first_errors(unsupported, |more| Problem::ManyUnsupported { more }));
    short.extend(first_errors(second, |more| Problem::ManyDuplicates { more }));
    short
}

/// The first errors of one sort, and one error for all others.
fn first_errors(
    mut errors: Vec<ManifestError>,
    others: impl Fn(usize) -> Problem,
) -> Vec<ManifestError> {
    let more = errors.split_off(errors.len().min(LISTED));
    let count = more.len();
    errors.extend(more.into_iter().next().map(|error| error.with_problem(others(count))));
    errors
}

/// Labels of a namespace, with the label that has its name (S9).
pub(crate) fn with_its_name(name: &str, mut labels: Labels) -> Labels {
    labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
    labels
}
