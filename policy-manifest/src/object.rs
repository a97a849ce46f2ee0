//! Objects: finds out the kind of each and passes it to the decoder of that kind.

mod cluster_policy;
mod machine;
mod metadata;
mod pod;
mod policy;
mod selector;
mod service;
mod slice;

use policy_core::model::{
    ClusterNetworkPolicy, EndpointSlice, Kind, Labels, NetworkPolicy, Node as Machine, ObjectName,
    ObjectRef, Pod,
};
pub(crate) use service::{DecodedService, TargetPort};

use crate::{
    ErrorSubject, Host,
    decode::{Field, Log, Map, nearest},
    foreign,
    problem::Problem,
    syntax,
    yaml::{Node, Value},
};

/// A decoded object of a kind that is read.
pub(crate) enum Object {
    Namespace(String, Labels),
    Pod(ObjectName, Pod),
    Policy(ObjectName, NetworkPolicy),
    ClusterPolicy(String, ClusterNetworkPolicy),
    Service(ObjectName, Box<DecodedService>),
    Slice(ObjectName, Option<EndpointSlice>),
    Machine(String, Machine),
    Host(String, Host),
    /// `apiVersion` and `kind`.
    Other(String, String),
}

impl Object {
    /// Kind and name, which no two objects share; `None` for a kind that is not read.
    pub(crate) fn reference(&self) -> Option<ObjectRef> {
        Some(match self {
            Self::Namespace(name, _) => ObjectRef::cluster_wide(Kind::Namespace, name),
            Self::Pod(name, _) => ObjectRef::namespaced(Kind::Pod, name),
            Self::Policy(name, _) => ObjectRef::namespaced(Kind::NetworkPolicy, name),
            Self::ClusterPolicy(name, _) => {
                ObjectRef::cluster_wide(Kind::ClusterNetworkPolicy, name)
            }
            Self::Service(name, _) => ObjectRef::namespaced(Kind::Service, name),
            Self::Slice(name, _) => ObjectRef::namespaced(Kind::EndpointSlice, name),
            Self::Machine(name, _) => ObjectRef::cluster_wide(Kind::Node, name),
            Self::Host(name, _) => ObjectRef::cluster_wide(Kind::Host, name),
            Self::Other(..) => return None,
        })
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
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let text = |name: &str| {
        entries.iter().find_map(|(key, value)| match (&key.value, &value.value) {
            (Value::Text(key), Value::Text(text)) if key == name => Some(text.as_str()),
            _ => None,
        })
    };
    let kind = text("kind")?.strip_suffix("List")?.to_owned();
    let items = entries.iter().find_map(|(key, value)| match (&key.value, &value.value) {
        (Value::Text(key), Value::List(items)) if key == "items" => Some(items.as_slice()),
        (Value::Text(key), Value::Null) if key == "items" => Some([].as_slice()),
        _ => None,
    })?;
    let api_version = if kind.is_empty() { "" } else { text("apiVersion").unwrap_or_default() };
    Some((items, Inherited { api_version: api_version.to_owned(), kind }))
}

/// Decodes an object; `None` where it has no kind or no name. The log has the errors.
pub(crate) fn decode(node: &Node, inherited: &Inherited, log: &Log) -> Option<Object> {
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
    match classify(&kind, &api_version) {
        Class::Read(kind) => dispatch(kind, &object, log),
        Class::Ignored => Some(Object::Other(api_version, kind)),
        Class::Refused(problem) => {
            object.reject(problem);
            None
        }
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
        Some(kind) if kind.api_version() == api_version => Class::Read(kind),
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
            Object::Namespace(cluster_name(syntax::is_label)?, metadata::labels(object))
        }
        Kind::Pod => Object::Pod(name(syntax::is_subdomain)?, pod::decode(object)),
        Kind::NetworkPolicy => Object::Policy(name(syntax::is_subdomain)?, policy::decode(object)),
        Kind::ClusterNetworkPolicy => Object::ClusterPolicy(
            cluster_name(syntax::is_subdomain)?,
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
