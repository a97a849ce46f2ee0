//! Truth tables of interfaces and their pods.

use policy_common::endpoint::CLOSED;

use super::*;
use crate::{desired::DesiredEndpoint, model::PerDirection};

fn at(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

/// Pods with these addresses; the UID of each is its name with a 1.
fn pods(pods: &[(&str, &[u8])]) -> Desired {
    let endpoint = |(pod, addresses): &(&str, &[u8])| {
        let addresses = addresses.iter().map(|last| at(*last)).collect();
        let endpoint = DesiredEndpoint {
            uid: format!("{pod}1"),
            addresses,
            may_spoof: false,
            deny_reply: None,
            is_tracked: false,
            isolation: PerDirection::from_fn(|_| None),
        };
        (name(pod), endpoint)
    };
    Desired { endpoints: pods.iter().map(endpoint).collect(), ..Desired::default() }
}

fn found(interfaces: &[(u32, &[u8])]) -> Interfaces {
    let interface = |&(ifindex, addresses): &(u32, &[u8])| Interface {
        ifindex,
        name: format!("veth{ifindex}"),
        bridge: 0,
        addresses: addresses.iter().map(|last| at(*last)).collect(),
        guarded: false,
        owner: InterfaceOwner::ByAddress,
    };
    interfaces.iter().map(|one| (one.0, interface(one))).collect()
}

fn named(named: &[(u32, &str)]) -> BTreeMap<String, ObjectName> {
    named.iter().map(|(ifindex, pod)| (format!("veth{ifindex}"), name(pod))).collect()
}

/// The owners in short: `a` for the pod, `!a` for a conflict, `-` for an orphan, `?` for none.
fn owners(interfaces: &Interfaces) -> Vec<String> {
    let short = |interface: &Interface| match &interface.owner {
        InterfaceOwner::ByAddress => "?".to_owned(),
        InterfaceOwner::Pod(pod) => pod.name.clone(),
        InterfaceOwner::Orphan => "-".to_owned(),
        InterfaceOwner::Conflict(pod) => format!("!{}", pod.name),
    };
    interfaces.values().map(short).collect()
}

fn assign(
    owners_so_far: &mut InterfaceOwners,
    interfaces: &[(u32, &[u8])],
    of: &[(&str, &[u8])],
    by_name: &[(u32, &str)],
) -> Vec<String> {
    let mut interfaces = found(interfaces);
    owners_so_far.assign(&mut interfaces, &pods(of), &named(by_name), &BTreeMap::new());
    owners(&interfaces)
}

#[test]
fn s46_an_address_decides_only_where_nothing_else_does() {
    type Row<'a> = (&'a str, &'a [(u32, &'a [u8])], &'a [(u32, &'a str)], &'a [&'a str]);
    let both: &[(&str, &[u8])] = &[("a", &[1, 101]), ("b", &[2])];
    #[rustfmt::skip]
    let rows: [Row<'_>; 9] = [
        // claim                                        interfaces                          named               want
        ("each has its address",                        &[(11, &[1]), (12, &[2])],          &[],                &["a", "b"]),
        ("no pod has the address",                      &[(11, &[9]), (12, &[])],           &[],                &["?", "?"]),
        ("an interface for each of its addresses",      &[(11, &[1]), (12, &[101])],        &[],                &["a", "a"]),
        ("two have the same address",                   &[(11, &[2]), (12, &[2])],          &[],                &["!b", "!b"]),
        ("one has another's address beside its own",    &[(11, &[1, 2]), (12, &[2])],       &[],                &["a", "b"]),
        ("one has addresses of two pods",               &[(11, &[1, 2])],                   &[],                &["!a"]),
        ("the runtime named the other",                 &[(11, &[2]), (12, &[2])],          &[(12, "b")],       &["!b", "b"]),
        ("the named one has another's address",         &[(11, &[2]), (12, &[2])],          &[(11, "a"), (12, "b")], &["a", "b"]),
        ("the named one is not there yet",              &[(11, &[2])],                      &[(12, "b")],       &["b"]),
    ];
    for (claim, interfaces, by_name, want) in rows {
        let got = assign(&mut InterfaceOwners::default(), interfaces, both, by_name);
        assert_eq!(got, want, "{claim}");
    }
}

