//! The parties that the ends of a test stand for.
//!
//! ```text
//! backend                 the pods of the workload backend
//! pods app=web in shop    each pod of shop with the label
//! 10.0.0.0/8              the regions into which the policies' blocks split it
//! ```

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;
use policy_core::{
    connections::{self, Region},
    model::{ObjectName, Selector},
};
use policy_manifest::{Claim, End, TestCase, TestEnd, TestNamespaces, nearest};

use super::{
    cases::ResolvedCase,
    judge::{Judge, Parties, TestParty},
};
use crate::{
    internet,
    named::Named,
    test_error::{TestEndError, TestEndErrors, TestEndReason},
    workload,
};

/// Looks up ends; `own` is the namespace of names without one.
struct EndLookup<'a> {
    judge: &'a Judge<'a>,
    own: Option<&'a str>,
    /// The address space, split by the blocks of policies and of this case.
    regions: &'a [(Region, IpAddr)],
}

/// Looks up the ends of every case.
pub(super) fn resolve(
    judge: &Judge<'_>,
    asked: &[(&TestCase, Option<&str>)],
) -> Result<Vec<ResolvedCase>, TestEndErrors> {
    let (mut cases, mut errors) = (Vec::new(), Vec::new());
    for (case, own) in asked {
        let regions = regions(judge, case.claim.from.iter().chain(&case.claim.to));
        let lookup = EndLookup { judge, own: *own, regions: &regions };
        let TestCase { name, claim: Claim { from, to, ports, expected }, place } = case;
        let (from, to) = (lookup.all(from, true), lookup.all(to, false));
        let everybody = lookup.everybody();
        match (from, to) {
            (Ok(from), Ok(to)) => cases.push(ResolvedCase {
                name: name.clone(),
                place: place.clone(),
                ports: ports.clone(),
                expected: *expected,
                from,
                to,
                everybody,
            }),
            (from, to) => {
                let reasons = [from.err(), to.err()].into_iter().flatten();
                errors.extend(reasons.map(|reason| TestEndError {
                    place: place.clone(),
                    name: name.clone(),
                    reason,
                }));
            }
        }
    }
    if errors.is_empty() { Ok(cases) } else { Err(TestEndErrors(errors)) }
}

/// The regions of the address space, each with an address that is no pod's and no Service's.
fn regions<'a>(
    judge: &Judge<'_>,
    ends: impl Iterator<Item = &'a TestEnd>,
) -> Vec<(Region, IpAddr)> {
    let mut blocks: Vec<IpNetwork> = judge.desired.blocks.keys().collect();
    // Hosts and backends may be named, and are then apart from the addresses around them.
    let hosts = judge.manifests.hosts.values().flat_map(|host| &host.addresses);
    let backends = judge.backends.values().flat_map(|backends| backends.iter());
    let backends = backends.map(|(address, _)| address);
    let outside = hosts.chain(backends).filter(|address| !judge.taken.contains(*address));
    blocks.extend(outside.map(|address| IpNetwork::from(*address)));
    for end in ends {
        match end {
            TestEnd::Block(block) => blocks.push(*block),
            TestEnd::Internet => blocks.extend(internet::boundaries()),
            TestEnd::Named(name) => blocks.extend(name.parse::<IpAddr>().map(IpNetwork::from)),
            TestEnd::Pods { .. } | TestEnd::Everybody => {}
        }
    }
    let regions = connections::regions(blocks).into_iter();
    let addressed = |region: Region| {
        let address = region.first_address(&judge.taken)?;
        Some((region, address))
    };
    regions.filter_map(addressed).collect()
}

