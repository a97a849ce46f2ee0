//! What could not be expressed, and what was done about it.

use std::fmt;

use crate::model::ObjectName;

/// A policy or object of which a part is not enforced as written. Never an error: the rest holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// `NetworkPolicy`, `Pod`, `Service`, …
    pub kind: &'static str,
    /// The object.
    pub object: ObjectName,
    /// Where in it, as a field path: `spec.ingress[0].from[1]`.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What was done: always the closed reading.
    pub action: &'static str,
}

/// One line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, object, field, reason, action } = self;
        write!(f, "{kind} {object}: {field}: {reason}; {action}")
    }
}