#[test]
fn s46_an_interface_is_its_pods_for_ever_and_an_orphan_is_nobodys() {
    let mut known = InterfaceOwners::default();
    let both: &[(&str, &[u8])] = &[("a", &[1]), ("b", &[2])];
    let first = assign(&mut known, &[(11, &[1]), (12, &[2])], both, &[]);
    assert_eq!(first, ["a", "b"]);
    let changed = assign(&mut known, &[(11, &[2]), (12, &[2])], both, &[]);
    assert_eq!(changed, ["a", "b"], "`a` takes the address of `b`");
    let second = assign(&mut known, &[(11, &[1]), (12, &[]), (13, &[2])], both, &[]);
    assert_eq!(second, ["a", "b", "!b"], "a second interface with the address of `b`");
    let gone = assign(&mut known, &[(11, &[1]), (12, &[2])], &[("a", &[1])], &[]);
    assert_eq!(gone, ["a", "-"], "`b` is deleted by force and runs on");
    let taken = assign(&mut known, &[(11, &[1]), (12, &[1])], &[("a", &[1])], &[]);
    assert_eq!(taken, ["a", "!a"], "then it takes the address of `a`");
    let next: &[(&str, &[u8])] = &[("a", &[1]), ("c", &[2])];
    let reused = assign(&mut known, &[(11, &[1]), (12, &[2]), (14, &[2])], next, &[]);
    assert_eq!(reused, ["a", "!c", "c"], "its address is given to `c`");
    let back = assign(&mut known, &[(11, &[1]), (12, &[2])], both, &[]);
    assert_eq!(back, ["a", "b"], "the same pod is known again");
    let late = assign(&mut known, &[(11, &[1]), (12, &[2]), (15, &[])], both, &[(15, "b")]);
    assert_eq!(late, ["a", "!b", "b"], "the runtime's cache shows that 12 was not its interface");
    let index = assign(&mut known, &[(11, &[1])], both, &[]);
    assert_eq!(index, ["a"]);
    let reused = assign(&mut known, &[(11, &[1]), (12, &[1])], both, &[]);
    assert_eq!(reused, ["a", "!a"], "what was known of an interface goes with it");
    let given: &[(&str, &[u8])] = &[("a", &[]), ("b", &[2]), ("c", &[1])];
    let runtime = assign(&mut known, &[(11, &[1])], given, &[]);
    assert_eq!(runtime, ["c"], "the status of `a` was stale: the runtime gave its address to `c`");
}

#[test]
fn s48_the_endpoints_of_an_earlier_agent_show_whose_interfaces_they_are() {
    let endpoint = |ifindex, last, ingress| {
        let address4 = if last == 0 { [0; 4] } else { [10, 0, 0, last] };
        (ifindex, Endpoint { ifindex, address4, ingress, ..Endpoint::default() })
    };
    let there: BTreeMap<u32, Endpoint> =
        [endpoint(11, 1, 0), endpoint(12, 3, CLOSED), endpoint(13, 0, CLOSED)].into();
    let of: &[(&str, &[u8])] = &[("a", &[1]), ("b", &[2]), ("d", &[4])];
    let mut interfaces = found(&[(11, &[2]), (12, &[2]), (13, &[4]), (14, &[2])]);
    let mut known = InterfaceOwners::default();
    known.assign(&mut interfaces, &pods(of), &BTreeMap::new(), &there);
    assert_eq!(owners(&interfaces), ["a", "!b", "d", "b"]);
    let bound: Vec<u32> = known.of_known_pods(&pods(of)).into_iter().collect();
    assert_eq!(bound, [11, 13, 14]);
}
