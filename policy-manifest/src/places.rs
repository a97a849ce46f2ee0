//! Where objects and the fields of policies stand.

use std::collections::BTreeMap;

use crate::{
    Place,
    decode::Log,
    yaml::{Node, Value},
};

/// Where objects and the fields of policies stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By object, as `Kind namespace/name`; then by field path, the empty one being the object.
    objects: BTreeMap<String, BTreeMap<String, Place>>,
}

impl Places {
    /// Where a field of an object stands, or else what is nearest around it.
    ///
    /// `object` is `Kind namespace/name`, `field` a path as `spec.ingress[0].from[1]`.
    #[must_use]
    pub fn find(&self, object: &str, field: &str) -> Option<&Place> {
        let fields = self.objects.get(object)?;
        let mut path = field;
        loop {
            if let Some(place) = fields.get(path) {
                return Some(place);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }

    /// Notes an object, and its fields if `deep`.
    pub(crate) fn note(&mut self, object: String, node: &Node, log: &Log, deep: bool) {
        let fields = self.objects.entry(object).or_default();
        fields.insert(String::new(), log.place(node));
        if deep {
            walk(node, "", log, fields);
        }
    }
}

fn walk(node: &Node, path: &str, log: &Log, fields: &mut BTreeMap<String, Place>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let Value::Text(name) = &key.value else { continue };
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                // A field begins at its name.
                fields.insert(path.clone(), log.place(key));
                walk(value, &path, log, fields);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                fields.insert(path.clone(), log.place(item));
                walk(item, &path, log, fields);
            }
        }
        Value::Null | Value::Bool(..) | Value::Number(_) | Value::Text(_) => {}
    }
}
