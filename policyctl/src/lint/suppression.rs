//! Findings that an author does not want to see, each with a reason beside the manifest.
//!
//! Input: the findings, the texts of the manifests, and the annotations of policies. Output: the
//! findings that remain, those that are suppressed, and a finding (NP028) for each suppression that
//! has no reason, or that suppresses nothing.
//!
//! A comment is for the line that it is on, or, alone on its line, for the next line of the
//! manifest. It covers findings about that line and about everything inside of what begins there, so
//! one above the first line of an object covers the whole object:
//!
//! ```yaml
//! # policyctl:ignore NP014 the namespace of the cluster's own agents
//! apiVersion: v1
//! kind: Namespace
//! ```
//!
//! An annotation `policy-agent.io/lint-ignore-NP005: reason` of a policy covers the whole policy, in
//! a live cluster too.

use policy_core::{
    lint::{Finding, Level, RULES},
    model::{FieldPath, ObjectRef, PolicyRef, Snapshot},
};
use policy_manifest::{Manifests, Place, Source};

use super::config::Config;
use crate::origin::Origin;

/// Begins a suppression in a comment, behind its `#`.
const MARKER: &str = "policyctl:ignore";

/// Begins the key of a suppression in the annotations of a policy; the code follows.
const ANNOTATION: &str = "policy-agent.io/lint-ignore-";

/// The code of findings about suppressions.
pub(super) const CODE: &str = "NP028";

/// What is left of findings.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) findings: Vec<Finding>,
    /// Each with its reason.
    pub(super) suppressed: Vec<(Finding, String)>,
    pub(super) without_effect: Vec<WithoutEffect>,
}

/// A suppression that does nothing.
#[derive(Debug)]
pub(super) struct WithoutEffect {
    /// As the author wrote it: one or several codes.
    pub(super) codes: String,
    pub(super) place: Option<Place>,
    pub(super) level: Level,
    pub(super) message: String,
    pub(super) suggestion: &'static str,
}

/// A suppression of one or several codes.
#[derive(Debug)]
struct Suppression {
    codes: Vec<String>,
    reason: String,
    place: Option<Place>,
    covers: Covered,
    /// For each code whether a finding was suppressed.
    is_used: Vec<bool>,
}

/// What a suppression is about.
#[derive(Debug)]
enum Covered {
    /// What stands at a line of a source, or begins there.
    Line { source: String, line: usize },
    /// An object with all its fields.
    Object(ObjectRef),
}

/// Takes the suppressed findings out.
pub(super) fn sort(findings: Vec<Finding>, origin: &Origin, config: &Config) -> Sorted {
    let manifests = &origin.manifests;
    // The text of a cluster is the API server's response, without comments.
    let mut all: Vec<Suppression> = origin.sources.iter().flat_map(of_comments).collect();
    all.extend(of_annotations(&manifests.snapshot, manifests));
    let mut sorted = Sorted::default();
    for finding in findings {
        match all.iter_mut().find_map(|one| one.suppress(&finding, manifests)) {
            Some(reason) => sorted.suppressed.push((finding, reason)),
            None => sorted.findings.push(finding),
        }
    }
    let faults = all.iter().filter_map(|one| one.fault(config));
    let is_meant = |one: &WithoutEffect| {
        !config.leaves_out(CODE, one.place.as_ref().map(|place| place.source.as_str()))
    };
    sorted.without_effect = faults.filter(is_meant).collect();
    let level = config.level(CODE).unwrap_or(Level::Warning);
    sorted.without_effect.iter_mut().for_each(|one| one.level = level);
    sorted
}

impl Suppression {
    fn new(text: &str, place: Option<Place>, covers: Covered) -> Self {
        let (codes, reason) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let codes: Vec<String> =
            codes.split(',').filter(|code| !code.is_empty()).map(str::to_uppercase).collect();
        let is_used = vec![false; codes.len()];
        Self { codes, reason: reason.trim().to_owned(), place, covers, is_used }
    }

    /// The reason, if it suppresses a finding.
    fn suppress(&mut self, finding: &Finding, manifests: &Manifests) -> Option<String> {
        let at = self.codes.iter().position(|code| code == finding.code)?;
        if self.reason.is_empty() || !self.covers.holds(finding, manifests) {
            return None;
        }
        self.is_used[at] = true;
        Some(self.reason.clone())
    }

