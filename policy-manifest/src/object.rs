//! Objects: finds out the kind of each and passes it to the decoder of that kind.

mod admin_policy;
mod cluster_policy;
mod flat;
mod machine;
mod metadata;
mod pod;
mod policy;
mod route;
pub(crate) mod selector;
mod service;
mod slice;
mod template;

use policy_core::model::{
    ClusterNetworkPolicy, ClusterPolicyName, EndpointSlice, Kind, Namespace, NetworkPolicy,
    Node as Machine, ObjectName, ObjectRef, Pod, PolicyRef,
};
pub use route::RouteController;
pub(crate) use route::{DecodedRoute, RouteBackend, RoutePort};
pub(crate) use service::{Backends, DecodedService, TargetPort};
pub(crate) use template::Template;

use crate::{
    ErrorSubject, Host, ReadOptions,
    decode::{Field, Log, Map, nearest},
    foreign,
    problem::Problem,
    syntax,
    yaml::{Node, Value},
};

/// A decoded object of a kind that is read.
pub(crate) enum Object {
    Namespace(String, Namespace),
    Pod(ObjectName, Pod),
    Policy(ObjectName, NetworkPolicy),
    ClusterPolicy(ClusterPolicyName, ClusterNetworkPolicy),
    Service(ObjectName, Box<DecodedService>),
    Slice(ObjectName, Option<EndpointSlice>),
    Machine(String, Machine),
    Host(String, Host),
    /// A workload, of which the pods are made up.
    Template(Box<Template>),
    /// A route from outside of the cluster.
    Route(Box<DecodedRoute>),
    /// `apiVersion` and `kind` of an object that no verdict depends on.
    Other(String, String),
    /// The same of one with a pod template, which may run pods.
    OtherTemplate(String, String),
    /// The same of a policy that is not evaluated.
    Foreign(String, String),
}

impl Object {
    /// Kind and name, which no two objects share; `None` for a kind that is not read.
    pub(crate) fn reference(&self) -> Option<ObjectRef> {
        Some(match self {
            Self::Namespace(name, _) => ObjectRef::cluster_wide(Kind::Namespace, name),
            Self::Pod(name, _) => ObjectRef::namespaced(Kind::Pod, name),
            Self::Policy(name, _) => ObjectRef::namespaced(Kind::NetworkPolicy, name),
            Self::ClusterPolicy(name, _) => PolicyRef::ClusterWide(name.clone()).into(),
            Self::Service(name, _) => ObjectRef::namespaced(Kind::Service, name),
            Self::Slice(name, _) => ObjectRef::namespaced(Kind::EndpointSlice, name),
            Self::Machine(name, _) => ObjectRef::cluster_wide(Kind::Node, name),
            Self::Host(name, _) => ObjectRef::cluster_wide(Kind::Host, name),
            Self::Template(_)
            | Self::Route(_)
            | Self::Other(..)
            | Self::OtherTemplate(..)
            | Self::Foreign(..) => return None,
        })
    }

    /// How an error names it; `None` for a kind that is not read.
    pub(crate) fn subject(&self) -> Option<ErrorSubject> {
        if let Self::Template(template) = self {
            return Some(template.subject());
        }
        self.reference().map(ErrorSubject::Object)
    }
}

/// Kind and version of items of a list that have none themselves: `PodList` has items of kind `Pod`.
#[derive(Clone, Default)]
pub(crate) struct Inherited {
    api_version: String,
    kind: String,
}

/// The items of a list (`List`, `PodList`, …), if `node` is one.
pub(crate) fn items(node: &Node) -> Option<(&[Node], Inherited)> {
    let kind = node.text("kind")?.strip_suffix("List")?.to_owned();
    let items = match &node.get("items")?.value {
        Value::List(items) => items.as_slice(),
        Value::Null => &[],
        Value::Bool(..) | Value::Number(_) | Value::Text(_) | Value::Map(_) => return None,
    };
    let api_version =
        if kind.is_empty() { "" } else { node.text("apiVersion").unwrap_or_default() };
    Some((items, Inherited { api_version: api_version.to_owned(), kind }))
}

/// Whether a document has the two fields that every object has; a list without `items` too.
pub(crate) fn is_object(node: &Node) -> bool {
    node.get("apiVersion").is_some() && node.get("kind").is_some()
}

/// Decodes an object; `None` where it has no kind or no name. The log has the errors.
pub(crate) fn decode(
    node: &Node,
    inherited: &Inherited,
    options: &ReadOptions,
    log: &Log,
) -> Option<Object> {
    let root = Field::root(node, log);
    if !matches!(node.value, Value::Map(_)) {
        root.reject(Problem::NotAnObject);
        return None;
    }
    let object = root.map()?;
    let kind = header(&object, "kind", &inherited.kind)?;
    let api_version = header(&object, "apiVersion", &inherited.api_version)?;
    log.set_subject(ErrorSubject::Kind(kind.clone()));
    if is_list(&kind) {
        // `items()` has taken apart a list with items, so this one has none.
        object.require("items")?.list();
        return None;
    }
    if flat::reject(&object) {
        return None;
    }
    if options.fill_in {
        if let Some(kind) = template::kind(&kind, &api_version) {
            return workload(kind, &api_version, &object, log);
        }
        if let Some(kind) = route::kind(&kind, &api_version) {
            return Some(route(kind, api_version, node, log));
        }
        if let Some(kind) = admin_policy::kind(&kind, &api_version) {
            let (name, policy) = admin_policy::decode(kind, &object, log)?;
            return Some(Object::ClusterPolicy(name, policy));
        }
    }
    match classify(&kind, &api_version) {
        Class::Read(kind) => dispatch(kind, &object, log),
        Class::Ignored if options.fill_in && template::is_in(node, &api_version) => {
            Some(Object::OtherTemplate(api_version, kind))
        }
        Class::Ignored => Some(Object::Other(api_version, kind)),
        Class::Refused(Problem::UnsupportedPolicy { api_version, kind })
            if options.ignore_foreign =>
        {
            Some(Object::Foreign(api_version, kind))
        }
        Class::Refused(problem) => {
            object.reject(problem);
            None
        }
    }
}

