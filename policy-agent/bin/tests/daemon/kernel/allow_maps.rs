//! Allow maps: built aside, put in place whole, or not at all.

use anyhow::{Context, Result, bail};
use policy_agent::dataplane::{Dataplane, DataplaneError, Options};
use policy_common::{
    allow::{PortRange, PortSet, every},
    limits::{ALLOW_MAP_ENTRIES, ALLOW_MAPS},
};
use policy_core::plan::Step;
use serde_json::{Value, json};

use super::bpftool;
use crate::privilege;

fn sets(identities: impl IntoIterator<Item = u32>) -> Vec<PortSet> {
    identities.into_iter().map(|identity| PortSet { identity, ..PortSet::default() }).collect()
}

/// The inner map at a place of the array; `None` where there is none.
fn inner(dataplane: &Dataplane, number: u8) -> Result<Option<u64>> {
    let array = dataplane.map_ids().get("allow").copied().context("no allow")?.to_string();
    let key = number.to_string();
    let found = bpftool::run(&["map", "lookup", "id", &array, "key", &key, "0", "0", "0"]);
    let Ok(found) = found else { return Ok(None) };
    let bytes = found["value"].as_array().context("no value")?;
    let mut id = 0;
    for byte in bytes.iter().rev() {
        let byte = byte.as_str().context("no byte")?.trim_start_matches("0x");
        id = id << 8 | u64::from_str_radix(byte, 16)?;
    }
    Ok(Some(id))
}

fn show(map: u64) -> Result<Value> {
    bpftool::run(&["map", "show", "id", &map.to_string()])
}

#[test]
fn an_allow_map_has_its_entries_and_a_name() -> Result<()> {
    let mut dataplane = privilege::load(&Options::default())?;
    let mut entries = sets([0, 7, 8]);
    entries[1].protocols = every::UDP;
    entries[2].ranges[0] = PortRange { protocol: 6, pad: 0, first: 80, last: 0x1234 };
    dataplane.apply(&Step::PutAllowMap { allow_map: 5, entries })?;
    let map = inner(&dataplane, 5)?.context("no allow map at 5")?;
    let shown = show(map)?;
    assert_eq!((&shown["name"], &shown["max_entries"]), (&json!("allow_5"), &json!(4)));
    let found = bpftool::run(&["map", "dump", "id", &map.to_string()])?;
    let found = found.as_array().context("a dump is a list")?;
    let found: Vec<&Value> = found.iter().map(|entry| &entry["formatted"]).collect();
    let of_8 = found.iter().find(|entry| entry["key"] == 8).context("no identity 8")?;
    let unused = json!({ "protocol": 0, "pad": 0, "first": 0, "last": 0 });
    let http = json!({ "protocol": 6, "pad": 0, "first": 80, "last": 0x1234 });
    assert_eq!(
        of_8["value"],
        json!({
            "identity": 8, "bitmap": 0, "protocols": 0, "refusal": 0, "backends": 0,
            "ranges": [http, unused, unused, unused],
        })
    );
    assert_eq!(found.len(), 3);
    Ok(())
}

#[test]
fn s49_tables_are_written_only_when_no_program_knows_an_older_endpoint() -> Result<()> {
    let mut dataplane = privilege::load(&Options::default())?;
    let identity = Step::PutIdentity { address: "10.0.0.1".parse()?, identity: 7 };
    let endpoint = Step::DeleteEndpoint { ifindex: 10, slot: 1 };
    // The kernel waits for the programs when the array is written; place 0 is for just that.
    dataplane.apply(&identity)?;
    assert_eq!(inner(&dataplane, 0)?, None, "nobody to wait for");
    for round in 0..2 {
        dataplane.apply(&endpoint)?;
        dataplane.apply(&Step::BumpEpoch { ifindex: 10 })?;
        let before = inner(&dataplane, 0)?;
        dataplane.apply(&identity)?;
        let waited = inner(&dataplane, 0)?;
        assert!(waited.is_some() && waited != before, "round {round}");
        dataplane.apply(&identity)?;
        assert_eq!(inner(&dataplane, 0)?, waited, "once is enough, round {round}");
    }
    Ok(())
}

#[test]
fn a_deleted_allow_map_is_gone_and_its_place_free() -> Result<()> {
    let mut dataplane = privilege::load(&Options::default())?;
    dataplane.apply(&Step::PutAllowMap { allow_map: 5, entries: Vec::new() })?;
    let map = inner(&dataplane, 5)?.context("no allow map at 5")?;
    for _ in 0..2 {
        // The second time there is nothing to delete.
        dataplane.apply(&Step::DeleteAllowMap { allow_map: 5 })?;
        assert_eq!(inner(&dataplane, 5)?, None);
    }
    for _ in 0..200 {
        if show(map).is_err() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bail!("the kernel keeps an allow map that nothing refers to")
}

#[test]
fn s26_an_allow_map_of_any_legal_size_fits_and_no_other_is_put() -> Result<()> {
    let mut dataplane = privilege::load(&Options::default())?;
    let most = u32::try_from(ALLOW_MAP_ENTRIES)?;
    dataplane.apply(&Step::PutAllowMap { allow_map: 5, entries: sets(0..most) })?;
    let before = inner(&dataplane, 5)?;
    assert!(before.is_some());
    match dataplane.apply(&Step::PutAllowMap { allow_map: 5, entries: sets(0..=most) }) {
        Err(DataplaneError::AllowMapTooLarge { allow_map: 5, entries, capacity }) => {
            assert_eq!((entries, capacity), (ALLOW_MAP_ENTRIES + 1, ALLOW_MAP_ENTRIES));
        }
        other => bail!("one entry too many: {other:?}"),
    }
    match dataplane.apply(&Step::PutAllowMap { allow_map: 5, entries: sets([3, 3]) }) {
        Err(DataplaneError::FillAllowMap { allow_map: 5, identity: 3, .. }) => {}
        other => bail!("an identity twice: {other:?}"),
    }
    assert_eq!(inner(&dataplane, 5)?, before);
    let outside = u32::try_from(ALLOW_MAPS)?;
    match dataplane.apply(&Step::PutAllowMap { allow_map: outside, entries: Vec::new() }) {
        Err(DataplaneError::Full { map: "allow", capacity }) => assert_eq!(capacity, outside),
        other => bail!("a place outside of the array: {other:?}"),
    }
    Ok(())
}
