//! Rules of the tiers: what happens to each, what each lacks, and what would change the verdict.

use policy_core::{
    explain::{
        ClosedReason, ConnectionEnd, Miss, PolicyChange, Question, RuleOutcome, TierRule, sides,
    },
    model::{Direction, Snapshot, UnknownPeer},
};

use crate::{CLUSTER, question, snapshot};

/// The cluster with a policy of the tier Admin of priority 1, one of 2, one of the tier Baseline,
/// and rules of the network policy, each as a list of rules for ingress of the server.
fn tiers(first: &str, second: &str, policy: Option<&str>, baseline: &str) -> Snapshot {
    let spec = policy.map_or("{podSelector: {matchLabels: {app: none}}}".to_owned(), |rules| {
        format!("{{podSelector: {{}}, policyTypes: [Ingress], ingress: {rules}}}")
    });
    let mut text = CLUSTER.replace("SPEC", &spec);
    text.push_str(&tier("first", "Admin", 1, "ingress", first));
    text.push_str(&tier("second", "Admin", 2, "ingress", second));
    text.push_str(&tier("last", "Baseline", 0, "ingress", baseline));
    snapshot(&text)
}

fn tier(name: &str, tier: &str, priority: u16, list: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
         metadata: {{name: {name}}}\nspec: {{tier: {tier}, priority: {priority}, \
         subject: {{namespaces: {{}}}}, {list}: {rules}}}\n"
    )
}

const ACCEPT: &str = "[{action: Accept, from: [{namespaces: {}}]}]";
const DENY: &str = "[{action: Deny, from: [{namespaces: {}}]}]";
const PASS: &str = "[{action: Pass, from: [{namespaces: {}}]}]";
const OTHER: &str = "[{action: Deny, from: [{namespaces: {matchLabels: {team: blue}}}]}]";

#[test]
fn s51_each_rule_has_its_outcome() {
    use RuleOutcome::{Decides, LeavesTier, NoMatch, NotEvaluated, Shadowed};
    #[rustfmt::skip]
    let cases = [
        // claim                               first   second  policies       baseline  outcomes                                   passes
        ("Admin denies over policies",         DENY,   ACCEPT, Some("[{}]"),  ACCEPT,   [Decides, Shadowed(0), Shadowed(0)],       false),
        ("Admin accepts over isolation",       ACCEPT, DENY,   Some("[]"),    DENY,     [Decides, Shadowed(0), Shadowed(0)],       true),
        ("Pass leaves the tier to policies",   PASS,   DENY,   Some("[{}]"),  DENY,     [LeavesTier, Shadowed(0), NotEvaluated],   true),
        ("which may deny",                     PASS,   ACCEPT, Some("[]"),    ACCEPT,   [LeavesTier, Shadowed(0), NotEvaluated],   false),
        ("Pass leaves it to Baseline",         PASS,   ACCEPT, None,          DENY,     [LeavesTier, Shadowed(0), Decides],        false),
        ("Baseline passes to nobody",          OTHER,  OTHER,  None,          PASS,     [NoMatch, NoMatch, LeavesTier],            true),
        ("what misses is passed over",         OTHER,  DENY,   None,          ACCEPT,   [NoMatch, Decides, Shadowed(1)],           false),
    ];
    for (claim, first, second, policy, baseline, want, passes) in cases {
        let sides = sides(&tiers(first, second, policy, baseline), &question(80));
        let outcomes: Vec<RuleOutcome> = sides[0].tiers.iter().map(|rule| rule.outcome).collect();
        assert_eq!(outcomes, want, "{claim}");
        assert_eq!(sides[0].allowed(), passes, "{claim}");
    }
}

#[test]
fn equal_priorities_go_by_name_and_lower_ones_first() {
    let mut text = CLUSTER.replace("SPEC", "{podSelector: {}}");
    for (name, priority) in [("c", 7), ("b", 7), ("z", 6), ("a", 10)] {
        text.push_str(&tier(name, "Admin", priority, "ingress", DENY));
    }
    let sides = sides(&snapshot(&text), &question(80));
    let order: Vec<_> = sides[0].tiers.iter().map(|rule| rule.policy.clone()).collect();
    assert_eq!(order, ["z", "b", "c", "a"].map(Into::into));
}