impl EndLookup<'_> {
    fn all(&self, ends: &[TestEnd], opens: bool) -> Result<Parties, TestEndReason> {
        let mut parties = Parties::default();
        for end in ends {
            match end {
                TestEnd::Named(name) => parties.all.extend(self.named(name, opens)?),
                TestEnd::Pods { pods, namespaces } => {
                    parties.all.extend(self.selected(end, pods, namespaces)?);
                }
                TestEnd::Block(block) => {
                    parties.all.extend(self.outside(|region, _| {
                        block.prefix() <= region.block.prefix()
                            && block.contains(region.block.network())
                    }));
                }
                TestEnd::Internet => {
                    let found = self.outside(|_, address| internet::contains(address));
                    parties.internet.extend(found);
                }
                TestEnd::Everybody => parties.all.extend(self.everybody()),
            }
        }
        parties.all.extend(parties.internet.iter().cloned());
        Ok(parties)
    }

    /// Every pod, and every address outside of the cluster.
    fn everybody(&self) -> BTreeSet<TestParty> {
        let pods = self.judge.pods().cloned().map(TestParty::Pod);
        pods.chain(self.outside(|_, _| true)).collect()
    }

    fn outside(
        &self,
        is_meant: impl Fn(&Region, IpAddr) -> bool,
    ) -> impl Iterator<Item = TestParty> {
        let regions = self.regions.iter();
        let regions = regions.filter(move |(region, address)| is_meant(region, *address));
        regions.map(|(region, address)| TestParty::Region(region.clone(), *address))
    }

    fn selected(
        &self,
        end: &TestEnd,
        pods: &Selector,
        namespaces: &TestNamespaces,
    ) -> Result<Vec<TestParty>, TestEndReason> {
        let snapshot = self.judge.snapshot();
        let is_namespace = |name: &str| match namespaces {
            TestNamespaces::Default => self.own.is_none_or(|own| own == name),
            TestNamespaces::Every => true,
            TestNamespaces::Named(wanted) => wanted == name,
            TestNamespaces::Matching(labels) => labels.matches(&snapshot.namespace_labels(name)),
        };
        if let TestNamespaces::Named(name) = namespaces
            && !snapshot.namespaces.contains_key(name)
        {
            let near = nearest(name, snapshot.namespaces.keys().map(String::as_str));
            return Err(TestEndReason::Unknown {
                end: format!("namespace {name}"),
                nearest: near.map(str::to_owned),
            });
        }
        let found: Vec<TestParty> = self
            .judge
            .pods()
            .filter(|name| is_namespace(&name.namespace))
            .filter(|name| snapshot.pods.get(*name).is_some_and(|pod| pods.matches(&pod.labels)))
            .map(|name| TestParty::Pod(name.clone()))
            .collect();
        if found.is_empty() {
            return Err(TestEndReason::NoPods { end: end.to_string() });
        }
        Ok(found)
    }

    /// What a name stands for: without a namespace it must be in one namespace only.
    fn named(&self, text: &str, opens: bool) -> Result<Vec<TestParty>, TestEndReason> {
        let unknown = || TestEndReason::Unknown { end: text.to_owned(), nearest: self.near(text) };
        let Ok(named) = text.parse::<Named>() else {
            return Err(unknown());
        };
        let namespaces: Vec<&str> = match self.own {
            Some(own) => vec![own],
            None => self.judge.snapshot().namespaces.keys().map(String::as_str).collect(),
        };
        let mut found: Vec<(&str, Vec<TestParty>)> = Vec::new();
        for namespace in namespaces {
            let ends = named.ends(self.judge.manifests, namespace).unwrap_or_default();
            let parties: Vec<TestParty> = ends.iter().flat_map(|end| self.party(end)).collect();
            if !parties.is_empty() && !found.iter().any(|(_, other)| *other == parties) {
                found.push((namespace, parties));
            }
        }
        let several = found.len() > 1;
        let candidates: Vec<String> =
            found.iter().map(|(namespace, _)| format!("{namespace}/{text}")).collect();
        match found.pop() {
            None => Err(unknown()),
            Some(_) if several => {
                Err(TestEndReason::Ambiguous { end: text.to_owned(), found: candidates.join(", ") })
            }
            Some((_, parties)) if opens && matches!(parties[..], [TestParty::Service(_)]) => {
                Err(TestEndReason::ServiceAsSource { end: text.to_owned() })
            }
            Some((_, parties)) => Ok(parties),
        }
    }

    /// The parties of an end that exists.
    fn party(&self, end: &End) -> Vec<TestParty> {
        let snapshot = self.judge.snapshot();
        match end {
            End::Pod(name) if self.judge.is_live(name) => {
                let copies = self.judge.manifests.made_up.copies.iter();
                let copies = copies.filter(|(_, first)| *first == name).map(|(copy, _)| copy);
                copies.chain([name]).cloned().map(TestParty::Pod).collect()
            }
            End::Service(name) if snapshot.services.contains_key(name) => {
                vec![TestParty::Service(name.clone())]
            }
            End::Pod(_) | End::Service(_) => Vec::new(),
            End::Host(name) => {
                let host = self.judge.manifests.hosts.get(name);
                let addresses = host.map(|host| host.addresses.clone()).unwrap_or_default();
                addresses.into_iter().map(TestParty::Address).collect()
            }
            End::Address(address) => vec![self.at(*address)],
        }
    }

    /// The pod that has an address, or the address itself.
    fn at(&self, address: IpAddr) -> TestParty {
        let mut pods = self.judge.snapshot().pods.iter();
        let pod = pods.find(|(_, pod)| pod.is_subject() && pod.addresses.contains(&address));
        pod.map_or(TestParty::Address(address), |(name, _)| TestParty::Pod(name.clone()))
    }

    /// A name that is written like one that does not exist.
    fn near(&self, text: &str) -> Option<String> {
        let workloads = workload::of_pods(self.judge.snapshot()).into_values();
        let names: BTreeSet<ObjectName> =
            workloads.chain(self.judge.snapshot().services.keys().cloned()).collect();
        if let Some(elsewhere) = names.iter().find(|name| name.name == text) {
            return Some(elsewhere.to_string());
        }
        let full: Vec<String> = names.iter().map(ToString::to_string).collect();
        let short = names.iter().map(|name| name.name.as_str());
        nearest(text, full.iter().map(String::as_str).chain(short)).map(str::to_owned)
    }
}
