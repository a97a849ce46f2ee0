//! The smallest change of a policy that lets a connection pass.
//!
//! Every addition that would work is tried, and the one that opens least is taken. For a denied
//! connection from pod `x/web` to port 80 of `x/db`, of these three additions the second wins:
//!
//! ```text
//! port 80 to a rule with the peer 10.0.0.0/8    16,777,216 addresses x 1 port
//! peer app=web to a rule with the port 80              2 pods x 1 port
//! a new rule for app=web at port 80                    2 pods x 1 port, later in the list
//! ```

mod addition;
mod dialect;
mod narrow;
mod tier;
mod width;
mod yaml;

use std::fmt;

use crate::model::{ObjectName, Port, PortSpec, Rule, Snapshot};

use super::{candidate::Side, ends};

pub use addition::{Addition, PolicyChange};

impl PolicyChange {
    /// The addition that lets the connection pass at this side and opens least else: the fewest pods,
    /// far ends and ports; of equal ones the shortest.
    ///
    /// `None` where the connection passes, where no policy that isolates the pod can be read, and
    /// where several pods have the far end's address, so that no peer matches it.
    #[must_use]
    pub fn smallest(snapshot: &Snapshot, side: &Side) -> Option<Self> {
        // A selector matches a shared address only if it matches every pod that has it (S8).
        if side.allowed() || ends::is_shared(snapshot, side.remote) {
            return None;
        }
        if let Some(decider) = side.decider() {
            return tier::smallest(snapshot, side, decider);
        }
        let port = Port {
            protocol: side.protocol,
            port: PortSpec::Range { first: side.port, last: side.port },
        };
        let new = |policy: &ObjectName, addition| Self {
            policy: policy.clone().into(),
            direction: side.direction,
            addition,
        };
        let in_force =
            || side.candidates.iter().filter(|candidate| candidate.wrong_direction.is_none());
        // A rule without the list matches everything: adding to it would open more than this connection.
        let listed = |hit: Option<&Option<usize>>| hit.is_some_and(Option::is_some);
        let of_peer = in_force().filter(|candidate| listed(candidate.peer.as_ref().ok()));
        let ports = of_peer.map(|near| new(&near.policy, Addition::Port(near.rule, port.clone())));
        let of_port = in_force().filter(|candidate| listed(candidate.port.as_ref().ok()));
        let peers = of_port.map(|near| {
            let peer = narrow::peer(snapshot, &near.policy.namespace, side);
            new(&near.policy, Addition::Peer(near.rule, peer))
        });
        // A policy with a selector that cannot be read denies, whatever its rules say (S17).
        let readable = |name: &&ObjectName| {
            snapshot.policies.get(*name).is_some_and(|policy| policy.subject.is_some())
        };
        let rules = side.isolating.iter().filter(readable).map(|policy| {
            let peers = vec![narrow::peer(snapshot, &policy.namespace, side)];
            new(policy, Addition::Rule(Rule { peers, ports: vec![port.clone()] }))
        });
        // Of those that open equally much, the first.
        let all = ports.chain(peers).chain(rules);
        all.min_by_key(|change| width::opened(snapshot, change))
    }

    /// What to add, as an item of a YAML list, in the words of the API that the policy is written
    /// for.
    #[must_use]
    pub fn yaml(&self) -> String {
        yaml::item(self.dialect(), self.direction, &self.addition)
    }
}

/// One line.
impl fmt::Display for PolicyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, .. } = self;
        write!(f, "add to {} of {} {policy}", self.field(), policy.kind())?;
        if let Some(index) = self.before() {
            write!(f, ", before [{index}]")?;
        }
        write!(f, ": {}", self.yaml())
    }
}
