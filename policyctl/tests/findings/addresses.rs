//! NP008, NP009, NP010, NP015, NP025: blocks of addresses.

use ipnetwork::IpNetwork;
use policy_core::{
    lint::{Level, lint},
    model::{IpBlock, NetworkPolicy, ObjectName, Peer, Rule, Selector, Snapshot},
};

use crate::{assert_found, found, policy};

fn egress(peers: &str) -> String {
    format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{peers}]}}]}}")
}

const FIRST: Option<&str> = Some("spec.egress[0].to[0].ipBlock");

#[test]
fn np008_a_block_that_covers_the_cluster() {
    const SOURCE: Option<&str> = Some("spec.ingress[0].from[0].ipBlock");
    #[rustfmt::skip]
    let cases = [
        ("pods",                    "{ipBlock: {cidr: 10.0.0.0/16}}",                             FIRST),
        ("a Service",               "{ipBlock: {cidr: 10.96.0.0/12}}",                            FIRST),
        ("everything",              "{ipBlock: {cidr: 0.0.0.0/0}}",                               FIRST),
        ("the world outside",       "{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}",         None),
        ("an address outside",      "{ipBlock: {cidr: 198.51.100.0/24}}",                         None),
    ];
    for (claim, peer, field) in cases {
        assert_found(claim, "NP008", &egress(peer), field);
    }
    let ingress = |block: &str| {
        format!("{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {block}}}}}]}}]}}")
    };
    assert_found("a Service as a source", "NP008", &ingress("10.96.0.0/12"), SOURCE);
    assert_found("a source outside", "NP008", &ingress("198.51.100.0/24"), None);
    let findings = found(&policy("p", &egress("{ipBlock: {cidr: 0.0.0.0/0}}")));
    let level = findings.iter().find(|finding| finding.code == "NP008").map(|found| found.level);
    assert_eq!(level, Some(Level::Note), "everything is pods, too");
}

#[test]
fn np025_an_outer_address_of_a_service_whose_backends_are_denied() {
    const SOURCE: Option<&str> = Some("spec.ingress[0].from[0].ipBlock");
    const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: sql, namespace: db}\nspec: {clusterIP: 10.96.0.20, externalIPs: [198.51.100.7], selector: {app: sql}, ports: [{port: 5432}]}\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n";
    const SQL: &str = "{to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: sql}}}]}";
    let block = |cidr: &str, ports: &str| format!("{{to: [{{ipBlock: {{cidr: {cidr}}}}}]{ports}}}");
    #[rustfmt::skip]
    let cases = [
        ("an external IP",             block("198.51.100.0/24", ""),                                   FIRST),
        ("a load balancer's",          block("203.0.113.9/32", ""),                                    FIRST),
        ("at the Service's port",      block("203.0.113.9/32", ", ports: [{port: 5432}]"),             FIRST),
        ("at another port",            block("203.0.113.9/32", ", ports: [{port: 443}]"),              None),
        ("its backends are allowed",   format!("{}, {SQL}", block("203.0.113.9/32", "")),              None),
        ("another address",            block("203.0.113.128/25", ""),                                  None),
        ("the whole world",            block("0.0.0.0/0, except: [10.0.0.0/8]", ""),                   None),
    ];
    let egress = |rules| format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rules}]}}");
    let ingress = |block: &str| {
        format!("{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {block}}}}}]}}]}}")
    };
    let cases = cases.map(|(claim, rules, field)| (claim, egress(rules), field));
    #[rustfmt::skip]
    let sources = [
        ("as a source",                ingress("203.0.113.9/32"),   SOURCE),
        ("the network around it",      ingress("203.0.113.0/24"),   None),
    ];
    for (claim, spec, field) in cases.into_iter().chain(sources) {
        let findings = found(&format!("{}{SERVICE}", policy("p", &spec)));
        let matching =
            findings.iter().filter(|one| one.code == "NP025" && one.object.to_string() == "web/p");
        let fields: Vec<String> = matching.map(|one| one.field.to_string()).collect();
        assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{claim}: {findings:#?}");
    }
}

