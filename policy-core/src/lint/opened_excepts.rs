//! NP027: an `except` that another rule opens.
//!
//! An `except` only subtracts from its own block (S19). What another block allows stays open:
//!
//! ```text
//! to: 0.0.0.0/0 except 10.0.0.0/8      ports: all
//! to: 10.0.0.0/8                       ports: all       opens what is excepted
//! to: 0.0.0.0/0                        ports: 443       opens it at port 443
//! to: 10.1.0.0/16                      ports: all       a part of it, which is meant
//! to: 10.0.0.0/8                       ports: 6443      one port of it, which is meant (S41)
//! ```

use ipnetwork::IpNetwork;

use crate::{
    compile::contains,
    model::{IpBlock, ObjectName, Peer, Rule},
};

use super::{
    companions::companions,
    context::{Context, LocatedRule, rules_of},
    finding::{Level, Report},
    redundant::covers,
    rule_ports::overlap,
};

/// Excepts that a rule for the same pods opens.
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    for located in context.rules() {
        for (index, peer) in located.rule.peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            if block.except.is_empty() {
                continue;
            }
            let openers = openers(context, &located);
            for (at, hole) in block.except.iter().enumerate() {
                let Some((opener, path)) = openers
                    .iter()
                    .find_map(|opener| Some((opener, opening(opener, &located, (block, *hole))?)))
                else {
                    continue;
                };
                let path = located_path(&located, opener.name, path);
                let except = located.peer_path(index).field("ipBlock").field("except").index(at);
                report.add(
                    located.at(except),
                    Level::Warning,
                    format!("{hole} is excepted here, and {path} opens it"),
                    "rules only add up; except it there too, or narrow that rule",
                );
            }
        }
    }
}

/// The rules of the same direction for the same pods.
fn openers<'a>(context: &Context<'a>, located: &LocatedRule<'a>) -> Vec<LocatedRule<'a>> {
    let LocatedRule { name, policy, direction, .. } = *located;
    companions(context, name, policy)
        .filter(|(_, found)| found.applies(direction))
        .flat_map(|(name, found)| rules_of(name, found, direction))
        .collect()
}

/// The field of a rule that opens a hole of a block, if it does.
fn opening(
    opener: &LocatedRule<'_>,
    located: &LocatedRule<'_>,
    (block, hole): (&IpBlock, IpNetwork),
) -> Option<String> {
    let Rule { peers, ports } = opener.rule;
    let opens_all = covers::ports(ports, &located.rule.ports);
    if peers.is_empty() {
        // A rule for everyone at a few ports, such as that of DNS, is meant.
        return opens_all.then(|| opener.path().to_string());
    }
    let at = peers.iter().position(|peer| {
        let Peer::Block(other) = peer else { return false };
        let is_around =
            contains(other.cidr, hole) && !other.except.iter().any(|inner| contains(*inner, hole));
        let is_wider = other.cidr != hole && other.cidr.prefix() <= block.cidr.prefix();
        is_around && (opens_all || (is_wider && overlap(ports, &located.rule.ports)))
    })?;
    Some(opener.peer_path(at).to_string())
}

/// The path of a rule, with the name of its policy where that is another one.
fn located_path(located: &LocatedRule<'_>, opener: &ObjectName, path: String) -> String {
    if opener == located.name { path } else { format!("{path} of {opener}") }
}
