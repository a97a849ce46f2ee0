//! Changes: what a plan writes, and what it leaves alone.

mod interfaces;

use policy_common::endpoint::{CLOSED, Endpoint, flags};
use policy_core::{
    compile::{Scope, compile},
    model::{DenyReply, ObjectName, PerDirection, Protocol},
    plan::{
        Actual, Interface, InterfaceOwner, Interfaces, Plan, PlanOptions, Step, close_newcomers,
        plan,
    },
};

use crate::cluster::{
    Cluster, ip, mk_block, mk_egress, mk_ingress, mk_pod, mk_pods, mk_rule, mk_service, mk_slice,
    range, tcp,
};

/// Pods `a`, `b`, `c` of namespace `x` behind the interfaces 11, 12, 13.
fn mk_cluster() -> Cluster {
    Cluster::default()
        .pod("x/a", mk_pod("app=a", &["10.0.0.1"]))
        .pod("x/b", mk_pod("app=b", &["10.0.0.2"]))
        .pod("x/c", mk_pod("app=c", &["10.0.0.3"]))
}

fn interfaces() -> Interfaces {
    let interface = |last: u8| {
        let addresses = vec![ip(&format!("10.0.0.{last}"))];
        let ifindex = 10 + u32::from(last);
        (
            ifindex,
            Interface {
                ifindex,
                name: format!("veth{last}"),
                bridge: 0,
                addresses,
                guarded: false,
                owner: InterfaceOwner::ByAddress,
            },
        )
    };
    (1..=3).map(interface).collect()
}

fn go(actual: &mut Actual, cluster: &Cluster) -> Plan {
    let (desired, _) = compile(&cluster.0, Scope::Node("n1"));
    let plan = plan(actual, &desired, &interfaces(), PlanOptions::default());
    plan.steps.iter().for_each(|step| actual.apply(step));
    plan
}

fn allow_map(number: u32) -> String {
    if number == CLOSED { "closed".to_owned() } else { number.to_string() }
}

/// The steps as words.
fn words(plan: &Plan) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::PutPortChunk(chunk) => format!("chunk {}", chunk.key.bitmap),
        Step::PutBackend(backend) => format!("backend {}", backend.key.list),
        Step::PutAllowMap { allow_map, .. } => format!("allow map {allow_map}"),
        Step::PutIdentity { address, identity } => format!("{address} is {identity}"),
        Step::PutBlock { block, identity } => format!("{block} is {identity}"),
        Step::PutFrontend { frontend, identity } => format!("{} is {identity}", frontend.address),
        Step::PutNodeAddress { address, kind } => format!("{kind:?} node {address}"),
        Step::PutEndpoint(e) if e.flags & flags::TRACKING != 0 => format!("track {}", e.ifindex),
        Step::AdoptFlows { interfaces } => format!("adopt {interfaces:?}"),
        Step::RecordBackends { interfaces, .. } => format!("backends {interfaces:?}"),
        Step::ReplaceEndpoint { endpoint: e, .. } => {
            format!(
                "another endpoint {} {} {}",
                e.ifindex,
                allow_map(e.ingress),
                allow_map(e.egress)
            )
        }
        Step::PutEndpoint(e) => {
            format!("endpoint {} {} {}", e.ifindex, allow_map(e.ingress), allow_map(e.egress))
        }
        Step::BumpEpoch { ifindex } => format!("bump {ifindex}"),
        Step::DeleteEndpoint { ifindex, .. } => format!("no endpoint {ifindex}"),
        Step::DeleteFrontend(frontend) => format!("no frontend {}", frontend.address),
        Step::DeleteBlock(block) => format!("no {block}"),
        Step::DeleteIdentity(address) => format!("no {address}"),
        Step::DeleteNodeAddress(address) => format!("no node {address}"),
        Step::DeleteAllowMap { allow_map } => format!("no allow map {allow_map}"),
        Step::DeleteBackends { list } => format!("no backends {list}"),
        Step::DeletePortBitmap { bitmap } => format!("no bitmap {bitmap}"),
    };
    plan.steps.iter().map(word).collect()
}

fn from(app: &str, port: u16) -> policy_core::model::Rule {
    mk_rule(vec![mk_pods(&format!("app={app}"))], vec![tcp(port)])
}

