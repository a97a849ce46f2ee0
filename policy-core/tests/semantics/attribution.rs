//! Attribution of drops: what a deciding policy is, whatever the kernel reports and whenever it is
//! read.

use std::time::Duration;

use policy_common::{
    drops::Reason,
    protocol::{ICMP, TCP},
};
use policy_core::{
    attribute::{Attributor, Decision, Denial, PolicyDrop},
    compile::{Scope, compile},
    model::{
        Action, Annotations, ClusterNetworkPolicy, ClusterPeer, ClusterRule, Direction, PodSet,
        Tier,
    },
    plan::{Actual, Interface, InterfaceOwner, Interfaces, PlanOptions, plan},
};

use crate::cluster::{
    Cluster, ip, mk_block, mk_egress, mk_ingress, mk_pod, mk_rule, mk_service, mk_slice, tcp,
};

/// A node with pod `x/a` at interface 11, and a clock that goes on with each plan.
#[derive(Default)]
struct Node {
    actual: Actual,
    attributor: Attributor,
    now: Duration,
}

impl Node {
    /// Carries out the plan for a cluster.
    fn reach(&mut self, cluster: &Cluster) {
        self.now += Duration::from_secs(1);
        let desired = compile(&cluster.0, Scope::Node("n1")).0;
        let (addresses, name) = (vec![ip("10.0.0.1")], "veth".to_owned());
        let owner = InterfaceOwner::ByAddress;
        let interface =
            Interface { ifindex: 11, name, bridge: 0, addresses, guarded: false, owner };
        let interfaces: Interfaces = [(11, interface)].into();
        let plan = plan(&mut self.actual, &desired, &interfaces, PlanOptions::default());
        self.attributor.plan(self.now, &self.actual, &plan.steps, &desired, &cluster.0);
        plan.steps.iter().for_each(|step| self.actual.apply(step));
    }

    /// A drop of now at the pod's interface, by an allow map.
    fn drop_of(&self, direction: Direction, remote: &str, protocol: u8, port: u16) -> PolicyDrop {
        let endpoint = self.actual.endpoints()[&11];
        let (allow_map, local_port, remote_port) = match direction {
            Direction::Ingress => (endpoint.ingress, port, 40000),
            Direction::Egress => (endpoint.egress, 40000, port),
        };
        let remote = ip(remote);
        PolicyDrop {
            time: self.now,
            ifindex: 11,
            direction,
            reason: Reason::NoRule,
            allow_map,
            identity: self.actual.identity_of(remote),
            remote,
            protocol,
            local_port,
            remote_port,
        }
    }

    fn denial(&mut self, drop: &PolicyDrop) -> Option<Denial> {
        self.attributor.attribute(&self.actual, drop)
    }

    /// The denial in words.
    fn words(&mut self, drop: &PolicyDrop) -> String {
        self.denial(drop).map_or_else(|| "nobody".to_owned(), |denial| denial.to_string())
    }
}

fn mk_cluster() -> Cluster {
    Cluster::default()
        .namespace("x", "team=x")
        .pod("x/a", mk_pod("app=a", &["10.0.0.1"]))
        .pod("x/b", mk_pod("app=b", &["10.0.0.2"]))
}

/// A policy of the Admin tier that denies every pod's ingress from pods of namespace `x`.
fn mk_deny() -> ClusterNetworkPolicy {
    let everyone = ClusterPeer::Pods(PodSet::default());
    let deny = ClusterRule { action: Action::Deny, peers: vec![everyone], protocols: Vec::new() };
    ClusterNetworkPolicy {
        tier: Tier::Admin,
        priority: 1,
        subject: Some(PodSet::default()),
        ingress: vec![deny],
        egress: Vec::new(),
        annotations: Annotations::new(),
    }
}

#[test]
fn s58_a_rule_that_denies_is_named_and_so_are_policies_without_a_rule_that_allows() {
    let isolated = mk_cluster()
        .policy("x/in", mk_ingress("app=a", vec![mk_rule(Vec::new(), vec![tcp(81)])]))
        .policy("x/also", mk_ingress("", Vec::new()));
    let mut denied = isolated.clone();
    denied.0.cluster_policies.insert("lockdown".into(), mk_deny());
    let (isolating, rule) = (
        "isolated by NetworkPolicy x/also, NetworkPolicy x/in, and no rule allows it",
        "denied by spec.ingress[0] of ClusterNetworkPolicy lockdown",
    );
    #[rustfmt::skip]
    let cases = [
        // claim                                     cluster     from         protocol  port  denied by
        ("no rule allows",                           &isolated,  "10.0.0.2",  TCP,      80,   isolating),
        ("nor a protocol without ports",             &isolated,  "10.0.0.2",  ICMP,     0,    isolating),
        ("a rule of a tier denies",                  &denied,    "10.0.0.2",  TCP,      80,   rule),
        ("what a network policy would allow, too",   &denied,    "10.0.0.2",  TCP,      81,   rule),
        ("and protocols without ports",              &denied,    "10.0.0.2",  ICMP,     0,    rule),
        ("but not a stranger",                       &denied,    "1.2.3.4",   TCP,      80,   isolating),
    ];
    for (claim, cluster, from, protocol, port, want) in cases {
        let mut node = Node::default();
        node.reach(cluster);
        let drop = node.drop_of(Direction::Ingress, from, protocol, port);
        assert_eq!(node.words(&drop), want, "{claim}");
        let decision = node.denial(&drop).map(|denial| denial.decision());
        let by_rule = want == rule;
        let want = if by_rule { Decision::DeniedByRule } else { Decision::NoRuleAllows };
        assert_eq!(decision, Some(want), "{claim}");
    }
}

