//! NP023: a block for every address of one family, and none for the other.

use ipnetwork::IpNetwork;

use crate::model::{Family, IpBlock, NetworkPolicy, ObjectName, Peer, Pod, Rule};

use super::{
    companions::rules_around,
    context::{Context, LocatedRule},
    finding::{Level, Report},
    redundant::covers,
};

/// `0.0.0.0/0` without `::/0` for pods that have addresses of both families, or the reverse (S20).
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Some(block) = whole_family(peer) else { continue };
            let (other, missing) = match family(block.cidr) {
                Family::Ipv4 => (Family::Ipv6, "::/0"),
                Family::Ipv6 => (Family::Ipv4, "0.0.0.0/0"),
            };
            if is_dual(context, located.name, located.policy)
                && !is_allowed(context, &located, other)
            {
                report.add(
                    located.at(located.peer_path(index).field("ipBlock")),
                    Level::Warning,
                    format!(
                        "{} matches no {} address, and no rule has {missing} at its ports",
                        block.cidr,
                        other.name()
                    ),
                    format!("add ipBlock {missing} if both families are meant"),
                );
            }
        }
    }
}

fn family(cidr: IpNetwork) -> Family {
    Family::of(cidr.ip())
}

/// The block of a peer that is for every address of a family, but for its excepts.
fn whole_family(peer: &Peer) -> Option<&IpBlock> {
    match peer {
        Peer::Block(block) => Some(block).filter(|block| block.cidr.prefix() == 0),
        Peer::Pods { .. } => None,
    }
}

/// Whether the pods of a policy have addresses of both families. Pods that run on no node yet have
/// none, and then the nodes answer.
fn is_dual(context: &Context<'_>, name: &ObjectName, policy: &NetworkPolicy) -> bool {
    let mut running =
        context.subjects(name, policy).filter(|(_, pod)| pod.node.is_some()).peekable();
    if running.peek().is_some() {
        return running.any(|(_, pod)| {
            Family::BOTH.iter().all(|family| {
                Pod::usable_addresses(pod).any(|address| Family::of(address) == *family)
            })
        });
    }
    context.snapshot.nodes.values().any(|node| {
        let has = |wanted| node.own_addresses().any(|address| Family::of(address) == wanted);
        has(Family::Ipv4) && has(Family::Ipv6)
    })
}

/// Whether a rule for the same pods allows every address of a family, at the ports of a rule.
fn is_allowed(context: &Context<'_>, located: &LocatedRule<'_>, wanted: Family) -> bool {
    let LocatedRule { name, policy, direction, rule, .. } = *located;
    let is_whole = |found: &Rule| {
        let mut blocks = found.peers.iter().filter_map(whole_family);
        found.peers.is_empty() || blocks.any(|block| family(block.cidr) == wanted)
    };
    let mut rules = rules_around(context, name, policy, direction);
    rules.any(|found| covers::ports(&found.ports, &rule.ports) && is_whole(found))
}
