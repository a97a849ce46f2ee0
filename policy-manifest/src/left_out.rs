//! What the reader did not use, so that no command leaves something out silently.

use std::collections::BTreeMap;

use policy_core::{
    model::{ObjectName, Phase, Snapshot},
    names::first_few,
};
use serde::Serialize;

use crate::{Ignored, ManifestError, Manifests, Place};

/// How many names a note lists; the rest is counted.
const LISTED: usize = 5;

/// What the reader did not use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Policies of kinds that are not evaluated; [`crate::ReadOptions::ignore_foreign`] allowed them.
    pub foreign_policies: Vec<Ignored>,
    /// Objects of kinds of other projects that have a pod template.
    pub templates: Vec<Ignored>,
    /// Names of sources of a folder that hold no Kubernetes object.
    pub other_files: Vec<String>,
    /// The first error of each source that was passed over.
    pub broken_files: Vec<ManifestError>,
    /// Objects that are defined twice and are the same both times: the places of both.
    pub repeated: Vec<(Place, Place)>,
    /// Namespaces that objects name and no manifest defines.
    pub undefined_namespaces: Vec<String>,
}

/// How much was left out, for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOutCounts {
    /// Policies of kinds that are not evaluated.
    pub foreign_policies: usize,
    /// Objects of kinds that policy does not depend on.
    pub other_kinds: usize,
    /// Workloads of other projects.
    pub templates: usize,
    /// Files without a Kubernetes object, and files with errors that name no policy.
    pub files: usize,
    /// Second definitions of an object that are the same as the first.
    pub repeated: usize,
    /// Pods that run and have no address.
    pub pods_without_address: usize,
    /// Namespaces without a manifest.
    pub undefined_namespaces: usize,
}

impl Manifests {
    /// How much was left out.
    #[must_use]
    pub fn left_out_counts(&self) -> LeftOutCounts {
        let LeftOut { foreign_policies, templates, other_files, broken_files, repeated, .. } =
            &self.left_out;
        LeftOutCounts {
            foreign_policies: foreign_policies.len(),
            other_kinds: self.ignored.len(),
            templates: templates.len(),
            files: other_files.len() + broken_files.len(),
            repeated: repeated.len(),
            pods_without_address: without_address(&self.snapshot).count(),
            undefined_namespaces: self.left_out.undefined_namespaces.len(),
        }
    }

    /// One warning for the policies that verdicts do not cover.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let foreign = &self.left_out.foreign_policies;
        let named = foreign.iter().map(|one| format!("{} ({})", one.kind, one.place));
        let warning =
            || format!("the answer does not cover these policies: {}", first_few(named, LISTED));
        (!foreign.is_empty()).then(warning).into_iter().collect()
    }

    /// One note for each way in which something was left out or made up.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let LeftOut {
            templates, other_files, broken_files, repeated, undefined_namespaces, ..
        } = &self.left_out;
        let mut notes = Vec::new();
        if !self.ignored.is_empty() {
            notes.push(format!("not used: {}", kinds(&self.ignored)));
        }
        for one in templates {
            notes.push(format!(
                "{}: pods of the kind {} of {} are not known; to include them, add a Deployment \
                 with the same template",
                one.place, one.kind, one.api_version
            ));
        }
        if !other_files.is_empty() {
            notes.push(format!(
                "files without a Kubernetes object: {}",
                first_few(other_files, LISTED)
            ));
        }
        for error in broken_files {
            notes.push(format!(
                "{}: passed over, as it cannot be read: {error}",
                error.place.source
            ));
        }
        if !repeated.is_empty() {
            let places = repeated.iter().map(|(first, second)| format!("{second} as {first}"));
            notes.push(format!(
                "objects that are defined twice alike count once: {}",
                first_few(places, LISTED)
            ));
        }
        let missing: Vec<&ObjectName> = without_address(&self.snapshot).collect();
        if !missing.is_empty() {
            notes.push(format!(
                "pods without an address are left out: {}",
                first_few(missing, LISTED)
            ));
        }
        if !undefined_namespaces.is_empty() {
            notes.push(format!(
                "no manifest defines these namespaces, so they have no label but their name: {}",
                first_few(undefined_namespaces, LISTED)
            ));
        }
        let lost = self.routes.iter().flat_map(|route| {
            route.without_pods.iter().map(move |service| format!("{route} to Service {service}"))
        });
        let lost: Vec<String> = lost.collect();
        if !lost.is_empty() {
            notes.push(format!("routes to no pod of the manifests: {}", first_few(lost, LISTED)));
        }
        notes.extend(self.made_up.note());
        notes
    }
}

/// Pods that run and have no address.
fn without_address(snapshot: &Snapshot) -> impl Iterator<Item = &ObjectName> {
    let pods = snapshot.pods.iter();
    pods.filter(|(_, pod)| pod.phase == Phase::Live && pod.addresses.is_empty())
        .map(|(name, _)| name)
}

/// Kinds with their number: `3 ConfigMap, 1 Secret`.
fn kinds(objects: &[Ignored]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects {
        *counts.entry(&object.kind).or_default() += 1;
    }
    let counted = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
    counted.collect::<Vec<_>>().join(", ")
}
