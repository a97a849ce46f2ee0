//! Objects as an API server gives them: JSON, one at a time, already validated there.

use policy_core::{
    compile::Change,
    model::{Action, ClusterPeer, ClusterRule, Direction},
};
use serde_json::{Value as Json, json};

use crate::{
    ManifestError, Source,
    cluster::with_its_name,
    decode::Log,
    error::Origin,
    object::{self, Inherited, Object},
    yaml::{Node, Value},
};

/// An object of an API server, in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it changes; `None` for an object that policy does not depend on, or that has no name.
    pub change: Option<Change>,
    /// What of it could not be read, if anything: a newer server may know more than this reader.
    ///
    /// The change has the closed reading then. Rules that could not be read whole allow nothing; a
    /// subject that could not be read may mean any pod; other objects lack what could not be read.
    pub errors: Vec<ManifestError>,
}

/// Reads an object, which needs `apiVersion` and `kind`; `source` is what errors call the server.
#[must_use]
pub fn receive(object: &Json, source: &str) -> Received {
    let (decoded, errors) = decode(object, source);
    let is_policy = object["kind"].as_str().is_some_and(|kind| kind.ends_with("NetworkPolicy"));
    if errors.is_empty() || !is_policy {
        return Received { change: decoded.and_then(change), errors };
    }
    let closed = Closed::of(object, &errors);
    let (decoded, _) = decode(&closed.legible, source);
    Received { change: decoded.and_then(change).map(|change| closed.complete(change)), errors }
}

fn decode(object: &Json, source: &str) -> (Option<Object>, Vec<ManifestError>) {
    let origin = Origin::new(&Source { name: source.to_owned(), text: String::new() });
    let log = Log::new(&origin);
    let decoded = object::decode(&node(object), &Inherited::default(), &log);
    (decoded, log.into_errors())
}

fn change(object: Object) -> Option<Change> {
    Some(match object {
        Object::Namespace(name, labels) => {
            let labels = with_its_name(&name, labels);
            Change::Namespace(name, Some(labels))
        }
        Object::Pod(name, pod) => Change::Pod(name, Some(pod)),
        Object::Policy(name, policy) => Change::Policy(name, Some(policy)),
        Object::ClusterPolicy(name, policy) => Change::ClusterPolicy(name, Some(policy)),
        Object::Service(name, decoded) => {
            Change::Service(name, decoded.translated.then_some(decoded.service))
        }
        Object::Slice(name, slice) => Change::EndpointSlice(name, slice),
        Object::Machine(name, machine) => Change::Node(name, Some(machine)),
        Object::Host(..) | Object::Other(..) => return None,
    })
}

/// The closed reading of a policy that cannot be read whole.
struct Closed {
    /// The policy without what cannot be read.
    legible: Json,
    /// Whether its subject cannot be: any pod might be meant (S17).
    any_subject: bool,
    /// Rules of a cluster-wide policy that cannot be read, with their places: they match everything
    /// where they deny or pass on, and nothing where they accept (S52).
    unknown: Vec<(Direction, usize, Action)>,
}

const LISTS: [(Direction, &str); 2] =
    [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")];

impl Closed {
    fn of(object: &Json, errors: &[ManifestError]) -> Self {
        let mut closed = Self { legible: object.clone(), any_subject: false, unknown: Vec::new() };
        let spec = &mut closed.legible["spec"];
        let subject = if object["kind"] == "NetworkPolicy" { "podSelector" } else { "subject" };
        let any = if subject == "subject" { json!({"namespaces": {}}) } else { json!({}) };
        let both = json!(["Ingress", "Egress"]);
        for (name, instead) in [
            (subject, any),
            ("policyTypes", both),
            ("tier", json!("Admin")),
            ("priority", json!(0)),
        ] {
            if is_broken(errors, &format!("spec.{name}")) {
                spec[name] = instead;
                closed.any_subject |= name == subject;
            }
        }
        // A field that is not known may change what all the rules mean.
        let known = [subject, "policyTypes", "tier", "priority", "ingress", "egress"];
        let all = errors.iter().any(|error| is_elsewhere(&error.field, &known));
        for (direction, name) in LISTS {
            let rules = spec[name].as_array().cloned().unwrap_or_default();
            let list = format!("spec.{name}");
            let none = errors.iter().any(|error| error.field == list);
            let (mut legible, mut place) = (Vec::new(), 0);
            for (index, rule) in rules.into_iter().enumerate() {
                if !all && !none && !is_broken(errors, &format!("{list}[{index}]")) {
                    legible.push(rule);
                    place += 1;
                } else if let Some(action) = refusal(&rule) {
                    closed.unknown.push((direction, place, action));
                    place += 1;
                }
            }
            if !spec[name].is_null() {
                spec[name] = legible.into();
            }
        }
        closed
    }

    fn complete(self, mut change: Change) -> Change {
        if let Change::Policy(_, Some(policy)) = &mut change {
            policy.subject = policy.subject.take().filter(|_| !self.any_subject);
        }
        let Change::ClusterPolicy(_, Some(policy)) = &mut change else { return change };
        policy.subject = policy.subject.take().filter(|_| !self.any_subject);
        for (direction, place, action) in self.unknown {
            let rules = match direction {
                Direction::Ingress => &mut policy.ingress,
                Direction::Egress => &mut policy.egress,
            };
            let reason = "a rule that could not be read".to_owned();
            let peers = vec![ClusterPeer::Unknown { reason }];
            let rule = ClusterRule { action, peers, protocols: Vec::new() };
            rules.insert(place.min(rules.len()), rule);
        }
        change
    }
}

/// Whether something is wrong at a field or under it.
fn is_broken(errors: &[ManifestError], field: &str) -> bool {
    errors.iter().any(|error| {
        let rest = error.field.strip_prefix(field);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Whether a field of a policy is none of the known ones of its spec, nor of its metadata.
fn is_elsewhere(field: &str, known: &[&str]) -> bool {
    let Some(rest) = field.strip_prefix("spec.") else { return !field.starts_with("metadata") };
    let name = rest.split(['.', '[']).next().unwrap_or_default();
    !known.contains(&name)
}

/// The action of a cluster-wide policy's rule, unless it accepts.
fn refusal(rule: &Json) -> Option<Action> {
    match rule["action"].as_str() {
        Some("Accept") | None => None,
        Some("Pass") => Some(Action::Pass),
        Some(_) => Some(Action::Deny),
    }
}

/// JSON as a tree of nodes, without places.
fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value, value.to_string()),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(fields) => {
            let text = |key: &String| Node { span: 0..0, value: Value::Text(key.clone()) };
            Value::Map(fields.iter().map(|(key, value)| (text(key), node(value))).collect())
        }
    };
    Node { span: 0..0, value }
}
