//! A change of a policy as a JSON Patch (RFC 6902), for `kubectl patch`.

use policy_core::{
    explain::PolicyChange,
    model::{AnyPolicy, FieldPath, PolicyRef, Segment, Snapshot},
};
use serde_json::{Value, json};

/// The patch: one operation.
pub(super) fn of(change: &PolicyChange, snapshot: &Snapshot) -> Value {
    let item: Value = serde_saphyr::from_str(&change.yaml()).unwrap_or_default();
    let list = pointer(&change.field());
    // A list that is absent has no end to add to.
    let operation = match (is_empty(change, snapshot), change.before()) {
        (true, _) => json!({"op": "add", "path": list, "value": [item]}),
        (false, Some(index)) => {
            json!({"op": "add", "path": format!("{list}/{index}"), "value": item})
        }
        (false, None) => json!({"op": "add", "path": format!("{list}/-"), "value": item}),
    };
    json!([operation])
}

/// The command of kubectl that applies the patch.
pub(super) fn command(change: &PolicyChange, snapshot: &Snapshot) -> String {
    let kind = change.policy.kind_name().to_lowercase();
    let (namespace, name) = match &change.policy {
        PolicyRef::Namespaced(name) => (format!(" -n {}", name.namespace), name.name.clone()),
        PolicyRef::ClusterWide(_) => (String::new(), change.policy.name().to_owned()),
    };
    let patch = of(change, snapshot);
    format!("kubectl patch {kind} {name}{namespace} --type=json -p '{patch}'")
}

/// Whether the list of rules that a rule is added to is empty or absent.
fn is_empty(change: &PolicyChange, snapshot: &Snapshot) -> bool {
    let to_rules = matches!(change.field().segments(), [_, _]);
    let rules = match snapshot.policy(&change.policy) {
        Some(AnyPolicy::Namespaced(_, policy)) => policy.rules(change.direction).len(),
        Some(AnyPolicy::ClusterWide(_, policy)) => policy.rules(change.direction).len(),
        None => 0,
    };
    to_rules && rules == 0
}

/// A field path as a JSON Pointer (RFC 6901).
fn pointer(field: &FieldPath) -> String {
    let parts = field.segments().iter().map(|segment| match segment {
        Segment::Field(name) => name.clone().into_owned(),
        Segment::Key(name) => name.replace('~', "~0").replace('/', "~1"),
        Segment::Index(index) => index.to_string(),
    });
    parts.fold(String::new(), |pointer, part| pointer + "/" + &part)
}
