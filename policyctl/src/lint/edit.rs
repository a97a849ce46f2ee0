//! Edits of a manifest's text that keep every comment, the order and the form of all other lines.
//!
//! Input: the text of a document and one edit. Output: the changed text. Only the bytes of the edit
//! change; nothing is written from a parsed form:
//!
//! ```text
//!   - from:                             - from:
//!     - podSelector: {}   # own           - podSelector: {}   # own
//!     - ipBlock:                   remove spec.ingress[0].from[1]
//!         cidr: 10.0.0.0/8
//!     ports: [{port: 80}]               ports: [{port: 80}]
//! ```

use std::ops::Range;

use policy_core::model::{Direction, FieldPath, Segment, policy_type};
use yaml_serde::Value;
use yamlpatch::{Op, Patch, Style, apply_yaml_patches};
use yamlpath::Document;

use crate::{
    document::{route, span},
    fix_error::EditError,
};

/// A change of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edit {
    /// Remove an entry of a list.
    Remove(FieldPath),
    /// Replace a number.
    Number(FieldPath, u16),
    /// Add `spec.policyTypes`.
    PolicyTypes(Vec<Direction>),
}

/// The text of a document after an edit.
pub(super) fn edited(text: &str, edit: &Edit) -> Result<String, EditError> {
    let document = Document::new(text)?;
    match edit {
        Edit::Remove(field) => {
            let Range { start, end } = entry(&document, text, field)?;
            Ok(format!("{}{}", &text[..start], &text[end..]))
        }
        Edit::Number(field, number) => {
            let feature = document.query_exact(&route(field))?.ok_or(EditError::NoList)?;
            let Range { start, end } = span(&feature);
            Ok(format!("{}{number}{}", &text[..start], &text[end..]))
        }
        Edit::PolicyTypes(directions) => {
            let types = directions.iter().map(|one| Value::from(policy_type(*one))).collect();
            let operation =
                Op::Add { key: "policyTypes".to_owned(), value: Value::Sequence(types) };
            let patch = Patch { route: route(&FieldPath::root().field("spec")), operation };
            Ok(apply_yaml_patches(&document, &[patch])?.source().to_owned())
        }
    }
}

/// The bytes of an entry of a list, with its dash or a comma beside it.
fn entry(document: &Document, text: &str, field: &FieldPath) -> Result<Range<usize>, EditError> {
    let (Some(list), Some(Segment::Index(index))) = (field.parent(), field.segments().last())
    else {
        return Err(EditError::NoList);
    };
    let feature_of = |field: &FieldPath| -> Result<Option<Range<usize>>, EditError> {
        Ok(document.query_exact(&route(field)).ok().flatten().map(|feature| span(&feature)))
    };
    let here = feature_of(field)?.ok_or(EditError::NoList)?;
    let next = feature_of(&list.clone().index(index + 1))?;
    let whole = document.query_exact(&route(&list))?.ok_or(EditError::NoList)?;
    match Style::from_feature(&whole, document) {
        Style::BlockSequence => {
            let line = text[..here.start].rfind('\n').map_or(0, |newline| newline + 1);
            // A first entry on the line of another dash has no line of its own.
            if text[line..here.start].trim() != "-" {
                return Err(EditError::NoList);
            }
            let end = here.start + own_text(&text[here.clone()], indent(&text[line..])).len();
            let end = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
            Ok(line..end)
        }
        Style::FlowSequence | Style::MultilineFlowSequence => match (next, index.checked_sub(1)) {
            (Some(next), _) => Ok(here.start..next.start),
            (None, Some(previous)) => {
                let previous = feature_of(&list.index(previous))?.ok_or(EditError::NoList)?;
                Ok(previous.end..here.end)
            }
            (None, None) => Ok(here),
        },
        Style::BlockMapping
        | Style::FlowMapping
        | Style::MultilineFlowMapping
        | Style::MultilineLiteralScalar
        | Style::MultilineFoldedScalar
        | Style::DoubleQuoted
        | Style::SingleQuoted
        | Style::PlainScalar => Err(EditError::NoList),
    }
}

/// The text of an entry without what follows it: empty lines, and comments that stand no deeper than
/// its dash, which belong to what comes next.
fn own_text(mut entry: &str, dash: usize) -> &str {
    loop {
        entry = entry.trim_end();
        let Some((before, last)) = entry.rsplit_once('\n') else { return entry };
        if !last.trim_start().starts_with('#') || indent(last) > dash {
            return entry;
        }
        entry = before;
    }
}

/// The number of spaces before a line's text.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "\
spec:
  podSelector: {}   # every pod
  ingress:
  # from our own
  - from:
    - podSelector: {}   # own
    - ipBlock:
        cidr: 10.0.0.0/8
    # at the web port
    ports: [{port: 80}, {port: 443}]
  - from: [{podSelector: {}}]
";

    #[test]
    fn only_the_bytes_of_the_edit_change() {
        let peer = FieldPath::peer(Direction::Ingress, 0, 1);
        let ports = |at| FieldPath::rule(Direction::Ingress, 0).field("ports").index(at);
        let both = vec![Direction::Ingress, Direction::Egress];
        #[rustfmt::skip]
        let cases = [
            ("an entry of several lines", Edit::Remove(peer), "    - ipBlock:\n        cidr: 10.0.0.0/8\n", ""),
            ("a rule",                    Edit::Remove(FieldPath::rule(Direction::Ingress, 1)), "  - from: [{podSelector: {}}]\n", ""),
            ("the first of a flow list",  Edit::Remove(ports(0)), "{port: 80}, ", ""),
            ("the last of a flow list",   Edit::Remove(ports(1)), ", {port: 443}", ""),
            ("a number",                  Edit::Number(ports(1).field("port"), 8443), "443", "8443"),
        ];
        for (claim, edit, old, new) in cases {
            let changed = edited(BLOCK, &edit).unwrap_or_else(|error| panic!("{claim}: {error}"));
            assert_eq!(changed, BLOCK.replacen(old, new, 1), "{claim}");
        }
        let changed = edited(BLOCK, &Edit::PolicyTypes(both));
        let changed = changed.unwrap_or_else(|error| panic!("{error}"));
        assert!(changed.contains("policyTypes"), "{changed}");
        let rest: Vec<&str> = BLOCK.lines().collect();
        assert!(rest.iter().all(|line| changed.lines().any(|other| other == *line)), "{changed}");
    }
}
