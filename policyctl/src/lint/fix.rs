//! Fixes of findings that need no decision, in the files that hold the policies.
//!
//! Input: findings, and the texts that were read. Output: the changed texts. Before anything is
//! written, the changed texts are read: they must hold exactly the policies that the fixes mean.
//! Fixes that claim to keep every verdict are compiled too, and no connection may open or close.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use policy_core::{
    compile::{Scope, compile},
    connections::Changes,
    lint::{Finding, Fix},
    model::{
        Direction, FieldPath, NetworkPolicy, ObjectName, ObjectRef, PolicyRef, PortSpec, Segment,
        Snapshot,
    },
};
use policy_manifest::{Manifests, Source, read_with};
use policy_probe::input::InputError;
use similar::TextDiff;

use super::edit::{Edit, edited};
use crate::{
    document::{document_around, is_json},
    fix_error::LintFixError,
    origin::Origin,
};

/// Files with fixes, not written yet.
pub(super) struct Fixed {
    /// The old text and the new one.
    files: Vec<(Source, String)>,
    /// One line for each fix, and for each finding that is left as it is.
    pub(super) notes: Vec<String>,
    /// What the files hold then.
    pub(super) manifests: Manifests,
    pub(super) sources: Vec<Source>,
}

/// What is changed of one policy.
#[derive(Default)]
struct PolicyFix<'a> {
    findings: Vec<&'a Finding>,
    edits: BTreeSet<Edit>,
    is_removed: bool,
}

/// Works the fixes of findings out.
pub(super) fn plan(findings: &[Finding], origin: &Origin) -> Result<Fixed, LintFixError> {
    let snapshot = &origin.manifests.snapshot;
    let mut by_policy: BTreeMap<&ObjectRef, PolicyFix<'_>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.fix.is_some()) {
        by_policy.entry(&finding.object).or_default().findings.push(finding);
    }
    let mut notes = Vec::new();
    // From the end of a file to its beginning, so that lines before an edit keep their numbers.
    let mut located = Vec::new();
    for (object, mut fix) in by_policy {
        fix.plan(snapshot, object);
        let place = origin.manifests.places.find(object, &FieldPath::root());
        match place.filter(|place| Path::new(&place.source).is_file()) {
            Some(place) => located.push((place, object, fix)),
            None => notes.push(format!("{object} is not in a file, so it is left as it is")),
        }
    }
    located.sort_by(|(one, ..), (other, ..)| other.cmp(one));
    let mut sources = origin.sources.clone();
    let mut done: Vec<&Finding> = Vec::new();
    for (place, object, fix) in located {
        let Some(source) = sources.iter_mut().find(|source| source.name == place.source) else {
            continue;
        };
        match fix.write(&source.text, place.line) {
            Some(text) => {
                source.text = text;
                notes.extend(
                    fix.findings
                        .iter()
                        .map(|one| format!("{}: {} of {object} is fixed", place.source, one.code)),
                );
                done.extend(fix.findings);
            }
            None if fix.is_removed => notes.push(format!(
                "{place}: {object} is left as it is; it is the only object of its file, or in a list"
            )),
            None => notes.push(format!(
                "{place}: {object} is left as it is; its form does not allow the change"
            )),
        }
    }
    let manifests = verified(&done, origin, &sources)?;
    let files = origin.sources.iter().zip(&sources).filter(|(old, new)| old != new);
    let files = files.map(|(old, new)| (old.clone(), new.text.clone())).collect();
    Ok(Fixed { files, notes, manifests, sources })
}

impl Fixed {
    /// The changes, as `diff -u` prints them.
    pub(super) fn diff(&self) -> String {
        let diffs = self.files.iter().map(|(old, new)| {
            let diff = TextDiff::from_lines(&old.text, new);
            diff.unified_diff().header(&old.name, &old.name).to_string()
        });
        diffs.collect()
    }

    /// Writes the files.
    pub(super) fn write(&self) -> Result<(), LintFixError> {
        for (old, new) in &self.files {
            let path = PathBuf::from(&old.name);
            fs::write(&path, new).map_err(|source| LintFixError::Write { path, source })?;
        }
        Ok(())
    }
}

impl PolicyFix<'_> {
    /// Turns the fixes of its findings into edits of its text.
    fn plan(&mut self, snapshot: &Snapshot, object: &ObjectRef) {
        let Some(policy) = policy_of(snapshot, object) else { return };
        let mut removed: BTreeMap<(Direction, usize), BTreeSet<usize>> = BTreeMap::new();
        for finding in &self.findings {
            match (&finding.fix, position(&finding.field)) {
                (Some(Fix::RemovePolicy), _) => self.is_removed = true,
                (Some(Fix::WritePolicyTypes(types)), _) => {
                    self.edits.insert(Edit::PolicyTypes(types.clone()));
                }
                (Some(Fix::WritePort(number)), _) => {
                    self.edits.insert(Edit::Number(finding.field.clone().field("port"), *number));
                }
                (Some(Fix::RemoveEntry), Some((direction, rule, Some(entry)))) => {
                    removed.entry((direction, rule)).or_default().insert(entry);
                }
                (Some(Fix::RemoveEntry), Some((direction, rule, None))) => {
                    self.edits.insert(Edit::Remove(FieldPath::rule(direction, rule)));
                }
                (Some(Fix::RemoveEntry) | None, _) => {}
            }
        }
        for ((direction, rule), entries) in removed {
            // A rule without peers is for everyone, so the last peer takes its rule with it.
            let peers = policy.rules(direction).get(rule).map_or(0, |rule| rule.peers.len());
            if entries.len() == peers {
                self.edits.insert(Edit::Remove(FieldPath::rule(direction, rule)));
            } else {
                let peers = entries.into_iter().map(|at| FieldPath::peer(direction, rule, at));
                self.edits.extend(peers.map(Edit::Remove));
            }
        }
    }

    /// The text of a file in which the policy that begins at a line is changed.
    fn write(&self, text: &str, line: usize) -> Option<String> {
        let (before, document, behind) = document_around(text, line);
        if self.is_removed {
            return without_document(before, document, behind);
        }
        if is_json(document) {
            return None;
        }
        let mut document = document.to_owned();
        // Later entries first, so that the numbers of earlier ones stay.
        for edit in self.edits.iter().rev() {
            document = edited(&document, edit).ok()?;
        }
        Some(format!("{before}{document}{behind}"))
    }
}

