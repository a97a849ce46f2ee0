//! The bounds of the history, and what flows keep.

use jiff::SignedDuration;
use policy_core::model::{Direction, ObjectName, PolicyRef};

use super::{counts::SeenEnd, *};

const LIMIT: usize = 64 << 10;

fn pod(name: &str) -> FlowEnd {
    FlowEnd::Pod(ObjectName::new("shop", name))
}

fn key(remote: &str, port: u16) -> FlowKey {
    FlowKey {
        remote: Some(pod(remote)),
        direction: Direction::Ingress,
        reason: "no-rule",
        decision: Some("no-rule-allows"),
        protocol: Some(6),
        port: Some(port),
        policies: vec![(PolicyRef::Namespaced(ObjectName::new("shop", "deny")), None)],
    }
}

/// A packet so many seconds ago.
fn packet(ago: i64, remote: &str) -> SeenPacket<'_> {
    let remote = SeenEnd { pod: Some(remote), address: "10.0.0.9".parse().ok() };
    let time = Timestamp::now() - SignedDuration::from_secs(ago);
    SeenPacket { time, length: 74, local: SeenEnd::default(), remote }
}

fn ports(history: &FlowHistory, name: &str) -> Vec<u16> {
    let flows = history.report("one", None).flows.into_iter();
    flows
        .filter(|flow| flow.destination.name.as_deref() == Some(name))
        .filter_map(|flow| flow.port)
        .collect()
}

#[test]
fn packets_of_the_same_flow_are_added_up() {
    let mut history = FlowHistory::new(LIMIT);
    for (ago, remote) in [(90, "web-1"), (60, "web-2"), (30, "web-1")] {
        history.count(Some(pod("db")), key("web", 5432), packet(ago, remote));
    }
    history.count(Some(pod("db")), key("web", 8080), packet(3600, "web-1"));
    let report = history.report("one", None);
    let [flow, _] = &*report.flows else { panic!("{report:?}") };
    assert_eq!((flow.packets, flow.bytes, flow.port), (3, 3 * 74, Some(5432)));
    assert_eq!((flow.last - flow.first).get_seconds(), 60);
    assert_eq!(flow.source.pods, ["web-1", "web-2"]);
    assert_eq!((&*flow.source.kind, flow.destination.name.as_deref()), ("Pod", Some("db")));
    let since = report.time - SignedDuration::from_mins(5);
    assert_eq!(history.report("one", Some(since)).flows.len(), 1, "the other one is older");
    assert_eq!(report.lost, LostFlows::default());
}

#[test]
fn pods_of_a_flow_are_bounded_and_the_report_says_so() {
    let mut history = FlowHistory::new(LIMIT);
    for number in 0..9 {
        let flow = history.report("one", None).flows;
        assert!(flow.iter().all(|flow| !flow.source.more_pods), "{number}: {flow:?}");
        history.count(Some(pod("db")), key("web", 80), packet(1, &format!("web-{number}")));
    }
    let flow = &history.report("one", None).flows[0];
    assert_eq!((flow.source.pods.len(), flow.source.more_pods), (8, true));
}

#[test]
fn s60_a_scan_hides_no_flow_of_another_workload_and_what_is_lost_is_counted() {
    let mut history = FlowHistory::new(LIMIT);
    history.count(Some(pod("db")), key("web", 5432), packet(7200, "web-1"));
    let scanned: u16 = 5000;
    for port in 0..scanned {
        history.count(
            Some(pod("scanner")),
            key("web", port),
            packet(3600 - i64::from(port) / 2, "web-1"),
        );
        assert!(history.bytes() <= LIMIT, "port {port}: {} bytes", history.bytes());
    }
    assert_eq!(ports(&history, "db"), [5432], "the oldest flow of all stays");
    let left = ports(&history, "scanner");
    assert_eq!(history.lost().flows, u64::from(scanned) - left.len() as u64);
    assert!(left.len() > 50, "most of the memory is in use: {}", left.len());
    let newest = u16::try_from(left.len()).unwrap_or_default();
    assert!(left.iter().all(|port| *port >= scanned - newest), "the newest stay: {left:?}");
}

#[test]
fn jobs_with_one_flow_each_forget_the_same_number_of_bytes_as_they_add() {
    let mut history = FlowHistory::new(LIMIT);
    for number in 0..2000 {
        let packet = packet(2000 - number, "web-1");
        history.count(Some(pod(&format!("job-{number}"))), key("web", 80), packet);
    }
    let kept = history.report("one", None).flows.len();
    assert!(history.bytes() <= LIMIT && kept > 50, "{kept} flows, {} bytes", history.bytes());
    assert_eq!(history.lost().flows, 2000 - kept as u64);
    let sum: usize = history.shares.values().map(|share| share.bytes).sum();
    assert_eq!(sum, history.bytes());
    assert_eq!(history.shares.len(), kept, "a workload without flows takes no memory");
    assert_eq!(ports(&history, "job-1999"), [80], "the newest stays");
    assert_eq!(ports(&history, "job-0"), [0; 0]);
}

#[test]
fn flows_are_kept_for_a_day() {
    let mut history = FlowHistory::new(LIMIT);
    for (hours, port) in [(23, 1), (25, 2)] {
        history.count(Some(pod("db")), key("web", port), packet(hours * 3600, "web-1"));
    }
    assert_eq!(ports(&history, "db"), [1]);
}
