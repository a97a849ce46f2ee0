//! What the steps of a plan leave in the maps, read by another program.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use policy_agent::dataplane::{Capacities, Dataplane, DataplaneError, Options};
use policy_common::{
    allow::{PortChunk, PortChunkKey},
    flow::{Flow4, FlowKey4, FlowState, Initiator, Judgement, seen},
};
use policy_core::{
    adopt::Flows,
    desired::{Frontend, NodeKind},
    model::Protocol,
    plan::Step,
};
use serde_json::{Value, json};

use super::bpftool;
use crate::privilege;

/// Options with small maps.
fn small() -> Options {
    let capacities = Capacities { addresses: 4, blocks: 2, frontends: 2, ..Capacities::default() };
    Options { capacities, ..Options::default() }
}

fn apply(dataplane: &mut Dataplane, steps: &[Step]) -> Result<()> {
    steps.iter().try_for_each(|step| Ok(dataplane.apply(step)?))
}

/// An address as bpftool prints it.
fn bytes(address: &str) -> Result<Value> {
    let address: std::net::IpAddr = address.parse()?;
    let octets = match address {
        std::net::IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(address) => address.octets(),
    };
    Ok(json!(octets))
}

#[test]
fn steps_write_entries_that_bpftool_shows_by_their_field_names() -> Result<()> {
    let mut dataplane = privilege::load(&small())?;
    let frontend = Frontend { address: "10.96.0.1".parse()?, protocol: Protocol::Tcp, port: 443 };
    let chunk = PortChunkKey { bitmap: 3, protocol: 6, chunk: 31, pad: [0; 2] };
    let other = PortChunkKey { bitmap: 4, ..chunk };
    apply(
        &mut dataplane,
        &[
            Step::PutIdentity { address: "10.0.0.1".parse()?, identity: 7 },
            Step::PutBlock { block: "10.1.0.0/16".parse()?, identity: 8 },
            Step::PutBlock { block: "fd00:1::/32".parse()?, identity: 9 },
            Step::PutFrontend { frontend, identity: 10 },
            Step::PutNodeAddress { address: "fd00::1".parse()?, kind: NodeKind::Own },
            Step::PutNodeAddress { address: "fd00::2".parse()?, kind: NodeKind::Other },
            Step::PutPortChunk(PortChunk { key: chunk, bits: [1, 2, 3, 1 << 63] }),
            Step::PutPortChunk(PortChunk { key: other, bits: [4; 4] }),
        ],
    )?;
    let key = json!({
        "address": bytes("10.96.0.1")?, "port": [1, 187], "protocol": 6, "pad": 0,
    });
    let identity = json!({ "address": bytes("10.0.0.1")?, "identity": 7 });
    let chunk = json!({ "bitmap": 3, "protocol": 6, "chunk": 31, "pad": [0, 0] });
    let other = json!({ "bitmap": 4, "protocol": 6, "chunk": 31, "pad": [0, 0] });
    let four = (other.clone(), json!({ "key": other, "bits": [4, 4, 4, 4] }));
    let every4 = block(96, "0.0.0.0", 0)?;
    #[rustfmt::skip]
    let written = [
        ("identities", vec![(bytes("10.0.0.1")?, identity)]),
        ("blocks", vec![block(112, "10.1.0.0", 8)?, block(32, "fd00:1::", 9)?, every4.clone()]),
        ("frontends", vec![(key.clone(), json!({ "key": key, "identity": 10 }))]),
        ("node_addresses", vec![(bytes("fd00::1")?, json!(1)), (bytes("fd00::2")?, json!(2))]),
        ("port_chunks", vec![(chunk.clone(), json!({ "key": chunk, "bits": [1, 2, 3, 1_u64 << 63] })), four.clone()]),
    ];
    for (map, want) in written {
        assert_eq!(sorted(bpftool::dump(&dataplane, map)?), sorted(want), "{map}, written");
    }
    let deletions = [
        Step::DeleteIdentity("10.0.0.1".parse()?),
        Step::DeleteBlock("10.1.0.0/16".parse()?),
        Step::DeleteBlock("fd00:1::/32".parse()?),
        Step::DeleteFrontend(frontend),
        Step::DeleteNodeAddress("fd00::1".parse()?),
        Step::DeleteNodeAddress("fd00::2".parse()?),
        Step::DeletePortBitmap { bitmap: 3 },
    ];
    apply(&mut dataplane, &deletions)?;
    // What is not there is deleted already.
    apply(&mut dataplane, &deletions)?;
    #[rustfmt::skip]
    let left = [
        ("identities", vec![]), ("blocks", vec![every4]), ("frontends", vec![]),
        ("node_addresses", vec![]), ("port_chunks", vec![four]),
    ];
    for (map, want) in left {
        assert_eq!(bpftool::dump(&dataplane, map)?, want, "{map}, deleted");
    }
    Ok(())
}

