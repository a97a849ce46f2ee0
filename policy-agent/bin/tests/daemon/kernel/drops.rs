//! Packets that do not pass: counted, and recorded.

use std::{
    net::{SocketAddrV6, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};
use policy_agent::{
    dataplane::{ActiveParts, Dataplane, DataplaneError, Options, UnknownEndpoints},
    net::build::NetBuilder,
};
use policy_common::{
    address::mapped,
    allow::{PortSet, every},
    drops::{Direction, DropKey, DropRecord, Reason},
    endpoint::Endpoint,
};
use policy_core::plan::Step;

use super::bpftool;
use crate::namespace::{Namespace, add_addresses, end};

pub(super) const NODE: [u8; 4] = [10, 0, 0, 1];
pub(super) const POD: [u8; 4] = [10, 0, 0, 2];

/// A pod with one address and a node with one, joined by a veth.
pub(super) fn node_and_pod() -> Result<(Namespace, Namespace)> {
    let (node, pod) = (Namespace::new()?, Namespace::new()?);
    node.join(&end(10, "veth0"), &pod, &end(2, "eth0"), &["10.0.0.2/24", "10.0.0.66/24"])?;
    node.run(async || add_addresses(&NetBuilder::open()?, 10, &["10.0.0.1/24"]).await)?;
    Ok((node, pod))
}

/// Puts the pod under an allow map for egress.
fn isolate(dataplane: &mut Dataplane, entries: Vec<PortSet>) -> Result<()> {
    dataplane.apply(&Step::PutAllowMap { allow_map: 1, entries })?;
    let endpoint =
        Endpoint { ifindex: 10, slot: 1, egress: 1, address4: POD, ..Endpoint::default() };
    Ok(dataplane.apply(&Step::PutEndpoint(endpoint))?)
}

/// Sends a datagram from a port of the pod to port 9 of the node.
pub(super) fn send(pod: &Namespace, from: [u8; 4], port: u16) -> Result<()> {
    pod.run(async || {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(from), port))?;
        socket.send_to(b"hello", (std::net::Ipv4Addr::from(NODE), 9))?;
        Ok(())
    })
}

fn egress(reason: Reason) -> DropKey {
    DropKey { ifindex: 10, direction: Direction::Egress as u8, reason: reason as u8, pad: [0; 2] }
}

#[test]
fn s36_each_dropped_packet_is_counted_and_recorded() -> Result<()> {
    let (node, pod) = node_and_pod()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        isolate(&mut dataplane, Vec::new())?;
        let mut drops = dataplane.drops()?;
        assert!(matches!(dataplane.drops(), Err(DataplaneError::EventsTaken)));
        for port in [5001, 5002] {
            // Readiness is taken and given back: the second record must wake the reader too.
            let next = async {
                loop {
                    let record = drops.next().await?;
                    // The pod's own noise: neighbours, routers.
                    if record.protocol == 17 {
                        return Ok::<DropRecord, anyhow::Error>(record);
                    }
                }
            };
            let waiting = tokio::time::timeout(Duration::from_secs(20), next);
            let sending = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                send(&pod, POD, port)
            };
            let (record, sent) = tokio::join!(waiting, sending);
            sent?;
            let record = record.context("no record within five seconds")??;
            let want = DropRecord {
                ifindex: 10,
                allow_map: 1,
                ether_type: 0x0800,
                direction: Direction::Egress as u8,
                reason: Reason::NoRule as u8,
                local: mapped(POD),
                remote: mapped(NODE),
                local_port: port.to_be_bytes(),
                remote_port: 9_u16.to_be_bytes(),
                protocol: 17,
                length: 14 + 20 + 8 + 5,
                time: record.time,
                ..DropRecord::default()
            };
            assert_eq!(record, want);
        }
        assert_eq!(dataplane.drop_counts()?.get(&egress(Reason::NoRule)), Some(&2));
        Ok(())
    })
}

#[test]
fn an_interface_without_endpoint_passes_or_drops_as_it_was_loaded() -> Result<()> {
    let (node, pod) = node_and_pod()?;
    node.run(async || {
        for unknown_endpoints in [UnknownEndpoints::Pass, UnknownEndpoints::Drop] {
            let mut dataplane =
                Dataplane::load(&Options { unknown_endpoints, ..Options::default() })?;
            isolate(&mut dataplane, Vec::new())?;
            let map = dataplane.map_ids()["endpoints"].to_string();
            bpftool::run(&["map", "delete", "id", &map, "key", "10", "0", "0", "0"])?;
            send(&pod, POD, 5001)?;
            let counts = dataplane.drop_counts()?;
            assert!(!counts.contains_key(&egress(Reason::NoRule)), "{counts:?}");
            let unknown = counts.contains_key(&egress(Reason::UnknownEndpoint));
            assert_eq!(unknown, unknown_endpoints == UnknownEndpoints::Drop, "{counts:?}");
        }
        Ok(())
    })
}

#[test]
fn ipv6_passes_only_where_the_lab_leaves_it_out() -> Result<()> {
    let (node, pod) = node_and_pod()?;
    node.run(async || {
        for ipv6 in [true, false] {
            let parts = ActiveParts { ipv6, ..ActiveParts::default() };
            let mut dataplane = Dataplane::load(&Options { parts, ..Options::default() })?;
            isolate(&mut dataplane, Vec::new())?;
            let mut drops = dataplane.drops()?;
            pod.run(async || {
                // Every node on the link: no neighbour need be found first.
                let socket = UdpSocket::bind("[::]:0")?;
                let everyone = SocketAddrV6::new("ff02::1".parse()?, 9, 0, 2);
                socket.send_to(b"hello", everyone)?;
                Ok(())
            })?;
            let mut dropped = false;
            while let Some(record) = drops.try_next()? {
                dropped |= record.protocol == 17 && record.ether_type == 0x86dd;
            }
            assert_eq!(dropped, ipv6);
        }
        Ok(())
    })
}

#[test]
fn s8_a_deleted_endpoint_leaves_no_flow_and_no_counter() -> Result<()> {
    let (node, pod) = node_and_pod()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        let everything = PortSet { protocols: every::PROTOCOL, ..PortSet::default() };
        isolate(&mut dataplane, vec![everything])?;
        send(&pod, POD, 5001)?;
        send(&pod, [10, 0, 0, 66], 5001)?;
        let flows = bpftool::dump(&dataplane, "new_flows4_10")?;
        assert!(flows.iter().any(|(key, _)| key["ifindex"] == 10), "{flows:?}");
        assert!(dataplane.drop_counts()?.contains_key(&egress(Reason::SpoofedSource)));
        dataplane.apply(&Step::DeleteEndpoint { ifindex: 10, slot: 1 })?;
        let ids = dataplane.map_ids();
        assert!(!ids.keys().any(|name| name.ends_with("_10")), "{ids:?}");
        for map in ["flows4", "flows6", "new_flows4", "new_flows6"] {
            assert_eq!(bpftool::dump(&dataplane, map)?, [], "{map}");
        }
        assert!(dataplane.drop_counts()?.is_empty());
        Ok(())
    })
}
