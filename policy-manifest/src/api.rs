//! Objects as an API server gives them: JSON, one at a time, already validated there.
//!
//! The agent passes each object of a watch to [`receive`] and gets a change of the snapshot. The
//! API server has validated the object, so an error here means that a newer server allows something
//! that this reader does not know. Leaving the object out could open a port that the policy closes,
//! so a policy with an error is *treated as denying* (S17, S52):
//!
//! - A subject (`podSelector`, `subject`) with an error: any pod might be meant. The policy selects
//!   every pod, and none of its rules allows anything.
//! - `policyTypes` with an error: both directions.
//! - `tier` or `priority` with an error: the tier `Admin` and priority 0, which is asked first.
//! - A rule with an error, or every rule where the list itself or an unknown field of the spec is
//!   the error: a rule that allows is left out; one with the action `Deny` or `Pass` denies
//!   everything.
//!
//! Which of these apply is decided by the paths of the errors. The parts with errors are replaced
//! or cut out, and what remains is decoded once more, now without errors. Example:
//!
//! ```text
//! podSelector: {}
//! ingress:
//! - ports: [{port: 80}]          # kept
//! - from: [{fqdn: example.com}]  # error at spec.ingress[1].from[0]: the rule is cut out
//! ```
//!
//! The policy still isolates every pod for ingress, and allows port 80 and nothing else.

use policy_core::{
    compile::Change,
    model::{
        Action, ClusterPeer, ClusterRule, Direction, FieldPath, Kind, PerDirection, Segment,
        UnknownPeer,
    },
};
use serde_json::{Value as Json, json};

use crate::{
    ManifestError, ReadOptions, Source,
    cluster::with_its_name,
    decode::Log,
    object::{self, Inherited, Object},
    place::Origin,
    yaml::{Node, Value},
};

/// An object of an API server, in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it changes; `None` for an object that policy does not depend on, or that has no name.
    pub change: Option<Change>,
    /// What of it could not be read.
    ///
    /// Where there are errors, the change treats a policy as denying; other objects lack the parts
    /// with errors.
    pub errors: Vec<ManifestError>,
}

/// Reads an object, which needs `apiVersion` and `kind`; errors name the server as `source`.
#[must_use]
pub fn receive(object: &Json, source: &str) -> Received {
    let (decoded, errors) = decode(object, source);
    let kind = object["kind"].as_str().and_then(Kind::from_name);
    let subject = match kind {
        Some(Kind::NetworkPolicy) => Subject { field: "podSelector", any: json!({}) },
        Some(Kind::ClusterNetworkPolicy) => {
            Subject { field: "subject", any: json!({"namespaces": {}}) }
        }
        _ => return Received { change: decoded.and_then(change), errors },
    };
    if errors.is_empty() {
        return Received { change: decoded.and_then(change), errors };
    }
    let denying = Denying::new(object, &subject, &errors);
    let (decoded, _) = decode(&denying.readable, source);
    Received { change: decoded.and_then(change).map(|change| denying.complete(change)), errors }
}

fn decode(object: &Json, source: &str) -> (Option<Object>, Vec<ManifestError>) {
    let origin = Origin::new(&Source { name: source.to_owned(), text: String::new() });
    let log = Log::new(&origin);
    let decoded =
        object::decode(&node(object), &Inherited::default(), &ReadOptions::default(), &log);
    (decoded, log.into_errors())
}

fn change(object: Object) -> Option<Change> {
    Some(match object {
        Object::Namespace(name, mut namespace) => {
            namespace.labels = with_its_name(&name, namespace.labels);
            Change::Namespace(name, Some(namespace))
        }
        Object::Pod(name, pod) => Change::Pod(name, Some(pod)),
        Object::Policy(name, policy) => Change::Policy(name, Some(policy)),
        Object::ClusterPolicy(name, policy) => Change::ClusterPolicy(name, Some(policy)),
        Object::Service(name, decoded) => {
            Change::Service(name, decoded.translated.then_some(decoded.service))
        }
        Object::Slice(name, slice) => Change::EndpointSlice(name, slice),
        Object::Machine(name, machine) => Change::Node(name, Some(machine)),
        Object::Host(..)
        | Object::Template(_)
        | Object::Route(_)
        | Object::Other(..)
        | Object::OtherTemplate(..)
        | Object::Foreign(..) => return None,
    })
}

