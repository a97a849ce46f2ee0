//! Merges rules of blocks at the same pods where there are many of them.
//!
//! An identity is the set of peer lists that match an address. Thousands of rules that each match
//! every address but a few would make thousands of identities of thousands of lists each, although
//! only the result counts: the ports that the rules allow together in each region of addresses.
//!
//! ```text
//! rule 1   0.0.0.0/0 except 192.0.2.1/32    tcp 80
//! rule 2   0.0.0.0/0 except 192.0.2.2/32    tcp 443
//! merged   0.0.0.0/0 except both            tcp 80, 443
//!          192.0.2.1/32                     tcp 443
//!          192.0.2.2/32                     tcp 80
//! ```
//!
//! The first of the rules carries the result, the others carry nothing; attribution still reads
//! the rules as they were written. Regions of equal ports become one peer list.

mod cover;

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::{
    compile::{
        prefix::sweep::{Sweep, SweepVisitor},
        rules::{
            peer_list::{PeerKey, PeerList},
            rule::{CompiledPolicy, MergedRule, RulePorts, Stage},
        },
    },
    model::{Direction, PerDirection},
    ports::Ports,
};

use cover::Cover;

/// Up to so many different lists stay apart: each then keeps its identities when another changes.
const APART: usize = 32;

/// A rule: its policy, and its index there.
type At = (usize, usize);

/// A rule that can be merged with others.
type Found<'a> = (At, &'a PeerList, &'a RulePorts);

/// What rules must have in common to be merged: the subjects, and the ports where some are named.
type Common<'a> = (&'a [usize], Option<&'a RulePorts>);

/// Writes the merged form into the rules.
///
/// `policies` are in an order that depends on their names only; `subjects` has for each pod the
/// places of the policies that isolate it.
pub(super) fn blocks(policies: &mut [CompiledPolicy], subjects: &[PerDirection<Vec<usize>>]) {
    for direction in Direction::BOTH {
        let merged = merged(policies, subjects, direction);
        for policy in &mut *policies {
            for rule in policy.rules_mut(direction) {
                rule.merged = None;
            }
        }
        for (mut result, rules) in merged {
            for (policy, rule) in rules {
                // The first rule takes the result and leaves an empty one to the others.
                let result = std::mem::take(&mut result);
                policies[policy].rules_mut(direction)[rule].merged = Some(result.into());
            }
        }
    }
}

/// Whether rules are merged, or may have to be.
pub(super) fn is_needed(policies: &[&CompiledPolicy]) -> bool {
    Direction::BOTH.into_iter().any(|direction| {
        let mut rules = policies.iter().flat_map(|policy| policy.rules(direction));
        rules.any(|rule| rule.merged.is_some())
            || has_many_lists(policies.iter().copied(), direction)
    })
}

/// Whether there are so many distinct lists in a direction that some may have to be merged.
///
/// In a usual cluster, hundreds of policies have the same few lists: 0.0.0.0/0 except the cluster.
fn has_many_lists<'a>(
    policies: impl Iterator<Item = &'a CompiledPolicy>,
    direction: Direction,
) -> bool {
    let mut distinct = BTreeSet::new();
    policies.flat_map(|policy| lists(policy, direction)).any(|(_, list, _)| {
        distinct.insert(list);
        distinct.len() > APART
    })
}

/// The rules that can be merged: those of blocks, without an order.
fn lists(
    policy: &CompiledPolicy,
    direction: Direction,
) -> impl Iterator<Item = (usize, &PeerList, &RulePorts)> {
    let ordered = policy.stage != Stage::NetworkPolicy;
    let rules = policy.rules(direction).iter().enumerate();
    rules.filter(move |_| !ordered).filter_map(|(index, rule)| {
        let list = rule.peers.as_ref()?;
        list.is_blocks().then_some((index, list, &rule.ports))
    })
}

fn merged(
    policies: &[CompiledPolicy],
    subjects: &[PerDirection<Vec<usize>>],
    direction: Direction,
) -> Vec<(Vec<MergedRule>, Vec<At>)> {
    if !has_many_lists(policies.iter(), direction) {
        return Vec::new();
    }
    // Only rules with the same subjects give a result that holds for all of these.
    let selected = selected(policies.len(), subjects, direction);
    let mut groups: BTreeMap<Common<'_>, Vec<Found<'_>>> = BTreeMap::new();
    for (policy, subjects) in selected.iter().enumerate() {
        for (rule, list, ports) in lists(&policies[policy], direction) {
            let named = (!ports.names.is_empty()).then_some(ports);
            groups.entry((subjects, named)).or_default().push(((policy, rule), list, ports));
        }
    }
    let many = groups.into_iter().filter(|(_, rules)| {
        let distinct: BTreeSet<_> = rules.iter().map(|(_, list, _)| list).collect();
        distinct.len() > APART
    });
    many.map(|((_, named), rules)| {
        // With the policies p and q at the pods 1 and 2, and r at pod 1 alone, the groups are {p, q} and
        // {r}: what p and q allow together holds at both pods, and what r allows does not.
        let result = match named {
            // Names resolve on each destination: rules can be merged only where they name the same
            // ports, and then all their peers together have these ports.
            Some(ports) => {
                let keys = rules.iter().flat_map(|(_, list, _)| list.peers()).cloned().collect();
                vec![MergedRule { peers: PeerList::new(keys, false), ports: ports.clone() }]
            }
            None => join(&rules),
        };
        (result, rules.into_iter().map(|(at, ..)| at).collect())
    })
    .collect()
}

