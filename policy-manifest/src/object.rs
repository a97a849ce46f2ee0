//! Objects: what they are, and who decodes them.

mod cluster_policy;
mod machine;
mod metadata;
mod pod;
mod policy;
mod selector;
mod service;
mod slice;

use policy_core::model::{
    ClusterNetworkPolicy, EndpointSlice, Labels, NetworkPolicy, Node as Machine, ObjectName, Pod,
};
pub(crate) use service::{DecodedService, Target};

use crate::{
    Host,
    decode::{Field, Log, Map, nearest},
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
    /// Kind and name, as errors call the object; no two objects have the same.
    pub(crate) fn title(&self) -> Option<String> {
        Some(match self {
            Self::Namespace(name, _) => format!("Namespace {name}"),
            Self::Pod(name, _) => format!("Pod {name}"),
            Self::Policy(name, _) => format!("NetworkPolicy {name}"),
            Self::ClusterPolicy(name, _) => format!("ClusterNetworkPolicy {name}"),
            Self::Service(name, _) => format!("Service {name}"),
            Self::Slice(name, _) => format!("EndpointSlice {name}"),
            Self::Machine(name, _) => format!("Node {name}"),
            Self::Host(name, _) => format!("Host {name}"),
            Self::Other(..) => return None,
        })
    }
}

/// A kind that is read.
#[derive(Clone, Copy)]
enum Kind {
    Namespace,
    Pod,
    Policy,
    ClusterPolicy,
    Service,
    Slice,
    Node,
    Host,
}

/// Kinds that are read, with their name and their only version.
const KINDS: [(Kind, &str, &str); 8] = [
    (Kind::Namespace, "Namespace", "v1"),
    (Kind::Pod, "Pod", "v1"),
    (Kind::Policy, "NetworkPolicy", "networking.k8s.io/v1"),
    (Kind::ClusterPolicy, "ClusterNetworkPolicy", "policy.networking.k8s.io/v1alpha2"),
    (Kind::Service, "Service", "v1"),
    (Kind::Slice, "EndpointSlice", "discovery.k8s.io/v1"),
    (Kind::Node, "Node", "v1"),
    (Kind::Host, "Host", "policy.lab/v1alpha1"),
];

/// Kind and version that an item of a list has where it names none: the list's own.
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

/// Decodes an object; `None` where it cannot even be named, which the log tells.
pub(crate) fn decode(node: &Node, inherited: &Inherited, log: &Log) -> Option<Object> {
    let root = Field::root(node, log);
    if !matches!(node.value, Value::Map(_)) {
        root.reject(Problem::NotAnObject);
        return None;
    }
    let object = root.map()?;
    let kind = header(&object, "kind", &inherited.kind)?;
    let api_version = header(&object, "apiVersion", &inherited.api_version)?;
    log.name(kind.clone());
    if is_list(&kind) {
        // One with items was taken apart.
        object.require("items")?.list();
        return None;
    }
    match known(&kind, &api_version) {
        Known::Read(kind, name) => dispatch(kind, name, &object, log),
        Known::Other => Some(Object::Other(api_version, kind)),
        Known::Refused(problem) => {
            object.reject(problem);
            None
        }
    }
}

/// A string field that the list can give.
fn header(object: &Map<'_>, name: &'static str, inherited: &str) -> Option<String> {
    match object.get(name) {
        Some(field) => field.string(),
        None if inherited.is_empty() => object.require(name)?.string(),
        None => Some(inherited.to_owned()),
    }
}

/// What to do with an object.
enum Known {
    /// Read it as this kind, of this name.
    Read(Kind, &'static str),
    /// Pass it over.
    Other,
    /// Refuse the file: passing it over would give other verdicts than a cluster.
    Refused(Problem),
}

/// Whether a kind is a list of objects, some of which are read.
fn is_list(kind: &str) -> bool {
    let of = kind.strip_suffix("List");
    of.is_some_and(|of| of.is_empty() || KINDS.iter().any(|(_, name, _)| *name == of))
}

/// The group of an `apiVersion`; the core has none.
fn group(api_version: &str) -> Option<&str> {
    api_version.split_once('/').map(|(group, _)| group)
}

/// The kind that is meant by one that is spelt alike, in an API that is read; `None` where another
/// is meant.
fn meant(kind: &str, api_version: &str) -> Option<&'static str> {
    let here = KINDS.into_iter().filter(|(.., version)| group(version) == group(api_version));
    nearest(kind, here.map(|(_, name, _)| name))
}

fn known(kind: &str, api_version: &str) -> Known {
    let same = KINDS
        .into_iter()
        .find(|(_, name, version)| *name == kind && group(version) == group(api_version));
    match same {
        Some((kind, name, version)) if version == api_version => Known::Read(kind, name),
        Some((_, kind, known)) => {
            Known::Refused(Problem::Version { kind, known, found: api_version.to_owned() })
        }
        None if kind.ends_with("NetworkPolicy") && !kind.starts_with("Staged") => {
            Known::Refused(Problem::UnsupportedPolicy {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            })
        }
        None => match meant(kind, api_version) {
            Some(nearest) => Known::Refused(Problem::UnknownKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                nearest,
            }),
            None => Known::Other,
        },
    }
}

fn dispatch(kind: Kind, title: &str, object: &Map<'_>, log: &Log) -> Option<Object> {
    let name = |legal| metadata::name(title, object, legal, log);
    let cluster_name = |legal| metadata::cluster_name(title, object, legal, log);
    Some(match kind {
        Kind::Namespace => {
            Object::Namespace(cluster_name(syntax::is_label)?, metadata::labels(object))
        }
        Kind::Pod => Object::Pod(name(syntax::is_subdomain)?, pod::decode(object)),
        Kind::Policy => Object::Policy(name(syntax::is_subdomain)?, policy::decode(object)),
        Kind::ClusterPolicy => Object::ClusterPolicy(
            cluster_name(syntax::is_subdomain)?,
            cluster_policy::decode(object)?,
        ),
        Kind::Service => {
            Object::Service(name(syntax::is_label)?, Box::new(service::decode(object)))
        }
        Kind::Slice => Object::Slice(name(syntax::is_subdomain)?, slice::decode(object)),
        Kind::Node => {
            let name = cluster_name(syntax::is_subdomain)?;
            Object::Machine(name, machine::node(object))
        }
        Kind::Host => Object::Host(cluster_name(syntax::is_label)?, machine::host(object)),
    })
}
