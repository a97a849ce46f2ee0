//! Where objects and the fields of policies stand in the text.
//!
//! The reader fills it in; findings of the linter and messages of the lab look their lines up in it.

use std::collections::BTreeMap;

use policy_core::model::{FieldPath, ObjectRef};

use crate::{
    Place,
    decode::Log,
    yaml::{Node, Value},
};

/// Where objects and the fields of policies stand in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By object, then by field. Only policies have other fields than the root.
    objects: BTreeMap<ObjectRef, BTreeMap<FieldPath, Place>>,
}

impl Places {
    /// Where a field of an object stands, or the nearest field around it that is in the text.
    #[must_use]
    pub fn find(&self, object: &ObjectRef, field: &FieldPath) -> Option<&Place> {
        let fields = self.objects.get(object)?;
        let mut path = Some(field.clone());
        while let Some(here) = path {
            if let Some(place) = fields.get(&here) {
                return Some(place);
            }
            path = here.parent();
        }
        None
    }

    /// Adds an object; of a policy, each of its fields too.
    pub(crate) fn add(&mut self, object: ObjectRef, node: &Node, log: &Log) {
        let is_policy = object.kind().is_policy();
        let fields = self.objects.entry(object).or_default();
        fields.insert(FieldPath::root(), log.place(node));
        if is_policy {
            walk(node, &FieldPath::root(), log, fields);
        }
    }
}

fn walk(node: &Node, path: &FieldPath, log: &Log, fields: &mut BTreeMap<FieldPath, Place>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let Value::Text(name) = &key.value else { continue };
                let path = path.clone().field(name.clone());
                // The place of a field is that of its name.
                fields.insert(path.clone(), log.place(key));
                walk(value, &path, log, fields);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = path.clone().index(index);
                fields.insert(path.clone(), log.place(item));
                walk(item, &path, log, fields);
            }
        }
        Value::Null | Value::Bool(..) | Value::Number(_) | Value::Text(_) => {}
    }
}
