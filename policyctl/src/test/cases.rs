//! The cases of a test file, with their ends looked up, and what is found about them.

use std::collections::{BTreeMap, BTreeSet};

use policy_core::{desired::Ports, model::Family};
use policy_manifest::{Expected, Place, Verdict};
use serde::{Serialize, Serializer};

use super::{
    failure::Failure,
    judge::{Judge, Parties, TestParty},
};
use crate::port_set::PortSet;

/// A case with its parties.
pub(super) struct ResolvedCase {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) ports: Option<Ports>,
    pub(super) expected: Expected,
    pub(super) from: Parties,
    pub(super) to: Parties,
    /// Every pod, and every address outside of the cluster.
    pub(super) everybody: BTreeSet<TestParty>,
}

/// What is found about a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CaseResult {
    pub(super) name: String,
    #[serde(flatten, serialize_with = "place")]
    pub(super) place: Place,
    pub(super) passed: bool,
    pub(super) failures: Vec<Failure>,
    /// Why nothing could be judged; then the case does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<&'static str>,
}

/// Failures of one case, and which pairs were judged.
#[derive(Default)]
struct PairFindings {
    failures: Vec<(TestParty, TestParty, Family, Failure)>,
    /// For each source and destination other than the Internet: families that were judged.
    judged: BTreeMap<TestParty, BTreeSet<Family>>,
    pairs: usize,
}

impl ResolvedCase {
    /// Judges every pair of its parties.
    pub(super) fn judge(&self, judge: &Judge<'_>) -> CaseResult {
        let (from, to) = (&self.from.all, &self.to.all);
        let mut found = PairFindings::default();
        match self.expected {
            Expected::Allow => self.must(judge, &mut found),
            Expected::Deny => self.must_not(judge, from, to, &mut found),
            Expected::OnlyFrom => {
                self.must(judge, &mut found);
                self.must_not(judge, &self.others(judge, from), to, &mut found);
            }
            Expected::OnlyTo => {
                self.must(judge, &mut found);
                self.must_not(judge, from, &self.others(judge, to), &mut found);
            }
        }
        let problem = (found.pairs == 0).then_some(
            "nothing is judged: no two of these ends have addresses of one family; a pod is not \
             judged with itself",
        );
        let failures = merged(found.failures.into_iter().map(|(.., failure)| failure));
        CaseResult {
            name: self.name.clone(),
            place: self.place.clone(),
            passed: failures.is_empty() && problem.is_none(),
            failures,
            problem,
        }
    }

    /// Each pair must be allowed: at each port, or at one where none is named.
    fn must(&self, judge: &Judge<'_>, found: &mut PairFindings) {
        for (from, to) in pairs(&self.from.all, &self.to.all) {
            for family in Family::BOTH {
                let Some(allowed) = judge.ports(from, to, family) else { continue };
                found.note(self.other_end(from, to), family);
                let missing = match &self.ports {
                    Some(asked) => asked.without(&allowed),
                    None if PortSet::new(allowed.clone()).is_empty() => Ports::everything(),
                    None => Ports::default(),
                };
                if !PortSet::new(missing.clone()).is_empty() {
                    let failure = Failure::new(judge, (from, to), family, missing, Verdict::Allow);
                    found.failures.push((from.clone(), to.clone(), family, failure));
                }
            }
        }
        // A pod with one family reaches the Internet with this one.
        let failed: BTreeSet<(TestParty, Family)> = found
            .failures
            .iter()
            .filter(|(from, to, ..)| self.is_internet(from, to))
            .map(|(from, to, family, _)| (self.other_end(from, to).clone(), *family))
            .collect();
        found.failures.retain(|(from, to, ..)| {
            let end = self.other_end(from, to);
            let mut families = found.judged.get(end).into_iter().flatten();
            !self.is_internet(from, to)
                || families.all(|family| failed.contains(&(end.clone(), *family)))
        });
    }

    /// No pair may be allowed at any of the ports.
    fn must_not(
        &self,
        judge: &Judge<'_>,
        from: &BTreeSet<TestParty>,
        to: &BTreeSet<TestParty>,
        found: &mut PairFindings,
    ) {
        for (from, to) in pairs(from, to) {
            // A pod always reaches itself, also through a Service.
            if judge.is_backend(from, to) {
                continue;
            }
            for family in Family::BOTH {
                let Some(allowed) = judge.ports(from, to, family) else { continue };
                found.pairs += 1;
                let open = match &self.ports {
                    Some(asked) => asked.and(&allowed),
                    None => allowed,
                };
                if !PortSet::new(open.clone()).is_empty() {
                    let failure = Failure::new(judge, (from, to), family, open, Verdict::Deny);
                    found.failures.push((from.clone(), to.clone(), family, failure));
                }
            }
        }
    }

    /// Everybody but some parties, and the backends of those that are Services.
    fn others(&self, judge: &Judge<'_>, named: &BTreeSet<TestParty>) -> BTreeSet<TestParty> {
        let backends = judge.backends(named);
        let addresses = named.iter().filter_map(|party| match party {
            TestParty::Address(address) => Some(*address),
            TestParty::Pod(_) | TestParty::Service(_) | TestParty::Region(..) => None,
        });
        let addresses: BTreeSet<_> = addresses.chain(backends).collect();
        let is_named = |party: &TestParty| match party {
            TestParty::Pod(name) => {
                let pod = judge.snapshot().pods.get(name);
                pod.is_some_and(|pod| pod.addresses.iter().any(|one| addresses.contains(one)))
            }
            TestParty::Region(_, address) | TestParty::Address(address) => {
                addresses.contains(address)
            }
            TestParty::Service(_) => false,
        };
        let others = self.everybody.iter();
        others.filter(|party| !named.contains(*party) && !is_named(party)).cloned().collect()
    }

    fn is_internet(&self, from: &TestParty, to: &TestParty) -> bool {
        self.from.internet.contains(from) || self.to.internet.contains(to)
    }

    /// The end of a pair that is not the Internet.
    fn other_end<'p>(&self, from: &'p TestParty, to: &'p TestParty) -> &'p TestParty {
        if self.from.internet.contains(from) { to } else { from }
    }
}

impl PairFindings {
    fn note(&mut self, end: &TestParty, family: Family) {
        self.pairs += 1;
        self.judged.entry(end.clone()).or_default().insert(family);
    }
}

/// Each source with each destination, without a party and itself.
fn pairs<'p>(
    from: &'p BTreeSet<TestParty>,
    to: &'p BTreeSet<TestParty>,
) -> impl Iterator<Item = (&'p TestParty, &'p TestParty)> {
    let is_outside =
        |party: &TestParty| matches!(party, TestParty::Region(..) | TestParty::Address(_));
    let all = from.iter().flat_map(|from| to.iter().map(move |to| (from, to)));
    all.filter(move |(from, to)| from != to && !(is_outside(from) && is_outside(to)))
}

/// Failures that differ in their families only as one.
fn merged(failures: impl Iterator<Item = Failure>) -> Vec<Failure> {
    let mut merged: Vec<Failure> = Vec::new();
    for failure in failures {
        match merged.iter_mut().find(|one| one.is_like(&failure)) {
            Some(one) => {
                let new = failure.families.into_iter();
                let new: Vec<Family> =
                    new.filter(|one_of| !one.families.contains(one_of)).collect();
                one.families.extend(new);
            }
            None => merged.push(failure),
        }
    }
    merged
}

/// `file`, `line` and `column`.
fn place<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields<'a> {
        file: &'a str,
        line: usize,
        column: usize,
    }
    Fields { file: &place.source, line: place.line, column: place.column }.serialize(to)
}