/// All that failed, in words.
fn failed(rule: &TierRule) -> Vec<String> {
    let peers = rule.peer.as_ref().err().into_iter().flatten();
    let peers = peers.flat_map(|(_, misses)| misses.iter().map(Miss::to_string));
    let ports = rule.port.as_ref().err().into_iter().flatten();
    peers.chain(ports.map(|(_, miss)| miss.to_string())).collect()
}

#[test]
fn each_entry_says_what_it_lacks() {
    const NODE: &str = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {role: edge}}\nstatus: {addresses: [{type: InternalIP, address: 192.168.0.1}]}\n";
    let server = "10.0.0.2";
    #[rustfmt::skip]
    let cases = [
        // claim                      rule                                                          to             what failed
        ("another label",             "to: [{pods: {podSelector: {matchLabels: {app: web}}}}]",     server,        "pod srv/server is not app=web (it has app=server)"),
        ("another namespace",         "to: [{namespaces: {matchLabels: {team: red}}}]",             server,        "namespace srv is not team=red (it has no label team)"),
        ("no pod",                    "to: [{namespaces: {}}]",                                     "192.168.0.1", "selects pods, and 192.168.0.1 is none"),
        ("another node",              "to: [{nodes: {matchLabels: {role: db}}}]",                   "192.168.0.1", "node n1 is not role=db (it has role=edge)"),
        ("no node",                   "to: [{nodes: {}}]",                                          server,        "selects nodes, and 10.0.0.2 is none of them"),
        ("networks elsewhere",        "to: [{networks: [10.1.0.0/16, 192.0.2.0/24]}]",              server,        "outside of 10.1.0.0/16, 192.0.2.0/24"),
        ("another port",              "to: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 81}}}]", server, "is for port 81"),
        ("another protocol",          "to: [{namespaces: {}}], protocols: [{udp: {destinationPort: {number: 80}}}]", server, "is for UDP"),
        ("a name of other ports",     "to: [{namespaces: {}}], protocols: [{destinationNamedPort: dns}]", server,  "the destination has no port named \"dns\""),
    ];
    for (claim, rule, to, want) in cases {
        let mut text = CLUSTER.replace("SPEC", "{podSelector: {}}");
        text.push_str(NODE);
        text.push_str(&tier("t", "Admin", 1, "egress", &format!("[{{action: Deny, {rule}}}]")));
        let address = to.parse().expect("an address");
        let question = Question { to: ConnectionEnd::Address(address), ..question(80) };
        let sides = sides(&snapshot(&text), &question);
        let side = sides.iter().find(|side| side.direction == Direction::Egress);
        assert_eq!(failed(&side.expect(claim).tiers[0]), [want], "{claim}");
    }
}