/// The field of a kind of policies that selects its pods.
struct Subject {
    /// Its name in the spec.
    field: &'static str,
    /// The value that selects every pod.
    any: Json,
}

/// A policy with errors, on its way to being treated as denying.
struct Denying {
    /// The policy without the parts that have errors.
    readable: Json,
    /// Whether the subject has an error: any pod might be meant (S17).
    any_subject: bool,
    /// Rules with errors that deny everything (S52): the index to insert each at, and its action.
    unreadable: PerDirection<Vec<(usize, Action)>>,
}

impl Denying {
    fn new(object: &Json, subject: &Subject, errors: &[ManifestError]) -> Self {
        let has_error = |field: &FieldPath| errors.iter().any(|error| error.field.is_within(field));
        let mut readable = object.clone();
        let spec = &mut readable["spec"];
        let any_subject = has_error(&FieldPath::spec(subject.field));
        let replacements = [
            (subject.field, subject.any.clone()),
            ("policyTypes", json!(["Ingress", "Egress"])),
            ("tier", json!("Admin")),
            ("priority", json!(0)),
        ];
        for (name, replacement) in replacements {
            if has_error(&FieldPath::spec(name)) {
                spec[name] = replacement;
            }
        }
        // A field that is not known may change the meaning of every rule.
        let known = [subject.field, "policyTypes", "tier", "priority", "ingress", "egress"];
        let every_rule = errors.iter().any(|error| is_outside(&error.field, &known));
        let unreadable = PerDirection::from_fn(|direction| {
            let name = direction.name();
            let list = FieldPath::spec(name);
            let whole_list = every_rule || errors.iter().any(|error| error.field == list);
            let rules = spec[name].as_array().cloned().unwrap_or_default();
            let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
            for (index, rule) in rules.into_iter().enumerate() {
                if !whole_list && !has_error(&list.clone().index(index)) {
                    kept.push(rule);
                } else if let Some(action) = denying_action(&rule) {
                    unreadable.push((kept.len() + unreadable.len(), action));
                }
            }
            if !spec[name].is_null() {
                spec[name] = kept.into();
            }
            unreadable
        });
        Self { readable, any_subject, unreadable }
    }

    /// Adds to the decoded policy what JSON cannot express.
    fn complete(self, mut change: Change) -> Change {
        if let Change::Policy(_, Some(policy)) = &mut change
            && self.any_subject
        {
            policy.subject = None;
        }
        if let Change::ClusterPolicy(_, Some(policy)) = &mut change {
            if self.any_subject {
                policy.subject = None;
            }
            for (direction, unreadable) in Direction::BOTH.into_iter().zip(self.unreadable) {
                let rules = policy.rules_mut(direction);
                for (index, action) in unreadable {
                    rules.insert(index.min(rules.len()), unreadable_rule(action));
                }
            }
        }
        change
    }
}

/// A rule with an unknown peer, for which the compiler reports a fault and denies everything.
fn unreadable_rule(action: Action) -> ClusterRule {
    let peers = vec![ClusterPeer::Unknown(UnknownPeer::UnreadableRule)];
    ClusterRule { action, peers, protocols: Vec::new() }
}

/// Whether a field is neither in the metadata nor one of the `known` fields of the spec.
fn is_outside(field: &FieldPath, known: &[&str]) -> bool {
    match field.segments() {
        [Segment::Field(first), ..] if first == "metadata" => false,
        [Segment::Field(first), Segment::Field(second), ..] if first == "spec" => {
            !known.contains(&second.as_ref())
        }
        _ => true,
    }
}

/// The action of a rule that denies or passes on; `None` for one that allows, as every rule of a
/// `NetworkPolicy` does. An action that is not known may deny.
fn denying_action(rule: &Json) -> Option<Action> {
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
