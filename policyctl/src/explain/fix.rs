//! The smallest fix of a denied connection: found, proven, and written into the manifests.
//!
//! Input: the cluster and the probes that are denied. Output: changes of policies ([`find`]) that
//! together allow every probe: the changed cluster is compiled and judged again before anything is
//! printed. [`write()`] puts them into the files that hold the policies, and leaves all other text,
//! comments included, as it is. A policy in JSON is not edited: its error has the command of kubectl.
//!
//! ```text
//! spec:                                spec:
//!   ingress:                             ingress:
//!   - from:                              - from:
//!     - podSelector: {}   # own            - podSelector: {}   # own
//!                                          - podSelector: {matchLabels: {app: web}}
//! ```

use std::{fs, ops::Range, path::PathBuf};

use policy_core::{
    compile::{Scope, compile},
    explain::{Explainer, PolicyChange, sides},
    model::{FieldPath, ObjectRef, Segment, Snapshot},
};
use policy_manifest::{Manifests, ReadOptions, Source, read_with};
use policy_probe::Probe;
use yaml_serde::Value;
use yamlpatch::{Op, Patch, Style, apply_yaml_patches, serialize_flow};
use yamlpath::Document;

use super::patch;
use crate::{
    document::{document_around, is_json, route, span},
    fix_error::{EditError, FixError},
};

/// Changes that are tried at most: two sides, and a tier before network policies at each.
const CHANGES: usize = 8;

/// Additions that together allow every probe, proven on the changed cluster; empty where the probes
/// are allowed.
pub(super) fn find(
    snapshot: &Snapshot,
    probes: &[Probe],
) -> Result<(Vec<PolicyChange>, Snapshot), FixError> {
    let (mut after, mut changes) = (snapshot.clone(), Vec::new());
    for _ in 0..CHANGES {
        let next = probes.iter().find_map(|probe| {
            let sides = sides(&after, &probe.question());
            sides.iter().find_map(|side| PolicyChange::smallest(&after, side))
        });
        let Some(change) = next else { break };
        change.apply(&mut after);
        changes.push(change);
    }
    let desired = compile(&after, Scope::Cluster).0;
    let explainer = Explainer::new(&after, &desired);
    let allowed = |probe: &Probe| {
        explainer.explain(&probe.question()).is_some_and(|verdict| verdict.allowed())
    };
    if probes.iter().all(allowed) { Ok((changes, after)) } else { Err(FixError::NoFix) }
}

/// Writes changes into the files of their policies; one line for each.
pub(super) fn write(
    manifests: &Manifests,
    changes: &[PolicyChange],
    after: &Snapshot,
) -> Result<Vec<String>, FixError> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    let mut lines = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let object = ObjectRef::from(change.policy.clone());
        let (kind, name) = (change.policy.kind_name(), change.policy.to_string());
        let place = manifests.places.find(&object, &FieldPath::root());
        let place = place.filter(|place| PathBuf::from(&place.source).is_file());
        let Some(place) = place else {
            let policy = format!("{kind} {name}");
            return Err(FixError::NotInFile { policy, command: patch::command(change, after) });
        };
        let path = PathBuf::from(&place.source);
        let failed = |source| FixError::File { path: path.clone(), source };
        let known = files.iter().position(|(known, _)| *known == path);
        let at = known.unwrap_or(files.len());
        if known.is_none() {
            files.push((path.clone(), fs::read_to_string(&path).map_err(failed)?));
        }
        // The last change of a policy gives the text that `after` has.
        let is_last = !changes.iter().skip(index + 1).any(|later| later.policy == change.policy);
        let text = edit(&files[at].1, place.line, change, is_last.then_some(after));
        files[at].1 = text.map_err(|source| FixError::Form {
            place: place.clone(),
            command: patch::command(change, after),
            source,
        })?;
        lines.push(format!("{}: added to {} of {kind} {name}", place.source, change.field()));
    }
    for (path, text) in files {
        fs::write(&path, text).map_err(|source| FixError::File { path, source })?;
    }
    Ok(lines)
}

/// The text of a file with a change in the document around a line. Where `after` is given, the
/// document must then be the policy that it has.
fn edit(
    text: &str,
    line: usize,
    change: &PolicyChange,
    after: Option<&Snapshot>,
) -> Result<String, EditError> {
    let (before, document, behind) = document_around(text, line);
    if is_json(document) {
        return Err(EditError::Json);
    }
    let changed = add(document, change)?;
    if let Some(after) = after {
        let source = Source { name: String::new(), text: changed.clone() };
        let options = ReadOptions { fill_in: true, ..ReadOptions::default() };
        let read = read_with(&[source], &options).map_err(|_errors| EditError::OtherMeaning)?;
        if read.snapshot.policy(&change.policy) != after.policy(&change.policy) {
            return Err(EditError::OtherMeaning);
        }
    }
    Ok(format!("{before}{changed}{behind}"))
}

/// A document with an addition.
fn add(text: &str, change: &PolicyChange) -> Result<String, EditError> {
    let document = Document::new(text)?;
    let item: Value = yaml_serde::from_str(&change.yaml())?;
    let field = change.field();
    let list = route(&field);
    let Some(feature) = document.query_exact(&list).ok().flatten() else {
        return add_list(&document, &field, item);
    };
    let mut items = items(yaml_serde::from_str(text)?, &field).ok_or(EditError::NoList)?;
    let at = change.before().unwrap_or(items.len()).min(items.len());
    let Range { start, end } = span(&feature);
    match Style::from_feature(&feature, &document) {
        Style::BlockSequence if at == items.len() => {
            let patch = Patch { route: list, operation: Op::Append { value: item } };
            Ok(apply_yaml_patches(&document, &[patch])?.source().to_owned())
        }
        Style::BlockSequence => {
            let inner = document.query_exact(&route(&field.index(at)))?.ok_or(EditError::NoList)?;
            let line = text[..span(&inner).start].rfind('\n').map_or(0, |newline| newline + 1);
            let dash = text[line..].find('-').ok_or(EditError::NoList)?;
            let indent = &text[line..line + dash];
            let item = serialize_flow(&item)?;
            Ok(format!("{}{indent}- {item}\n{}", &text[..line], &text[line..]))
        }
        Style::FlowSequence | Style::MultilineFlowSequence => {
            items.insert(at, item);
            let items = serialize_flow(&Value::Sequence(items))?;
            Ok(format!("{}{items}{}", &text[..start], &text[end..]))
        }
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

/// A document with a new list of one item.
fn add_list(document: &Document, field: &FieldPath, item: Value) -> Result<String, EditError> {
    let (Some(Segment::Field(name)), Some(parent)) = (field.segments().last(), field.parent())
    else {
        return Err(EditError::NoList);
    };
    let value = Value::Sequence(vec![item]);
    let operation = Op::Add { key: name.clone().into_owned(), value };
    let patch = Patch { route: route(&parent), operation };
    Ok(apply_yaml_patches(document, &[patch])?.source().to_owned())
}

/// The items of the list in a field; none where it has no value.
fn items(document: Value, field: &FieldPath) -> Option<Vec<Value>> {
    let mut here = document;
    for segment in field.segments() {
        here = match segment {
            Segment::Field(name) => here.get(&**name)?.clone(),
            Segment::Key(name) => here.get(name.as_str())?.clone(),
            Segment::Index(index) => here.get(*index)?.clone(),
        };
    }
    match here {
        Value::Sequence(items) => Some(items),
        Value::Null => Some(Vec::new()),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Mapping(_)
        | Value::Tagged(_) => None,
    }
}
