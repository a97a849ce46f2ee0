//! When pods have flow tables of their own, and of what size (S60).

use anyhow::{Context, Result};
use policy_agent::dataplane::{Capacities, Dataplane, Options};
use policy_common::{
    allow::{PortSet, every},
    endpoint::{Endpoint, flags},
};
use policy_core::plan::Step;

use super::{
    bpftool,
    drops::{POD, node_and_pod, send},
};
use crate::namespace::{Namespace, end};

/// The pod's address of the other family.
const POD6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Flows of a pod in these tests.
const FLOWS: u32 = 300;

/// A dataplane for so many pods.
fn dataplane(pods: u32) -> Result<Dataplane> {
    let capacities = Capacities { pod_flows: Some(FLOWS), pods, ..Capacities::default() };
    Ok(Dataplane::load(&Options { capacities, ..Options::default() })?)
}

/// Names of the tables of single pods.
fn own_tables(dataplane: &Dataplane) -> Vec<String> {
    let of_pod = |name: &String| {
        name.contains("flows")
            && name.rsplit('_').next().is_some_and(|end| end.parse::<u32>().is_ok())
    };
    dataplane.map_ids().into_keys().filter(of_pod).collect()
}

/// The pod's endpoint at an interface, isolated for egress by an empty allow map or not.
fn endpoint(ifindex: u32, egress: u32) -> Endpoint {
    Endpoint { ifindex, slot: ifindex % 100, egress, address4: POD, ..Endpoint::default() }
}

/// An allow map's entry that allows everything.
fn everything() -> PortSet {
    PortSet { protocols: every::PROTOCOL, ..PortSet::default() }
}

/// Whether a table has a flow of interface 10.
fn has_flow(dataplane: &Dataplane, table: &str) -> Result<bool> {
    Ok(bpftool::dump(dataplane, table)?.iter().any(|(key, _)| key["ifindex"] == 10))
}

/// CPUs that the kernel keeps free entries for, from `0-N`.
pub(crate) fn possible_cpus() -> Result<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit(['-', ',']).next().context("no CPU")?;
    Ok(last.parse::<u32>()? + 1)
}

#[test]
fn s60_a_pod_has_flow_tables_from_its_isolation_until_its_endpoint_goes() -> Result<()> {
    let ((node, _pod), other) = (node_and_pod()?, Namespace::new()?);
    // An interface that shares the pod's word.
    node.join(&end(4096 + 10, "veth9"), &other, &end(2, "eth0"), &["10.0.9.2/24"])?;
    node.run(async || {
        let mut dataplane = dataplane(10)?;
        dataplane.apply(&Step::PutAllowMap { allow_map: 1, entries: Vec::new() })?;
        let four = ["flows4_10", "new_flows4_10"];
        let both = ["flows4_10", "flows6_10", "new_flows4_10", "new_flows6_10"];
        let open = endpoint(10, 0);
        let tracked = Endpoint { flags: flags::TRACKING, ..open };
        let isolated = Endpoint { address6: POD6, ..endpoint(10, 1) };
        let (dual, single, nothing) = (both.to_vec(), four.to_vec(), Vec::new());
        #[rustfmt::skip]
        let steps = [
            ("a pod that nothing isolates records nothing", Step::PutEndpoint(open),                 &nothing),
            ("connections are recorded before isolation",   Step::PutEndpoint(tracked),              &single),
            ("the second family comes with its address",    Step::PutEndpoint(isolated),             &dual),
            ("it may be isolated again",                    Step::PutEndpoint(open),                 &dual),
            ("another pod has the same word",               Step::PutEndpoint(endpoint(4106, 1)),    &dual),
            ("which still uses them",                       Step::DeleteEndpoint { ifindex: 10, slot: 10 },   &dual),
            ("and now nobody does",                         Step::DeleteEndpoint { ifindex: 4106, slot: 6 }, &nothing),
        ];
        for (claim, step, want) in steps {
            dataplane.apply(&step)?;
            assert_eq!(own_tables(&dataplane), *want, "{claim}");
        }
        Ok(())
    })
}

#[test]
fn s60_a_table_has_room_for_its_flows_and_for_what_cpus_set_aside() -> Result<()> {
    let (node, pod) = node_and_pod()?;
    node.run(async || {
        let mut dataplane = dataplane(10)?;
        dataplane.apply(&Step::PutAllowMap { allow_map: 1, entries: vec![everything()] })?;
        dataplane.apply(&Step::PutEndpoint(endpoint(10, 1)))?;
        let aside = 128 * possible_cpus()?;
        for (name, flows) in [("flows4_10", FLOWS), ("new_flows4_10", FLOWS / 4)] {
            let id = dataplane.map_ids()[name].to_string();
            let shown = bpftool::run(&["map", "show", "id", &id])?;
            assert_eq!(shown["max_entries"], flows + aside, "{name}");
            assert_eq!(shown["name"], name);
        }
        // As many unanswered questions as fit are all there.
        let some = u16::try_from(FLOWS / 4)?;
        for port in 0..some {
            send(&pod, POD, 10_000 + port)?;
        }
        let flows = bpftool::dump(&dataplane, "new_flows4_10")?;
        let recorded = flows.iter().filter(|(key, _)| key["protocol"] == 17).count();
        assert_eq!(recorded, usize::from(some));
        Ok(())
    })
}

#[test]
fn s60_a_pod_without_memory_for_tables_shares_and_is_named() -> Result<()> {
    let (node, pod) = node_and_pod()?;
    let other = Namespace::new()?;
    node.join(&end(11, "veth1"), &other, &end(2, "eth0"), &["10.0.9.2/24"])?;
    node.run(async || {
        // Memory for one pod, of both families.
        let mut dataplane = dataplane(1)?;
        dataplane.apply(&Step::PutAllowMap { allow_map: 1, entries: vec![everything()] })?;
        let first = Endpoint { address6: POD6, ..endpoint(11, 1) };
        dataplane.apply(&Step::PutEndpoint(first))?;
        assert_eq!(dataplane.sharing_flow_tables().count(), 0);
        dataplane.apply(&Step::PutEndpoint(endpoint(10, 1)))?;
        let sharing: Vec<_> = dataplane.sharing_flow_tables().collect();
        assert!(
            matches!(sharing[..], [(10, reason)] if reason.contains("--flows-per-pod")),
            "{sharing:?}"
        );
        send(&pod, POD, 5001)?;
        assert!(has_flow(&dataplane, "new_flows4")?, "its flows are in the shared table");
        // The memory is free again: the flows move.
        dataplane.apply(&Step::DeleteEndpoint { ifindex: 11, slot: 11 })?;
        dataplane.apply(&Step::PutEndpoint(endpoint(10, 1)))?;
        let moved = ["new_flows4", "new_flows4_10"].map(|map| has_flow(&dataplane, map).ok());
        assert_eq!(moved, [Some(false), Some(true)]);
        assert_eq!(dataplane.sharing_flow_tables().count(), 0);
        Ok(())
    })
}
