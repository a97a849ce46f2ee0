//! A line of the flow log.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use policy_common::drops::{DropRecord, Reason};
use policy_core::model::{Annotations, Direction, ObjectName, Pod, PolicyRef, Protocol};
use serde::Serialize;

use super::attribution::Attribution;

/// IANA's numbers of protocols that the API has no word for.
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// IEEE's numbers of protocols above Ethernet.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A dropped packet. What is not known is left out.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// RFC 3339.
    time: String,
    node: &'a str,
    verdict: &'static str,
    reason: &'static str,
    direction: &'static str,
    source: End<'a>,
    destination: End<'a>,
    /// The API's word, `ICMP`, `ICMPv6`, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    ether_type: String,
    /// Bytes of the frame.
    length: u32,
    interface: u32,
    /// Policies that isolate the pod in this direction.
    policies: Vec<Policy<'a>>,
    /// Dropped packets of this pod since its last line that have none.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u32,
}

#[derive(Debug, Default, Serialize)]
struct End<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Workload<'a>>,
}

/// What runs a pod.
#[derive(Debug, Serialize)]
struct Workload<'a> {
    kind: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Policy<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    /// No rule denies: none allows.
    rule: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Annotations>,
}

/// Tells a record.
pub(super) fn of<'a>(record: &DropRecord, attribution: &Attribution<'a>) -> Line<'a> {
    let egress = record.direction == Direction::Egress as u8;
    let direction = if egress { Direction::Egress } else { Direction::Ingress };
    // What was not parsed is zero: there is no packet from nowhere to nowhere.
    let is_ip = matches!(record.ether_type, IPV4 | IPV6)
        && (record.local, record.remote) != Default::default();
    let address = |address| is_ip.then(|| Ipv6Addr::from(address).to_canonical());
    let pod = attribution.endpoint(record.ifindex);
    let (near, far) = (address(record.local), address(record.remote));
    let local = End::new(near, port(record, record.local_port), pod);
    let peer = far.and_then(|address| attribution.peer(address));
    let remote = End::new(far, port(record, record.remote_port), peer);
    let (source, destination) = if egress { (local, remote) } else { (remote, local) };
    let policies = attribution.policies(record.ifindex, direction);
    Line {
        time: wall_clock(record.time).to_string(),
        node: attribution.node,
        verdict: "drop",
        reason: Reason::from_number(record.reason).map_or("unknown", Reason::name),
        direction: if egress { "egress" } else { "ingress" },
        source,
        destination,
        protocol: is_ip.then(|| protocol(record.protocol)),
        ether_type: format!("0x{:04x}", record.ether_type),
        length: record.length,
        interface: record.ifindex,
        policies: policies.map(|(name, annotations)| Policy::of(name, annotations)).collect(),
        left_out: record.withheld,
    }
}

impl<'a> End<'a> {
    fn new(
        address: Option<IpAddr>,
        port: Option<u16>,
        pod: Option<(&'a ObjectName, &'a Pod)>,
    ) -> Self {
        let Some((name, pod)) = pod else { return Self { address, port, ..Self::default() } };
        let workload = pod.workload.as_deref();
        Self {
            address,
            port,
            namespace: Some(&name.namespace),
            pod: Some(&name.name),
            labels: Some(&pod.labels),
            workload: workload.map(|found| Workload { kind: &found.kind, name: &found.name }),
        }
    }
}

impl<'a> Policy<'a> {
    fn of(policy: &'a PolicyRef, annotations: Option<&'a Annotations>) -> Self {
        Self {
            kind: policy.kind().name(),
            namespace: policy.namespace(),
            name: policy.name(),
            rule: None,
            annotations: annotations.filter(|annotations| !annotations.is_empty()),
        }
    }
}

/// A port, where the packet's header was read: fragments and headers that are cut short have none,
/// and nobody sends from port 0 to port 0.
fn port(record: &DropRecord, port: [u8; 2]) -> Option<u16> {
    let has_ports = Protocol::ALL.iter().any(|known| known.number() == record.protocol);
    let were_read = (record.local_port, record.remote_port) != Default::default();
    (has_ports && were_read).then(|| u16::from_be_bytes(port))
}

fn protocol(number: u8) -> String {
    let known = Protocol::ALL.iter().find(|known| known.number() == number);
    match (known, number) {
        (Some(protocol), _) => protocol.name().to_owned(),
        (None, ICMP) => "ICMP".to_owned(),
        (None, ICMP6) => "ICMPv6".to_owned(),
        (None, number) => number.to_string(),
    }
}

/// The time of a reading of the monotonic clock, in nanoseconds.
fn wall_clock(then: u64) -> Timestamp {
    let now = Timestamp::now();
    let Ok(clock) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return now };
    let age = Duration::from(clock).saturating_sub(Duration::from_nanos(then));
    let age = SignedDuration::try_from(age).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands on references")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
