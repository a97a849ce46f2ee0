//! The compiler: from a snapshot to what is to be enforced.
//!
//! Stages, each of which uses only those before it: subjects and the policies in force; their
//! rules in working form; identities of addresses; what each distinct set of policies grants to
//! each identity; frontends, judged by their backends; contents.

mod block;
mod content;
mod frontend;
mod grant;
mod identity;
mod incremental;
mod lists;
mod meaning;
mod merge;
mod rule;
mod select;
mod service;
mod subject;
mod tier;

pub use incremental::{Change, Compiler, Reused};
pub use rule::CompiledPolicy;
pub(crate) use rule::Stage;

pub(crate) use block::{longest, longest_around};
pub(crate) use meaning::{AddressMeaning, MeaningOf, Resolved};
pub(crate) use rule::{contains, masked};
pub(crate) use service::{Target, behind};

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    desired::{Desired, Meaning, NodeKind},
    fault::Fault,
    model::{ObjectName, Snapshot},
};

use lists::Lists;
use rule::RuleCompiler;

/// For whom to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pods of one node.
    Node(&'a str),
    /// Every pod, for questions about the whole cluster.
    Cluster,
}

/// Compiles a snapshot. Pure and total: what cannot be expressed becomes a fault.
///
/// Only policies that select a pod of the scope count. Faults come sorted; for the cluster also
/// those of policies that select nothing.
#[must_use]
pub fn compile(snapshot: &Snapshot, scope: Scope<'_>) -> (Desired, Vec<Fault>) {
    let in_force = subject::in_force(snapshot, scope);
    let mut rules = RuleCompiler::default();
    let mut policies: Vec<CompiledPolicy> =
        in_force.policies.iter().map(|forced| forced.compile(&mut rules, snapshot)).collect();
    merge::blocks(&mut policies, &in_force.subjects);
    let lists = Lists::of(policies.iter());
    let mut faults = Vec::new();
    let identities = identity::identities(snapshot, &lists, &mut faults);
    let stage = content::Stage {
        snapshot,
        node: match scope {
            Scope::Node(node) => Some(node),
            Scope::Cluster => None,
        },
        subjects: &in_force.subjects,
        policies: &policies,
        names: in_force.policies.iter().map(|forced| &forced.name).collect(),
        lists: &lists,
        identities: &identities,
    };
    let enforced = stage.run();

    let of_addresses = identities.meanings.iter().cloned().map(MeaningOf::Addresses);
    let behind = enforced.frontends.behind.iter();
    let of_frontends = behind.map(|behind| MeaningOf::Frontends(behind.meaning(&identities)));
    let meanings = of_addresses.chain(of_frontends).map(Meaning).collect();
    let names = in_force.policies.iter().map(|forced| forced.name.clone());
    let policies = names.zip(policies).collect();
    if scope == Scope::Cluster {
        for (name, policy) in &snapshot.policies {
            rules.policy(name, policy);
        }
        for (name, policy) in &snapshot.cluster_policies {
            rules.cluster_policy(&ObjectName::new("", name), policy, snapshot);
        }
    }
    faults.append(&mut rules.faults);
    faults.sort();
    faults.dedup();
    let desired = Desired {
        endpoints: enforced.endpoints,
        identities: meanings,
        addresses: identities.addresses,
        blocks: identities.blocks,
        frontends: enforced.frontends.identities,
        contents: enforced.contents,
        node_addresses: node_addresses(snapshot, scope),
        policies,
    };
    (desired, faults)
}

/// Addresses of the nodes, as the scope's node sees them; one that two nodes claim is its own.
fn node_addresses(snapshot: &Snapshot, scope: Scope<'_>) -> BTreeMap<IpAddr, NodeKind> {
    let Scope::Node(own) = scope else { return BTreeMap::new() };
    let others = snapshot.nodes.iter().filter(|(name, _)| *name != own);
    let others = others.flat_map(|(_, node)| node.addresses.iter().copied());
    let others = others.chain(snapshot.gateways(Some(own)));
    let own = snapshot.nodes.get(own).into_iter().flat_map(|node| &node.addresses);
    let others = others.map(|address| (address, NodeKind::Other));
    others.chain(own.map(|address| (*address, NodeKind::Own))).collect()
}
