//! Connections that are not as a test expects.

use policy_core::{
    connections::Region,
    desired::Ports,
    model::{Family, Protocol},
};
use policy_manifest::Verdict;
use serde::{Serialize, Serializer};

use super::judge::{Judge, TestParty};
use crate::port_set::PortSet;

/// A web server's port: the one that is explained where every port has the same verdict.
const TYPICAL: (Protocol, u16) = (Protocol::Tcp, 80);

/// Most exceptions of a region that are printed.
const EXCEPTIONS: usize = 3;

/// The connections between two parties that are not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) from: String,
    pub(super) to: String,
    #[serde(serialize_with = "names")]
    pub(super) families: Vec<Family>,
    /// The ports with another verdict than the expected one.
    pub(super) ports: PortSet,
    pub(super) verdict: Verdict,
    pub(super) expected: Verdict,
    /// The policies that decide at the first of these ports, in words.
    pub(super) decided_by: String,
}

impl Failure {
    /// A failure in one family.
    pub(super) fn new(
        judge: &Judge<'_>,
        (from, to): (&TestParty, &TestParty),
        family: Family,
        ports: Ports,
        expected: Verdict,
    ) -> Self {
        let verdict = match expected {
            Verdict::Allow => Verdict::Deny,
            Verdict::Deny => Verdict::Allow,
        };
        let decided_by = match port_of(judge, to, &ports) {
            Some(port) => judge.reason(from, to, family, port),
            None if verdict == Verdict::Deny => {
                "only rules without ports allow ICMP and other protocols without ports".to_owned()
            }
            None => "a rule without ports allows them".to_owned(),
        };
        Self {
            from: name(judge, from),
            to: name(judge, to),
            families: vec![family],
            ports: PortSet::new(ports),
            verdict,
            expected,
            decided_by,
        }
    }

    /// Whether another one differs in its families at most.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        Self { families: Vec::new(), ..self.clone() }
            == Self { families: Vec::new(), ..other.clone() }
    }
}

/// A port of the set to explain; `None` where it has protocols without ports only.
fn port_of(judge: &Judge<'_>, to: &TestParty, ports: &Ports) -> Option<(Protocol, u16)> {
    let declared = match to {
        TestParty::Pod(name) => judge.snapshot().pods.get(name).and_then(|pod| pod.ports.first()),
        TestParty::Service(_) | TestParty::Address(_) | TestParty::Region(..) => None,
    };
    let declared = declared.map(|port| (port.protocol, port.port));
    let preferred = declared.into_iter().chain([TYPICAL]);
    let first = ports.ranges.iter().map(|(protocol, first, _)| (*protocol, (*first).max(1)));
    preferred.chain(first).find(|(protocol, port)| ports.contains(*protocol, *port))
}

/// A party for people; a second pod of a workload has the name of the first.
pub(super) fn name(judge: &Judge<'_>, party: &TestParty) -> String {
    match party {
        TestParty::Pod(name) => {
            judge.manifests.made_up.copies.get(name).unwrap_or(name).to_string()
        }
        TestParty::Service(name) => format!("service/{name}"),
        TestParty::Address(address) => address.to_string(),
        TestParty::Region(region, _) => short(region),
    }
}

/// A region with the first of its exceptions.
fn short(region: &Region) -> String {
    let listed = region.except.iter().take(EXCEPTIONS);
    let mut except: Vec<String> = listed.map(ToString::to_string).collect();
    let more = region.except.len().saturating_sub(EXCEPTIONS);
    except.extend((more > 0).then(|| format!("{more} more blocks")));
    let separator = if except.is_empty() { "" } else { " except " };
    format!("{}{separator}{}", region.block, except.join(", "))
}

fn names<S: Serializer>(families: &[Family], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(families.iter().map(|family| family.name()))
}