/// A file without one of its documents; `None` if that is its only one, or holds a list.
fn without_document(before: &str, document: &str, behind: &str) -> Option<String> {
    let holds_more = |text: &str| {
        text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(':'))
    };
    let lists = |line: &str| line.starts_with("kind:") && line.trim_end().ends_with("List");
    if document.lines().any(lists) || !(holds_more(before) || holds_more(behind)) {
        return None;
    }
    if behind.is_empty() {
        let before = before.trim_end();
        return Some(format!("{}\n", before.strip_suffix("---").unwrap_or(before).trim_end()));
    }
    // Both neighbours have a separator here.
    let behind = if before.is_empty() { behind } else { behind.split_once('\n')?.1 };
    Some(format!("{before}{behind}"))
}

/// The manifests of changed texts, if they hold what the fixes mean.
fn verified(
    findings: &[&Finding],
    origin: &Origin,
    sources: &[Source],
) -> Result<Manifests, LintFixError> {
    let before = &origin.manifests.snapshot;
    let read = read_with(sources, &origin.options);
    let manifests =
        read.map_err(|errors| LintFixError::Unreadable(InputError::Manifests(errors)))?;
    if manifests.snapshot.policies != after(before, findings.iter().copied()).policies {
        return Err(LintFixError::OtherMeaning);
    }
    let keeps = |one: &&Finding| one.fix.as_ref().is_some_and(Fix::keeps_verdicts);
    let same = after(before, findings.iter().copied().filter(keeps));
    let [old, new] = [before, &same].map(|snapshot| compile(snapshot, Scope::Cluster).0);
    let pods: Vec<ObjectName> = before.pods.keys().cloned().collect();
    let changes = Changes::new(&old, &new, &[pods]);
    let parts = 0..changes.parts().len();
    let is_equal = parts.clone().all(|from| {
        parts.clone().all(|to| changes.between(from, to).is_empty())
            && Direction::BOTH.iter().all(|way| changes.outside(from, *way).is_empty())
    });
    if is_equal { Ok(manifests) } else { Err(LintFixError::OtherVerdicts) }
}

/// The cluster with fixes.
fn after<'a>(before: &Snapshot, findings: impl Iterator<Item = &'a Finding>) -> Snapshot {
    let mut snapshot = before.clone();
    let mut removed: BTreeMap<(&ObjectRef, Direction, usize), BTreeSet<Option<usize>>> =
        BTreeMap::new();
    for finding in findings {
        let Some(PolicyRef::Namespaced(name)) = finding.object.policy() else { continue };
        let at = position(&finding.field);
        match (&finding.fix, snapshot.policies.get_mut(&name), at) {
            (Some(Fix::RemovePolicy), ..) => {
                snapshot.policies.remove(&name);
            }
            (Some(Fix::WritePolicyTypes(types)), Some(policy), _) => {
                policy.policy_types = Some(types.clone());
            }
            (Some(Fix::WritePort(number)), Some(policy), Some((direction, rule, Some(port)))) => {
                policy.rules_mut(direction)[rule].ports[port].port =
                    PortSpec::Range { first: *number, last: *number };
            }
            (Some(Fix::RemoveEntry), _, Some((direction, rule, entry))) => {
                removed.entry((&finding.object, direction, rule)).or_default().insert(entry);
            }
            _ => {}
        }
    }
    // Later rules first, so that the numbers of earlier ones stay.
    for ((object, direction, at), entries) in removed.into_iter().rev() {
        let Some(PolicyRef::Namespaced(name)) = object.policy() else { continue };
        let Some(policy) = snapshot.policies.get_mut(&name) else { continue };
        let rules = policy.rules_mut(direction);
        if entries.contains(&None) || entries.len() == rules[at].peers.len() {
            rules.remove(at);
        } else {
            for entry in entries.into_iter().flatten().rev() {
                rules[at].peers.remove(entry);
            }
        }
    }
    snapshot
}

fn policy_of<'a>(snapshot: &'a Snapshot, object: &ObjectRef) -> Option<&'a NetworkPolicy> {
    match object.policy()? {
        PolicyRef::Namespaced(name) => snapshot.policies.get(&name),
        PolicyRef::ClusterWide(_) => None,
    }
}

/// The direction, the rule and the entry of `spec.ingress[0].from[1]`; no entry for a rule itself.
fn position(field: &FieldPath) -> Option<(Direction, usize, Option<usize>)> {
    let [_, Segment::Field(direction), Segment::Index(rule), rest @ ..] = field.segments() else {
        return None;
    };
    let direction = Direction::BOTH.into_iter().find(|one| one.name() == direction)?;
    let entry = match rest {
        [_, Segment::Index(entry), ..] => Some(*entry),
        _ => None,
    };
    Some((direction, *rule, entry))
}