/// For each policy the places of the subjects that it isolates in a direction.
fn selected(
    policies: usize,
    subjects: &[PerDirection<Vec<usize>>],
    direction: Direction,
) -> Vec<Vec<usize>> {
    let mut selected = vec![Vec::new(); policies];
    for (index, subject) in subjects.iter().enumerate() {
        for &policy in &subject[direction] {
            selected[policy].push(index);
        }
    }
    selected
}

/// The result of rules without named ports: regions of addresses with the same ports.
fn join(rules: &[Found<'_>]) -> Vec<MergedRule> {
    let mut regions: BTreeMap<Ports, BTreeSet<PeerKey>> = BTreeMap::new();
    for region in regions_of(rules) {
        if !region.ports.is_empty() {
            let key = PeerKey::Block { cidr: region.cidr, except: region.except };
            regions.entry(region.ports).or_default().insert(key);
        }
    }
    let merged = regions.into_iter().map(|(numbers, keys)| {
        let ports = RulePorts { numbers, names: BTreeSet::new() };
        MergedRule { peers: PeerList::new(keys, false), ports }
    });
    merged.collect()
}

/// A block, without the blocks in it that have other ports.
struct PortRegion {
    cidr: IpNetwork,
    except: BTreeSet<IpNetwork>,
    ports: Ports,
}

/// The regions of addresses in which the rules allow the same ports together.
///
/// ```text
/// rule 0   10.0.0.0/8 except 10.1.0.0/16     tcp 80
/// rule 1   10.1.2.0/24, 10.1.3.0/24          tcp 80
/// enter 10.0.0.0/8      {0}: tcp 80          a region starts
/// enter 10.1.0.0/16     {}: nothing          another one, and an except of the first
/// enter 10.1.2.0/24     {1}: tcp 80          another one, and an except of the second
/// enter 10.1.3.0/24     {1}: tcp 80          the same
/// ```
///
/// Three of the four regions become one peer list for TCP 80; the one without ports is dropped.
fn regions_of(rules: &[Found<'_>]) -> Vec<PortRegion> {
    let mut sweep = Sweep::default();
    let mut rule_of = Vec::new();
    for (rule, (_, list, _)) in rules.iter().enumerate() {
        for peer in list.blocks() {
            if let PeerKey::Block { cidr, except } = peer {
                sweep.add_block(*cidr, except);
                rule_of.push(rule);
            }
        }
    }
    let cover = Cover::new(rules.iter().map(|(.., ports)| &ports.numbers));
    let counts = vec![0; rules.len()];
    let mut regions = Regions { rule_of, counts, cover, open: Vec::new(), done: Vec::new() };
    sweep.run(&mut regions);
    regions.done
}

/// The regions as far as the sweep has come.
struct Regions {
    /// The rule that a block is of.
    rule_of: Vec<usize>,
    /// By rule, how many of its blocks match here.
    counts: Vec<usize>,
    /// The ports of the rules that match here.
    cover: Cover,
    /// For each prefix around this place, the region that starts there; `None` where a prefix has
    /// the ports of the one around it.
    open: Vec<Option<PortRegion>>,
    done: Vec<PortRegion>,
}

impl SweepVisitor for Regions {
    fn turn(&mut self, block: usize, matches: bool) {
        // Blocks of one rule may overlap: the rule matches until the last of them ends.
        let rule = self.rule_of[block];
        let count = &mut self.counts[rule];
        *count = if matches { *count + 1 } else { *count - 1 };
        match (*count, matches) {
            (1, true) => self.cover.add(rule),
            (0, false) => self.cover.remove(rule),
            _ => {}
        }
    }

    fn enter(&mut self, prefix: IpNetwork) {
        let ports = self.cover.covered();
        let around = self.open.iter_mut().rev().find_map(Option::as_mut);
        let region = match around {
            // The same ports as around: the prefix needs no region of its own.
            Some(around) if around.ports == ports => None,
            around => {
                // Regions must not overlap: an address would have the ports of both.
                if let Some(around) = around {
                    around.except.insert(prefix);
                }
                Some(PortRegion { cidr: prefix, except: BTreeSet::new(), ports })
            }
        };
        self.open.push(region);
    }

    fn leave(&mut self) {
        self.done.extend(self.open.pop().flatten());
    }
}