#[test]
fn s20_an_entry_for_all_of_ipv4_stands_between_the_families() -> Result<()> {
    let mut dataplane = privilege::load(&small())?;
    let all: ipnetwork::IpNetwork = "0.0.0.0/0".parse()?;
    // An IPv6 block of IPv4 addresses: no packet has them, and its key would mean IPv4.
    let mapped: ipnetwork::IpNetwork = "::ffff:10.0.0.0/104".parse()?;
    #[rustfmt::skip]
    let steps = [
        (Step::PutBlock { block: mapped, identity: 6 }, 0),
        (Step::PutBlock { block: all, identity: 5 },    5),
        (Step::DeleteBlock(mapped),                     5),
        (Step::DeleteBlock(all),                        0),
    ];
    for (step, identity) in steps {
        dataplane.apply(&step)?;
        let want = [block(96, "0.0.0.0", identity)?];
        assert_eq!(bpftool::dump(&dataplane, "blocks")?, want, "{step:?}");
    }
    Ok(())
}

#[test]
fn s26_the_error_of_a_full_map_has_its_name_and_capacity() -> Result<()> {
    let mut dataplane = privilege::load(&small())?;
    let mut fill = |map: &str, capacity: u32, step: &dyn Fn(u8) -> Step| -> Result<()> {
        for n in 0..u8::try_from(capacity)? {
            dataplane.apply(&step(n)).with_context(|| format!("entry {n} of {map}"))?;
        }
        // What is there can still be changed.
        dataplane.apply(&step(0))?;
        match dataplane.apply(&step(200)) {
            Err(DataplaneError::Full { map: full, capacity: of }) => {
                // The trie has one more, which stands between the families.
                assert_eq!((full, of), (map, capacity + u32::from(map == "blocks")));
            }
            other => panic!("one entry too many in {map}: {other:?}"),
        }
        Ok(())
    };
    let address = |n: u8| std::net::IpAddr::from([10, 0, 0, n]);
    fill("identities", 4, &|n| Step::PutIdentity { address: address(n), identity: 1 })?;
    fill("blocks", 2, &|n| Step::PutBlock { block: address(n).into(), identity: 1 })?;
    fill("frontends", 2, &|n| {
        let frontend = Frontend { address: address(n), protocol: Protocol::Udp, port: 53 };
        Step::PutFrontend { frontend, identity: 1 }
    })
}

#[test]
fn s30_what_the_programs_saw_begin_stays_and_all_else_is_corrected() -> Result<()> {
    let mut dataplane = privilege::load(&small())?;
    // What a program recorded is as if the first had written it.
    for initiator in [Initiator::Local as u8, Initiator::Remote as u8] {
        let flow = |protocol| {
            let key = FlowKey4 { ifindex: 1, protocol, ..FlowKey4::default() };
            let judgement = Judgement { initiator, ..Judgement::default() };
            let state = FlowState { judgement, seen: seen::REPLY, ..FlowState::default() };
            Flow4 { key, state, ..Flow4::default() }
        };
        let flows = Flows { four: [6, 17, 132, 1].map(flow).to_vec(), six: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(dataplane.adopt_flows(&flows, deadline)?, "in time");
    }
    let flows = bpftool::dump(&dataplane, "flows4")?.into_iter();
    let found: BTreeMap<u64, u64> = flows
        .map(|(key, value)| {
            let initiator = value["state"]["judgement"]["initiator"].as_u64();
            Some((key["protocol"].as_u64()?, initiator?))
        })
        .collect::<Option<_>>()
        .context("no flow")?;
    let (local, remote) = (Initiator::Local as u64, Initiator::Remote as u64);
    assert_eq!(found, BTreeMap::from([(6, local), (17, remote), (132, local), (1, remote)]));
    Ok(())
}

#[test]
fn maps_and_programs_have_readable_names() -> Result<()> {
    let dataplane = privilege::load(&small())?;
    for (map, id) in dataplane.map_ids() {
        let shown = bpftool::run(&["map", "show", "id", &id.to_string()])?;
        assert_eq!(shown["name"], map);
    }
    Ok(())
}

#[test]
fn s29_no_two_words_ever_hold_the_same_epoch() -> Result<()> {
    let mut dataplane = privilege::load(&small())?;
    // Interfaces that are 4096 apart share a word.
    apply(&mut dataplane, &[9, 10, 4096 + 9].map(|ifindex| Step::BumpEpoch { ifindex }))?;
    assert_eq!(bpftool::set_elements(&dataplane, "epochs")?, [(9, 3), (10, 2)]);
    Ok(())
}

/// An entry of `blocks`, as bpftool prints it.
fn block(bits: u32, address: &str, identity: u32) -> Result<(Value, Value)> {
    Ok((json!({ "prefix_len": bits, "data": bytes(address)? }), json!(identity)))
}

/// A hash map has no order.
fn sorted(mut entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    entries.sort_by_key(|(key, _)| key.to_string());
    entries
}