#[test]
fn the_smallest_change_comes_before_the_rule_that_denies() {
    const PEER: &str = "{pods: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: \"x\"}}, podSelector: {matchLabels: {app: \"client\"}}}}";
    const PORT: &str = "{tcp: {destinationPort: {number: 80}}}";
    let rule = |action: &str| format!("{{action: {action}, from: [{PEER}], protocols: [{PORT}]}}");
    let accept = |rest: &str| format!("[{{action: Accept, {rest}}}]");
    let near_port = accept(
        "from: [{namespaces: {matchLabels: {team: red}}}], protocols: [{tcp: {destinationPort: {number: 81}}}]",
    );
    let wide =
        accept("from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 81}}}]");
    let one = "{action: Deny, from: [{namespaces: {matchLabels: {team: blue}}}]}";
    let full = format!("[{}, {}]", vec![one; 24].join(", "), DENY.trim_matches(['[', ']']));
    let full = full.as_str();
    let near_peer = accept(
        "from: [{namespaces: {matchLabels: {team: blue}}}], protocols: [{tcp: {destinationPort: {number: 80}}}]",
    );
    let behind_pass = format!(
        "[{{action: Pass, from: [{{namespaces: {{}}}}]}}, {}",
        near_port.trim_start_matches('[')
    );
    #[rustfmt::skip]
    let cases = [
        // claim                                        first                  second  policies       baseline  where                                                   what
        ("Pass, where network policies would allow it", OTHER,                 DENY,   Some("[{}]"),  OTHER,    "spec.ingress of ClusterNetworkPolicy second, before [0]",      rule("Pass")),
        ("Pass, where nobody else would deny it",       OTHER,                 DENY,   None,          OTHER,    "spec.ingress of ClusterNetworkPolicy second, before [0]",      rule("Pass")),
        ("Accept, where a network policy denies it",    OTHER,                 DENY,   Some("[]"),    OTHER,    "spec.ingress of ClusterNetworkPolicy second, before [0]",      rule("Accept")),
        ("Accept, where Baseline denies it",            OTHER,                 DENY,   None,          DENY,     "spec.ingress of ClusterNetworkPolicy second, before [0]",      rule("Accept")),
        ("Accept in Baseline itself",                   OTHER,                 OTHER,  None,          DENY,     "spec.ingress of ClusterNetworkPolicy last, before [0]",        rule("Accept")),
        ("a port, where the peer is right",             near_port.as_str(),    DENY,   None,          OTHER,    "spec.ingress[0].protocols of ClusterNetworkPolicy first",      PORT.to_owned()),
        ("a peer, where the port is right",             near_peer.as_str(),    DENY,   None,          OTHER,    "spec.ingress[0].from of ClusterNetworkPolicy first",           PEER.to_owned()),
        ("a rule, where the peer means others too",     wide.as_str(),         DENY,   None,          OTHER,    "spec.ingress of ClusterNetworkPolicy second, before [0]",      rule("Pass")),
        ("another policy, where one is full",           OTHER,                 full,   None,          OTHER,    "spec.ingress of ClusterNetworkPolicy first, before [1]",       rule("Pass")),
        ("nothing behind a Pass",                       behind_pass.as_str(),  OTHER,  None,          DENY,     "spec.ingress of ClusterNetworkPolicy last, before [0]",        rule("Accept")),
    ];
    for (claim, first, second, policy, baseline, place, yaml) in cases {
        let mut snapshot = tiers(first, second, policy, baseline);
        let side = sides(&snapshot, &question(80)).remove(0);
        let change = PolicyChange::smallest(&snapshot, &side).expect("a denied connection");
        assert_eq!(change.to_string(), format!("add to {place}: {yaml}"), "{claim}");
        change.apply(&mut snapshot);
        assert!(sides(&snapshot, &question(80))[0].allowed(), "{claim}");
    }
}

#[test]
fn s52_a_rule_that_is_closed_says_why() {
    const NAMES: &str = "to: [{domainNames: [example.com]}]";
    #[rustfmt::skip]
    let cases = [
        ("Accept accepts nothing",   "Accept", RuleOutcome::NoMatch,  true),
        ("Deny denies everything",   "Deny",   RuleOutcome::Decides, false),
        ("and so does Pass",         "Pass",   RuleOutcome::Decides, false),
    ];
    for (claim, action, part, passes) in cases {
        let mut text = CLUSTER.replace("SPEC", "{podSelector: {}, ingress: [{}]}");
        let rules = format!("[{{action: {action}, {NAMES}}}]");
        text.push_str(&tier("t", "Admin", 1, "egress", &rules));
        let sides = sides(&snapshot(&text), &question(80));
        assert_eq!(sides[0].tiers[0].outcome, part, "{claim}");
        assert_eq!(sides[0].allowed(), passes, "{claim}");
        let names = ClosedReason::UnknownPeer(UnknownPeer::DomainNames);
        assert_eq!(sides[0].tiers[0].closed, Some(names), "{claim}");
    }
}
