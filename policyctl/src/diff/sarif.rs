//! Changes as SARIF 2.1.0, for code scanning: a result for each pair of ends.

use policy_core::model::{FieldPath, ObjectRef};
use policy_manifest::{Manifests, Place};
use serde_json::{Value, json};

use super::group::ChangedPorts;
use crate::sarif;

/// The log; a change is at the rule that decides now, where it is in a manifest.
pub(super) fn log(groups: &[ChangedPorts], new: &Manifests) -> Value {
    let rules =
        [("connection-opened", "a connection opens"), ("connection-closed", "a connection closes")];
    let rules = rules.map(|(id, text)| json!({"id": id, "shortDescription": {"text": text}}));
    let results: Vec<Value> = groups.iter().map(|group| result(group, new)).collect();
    sarif::log(&rules, &results, &new.warnings())
}

fn result(group: &ChangedPorts, new: &Manifests) -> Value {
    let ChangedPorts { change, from, to, families, ports, now_by, .. } = group;
    let by = now_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let name = format!("{from} -> {to}");
    let text = format!("{change} {name} {}: {ports}{by}", families.join(", "));
    json!({
        "ruleId": format!("connection-{change}"),
        "level": if group.opens() { "warning" } else { "note" },
        "message": {"text": text},
        "locations": [sarif::location(place(group, new), &name)],
    })
}

/// Where the rule stands that decides now.
fn place<'a>(group: &ChangedPorts, new: &'a Manifests) -> Option<&'a Place> {
    let by = group.rows.as_ref().map(|(_, now)| &now.by)?;
    let mut all = by
        .ingress
        .iter()
        .map(|one| (one, policy_core::model::Direction::Ingress))
        .chain(by.egress.iter().map(|one| (one, policy_core::model::Direction::Egress)));
    all.find_map(|(one, direction)| {
        let field = one.rule.map_or_else(FieldPath::root, |rule| FieldPath::rule(direction, rule));
        new.places.find(&ObjectRef::from(one.policy.clone()), &field)
    })
}
