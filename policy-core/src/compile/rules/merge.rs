//! Rules of blocks at the same pods are told by what they come to, where there are many of them.
//!
//! An identity is the set of peer lists that match an address. Thousands of rules that each mean
//! every address but a few would make thousands of identities of thousands of lists each,
//! though all that counts is what the rules allow together: ports for each region of addresses.

mod cover;

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::{
    compile::{
        prefix::contains,
        rules::{
            merge::cover::Cover,
            peer_list::{PeerKey, PeerList},
            rule::{CompiledPolicy, Joined, RulePorts, Stage},
        },
    },
    model::{DIRECTIONS, Direction},
    ports::Ports,
};

/// So many different lists are left apart: each then keeps its identities when another changes.
const APART: usize = 32;

/// A rule: its policy, and its index there.
type At = (usize, usize);

/// A rule that can be joined to others.
type Found<'a> = (At, &'a PeerList, &'a RulePorts);

/// What rules must have in common to be joined: subjects, and where they name ports, these.
type Common<'a> = (&'a [usize], Option<&'a RulePorts>);

/// Lets one rule of many, the first, stand for what they come to together.
///
/// `policies` come in an order that depends on nothing but their names; `subjects` are the policies
/// that select each subject, for ingress and egress.
pub(crate) fn blocks(policies: &mut [CompiledPolicy], subjects: &[[Vec<usize>; 2]]) {
    for direction in DIRECTIONS {
        let joined = joined(policies, subjects, direction);
        for policy in &mut *policies {
            policy.rules_mut(direction).iter_mut().for_each(|rule| rule.joined = None);
        }
        for (mut outcome, rules) in joined {
            for (policy, rule) in rules {
                // The others are left with nothing.
                let outcome = std::mem::take(&mut outcome);
                policies[policy].rules_mut(direction)[rule].joined = Some(outcome.into());
            }
        }
    }
}

/// Whether rules are joined, or may have to be.
pub(crate) fn is_needed(policies: &[&CompiledPolicy]) -> bool {
    DIRECTIONS.into_iter().any(|direction| {
        let mut rules = policies.iter().flat_map(|policy| policy.rules(direction));
        rules.any(|rule| rule.joined.is_some())
            || policies.iter().flat_map(|policy| lists(policy, direction)).nth(APART).is_some()
    })
}

/// The rules that can be joined: those of blocks, without an order.
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

fn joined(
    policies: &[CompiledPolicy],
    subjects: &[[Vec<usize>; 2]],
    direction: Direction,
) -> Vec<(Vec<Joined>, Vec<At>)> {
    let lists = |policy: usize| lists(&policies[policy], direction);
    if (0..policies.len()).flat_map(lists).nth(APART).is_none() {
        return Vec::new();
    }
    let selected = selected(policies.len(), subjects, direction);
    let mut groups: BTreeMap<Common<'_>, Vec<Found<'_>>> = BTreeMap::new();
    for (policy, subjects) in selected.iter().enumerate() {
        for (rule, list, ports) in lists(policy) {
            let named = (!ports.names.is_empty()).then_some(ports);
            groups.entry((subjects, named)).or_default().push(((policy, rule), list, ports));
        }
    }
    let many = groups.into_iter().filter(|(_, rules)| {
        let distinct: BTreeSet<_> = rules.iter().map(|(_, list, _)| list).collect();
        distinct.len() > APART
    });
    many.map(|((_, named), rules)| {
        let outcome = match named {
            Some(ports) => {
                let keys = rules.iter().flat_map(|(_, list, _)| list.peers()).cloned().collect();
                vec![Joined { peers: PeerList::new(keys, false), ports: ports.clone() }]
            }
            None => outcome(&rules),
        };
        (outcome, rules.into_iter().map(|(at, ..)| at).collect())
    })
    .collect()
}

/// For each policy the subjects that it isolates in a direction.
fn selected(
    policies: usize,
    subjects: &[[Vec<usize>; 2]],
    direction: Direction,
) -> Vec<Vec<usize>> {
    let mut selected = vec![Vec::new(); policies];
    for (index, subject) in subjects.iter().enumerate() {
        let [ingress, egress] = subject;
        let by = match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        for &policy in by {
            selected[policy].push(index);
        }
    }
    selected
}