    /// What is wrong with it, if it does nothing.
    fn fault(&self, config: &Config) -> Option<WithoutEffect> {
        let unknown = |code: &&String| !RULES.iter().any(|rule| rule.code == **code);
        let unused =
            |(code, is_used): &(&String, &bool)| !**is_used && !config.leaves_out(code, None);
        let names = |codes: Vec<&String>| {
            codes.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let (message, suggestion) = if self.codes.is_empty() {
            ("it names no code".to_owned(), "write the code of a finding, and a reason")
        } else if let Some(code) = self.codes.iter().find(unknown) {
            (format!("there is no rule {code}"), "write the code of a finding, such as NP005")
        } else if self.reason.is_empty() {
            (
                "it has no reason, so it is not applied".to_owned(),
                "write the reason behind the code",
            )
        } else {
            let left: Vec<&String> =
                self.codes.iter().zip(&self.is_used).filter(unused).map(|(code, _)| code).collect();
            if left.is_empty() {
                return None;
            }
            (format!("there is no finding of {} here", names(left)), "remove it")
        };
        let codes = names(self.codes.iter().collect());
        let (place, level) = (self.place.clone(), Level::Warning);
        Some(WithoutEffect { codes, place, level, message, suggestion })
    }
}

impl Covered {
    fn holds(&self, finding: &Finding, manifests: &Manifests) -> bool {
        match self {
            Self::Object(object) => *object == finding.object,
            Self::Line { source, line } => {
                let mut field = Some(finding.field.clone());
                while let Some(here) = field {
                    let place = manifests.places.find(&finding.object, &here);
                    if place.is_some_and(|place| place.source == *source && place.line == *line) {
                        return true;
                    }
                    field = here.parent();
                }
                false
            }
        }
    }
}

/// The suppressions in the comments of a source.
fn of_comments(source: &Source) -> Vec<Suppression> {
    let mut found = Vec::new();
    let lines: Vec<&str> = source.text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((before, text)) = comment(line) else { continue };
        let is_alone = before.trim().is_empty();
        let skipped = |line: &&str| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line.starts_with("---")
        };
        let behind = lines[at + 1..].iter().take_while(|line| skipped(line)).count();
        let covered = if is_alone { at + 1 + behind } else { at };
        let place =
            Place { source: source.name.clone(), line: at + 1, column: before.chars().count() + 1 };
        let covers = Covered::Line { source: source.name.clone(), line: covered + 1 };
        found.push(Suppression::new(text, Some(place), covers));
    }
    found
}

/// The text before a suppression in a line, and the text behind its marker.
fn comment(line: &str) -> Option<(&str, &str)> {
    let (at, _) = line.match_indices('#').find(|(at, _)| {
        let is_comment = line[..*at].chars().next_back().is_none_or(char::is_whitespace);
        is_comment && line[at + 1..].trim_start().starts_with(MARKER)
    })?;
    let text = line[at + 1..].trim_start().strip_prefix(MARKER)?;
    Some((&line[..at], text.trim()))
}

/// The suppressions in the annotations of policies.
fn of_annotations<'a>(
    snapshot: &'a Snapshot,
    manifests: &'a Manifests,
) -> impl Iterator<Item = Suppression> + 'a {
    let namespaced = snapshot
        .policies
        .iter()
        .map(|(name, policy)| (PolicyRef::Namespaced(name.clone()), &policy.annotations));
    let cluster_wide = snapshot
        .cluster_policies
        .iter()
        .map(|(name, policy)| (PolicyRef::ClusterWide(name.clone()), &policy.annotations));
    namespaced.chain(cluster_wide).flat_map(move |(policy, annotations)| {
        let object = ObjectRef::from(policy);
        annotations.iter().filter_map(move |(key, reason)| {
            let code = key.strip_prefix(ANNOTATION)?;
            let field = FieldPath::root().field("metadata").field("annotations").field(key.clone());
            let place = manifests.places.find(&object, &field).cloned();
            let text = format!("{code} {reason}");
            Some(Suppression::new(&text, place, Covered::Object(object.clone())))
        })
    })
}
