//! The incremental compiler: five stages, each of which takes the delta of the stages before.
//!
//! A change of one object touches a few entries of each stage; the rest of the result is kept. A
//! whole snapshot goes the same way, as a change that touches everything. For example, when the
//! label of one pod in another namespace changes:
//!
//! ```text
//! rules        no policy and no pod of the scope is touched           empty delta
//! peers        the pod moves to another group                         1 address, another set
//! identities   10.0.0.7 resolves to another identity                  1 moved, 0 added
//! allow        no identity came into use or fell out of it            empty delta
//! services     frontends with the backend 10.0.0.7 are resolved       as many as there are
//! ```
//!
//! A property test holds the result equal to compiling from scratch after every change.

mod apply;
mod endpoints;
mod result;

use crate::{
    compile::{
        allow::{Allow, AllowDelta},
        change::{Change, Touched, TouchedPods},
        desired::{Desired, Frontend},
        identities::{Identities, IdentitiesDelta},
        peers::{Peers, PeersDelta},
        rules::{Rules, RulesDelta},
        scope::Scope,
        services::{EarlierDeltas, EarlierStages, Services, ServicesDelta},
    },
    fault::Fault,
    model::{ObjectName, PolicyRef, Snapshot},
};

/// A snapshot and the result of compiling it, kept up to date change by change.
#[derive(Clone, Debug)]
pub struct Compiler {
    snapshot: Snapshot,
    stages: Stages,
}

/// How much of a result was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Policies that select a pod of the scope.
    pub policies: ReuseCount,
    /// Addresses of pods.
    pub addresses: ReuseCount,
    /// Frontends of Services.
    pub frontends: ReuseCount,
    /// Endpoints, with the allow maps that they have.
    pub endpoints: ReuseCount,
}

/// How much of one kind was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReuseCount {
    /// Left as they were.
    pub kept: usize,
    /// Computed again, whether or not the result is the same; also those that are gone.
    pub made: usize,
}

impl ReuseCount {
    fn new(made: usize, all: usize) -> Self {
        Self { kept: all.saturating_sub(made), made }
    }
}

impl Reuse {
    /// Whether nothing was computed again.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let Self { policies, addresses, frontends, endpoints } = self;
        [policies, addresses, frontends, endpoints].iter().all(|kept| kept.made == 0)
    }
}

impl Compiler {
    /// Compiles a snapshot for the first time.
    #[must_use]
    pub fn new(mut snapshot: Snapshot, scope: Scope<'_>) -> Self {
        let stages = Stages::new(&snapshot, scope);
        for (name, pod) in &mut snapshot.pods {
            stages.peers.share(&name.namespace, pod);
        }
        Self { snapshot, stages }
    }

    /// The cluster after the last change.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The result for it, equal to that of [`compile`](super::compile).
    #[must_use]
    pub fn compiled(&self) -> (&Desired, &[Fault]) {
        (&self.stages.desired, &self.stages.faults)
    }

    /// The frontends of each Service, and of each pod with host ports.
    pub fn frontend_owners(&self) -> impl Iterator<Item = (&ObjectName, &[Frontend])> {
        self.stages.services.by_owner()
    }

    /// Applies a change to the snapshot and compiles what it touches.
    pub fn update(&mut self, change: Change) -> Reuse {
        let touched = self.apply(change);
        let reused = self.stages.update(&self.snapshot, &touched);
        if self.stages.must_restart() {
            let node = self.stages.rules.node().map(str::to_owned);
            let scope = node.as_deref().map_or(Scope::Cluster, Scope::Node);
            self.stages = Stages::new(&self.snapshot, scope);
        }
        reused
    }
}

/// The stages, and the result.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    rules: Rules,
    peers: Peers,
    identities: Identities,
    allow: Allow,
    services: Services,
    pub(super) desired: Desired,
    pub(super) faults: Vec<Fault>,
}

/// What each stage reports of a change.
struct Deltas {
    rules: RulesDelta,
    peers: PeersDelta,
    identities: IdentitiesDelta,
    allow: AllowDelta,
    services: ServicesDelta,
}