/// What rules without named ports come to: regions of addresses with the same ports.
fn outcome(rules: &[Found<'_>]) -> Vec<Joined> {
    let mut regions: BTreeMap<Ports, BTreeSet<PeerKey>> = BTreeMap::new();
    for region in regions_of(rules) {
        if !region.ports.is_empty() {
            let key = PeerKey::Block { cidr: region.cidr, except: region.except };
            regions.entry(region.ports).or_default().insert(key);
        }
    }
    let joined = regions.into_iter().map(|(numbers, keys)| {
        let ports = RulePorts { numbers, names: BTreeSet::new() };
        Joined { peers: PeerList::new(keys, false), ports }
    });
    joined.collect()
}

/// A block, without the blocks in it that have other ports.
struct Region {
    cidr: IpNetwork,
    except: BTreeSet<IpNetwork>,
    ports: Ports,
}

/// What a prefix begins: blocks that start to match there, and blocks that cease to.
#[derive(Default)]
struct Edge {
    starts: Vec<usize>,
    ends: Vec<usize>,
}

fn regions_of(rules: &[Found<'_>]) -> Vec<Region> {
    let mut edges: BTreeMap<IpNetwork, Edge> = BTreeMap::new();
    // By block, the rule that it is of.
    let mut rule_of = Vec::new();
    for (rule, (_, list, _)) in rules.iter().enumerate() {
        for peer in list.peers() {
            let PeerKey::Block { cidr, except } = peer else { continue };
            if except.iter().any(|outer| contains(*outer, *cidr)) {
                continue;
            }
            edges.entry(*cidr).or_default().starts.push(rule_of.len());
            for inner in except {
                edges.entry(*inner).or_default().ends.push(rule_of.len());
            }
            rule_of.push(rule);
        }
    }
    let mut walk = Walk::new(rules, rule_of);
    for (prefix, edge) in edges {
        walk.enter(prefix, &edge);
    }
    walk.leave(None);
    walk.done
}

/// A walk over prefixes in their order, in which each comes after all that contain it.
struct Walk {
    rule_of: Vec<usize>,
    /// Blocks that match here, and how many of each rule do.
    matching: Vec<bool>,
    counts: Vec<usize>,
    cover: Cover,
    /// The prefixes around the present place, each with the blocks that it turned, and the region
    /// that begins there, unless it has the ports of the one around.
    open: Vec<(IpNetwork, Vec<usize>, Option<Region>)>,
    done: Vec<Region>,
}

impl Walk {
    fn new(rules: &[Found<'_>], rule_of: Vec<usize>) -> Self {
        let cover = Cover::new(rules.iter().map(|(.., ports)| &ports.numbers));
        let (matching, counts) = (vec![false; rule_of.len()], vec![0; rules.len()]);
        Self { rule_of, matching, counts, cover, open: Vec::new(), done: Vec::new() }
    }

    fn enter(&mut self, prefix: IpNetwork, edge: &Edge) {
        self.leave(Some(prefix));
        let ended = edge.ends.iter().filter(|block| self.matching[**block]);
        let turned: Vec<usize> = ended.chain(&edge.starts).copied().collect();
        for block in &turned {
            self.turn(*block);
        }
        let ports = self.cover.covered();
        let around = self.open.iter_mut().rev().find_map(|(.., region)| region.as_mut());
        let region = match around {
            Some(around) if around.ports == ports => None,
            around => {
                if let Some(around) = around {
                    around.except.insert(prefix);
                }
                Some(Region { cidr: prefix, except: BTreeSet::new(), ports })
            }
        };
        self.open.push((prefix, turned, region));
    }

    /// Closes what does not contain a prefix, or everything.
    fn leave(&mut self, next: Option<IpNetwork>) {
        let outside = |outer: IpNetwork| next.is_none_or(|next| !contains(outer, next));
        while let Some((_, turned, region)) = self.open.pop_if(|(outer, ..)| outside(*outer)) {
            for block in turned {
                self.turn(block);
            }
            self.done.extend(region);
        }
    }

    /// Lets a block match, or no longer.
    fn turn(&mut self, block: usize) {
        let (rule, matches) = (self.rule_of[block], !self.matching[block]);
        self.matching[block] = matches;
        let count = &mut self.counts[rule];
        *count = if matches { *count + 1 } else { *count - 1 };
        match (*count, matches) {
            (1, true) => self.cover.add(rule),
            (0, false) => self.cover.remove(rule),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::compile::{Scope, compiler::state::State};
    use crate::model::{
        IpBlock, NetworkPolicy, ObjectName, Peer, Pod, Port, PortSpec, Protocol, Rule, Selector,
        Snapshot,
    };

    /// One pod under policies that each mean all but one address, at a port of their own.
    fn snapshot(policies: u16) -> Snapshot {
        let block = |text: &str| text.parse().expect("a block");
        let policy = |n: u16| {
            let except = vec![block(&format!("192.0.{}.{}/32", n / 256, n % 256))];
            let peers = vec![Peer::Block(IpBlock { cidr: block("0.0.0.0/0"), except })];
            let port = PortSpec::Range { first: 1000 + n, last: 1000 + n };
            let ports = vec![Port { protocol: Protocol::Tcp, port }];
            let subject = Some(Selector::default());
            let ingress = vec![Rule { peers, ports }];
            let policy = NetworkPolicy { subject, ingress, ..NetworkPolicy::default() };
            (ObjectName::new("x", format!("p{n}")), policy)
        };
        Snapshot {
            pods: [(ObjectName::new("x", "a"), Pod::default())].into(),
            policies: (0..policies).map(policy).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_is_kept_grows_with_the_policies_and_not_with_their_square() {
        let kept = |policies| {
            let state = State::new(&snapshot(policies), Scope::Cluster);
            let isolation =
                state.desired.endpoints.values().next().expect("a").isolation.ingress.clone();
            let content = isolation.expect("it is isolated").allow_map;
            let ranges: usize = content.ports.values().map(|ports| ports.ranges.len()).sum();
            let numbers = state.identities.numbers.iter();
            ranges + numbers.map(|(_, meaning)| 1 + meaning.lists.len()).sum::<usize>()
        };
        let (some, more) = (kept(200), kept(800));
        assert!(more <= 5 * some, "{some}, {more}");
    }
}
