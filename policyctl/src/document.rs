//! Documents of a file, and where their fields stand in the text.
//!
//! Edits of manifests, by `explain --fix` and `lint --fix`, change the text between two bytes and
//! leave all other text as it is.

use std::ops::Range;

use policy_core::model::{FieldPath, Segment};
use yamlpath::{Component, Feature, Route};

/// The document that holds a line, and the text before and behind it.
pub(crate) fn document_around(text: &str, line: usize) -> (&str, &str, &str) {
    let (mut start, mut end, mut offset) = (0, text.len(), 0);
    for (index, content) in text.split_inclusive('\n').enumerate() {
        if content.starts_with("---") {
            if index + 1 >= line {
                end = offset;
                break;
            }
            start = offset + content.len();
        }
        offset += content.len();
    }
    (&text[..start], &text[start..end], &text[end..])
}

/// Whether a document is JSON, or YAML that is written like it.
pub(crate) fn is_json(document: &str) -> bool {
    document.trim_start().starts_with(['{', '['])
}

/// The bytes of a field's value.
pub(crate) fn span(feature: &Feature<'_>) -> Range<usize> {
    let (start, end) = feature.location.byte_span;
    start..end
}

/// A field as the search for its text names it.
pub(crate) fn route(field: &FieldPath) -> Route<'static> {
    let components = field.segments().iter().map(|segment| match segment {
        Segment::Field(name) => Component::from(name.clone().into_owned()),
        Segment::Key(name) => Component::from(name.clone()),
        Segment::Index(index) => Component::from(*index),
    });
    components.collect::<Vec<_>>().into()
}