impl Stages {
    /// Compiles a snapshot.
    pub(super) fn new(snapshot: &Snapshot, scope: Scope<'_>) -> Self {
        let mut stages = Self {
            rules: Rules::new(scope),
            peers: Peers::default(),
            identities: Identities::default(),
            allow: Allow::default(),
            services: Services::default(),
            desired: Desired::default(),
            faults: Vec::new(),
        };
        let subjects = snapshot.pods.iter().filter(|(_, pod)| stages.rules.is_subject(pod));
        let cluster_wide = snapshot.cluster_policies.keys().cloned().map(PolicyRef::ClusterWide);
        let namespaced = snapshot.policies.keys().cloned().map(PolicyRef::Namespaced);
        let everything = Touched {
            subjects: subjects.map(|(name, _)| name.clone()).collect(),
            policies: cluster_wide.chain(namespaced).collect(),
            tiers: true,
            pods: TouchedPods::All,
            nodes: true,
            ..Touched::default()
        };
        stages.update(snapshot, &everything);
        stages
    }

    /// Runs what is touched through the stages, and writes what changed into the result.
    fn update(&mut self, snapshot: &Snapshot, touched: &Touched) -> Reuse {
        let deltas = self.run(snapshot, touched);
        let Deltas { rules, peers, identities, services, .. } = &deltas;
        let (compiled, resolved, frontends) =
            (rules.compiled, identities.resolved, services.resolved);
        if rules.faults || peers.faults {
            self.collect_faults();
        }
        let endpoints = self.write(snapshot, deltas);
        Reuse {
            policies: ReuseCount::new(compiled, self.rules.len()),
            addresses: ReuseCount::new(resolved, self.peers.len()),
            frontends: ReuseCount::new(frontends, self.services.len()),
            endpoints: ReuseCount::new(endpoints, self.rules.subjects().len()),
        }
    }

    /// Runs what is touched through the stages: each takes what the stages before report.
    fn run(&mut self, snapshot: &Snapshot, touched: &Touched) -> Deltas {
        let Self { rules, peers, identities, allow, services, .. } = self;
        let new_rules = rules.update(snapshot, touched);
        let lists = (rules.lists(), &new_rules.lists);
        let new_peers = peers.update(snapshot, touched, lists);
        let new_identities = identities.update(lists, (&*peers, &new_peers));
        let new_allow =
            allow.update(snapshot, (&*rules, &new_rules), (&*identities, &new_identities));
        let before = EarlierStages { rules, peers, identities, allow };
        let deltas =
            EarlierDeltas { rules: &new_rules, identities: &new_identities, allow: &new_allow };
        let new_services = services.update(snapshot, touched, before, deltas);
        Deltas {
            rules: new_rules,
            peers: new_peers,
            identities: new_identities,
            allow: new_allow,
            services: new_services,
        }
    }

    fn collect_faults(&mut self) {
        self.faults = self.rules.faults().chain(self.peers.faults()).cloned().collect();
        self.faults.sort();
        self.faults.dedup();
    }

    /// Whether the stages must start from scratch: so many ids are spent that this is cheaper than
    /// keeping them, or an invariant was found broken.
    fn must_restart(&self) -> bool {
        let Self { rules, peers, identities, allow, services, .. } = self;
        let parts = [rules.spent(), peers.spent(), identities.spent(), allow.spent()];
        let spent = parts.iter().sum::<usize>() + services.spent();
        // Restarting costs as much as compiling once, so that it may happen once in as many changes as
        // would spend several times the ids in use.
        let used = identities.len() + peers.len();
        let is_sound = rules.is_sound()
            && peers.is_sound()
            && identities.is_sound()
            && allow.is_sound()
            && services.is_sound();
        spent > 10_000 + 4 * used || !is_sound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        IpBlock, NetworkPolicy, ObjectName, Peer, Pod, Port, PortSpec, Protocol, Rule, Selector,
        Snapshot,
    };

    /// One pod under policies that each match all but one address, at a port of their own.
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
            let stages = Stages::new(&snapshot(policies), Scope::Cluster);
            let endpoint = stages.desired.endpoints.values().next().expect("a");
            let isolation = endpoint.isolation.ingress.as_ref().expect("it is isolated");
            let ports = isolation.allow_map.ports.values();
            let ranges: usize = ports.map(|ports| ports.ranges.len()).sum();
            let identities = stages.identities.iter();
            ranges + identities.map(|identity| 1 + identity.lists.len()).sum::<usize>()
        };
        let (some, more) = (kept(200), kept(800));
        assert!(more <= 5 * some, "{some}, {more}");
    }
}