#[test]
fn np009_an_except_outside_its_block() {
    let block = |cidr: &str, except: &str| IpBlock {
        cidr: cidr.parse::<IpNetwork>().expect("a block"),
        except: vec![except.parse().expect("a block")],
    };
    #[rustfmt::skip]
    let cases = [
        ("beside it",   block("10.0.0.0/24", "10.0.1.0/28"), 1),
        ("around it",   block("10.0.0.0/24", "10.0.0.0/8"),  1),
        ("all of it",   block("10.0.0.0/24", "10.0.0.0/24"), 1),
        ("a part",      block("10.0.0.0/24", "10.0.0.0/28"), 0),
    ];
    for (claim, block, want) in cases {
        // Files with such a block are refused, so it is put together here.
        let rule = Rule { peers: vec![Peer::Block(block)], ports: Vec::new() };
        let policy = NetworkPolicy {
            subject: Some(Selector::default()),
            ingress: vec![rule],
            ..NetworkPolicy::default()
        };
        let policies = [(ObjectName::new("web", "p"), policy)].into();
        let findings = lint(&Snapshot { policies, ..Snapshot::default() }, &[]);
        let count = findings.iter().filter(|finding| finding.code == "NP009").count();
        assert_eq!(count, want, "{claim}");
    }
}

#[test]
fn np010_nodes_that_stay_open_at_another_address() {
    #[rustfmt::skip]
    let cases = [
        ("the external address stays open",   "{ipBlock: {cidr: 0.0.0.0/0, except: [192.168.0.0/24]}}",                    FIRST),
        ("both are shut",                     "{ipBlock: {cidr: 0.0.0.0/0, except: [192.168.0.0/24, 203.0.113.0/24]}}",    None),
        ("nodes are no concern",              "{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}",                        None),
        ("one is opened on purpose",          "{ipBlock: {cidr: 0.0.0.0/0, except: [192.168.0.0/24, 203.0.113.0/24]}}, {ipBlock: {cidr: 203.0.113.1/32}}", None),
    ];
    for (claim, peer, field) in cases {
        assert_found(claim, "NP010", &egress(peer), field);
    }
}

#[test]
fn np010_every_node_and_its_gateways() {
    const NODE: &str = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\nspec: {podCIDRs: [BLOCK]}\nstatus: {addresses: [{type: InternalIP, address: ADDRESS}]}\n";
    const SHUT: &str = "{ipBlock: {cidr: 0.0.0.0/0, except: [192.168.0.0/24, 203.0.113.0/24]}}";
    let wider = SHUT.replace("24]", "24, 10.244.1.0/31]");
    #[rustfmt::skip]
    let cases = [
        ("a node elsewhere",            SHUT,                                                        "172.16.0.2",  "",               Some("172.16.0.2")),
        ("a node in the network",       SHUT,                                                        "192.168.0.2", "",               None),
        ("its gateway",                 SHUT,                                                        "192.168.0.2", "10.244.1.0/24",  Some("10.244.1.1")),
        ("the gateway is shut, too",    wider.as_str(),                                              "192.168.0.2", "10.244.1.0/24",  None),
        ("only a pod network is shut",  "{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.0.0/16]}}",     "172.16.0.2",  "10.244.1.0/24",  None),
        ("a gateway that is a pod's",   SHUT,                                                        "192.168.0.2", "10.0.0.1/32",    None),
    ];
    for (claim, peer, address, block, want) in cases {
        let node = NODE.replace("ADDRESS", address).replace("BLOCK", block);
        let findings = found(&format!("{}{node}", policy("p", &egress(peer))));
        let matching = findings.iter().find(|one| one.code == "NP010");
        assert_eq!(matching.is_some(), want.is_some(), "{claim}: {findings:#?}");
        let names = matching.zip(want).is_none_or(|(one, address)| one.message.contains(address));
        assert!(names, "{claim}: {findings:#?}");
    }
}

#[test]
fn np015_a_metadata_address_that_is_reachable() {
    #[rustfmt::skip]
    let cases = [
        ("everything",             egress("{ipBlock: {cidr: 0.0.0.0/0}}"),                                         FIRST),
        ("everything, by IPv6",    egress("{ipBlock: {cidr: \"::/0\"}}"),                                          FIRST),
        ("no peers",               "{podSelector: {}, policyTypes: [Egress], egress: [{}]}".to_owned(),            Some("spec.egress[0]")),
        ("excepted",               egress("{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.169.254/32]}}"),           None),
        ("elsewhere",              egress("{ipBlock: {cidr: 198.51.100.0/24}}"),                                   None),
        ("another port",           "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 443}]}]}".to_owned(), None),
        ("ingress",                "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}".to_owned(), None),
    ];
    for (claim, spec, field) in cases {
        assert_found(claim, "NP015", &spec, field);
    }
}