#[test]
fn s58_a_record_that_is_read_late_is_attributed_by_what_was_in_force() {
    let before = mk_cluster().policy("x/before", mk_ingress("app=a", Vec::new()));
    let after = mk_cluster().policy("x/after", mk_ingress("app=a", Vec::new()));
    let mut node = Node::default();
    node.reach(&before);
    let early = node.drop_of(Direction::Ingress, "10.0.0.2", TCP, 80);
    // The allow map is the same, so that the plan has no step.
    node.reach(&after);
    let late = node.drop_of(Direction::Ingress, "10.0.0.2", TCP, 80);
    assert_eq!(early.allow_map, late.allow_map);
    node.reach(&mk_cluster());
    assert_eq!(node.words(&early), "isolated by NetworkPolicy x/before, and no rule allows it");
    assert_eq!(node.words(&late), "isolated by NetworkPolicy x/after, and no rule allows it");
    let older = PolicyDrop { time: Duration::ZERO, ..early };
    assert_eq!(node.words(&older), "nobody", "no plan was there yet");
}

#[test]
fn s58_a_plan_is_forgotten_some_time_after_its_end() {
    let mut node = Node::default();
    node.reach(&mk_cluster().policy("x/before", mk_ingress("app=a", Vec::new())));
    let early = node.drop_of(Direction::Ingress, "10.0.0.2", TCP, 80);
    node.reach(&mk_cluster());
    node.now += Duration::from_mins(5);
    node.reach(&mk_cluster().policy("x/after", mk_ingress("app=a", Vec::new())));
    assert_eq!(node.words(&early), "nobody");
}

#[test]
fn s58_a_revoked_connection_is_attributed_to_the_direction_that_it_was_opened_in() {
    let allow = mk_rule(vec![mk_block("1.2.3.4/32", &[])], vec![tcp(443)]);
    let cluster = mk_cluster()
        .policy("x/out", mk_egress("app=a", vec![allow]))
        .policy("x/in", mk_ingress("app=a", vec![mk_rule(Vec::new(), vec![tcp(80)])]));
    let mut node = Node::default();
    node.reach(&cluster);
    let revoked = |node: &Node, direction, local_port, remote_port| PolicyDrop {
        reason: Reason::Revoked,
        allow_map: 0,
        identity: 0,
        local_port,
        remote_port,
        ..node.drop_of(direction, "9.9.9.9", TCP, 0)
    };
    // A client at port 40000 of 9.9.9.9 may reach port 80, so that only the egress is denied.
    let reply = revoked(&node, Direction::Ingress, 80, 40000);
    let out = "isolated by NetworkPolicy x/out, and no rule allows it";
    assert_eq!(node.words(&reply), out);
    // Both directions deny: the packet's own is named.
    let packet = revoked(&node, Direction::Ingress, 8080, 40000);
    assert_eq!(node.words(&packet), "isolated by NetworkPolicy x/in, and no rule allows it");
}

#[test]
fn s58_a_service_is_denied_by_the_policies_that_deny_its_backends() {
    let allow = mk_rule(vec![mk_block("10.0.0.2/32", &[])], Vec::new());
    let cluster = mk_cluster()
        .service("x/one", mk_service("10.96.0.1", 80), mk_slice("one", 8080, &["10.0.0.3"]))
        .service("x/none", mk_service("10.96.0.2", 80), mk_slice("none", 8080, &[]))
        .policy("x/out", mk_egress("app=a", vec![allow]));
    let mut node = Node::default();
    node.reach(&cluster);
    for (service, reason) in
        [("10.96.0.1", Reason::ServiceDenied), ("10.96.0.2", Reason::ServiceNoBackend)]
    {
        let frontend = policy_core::desired::Frontend {
            address: ip(service),
            protocol: policy_core::model::Protocol::Tcp,
            port: 80,
        };
        let identity = node.actual.frontend(&frontend).expect("a frontend");
        let drop = node.drop_of(Direction::Egress, service, TCP, 80);
        let drop = PolicyDrop { reason, identity, ..drop };
        let want = "isolated by NetworkPolicy x/out, and no rule allows it";
        assert_eq!(node.words(&drop), want, "{service}");
    }
}

#[test]
fn s58_what_no_policy_decides_is_attributed_to_none() {
    let mut node = Node::default();
    node.reach(&mk_cluster().policy("x/in", mk_ingress("app=a", Vec::new())));
    for &reason in Reason::ALL {
        let drop = node.drop_of(Direction::Ingress, "10.0.0.2", TCP, 80);
        let found = node.denial(&PolicyDrop { reason, ..drop });
        let is_policy = matches!(
            reason,
            Reason::NoRule
                | Reason::Revoked
                | Reason::ServiceNoBackend
                | Reason::ServiceDenied
                | Reason::ServicePartlyDenied
        );
        assert_eq!(found.is_some(), is_policy, "{reason:?}");
    }
    let isolating = node.attributor.isolating(node.now, 11, Direction::Ingress);
    assert_eq!(isolating.len(), 1, "who isolates the pod is known all the same");
}