#[test]
fn s30_first_isolation_waits_until_the_connections_are_known() {
    let mut actual = Actual::default();
    go(&mut actual, &mk_cluster());
    let isolated = mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b", 80)]));
    let plan = go(&mut actual, &isolated);
    let last = ["track 11", "adopt {11}", "endpoint 11 1 0", "bump 11"];
    assert_eq!(words(&plan), [&["allow map 1", "10.0.0.2 is 1"], &last[..]].concat());
}

#[test]
fn s10_the_last_policy_gone_opens_the_endpoint_and_cuts_nothing() {
    let mut actual = Actual::default();
    go(&mut actual, &mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b", 80)])));
    let plan = go(&mut actual, &mk_cluster());
    assert_eq!(words(&plan), ["endpoint 11 0 0", "no 10.0.0.2", "bump 11", "no allow map 1"]);
}

#[test]
fn s29_only_endpoints_with_another_verdict_are_bumped() {
    let mut actual = Actual::default();
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b", 80)]));
    go(&mut actual, &cluster);
    let more = cluster.clone().policy("x/q", mk_ingress("app=b", vec![from("c", 80)]));
    let plan = go(&mut actual, &more);
    let last = ["track 12", "adopt {12}", "endpoint 12 2 0", "bump 12"];
    assert_eq!(words(&plan), [&["allow map 2", "10.0.0.3 is 2"], &last[..]].concat());
    let other_port = more.policy("x/p", mk_ingress("app=a", vec![from("b", 81)]));
    let plan = go(&mut actual, &other_port);
    assert_eq!(words(&plan), ["allow map 3", "endpoint 11 3 0", "bump 11", "no allow map 1"]);
}

#[test]
fn s42_backends_of_live_connections_are_recorded_before_their_flows_are_judged_again() {
    let rule = mk_rule(vec![mk_pods("app=b")], vec![tcp(8080)]);
    let isolated = mk_cluster().policy("x/p", mk_egress("app=a", vec![rule]));
    let with = |ready: &[&str]| {
        let (service, slice) = (mk_service("10.96.0.1", 80), mk_slice("s", 8080, ready));
        isolated.clone().service("x/s", service, slice)
    };
    let mut actual = Actual::default();
    go(&mut actual, &with(&["10.0.0.2"]));
    let last_two = |plan: &Plan| {
        let words = words(plan);
        let at = words.iter().position(|word| word == "bump 11").expect("a bump");
        words[at - 1..=at].to_vec()
    };
    let plan = go(&mut actual, &with(&[]));
    assert_eq!(last_two(&plan), ["backends {11}", "bump 11"], "no backend is ready");
    let plan = go(&mut actual, &with(&["10.0.0.2"]));
    assert_eq!(last_two(&plan), ["backends {11}", "bump 11"]);
    let plan = go(&mut actual, &isolated);
    assert_eq!(last_two(&plan), ["backends {11}", "bump 11"], "the Service is gone");
    let is_deleted = |step: &Step| matches!(step, Step::RecordBackends { deleted, .. } if deleted.values().eq([&false]));
    assert!(plan.steps.iter().any(is_deleted), "a cluster IP itself needs no rule");
}

#[test]
fn s49_the_steps_are_those_of_the_documented_example() {
    let mut actual = Actual::default();
    go(&mut actual, &mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b", 80)])));
    let plan =
        go(&mut actual, &mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b|c", 80)])));
    let want = [
        "allow map 2",
        "endpoint 11 2 0",
        "allow map 3",
        "10.0.0.2 is 2",
        "10.0.0.3 is 2",
        "endpoint 11 3 0",
        "bump 11",
        "no allow map 1",
        "no allow map 2",
    ];
    assert_eq!(words(&plan), want);
}

#[test]
fn s29_new_numbers_alone_bump_nothing() {
    let mut actual = Actual::default();
    go(&mut actual, &mk_cluster().policy("x/p", mk_ingress("app=a", vec![from("b", 80)])));
    // The same pods by another selector are another identity.
    let rule = mk_rule(vec![mk_pods("app=b|nobody")], vec![tcp(80)]);
    let plan = go(&mut actual, &mk_cluster().policy("x/p", mk_ingress("app=a", vec![rule])));
    let want = [
        "allow map 2",
        "endpoint 11 2 0",
        "allow map 3",
        "10.0.0.2 is 2",
        "endpoint 11 3 0",
        "no allow map 1",
        "no allow map 2",
    ];
    assert_eq!(words(&plan), want);
}

#[test]
fn s09_a_label_change_moves_one_address() {
    let mut actual = Actual::default();
    let cluster = mk_cluster()
        .pod("x/c", mk_pod("app=b", &["10.0.0.3"]))
        .policy("x/p", mk_ingress("app=a", vec![from("b", 80)]));
    go(&mut actual, &cluster);
    let plan = go(&mut actual, &cluster.pod("x/b", mk_pod("app=none", &["10.0.0.2"])));
    assert_eq!(words(&plan), ["no 10.0.0.2", "bump 11"]);
}

#[test]
fn s26_many_ports_go_into_one_shared_bitmap() {
    let mut actual = Actual::default();
    let ports = || (0..9).map(|n| tcp(n * 10)).chain([range(Protocol::Udp, 250, 260)]).collect();
    let rules = vec![mk_rule(vec![mk_pods("app=b")], ports())];
    let more = vec![mk_rule(vec![mk_pods("app=c")], ports())];
    let cluster = mk_cluster()
        .policy("x/p", mk_ingress("app=a", rules))
        .policy("x/q", mk_egress("app=b", more));
    let plan = go(&mut actual, &cluster);
    let chunks = words(&plan).into_iter().filter(|word| word.starts_with("chunk")).count();
    assert_eq!(chunks, 3, "TCP 0-255, UDP 250-255, UDP 256-260");
    let gone = words(&go(&mut actual, &mk_cluster()));
    assert!(gone.contains(&"no bitmap 1".to_owned()), "{gone:?}");
}

#[test]
fn s42_a_service_comes_and_goes() {
    let mut actual = Actual::default();
    let cluster = mk_cluster().policy("x/p", mk_egress("app=a", vec![from("b", 8080)]));
    go(&mut actual, &cluster);
    let (service, slice) = (mk_service("10.96.0.1", 80), mk_slice("s", 8080, &["10.0.0.2"]));
    let plan = go(&mut actual, &cluster.clone().service("x/s", service, slice));
    let want = [
        "allow map 2",
        "endpoint 11 0 2",
        "10.96.0.1 is 2",
        "backends {11}",
        "bump 11",
        "no allow map 1",
    ];
    assert_eq!(words(&plan), want);
    let plan = go(&mut actual, &cluster);
    assert!(words(&plan).contains(&"no frontend 10.96.0.1".to_owned()), "{plan:?}");
}

#[test]
fn s18_nested_blocks_are_put_inside_out() {
    let mut actual = Actual::default();
    let blocks = vec![mk_block("10.0.0.0/8", &["10.1.0.0/16"]), mk_block("10.1.2.0/24", &[])];
    let cluster = mk_cluster().policy("x/p", mk_ingress("app=a", vec![mk_rule(blocks, vec![])]));
    let plan = go(&mut actual, &cluster);
    let puts: Vec<_> = words(&plan).into_iter().filter(|word| word.contains('/')).collect();
    assert_eq!(puts, ["10.1.2.0/24 is 1", "10.1.0.0/16 is 0", "10.0.0.0/8 is 1"]);
}

#[test]
fn s46_endpoints_carry_addresses_slot_and_opt_out() {
    let (desired, _) = compile(&mk_cluster().0, Scope::Node("n1"));
    let mut actual = Actual::default();
    let options = PlanOptions { may_spoof: true, ..PlanOptions::default() };
    let steps = plan(&mut actual, &desired, &interfaces(), options).steps;
    for step in &steps {
        actual.apply(step);
    }
    let endpoint = actual.endpoints()[&12];
    assert_eq!(
        (endpoint.flags, endpoint.slot, endpoint.address4),
        (flags::MAY_SPOOF, 2, [10, 0, 0, 2])
    );
}

#[test]
fn s59_endpoints_ask_for_replies_as_their_namespace_or_else_the_agent_chooses() {
    use DenyReply::{Nothing, Reject};
    #[rustfmt::skip]
    let cases = [
        // agent   namespace      want
        (Nothing, None,          0),
        (Reject,  None,          flags::REJECT),
        (Nothing, Some(Reject),  flags::REJECT),
        (Reject,  Some(Nothing), 0),
    ];
    let mut actual = Actual::default();
    for (deny_reply, choice, want) in cases {
        let mut cluster = mk_cluster().0;
        cluster.namespaces.entry("x".to_owned()).or_default().deny_reply = choice;
        let (desired, _) = compile(&cluster, Scope::Node("n1"));
        let options = PlanOptions { deny_reply, ..PlanOptions::default() };
        for step in &plan(&mut actual, &desired, &interfaces(), options).steps {
            actual.apply(step);
        }
        assert_eq!(actual.endpoints()[&12].flags, want, "{deny_reply:?} {choice:?}");
    }
}

#[test]
fn s37_s46_nodes_are_written_as_own_or_other_and_follow_a_change() {
    let mut actual = Actual::default();
    let mut cluster = mk_cluster();
    let nodes = |own: &str, other: &str| {
        let node = |name: &str, addresses: Vec<_>| (name.to_owned(), addresses.into());
        [node("n1", vec![ip(own)]), node("n2", vec![ip(other), ip("fd00::2")])]
    };
    cluster.0.nodes = nodes("192.0.2.1", "192.0.2.2").into();
    let plan = go(&mut actual, &cluster);
    let of_nodes = |plan: &Plan| -> Vec<_> {
        words(plan).into_iter().filter(|word| word.contains("node ")).collect()
    };
    assert_eq!(
        of_nodes(&plan),
        ["Own node 192.0.2.1", "Other node 192.0.2.2", "Other node fd00::2"]
    );
    assert_eq!(of_nodes(&go(&mut actual, &cluster)), [""; 0], "nothing is left to do");
    cluster.0.nodes = nodes("192.0.2.2", "192.0.2.3").into();
    assert_eq!(
        of_nodes(&go(&mut actual, &cluster)),
        ["Own node 192.0.2.2", "Other node 192.0.2.3", "no node 192.0.2.1"]
    );
}

#[test]
fn pods_and_interfaces_that_do_not_match_are_reported() {
    let mut cluster = mk_cluster();
    cluster = cluster.pod("x/b", mk_pod("", &["10.0.0.9"]));
    let plan = go(&mut Actual::default(), &cluster);
    assert_eq!(plan.pods_without_interface, [ObjectName::new("x", "b")]);
    assert_eq!(plan.interfaces_without_pod, [12]);
}

#[test]
fn s30_an_endpoint_that_is_switched_off_and_on_records_at_every_step() {
    let cluster = mk_cluster().policy("x/deny", mk_ingress("app=a", vec![from("b", 80)]));
    let mut actual = Actual::default();
    go(&mut actual, &cluster);
    let (on, _) = compile(&cluster.0, Scope::Node("n1"));
    let mut off = on.clone();
    for endpoint in off.endpoints.values_mut() {
        endpoint.is_tracked = endpoint.isolation.ingress.is_some();
        endpoint.may_spoof = true;
        endpoint.isolation = PerDirection::default();
    }
    let records = |endpoint: &Endpoint| {
        endpoint.flags & flags::TRACKING != 0 || endpoint.ingress | endpoint.egress != 0
    };
    for (desired, is_isolated) in [(&off, false), (&on, true)] {
        let plan = plan(&mut actual, desired, &interfaces(), PlanOptions::default());
        let mut written = 0;
        for step in &plan.steps {
            actual.apply(step);
            let Step::PutEndpoint(endpoint) = step else { continue };
            assert_eq!(records(endpoint), endpoint.ifindex == 11, "{endpoint:?} of {plan:?}");
            written += 1;
        }
        let endpoint = &actual.endpoints()[&11];
        assert_eq!(endpoint.flags & flags::TRACKING == 0, is_isolated);
        assert_eq!(endpoint.ingress != 0, is_isolated);
        let bump = Step::BumpEpoch { ifindex: 11 };
        assert!(written > 1 && plan.steps.contains(&bump), "flows are judged again: {plan:?}");
    }
}
