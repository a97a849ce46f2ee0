//! Annotations of policies, cut to what a line of the flow log can hold.
//!
//! Whoever may write a policy gives it up to 256 KiB of annotations, which each agent would keep and
//! repeat in each line. Called for each policy before the compiler has it:
//!
//! ```text
//! ticket: NET-1            kept
//! notes: 4,000 bytes       left out: longer than 256 bytes
//! 200 short ones           the first by name, up to 2 KiB together
//! ```

use crate::{
    compile::Change,
    model::{Annotations, Snapshot},
};

/// The longest annotation that is kept: bytes of name and value.
const LONGEST: usize = 256;
/// The most bytes that all of one policy have together.
const ALL: usize = 2048;

/// Cuts those of every policy.
pub(super) fn cut_snapshot(snapshot: &mut Snapshot) {
    snapshot.policies.values_mut().for_each(|policy| cut(&mut policy.annotations));
    snapshot.cluster_policies.values_mut().for_each(|policy| cut(&mut policy.annotations));
}

/// Cuts those of a policy that changes.
pub(super) fn cut_change(change: &mut Change) {
    match change {
        Change::Policy(_, Some(policy)) => cut(&mut policy.annotations),
        Change::ClusterPolicy(_, Some(policy)) => cut(&mut policy.annotations),
        Change::Policy(_, None)
        | Change::ClusterPolicy(_, None)
        | Change::Pod(..)
        | Change::Namespace(..)
        | Change::Service(..)
        | Change::EndpointSlice(..)
        | Change::Node(..) => {}
    }
}

fn cut(annotations: &mut Annotations) {
    let mut left = ALL;
    annotations.retain(|name, value| {
        let size = name.len() + value.len();
        let fits = size <= LONGEST.min(left);
        left -= if fits { size } else { 0 };
        fits
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        intent::{Intent, IntentOptions},
        model::{NetworkPolicy, ObjectName},
    };

    #[test]
    fn s60_a_policy_keeps_short_annotations_and_few_bytes() {
        let short = |number: usize| (format!("a{number:03}"), "x".repeat(60));
        let mut annotations: Annotations = (0..200).map(short).collect();
        annotations.insert("notes".to_owned(), "x".repeat(4000));
        annotations.insert("a".to_owned(), "NET-1".to_owned());
        let policy = NetworkPolicy { annotations, ..NetworkPolicy::default() };
        let name = ObjectName::new("shop", "policy");
        let snapshot =
            Snapshot { policies: [(name.clone(), policy.clone())].into(), ..Snapshot::default() };
        let mut replaced = Intent::new("one", IntentOptions::default());
        replaced.replace(snapshot);
        let mut changed = Intent::new("one", IntentOptions::default());
        changed.apply(Change::Policy(name.clone(), Some(policy)));
        for intent in [replaced, changed] {
            let kept = &intent.snapshot().policies[&name].annotations;
            let size: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(size <= 2048, "{size}");
            assert_eq!((kept.len(), &*kept["a"]), (32, "NET-1"));
            assert!(!kept.contains_key("notes"));
        }
    }
}
