//! Who decides about a connection at one pod: the one implementation that [`attribute`](super) and
//! [`explain`](crate::explain) share, so that they cannot disagree.
//!
//! Input: the policies that select the pod in one direction, and what those policies can see of the
//! far end. Output: the verdict with the rules that give it. Policies are evaluated in three stages
//! (S51):
//!
//! ```text
//! Admin tier          rule 0 does not match, rule 1 matches: Deny  -> denied by rule 1
//!                     …or Pass                                     -> next stage
//! network policies    none selects the pod                         -> next stage
//!                     some rules allow                             -> allowed by these rules
//!                     no rule allows                               -> denied; all of them isolate
//! Baseline tier       as Admin; where no rule matches              -> allowed by nobody
//! ```

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use crate::{
    compile::{AddressKey, CompiledPolicy, CompiledRule, ResolvedPorts, RulePorts, Stage},
    model::{Action, ContainerPort, Direction, PolicyRef, Protocol},
};

/// The verdict of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionVerdict {
    /// Whether the connection passes.
    pub allowed: bool,
    /// The rules that give the verdict; where no rule allows, the policies that isolate the pod.
    /// Empty where nothing isolates it, or where no rule of a tier matches.
    pub by: Arc<[DecidingPolicy]>,
}

/// A policy that decides, or takes part in the decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecidingPolicy {
    /// The policy.
    pub policy: PolicyRef,
    /// Index of the rule in `ingress` or `egress`; `None` where the policy isolates the pod and no
    /// rule allows.
    pub rule: Option<usize>,
}

/// A pod in one direction, with the policies that select it there.
pub(crate) struct DirectedSubject<'a> {
    pub(crate) direction: Direction,
    /// Ports of the pod's containers: named ports of ingress rules resolve on them (S23).
    pub(crate) container_ports: &'a [ContainerPort],
    /// In the order of their stages, and of priorities within a tier.
    pub(crate) policies: Vec<(&'a PolicyRef, &'a CompiledPolicy)>,
}

/// The far end of a connection, as far as policies can see it.
pub(crate) struct FarEnd<'a> {
    /// Its address; `None` where only its identity is known, as of a dropped packet that is
    /// translated on its way.
    pub(crate) address: Option<IpAddr>,
    /// What its identity stands for.
    pub(crate) key: Cow<'a, AddressKey>,
    /// Protocol and destination port; `None` for a protocol without ports, such as ICMP.
    pub(crate) port: Option<(Protocol, u16)>,
}

impl DirectionVerdict {
    /// The verdict where nothing isolates the pod.
    pub(crate) fn not_isolated() -> Self {
        Self { allowed: true, by: Arc::default() }
    }

    /// Joins the decisions about several places, such as the backends of a Service: those that agree
    /// with the verdict count, each policy and rule once, sorted.
    ///
    /// Where none agrees, a denial is one of all policies that isolate: a Service without backends
    /// is denied by whatever isolates the pod (S42).
    pub(crate) fn join<'a>(
        allowed: bool,
        decisions: impl IntoIterator<Item = Self>,
        isolating: impl IntoIterator<Item = &'a PolicyRef>,
    ) -> Self {
        let mut agreeing: Vec<Self> =
            decisions.into_iter().filter(|decision| decision.allowed == allowed).collect();
        if agreeing.len() == 1 {
            return agreeing.remove(0);
        }
        let mut by: Vec<DecidingPolicy> =
            agreeing.iter().flat_map(|decision| decision.by.iter().cloned()).collect();
        by.sort();
        by.dedup();
        if by.is_empty() && !allowed {
            by = isolating.into_iter().map(|policy| deciding(policy, None)).collect();
        }
        Self { allowed, by: by.into() }
    }
}

impl DirectedSubject<'_> {
    /// Evaluates the policies in the order of their stages.
    pub(crate) fn decide(&self, far: &FarEnd<'_>) -> DirectionVerdict {
        let stage = |stage| self.policies.iter().filter(move |(_, policy)| policy.stage == stage);
        if let Some(verdict) = self.tier(stage(Stage::Admin), far) {
            return verdict;
        }
        let mut isolating = stage(Stage::NetworkPolicy).peekable();
        if isolating.peek().is_none() {
            let baseline = self.tier(stage(Stage::Baseline), far);
            return baseline.unwrap_or_else(DirectionVerdict::not_isolated);
        }
        self.network_policies(isolating, far)
    }

    /// The decision of a tier: that of the first rule that matches; `None` where it leaves the
    /// decision to the next stage.
    fn tier<'b>(
        &'b self,
        policies: impl Iterator<Item = &'b (&'b PolicyRef, &'b CompiledPolicy)>,
        far: &FarEnd<'_>,
    ) -> Option<DirectionVerdict> {
        for (name, policy) in policies {
            if let Some((rule, action)) = self.matching(policy, far).next() {
                let allowed = match action {
                    Action::Accept => true,
                    Action::Deny => false,
                    Action::Pass => return None,
                };
                return Some(DirectionVerdict { allowed, by: [deciding(name, Some(rule))].into() });
            }
        }
        None
    }

    /// The decision of network policies: every rule that matches allows, and their order does not
    /// matter.
    fn network_policies<'b>(
        &'b self,
        policies: impl Iterator<Item = &'b (&'b PolicyRef, &'b CompiledPolicy)>,
        far: &FarEnd<'_>,
    ) -> DirectionVerdict {
        let (mut allowing, mut isolating) = (Vec::new(), Vec::new());
        for (name, policy) in policies {
            let rules = self.matching(policy, far);
            allowing.extend(rules.map(|(rule, _)| deciding(name, Some(rule))));
            isolating.push(deciding(name, None));
        }
        let allowed = !allowing.is_empty();
        let mut by = if allowed { allowing } else { isolating };
        by.sort();
        DirectionVerdict { allowed, by: by.into() }
    }

    /// The rules of a policy that match the far end, with what they do.
    fn matching<'b>(
        &'b self,
        policy: &'b CompiledPolicy,
        far: &'b FarEnd<'_>,
    ) -> impl Iterator<Item = (usize, Action)> + 'b {
        let rules = policy.rules(self.direction).iter().enumerate();
        rules.filter(|(_, rule)| self.matches(rule, far)).map(|(index, rule)| (index, rule.action))
    }

    fn matches(&self, rule: &CompiledRule, far: &FarEnd<'_>) -> bool {
        if let Some(address) = far.address {
            let peers = rule.peers.as_ref();
            return far.key.matches(address, peers) && self.matches_port(&rule.ports, far);
        }
        // The identity has the lists of the tables: of rules that were merged, what they allow
        // together.
        rule.grants().any(|(peers, ports)| {
            let is_peer = peers.is_none_or(|list| far.key.peers.binary_search(list).is_ok());
            is_peer && self.matches_port(ports, far)
        })
    }

    fn matches_port(&self, ports: &RulePorts, far: &FarEnd<'_>) -> bool {
        let Some((protocol, port)) = far.port else {
            return ports.numbers.contains_other_protocols();
        };
        let on_pod: ResolvedPorts;
        let resolved = match self.direction {
            Direction::Egress => &far.key.named,
            Direction::Ingress => {
                on_pod = ports.names_on(self.container_ports);
                &on_pod
            }
        };
        ports.hold(resolved, protocol, port)
    }
}

fn deciding(policy: &PolicyRef, rule: Option<usize>) -> DecidingPolicy {
    DecidingPolicy { policy: policy.clone(), rule }
}