/// Decodes a workload; one without a template is an object of no use.
fn workload(kind: &'static str, api_version: &str, object: &Map<'_>, log: &Log) -> Option<Object> {
    let name = metadata::namespaced_name(object, syntax::is_subdomain)?;
    log.set_subject(template::subject(kind, &name));
    Some(match template::decode(kind, name, object) {
        Some(template) => Object::Template(Box::new(template)),
        None => Object::Other(api_version.to_owned(), kind.to_owned()),
    })
}

/// Decodes a route. No verdict of a policy depends on it, so that one with errors is no error: it is an
/// object of no use.
fn route(kind: &'static str, api_version: String, node: &Node, log: &Log) -> Object {
    let unused = log.of_same_origin();
    let object = Field::root(node, &unused).map();
    let route = object.and_then(|object| route::decode(kind, &object));
    match route {
        Some(route) => Object::Route(Box::new(route)),
        None => Object::Other(api_version, kind.to_owned()),
    }
}

/// A header field; an item of a list inherits it.
fn header(object: &Map<'_>, name: &'static str, inherited: &str) -> Option<String> {
    match object.get(name) {
        Some(field) => field.string(),
        None if inherited.is_empty() => object.require(name)?.string(),
        None => Some(inherited.to_owned()),
    }
}

/// What to do with an object of a kind and version.
enum Class {
    /// Read it.
    Read(Kind),
    /// Ignore it: no verdict depends on it.
    Ignored,
    /// Refuse the file: without the object, verdicts would differ from those of a cluster.
    Refused(Problem),
}

/// Whether a kind is a list of objects, some of which are read.
fn is_list(kind: &str) -> bool {
    let of = kind.strip_suffix("List");
    of.is_some_and(|of| of.is_empty() || Kind::from_name(of).is_some())
}

/// The group of an `apiVersion`; the core has none.
fn group(api_version: &str) -> Option<&str> {
    api_version.split_once('/').map(|(group, _)| group)
}

/// The supported kind of the same API group that is spelled like `kind`, if there is one.
fn meant(kind: &str, api_version: &str) -> Option<&'static str> {
    let here = Kind::ALL.into_iter().filter(|kind| group(kind.api_version()) == group(api_version));
    nearest(kind, here.map(Kind::name))
}

fn classify(name: &str, api_version: &str) -> Class {
    let kind = Kind::from_name(name).filter(|kind| group(kind.api_version()) == group(api_version));
    let (found, owned) = (api_version.to_owned(), name.to_owned());
    match kind {
        Some(kind) if kind.api_versions().contains(&api_version) => Class::Read(kind),
        Some(kind) => Class::Refused(Problem::Version { kind, found }),
        None if foreign::is_foreign(group(api_version), name) => {
            Class::Refused(Problem::UnsupportedPolicy { api_version: found, kind: owned })
        }
        None => match meant(name, api_version) {
            Some(nearest) => {
                Class::Refused(Problem::UnknownKind { api_version: found, kind: owned, nearest })
            }
            None => Class::Ignored,
        },
    }
}

fn dispatch(kind: Kind, object: &Map<'_>, log: &Log) -> Option<Object> {
    let name = |legal| metadata::name(kind, object, legal, log);
    let cluster_name = |legal| metadata::cluster_name(kind, object, legal, log);
    Some(match kind {
        Kind::Namespace => {
            // The name first: errors of the labels name the object.
            let name = cluster_name(syntax::is_label)?;
            let labels = metadata::labels(object);
            let may_spoof = metadata::disables_anti_spoofing(object);
            let deny_reply = metadata::deny_reply(object);
            let injects_linkerd = metadata::injects_linkerd(object);
            let namespace = Namespace { labels, may_spoof, deny_reply, injects_linkerd };
            Object::Namespace(name, namespace)
        }
        Kind::Pod => Object::Pod(name(syntax::is_subdomain)?, pod::decode(object)),
        Kind::NetworkPolicy => Object::Policy(name(syntax::is_subdomain)?, policy::decode(object)),
        Kind::ClusterNetworkPolicy => Object::ClusterPolicy(
            cluster_name(syntax::is_subdomain)?.into(),
            cluster_policy::decode(object)?,
        ),
        Kind::Service => {
            Object::Service(name(syntax::is_label)?, Box::new(service::decode(object)))
        }
        Kind::EndpointSlice => Object::Slice(name(syntax::is_subdomain)?, slice::decode(object)),
        Kind::Node => {
            let name = cluster_name(syntax::is_subdomain)?;
            Object::Machine(name, machine::node(object))
        }
        Kind::Host => Object::Host(cluster_name(syntax::is_label)?, machine::host(object)),
    })
}
