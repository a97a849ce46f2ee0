//! NP026: a policy that adds nothing to another one.
//!
//! The other policy must select at least the same pods, isolate them in the same directions, and
//! have a rule that covers each rule of this one. What only several policies cover together is not
//! found; what is found holds in every cluster.
//!
//! ```text
//! deny-ingress   podSelector {}         Ingress, no rules             adds nothing to deny-all
//! deny-all       podSelector {}         Ingress, Egress, no rules
//! web            podSelector app=web    ingress from front at 80      adds nothing to open
//! open           podSelector {}         ingress from every pod
//! ```

use crate::model::{Direction, FieldPath, NetworkPolicy, Peer, Rule};

use super::{
    companions::{companions, covers_peer, covers_subject},
    context::{Context, policy_field},
    finding::{Fix, Level, Report},
    redundant::{covers, is_twin},
};

/// Policies without an effect of their own.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for (name, policy) in &context.snapshot.policies {
        let mut others = companions(context, name, policy)
            .filter(|(other, _)| *other != name)
            // Of two that mean the same, NP016 reports one.
            .filter(|(_, wide)| !is_twin(wide, policy))
            .filter(|(other, wide)| {
                // Of two with the same effect in other words the first stays.
                is_covered(context, &name.namespace, wide, policy)
                    && (*other < name || !is_covered(context, &name.namespace, policy, wide))
            });
        let Some((other, _)) = others.next() else { continue };
        let denies_only = policy.ingress.is_empty() && policy.egress.is_empty();
        report.add(
            policy_field(name, FieldPath::root()),
            if denies_only { Level::Note } else { Level::Warning },
            format!("adds nothing to {other}"),
            "remove it, or narrow the other one if that is wider than you mean",
        );
        report.fix_last(Fix::RemovePolicy);
    }
}

/// Whether the second policy of a namespace has no effect beside the first one.
fn is_covered(
    context: &Context<'_>,
    namespace: &str,
    wide: &NetworkPolicy,
    narrow: &NetworkPolicy,
) -> bool {
    let mut directions = Direction::BOTH.into_iter().filter(|direction| narrow.applies(*direction));
    covers_subject(wide, narrow)
        && directions.all(|direction| {
            let rules = wide.rules(direction);
            let entry = |rule: &Rule, peer: Option<&Peer>| {
                rules.iter().any(|wide| {
                    covers::ports(&wide.ports, &rule.ports)
                        && covers_peer(context, namespace, wide, peer)
                })
            };
            wide.applies(direction)
                && narrow.rules(direction).iter().all(|rule| {
                    if rule.peers.is_empty() {
                        entry(rule, None)
                    } else {
                        rule.peers.iter().all(|peer| entry(rule, Some(peer)))
                    }
                })
        })
}
