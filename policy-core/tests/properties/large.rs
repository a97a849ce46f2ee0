//! Huge input: `cargo xtask fuzz compile` runs it in full size and with limits.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;
use policy_core::{
    compile::{Scope, compile},
    desired::Desired,
    model::{
        Direction, IpBlock, NetworkPolicy, ObjectName, Peer, Pod, Port, PortSpec, Protocol, Rule,
        Selector, Snapshot,
    },
};

/// Far more than is needed, and far less than what grows with the square of the size takes.
const SECONDS: u64 = 30;
const MEBIBYTES: u64 = 1024;

/// The size in an ordinary run, and in a long one.
fn size(ordinary: u32, long: u32) -> u32 {
    if is_long() { long } else { ordinary }
}

fn is_long() -> bool {
    env::var_os("PROPTEST_CASES").is_some()
}

/// Compiles within the limits.
fn compiled(what: &str, snapshot: &Snapshot) -> Desired {
    let start = Instant::now();
    let (desired, _) = compile(snapshot, Scope::Cluster);
    let (took, most) = (start.elapsed(), peak_mebibytes());
    println!("{what}: {} ms, {most:?} MiB at most so far", took.as_millis());
    if is_long() {
        assert!(took < Duration::from_secs(SECONDS), "{what} took {took:?}");
        assert!(most.is_none_or(|most| most < MEBIBYTES), "{what} took {most:?} MiB");
    }
    desired
}

/// `VmHWM` of the process; `None` where the kernel does not report it.
fn peak_mebibytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024)
}

fn host(n: u32) -> IpNetwork {
    IpNetwork::from(IpAddr::from(Ipv4Addr::from(0x0b00_0000 + n)))
}

fn block(cidr: &str, except: Vec<IpNetwork>) -> Peer {
    Peer::Block(IpBlock { cidr: cidr.parse().expect("a block"), except })
}

/// One pod, and policies with one egress rule each that select it.
fn snapshot(rules: impl Iterator<Item = Rule>) -> Snapshot {
    let pod = Pod {
        node: Some("n1".to_owned()),
        addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into()],
        ..Pod::default()
    };
    let policies = rules.enumerate().map(|(index, rule)| {
        let policy = NetworkPolicy {
            subject: Some(Selector::default()),
            policy_types: Some(vec![Direction::Egress]),
            egress: vec![rule],
            ..NetworkPolicy::default()
        };
        (ObjectName::new("x", format!("p{index}")), policy)
    });
    Snapshot {
        pods: [(ObjectName::new("x", "a"), pod)].into(),
        policies: policies.collect(),
        ..Snapshot::default()
    }
}

fn range(first: u16, last: u16) -> Port {
    Port { protocol: Protocol::Tcp, port: PortSpec::Range { first, last } }
}

fn passes(desired: &Desired, remote: IpNetwork, port: u16) -> bool {
    let endpoint = desired.endpoints.values().next().expect("the pod");
    let isolation = endpoint.isolation.egress.as_ref().expect("it is isolated");
    desired.judge(isolation, Direction::Egress, remote.ip(), Protocol::Tcp, port).is_ok()
}

#[test]
fn policies_that_each_mean_every_address_but_one() {
    let count = size(100, 10_000);
    let rule = |n| Rule {
        peers: vec![block("0.0.0.0/0", vec![host(n), host(1_000_000)])],
        ports: vec![range(80, 80)],
    };
    let desired = compiled("10,000 policies", &snapshot((0..count).map(rule)));
    assert!(passes(&desired, host(7), 80) && !passes(&desired, host(1_000_000), 80));
}

#[test]
fn policies_that_each_mean_every_address_but_one_at_a_port_of_their_own() {
    let count = size(100, 10_000);
    let port = |n: u32| 1_000 + u16::try_from(n).expect("a port");
    let rule = |n| Rule {
        peers: vec![block("0.0.0.0/0", vec![host(n), host(1_000_000)])],
        ports: vec![range(port(n), port(n))],
    };
    let desired = compiled("10,000 policies with ports", &snapshot((0..count).map(rule)));
    assert!(passes(&desired, host(7), port(8)) && !passes(&desired, host(7), port(7)));
    assert!(passes(&desired, host(8), port(7)) && !passes(&desired, host(1_000_000), port(7)));
}

#[test]
fn blocks_that_each_have_an_except() {
    let count = size(1_000, 100_000);
    let inner = |n: u32| block("0.0.0.0/0", vec![host(n), host(1_000_000)]);
    let rule = Rule { peers: (0..count).map(inner).collect(), ports: Vec::new() };
    let desired = compiled("100,000 blocks", &snapshot([rule].into_iter()));
    assert!(passes(&desired, host(7), 80) && !passes(&desired, host(1_000_000), 80));
}

#[test]
fn one_block_with_many_excepts() {
    let count = size(1_000, 100_000);
    let all = block("0.0.0.0/0", (0..count).map(host).collect());
    let rule = Rule { peers: vec![all], ports: Vec::new() };
    let desired = compiled("100,000 excepts", &snapshot([rule].into_iter()));
    assert!(!passes(&desired, host(7), 80) && passes(&desired, host(count), 80));
}

#[test]
fn every_other_port_and_every_range() {
    let step = u16::try_from(size(100, 1)).expect("a port");
    let odd = (1..u16::MAX).step_by(2).map(|port| range(port, port));
    let nested = (0..u16::MAX / 2)
        .step_by(usize::from(step))
        .map(|n| range(40_000 + n % 20_000, u16::MAX - n % 2));
    let rule = Rule { peers: Vec::new(), ports: odd.chain(nested).collect() };
    let desired = compiled("65,535 ranges", &snapshot([rule].into_iter()));
    assert!(passes(&desired, host(7), 81) && !passes(&desired, host(7), 80));
    assert!(passes(&desired, host(7), 40_000));
}
