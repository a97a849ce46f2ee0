//! What each rule lacks.

use policy_core::explain::{Candidate, Miss, sides};

use crate::{cluster, question};

/// All that failed, in words.
fn failed(candidate: &Candidate) -> Vec<String> {
    let peers = candidate.peer.as_ref().err().into_iter().flatten();
    let peers = peers.flat_map(|(_, misses)| misses.iter().map(Miss::to_string));
    let ports = candidate.port.as_ref().err().into_iter().flatten();
    peers.chain(ports.map(|(_, miss)| miss.to_string())).collect()
}

#[test]
fn each_entry_says_what_it_lacks() {
    #[rustfmt::skip]
    let cases = [
        // claim                           rule                                                                      what failed
        ("another label",                  "{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}", "pod x/client is not app=web (it has app=client)"),
        ("no such label",                  "{from: [{namespaceSelector: {}, podSelector: {matchLabels: {tier: a}}}]}",  "pod x/client is not tier=a (it has no label tier)"),
        ("another namespace's label",      "{from: [{namespaceSelector: {matchLabels: {team: blue}}}]}",               "namespace x is not team=blue (it has team=red)"),
        ("the policy's own namespace",     "{from: [{podSelector: {}}]}",                                              "selects pods of namespace srv only, not of x"),
        ("an operator",                    "{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}", "namespace x is not !team (it has team=red)"),
        ("a block elsewhere",              "{from: [{ipBlock: {cidr: 192.168.0.0/16}}]}",                              "outside of 192.168.0.0/16"),
        ("an except",                      "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/24]}}]}",           "in except 10.0.0.0/24"),
        ("the other family",               "{from: [{ipBlock: {cidr: \"::/0\"}}]}",                                    "::/0 is of the other family"),
        ("another port",                   "{ports: [{port: 81}]}",                                                    "is for port 81"),
        ("a range",                        "{ports: [{port: 81, endPort: 90}]}",                                       "is for ports 81 to 90"),
        ("another protocol",               "{ports: [{port: 80, protocol: UDP}]}",                                     "is for UDP"),
        ("a name nobody has",              "{ports: [{port: http}]}",                                                  "the destination has no port named \"http\""),
        ("a name of another protocol",     "{ports: [{port: dns}]}",                                                   "the destination has no port named \"dns\""),
    ];
    for (claim, rule, want) in cases {
        let snapshot = cluster(&format!("{{podSelector: {{}}, ingress: [{rule}]}}"));
        let sides = sides(&snapshot, &question(80));
        assert_eq!(sides.len(), 1, "{claim}");
        assert!(!sides[0].allowed(), "{claim}");
        assert_eq!(failed(&sides[0].candidates[0]), [want], "{claim}");
    }
}

#[test]
fn every_rule_that_allows_is_found() {
    let snapshot = cluster(
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}, {ports: [{port: 81}]}, {ports: [{port: web}]}, {}]}",
    );
    let sides = sides(&snapshot, &question(80));
    let allowing: Vec<usize> = sides[0]
        .candidates
        .iter()
        .filter(|candidate| candidate.allows())
        .map(|candidate| candidate.rule)
        .collect();
    assert_eq!(allowing, [0, 2, 3]);
}

#[test]
fn a_rule_of_the_other_direction_differs_from_one_not_in_force() {
    use policy_core::explain::WrongDirection::{NotInPolicyTypes, OtherDirection};
    let rule = "[{from: [{namespaceSelector: {}}]}]";
    let to = "[{to: [{namespaceSelector: {}}]}]";
    #[rustfmt::skip]
    let cases = [
        ("in force",                    format!("{{podSelector: {{}}, ingress: {rule}}}"),                            vec![None]),
        ("left out of policyTypes",     format!("{{podSelector: {{}}, policyTypes: [Egress], ingress: {rule}}}"),    vec![Some(NotInPolicyTypes)]),
        ("for egress",                  format!("{{podSelector: {{}}, policyTypes: [Ingress], egress: {to}}}"),       vec![Some(OtherDirection)]),
    ];
    for (claim, spec, want) in cases {
        let sides = sides(&cluster(&spec), &question(80));
        let found: Vec<_> =
            sides[0].candidates.iter().map(|candidate| candidate.wrong_direction).collect();
        assert_eq!(found, want, "{claim}");
        assert_eq!(sides[0].candidates[0].allows(), want == [None], "{claim}");
    }
}

#[test]
fn a_pod_that_no_policy_selects_has_no_side() {
    let snapshot = cluster("{podSelector: {matchLabels: {app: other}}}");
    assert_eq!(sides(&snapshot, &question(80)), []);
}
