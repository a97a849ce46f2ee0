//! The loaded programs: writes a world to their maps, ages their flows, and has them judge events.
//!
//! The runner calls [`Rig::load`] once, [`Rig::reset`] at the start of each case, and the other
//! methods once for each step.

mod allow_maps;
mod network;

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::maps::lpm_trie::Key;
use aya::maps::of_maps::ArrayOfMaps;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader, Pod as Plain};
use nix::time::{ClockId, clock_getres};
use policy_common::address::{Address, MAPPED_BITS, mapped};
use policy_common::allow::{PortChunk, PortChunkKey, PortSet};
use policy_common::endpoint::{Endpoint, NodeKind, flags};
use policy_common::flow::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState, place};
use policy_common::fragment::Fragment;
use policy_common::frontend::{Frontend, FrontendKey};
use policy_common::identity::Identity;
use policy_common::limits;

use crate::addresses::{
    BLOCKS, BRIDGE, OTHER_NODE, OWN_NODE, PODS, SERVICES, TUNNEL_PORTS, interface, ip, slot,
};
use crate::kernel::Hook;
use crate::model::{Direction, Event};
use crate::world::{Pod, Policy, World};

/// TC actions.
const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;

const SECOND: u64 = 1_000_000_000;

/// A hundred days, so that flows can be older than the machine is up.
const CLOCK_OFFSET: u64 = 100 * 86_400 * SECOND;

/// Flows of each family and table that the programs can hold.
const FLOWS: u32 = 4096;

/// The loaded programs and their maps.
pub struct Rig {
    ebpf: Ebpf,
    from_pod: Hook,
    to_pod: Hook,
    /// The policies that the allow maps hold.
    policies: Vec<Policy>,
    epoch: u32,
}

/// What a program did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It passes.
    pub passes: bool,
    /// `tc_index` afterwards.
    pub mark: u32,
}

impl Rig {
    /// Loads the programs of an object into a network namespace of their own; without IPv6 they
    /// ignore that family, which a comparison must find.
    ///
    /// # Errors
    ///
    /// If the caller is not root, or the kernel refuses the object.
    pub fn load(object: &Path, handle_ipv6: bool) -> Result<Self> {
        network::enter()?;
        let bytes = std::fs::read(object)
            .with_context(|| format!("{}: `cargo xtask bpf` builds it", object.display()))?;
        // One drop record an hour: nobody reads them.
        let handle_ipv6 = u8::from(handle_ipv6);
        let tick = u64::try_from(clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?.tv_nsec())?;
        let mut ebpf = EbpfLoader::new()
            .override_global("RECORD_INTERVAL", &3_600_000_000_000_u64, true)
            .override_global("HANDLE_IPV6", &handle_ipv6, true)
            .override_global("CLOCK_OFFSET", &CLOCK_OFFSET, true)
            .override_global("CLOCK_TICK", &tick, true)
            .map_max_entries("flows4", FLOWS)
            .map_max_entries("flows6", FLOWS)
            .map_max_entries("new_flows4", FLOWS)
            .map_max_entries("new_flows6", FLOWS)
            .load(&bytes)
            .context("the kernel refuses the maps; this needs root")?;
        let from_pod = Hook::new(loaded(&mut ebpf, "from_pod")?)?;
        let to_pod = Hook::new(loaded(&mut ebpf, "to_pod")?)?;
        let mut rig = Self { ebpf, from_pod, to_pod, policies: Vec::new(), epoch: 0 };
        rig.place_flow_tables()?;
        rig.write_constants()?;
        Ok(rig)
    }

    /// Writes a world, and forgets every flow.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a map element.
    pub fn reset(&mut self, world: &World) -> Result<()> {
        self.clear::<FlowKey4, Flow4>("flows4")?;
        self.clear::<FlowKey4, Flow4>("new_flows4")?;
        self.clear::<FlowKey6, Flow6>("flows6")?;
        self.clear::<FlowKey6, Flow6>("new_flows6")?;
        self.clear::<u32, Fragment>("fragments")?;
        if self.policies != world.policies {
            self.write_policies(&world.policies)?;
        }
        for (number, pod) in world.pods.iter().enumerate() {
            self.write_pod(number, pod)?;
        }
        Ok(())
    }

    /// Writes a pod and starts its next epoch.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a map element.
    pub fn write_pod(&mut self, number: usize, pod: &Pod) -> Result<()> {
        let v4 = match ip(PODS[number].v4) {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        let flag = |set: bool, flag| if set { flag } else { 0 };
        let endpoint = Endpoint {
            ifindex: interface(number),
            slot: slot(number),
            ingress: allow_maps::number(pod.ingress, Direction::Ingress)?,
            egress: allow_maps::number(pod.egress, Direction::Egress)?,
            flags: flag(pod.may_spoof, flags::MAY_SPOOF) | flag(pod.tracking, flags::TRACKING),
            bridge: if pod.on_bridge { BRIDGE } else { 0 },
            address4: v4,
            address6: bytes(ip(PODS[number].v6)),
        };
        self.put("endpoints", interface(number), endpoint)?;
        self.epoch += 1;
        let epoch = self.epoch;
        let word = interface(number) & u32::try_from(limits::EPOCHS - 1)?;
        Array::<_, u32>::try_from(self.map("epochs")?)?.set(word, epoch, 0)?;
        Ok(())
    }

    /// Makes every flow older.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a map element.
    pub fn age(&mut self, seconds: u64) -> Result<()> {
        for table in ["flows4", "new_flows4"] {
            self.age_table::<FlowKey4, Flow4>(table, seconds, |flow| &mut flow.state)?;
        }
        for table in ["flows6", "new_flows6"] {
            self.age_table::<FlowKey6, Flow6>(table, seconds, |flow| &mut flow.state)?;
        }
        Ok(())
    }

    /// Whether a test run accepts a frame: it refuses one that is too short for its IP header.
    #[must_use]
    pub fn accepts(frame: &[u8]) -> bool {
        let least = match frame.get(12..14) {
            Some([0x08, 0x00]) => 34,
            Some([0x86, 0xdd]) => 54,
            _ => 15,
        };
        frame.len() >= least
    }

    /// Has the programs judge an event.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the frame, or a program returns another action than pass or drop.
    pub fn judge(&self, event: &Event) -> Result<Verdict> {
        let hook = match event.direction {
            Direction::Egress => &self.from_pod,
            Direction::Ingress => &self.to_pod,
        };
        let outcome = hook
            .run(interface(event.pod), event.arrived_by, event.mark, &event.frame)
            .with_context(|| format!("{event:?}"))?;
        let passes = match outcome.action {
            TC_ACT_UNSPEC => true,
            TC_ACT_SHOT => false,
            other => bail!("a program returned {other}"),
        };
        Ok(Verdict { passes, mark: outcome.mark })
    }

    /// Puts the shared flow tables at their places: no pod of a case has tables of its own.
    fn place_flow_tables(&mut self) -> Result<()> {
        for (index, tables) in
            [("pod_flows4", ["flows4", "new_flows4"]), ("pod_flows6", ["flows6", "new_flows6"])]
        {
            for (place, name) in [place::SHARED, place::SHARED_NEW].into_iter().zip(tables) {
                let Map::LruHashMap(table) = self.map(name)? else { bail!("no table {name}") };
                let table = MapData::from_fd(table.fd().as_fd().try_clone_to_owned()?)?;
                let mut outer = ArrayOfMaps::<_, MapData>::try_from(self.map(index)?)?;
                outer.set(place, &table, 0)?;
            }
        }
        Ok(())
    }

    /// Writes what no case changes: addresses, blocks, frontends, slots.
    fn write_constants(&mut self) -> Result<()> {
        for (kind, list) in [(NodeKind::Own, OWN_NODE), (NodeKind::Other, OTHER_NODE)] {
            for address in list {
                self.put("node_addresses", bytes(ip(address)), kind as u32)?;
            }
        }
        for (number, pod) in PODS.iter().enumerate() {
            for address in [ip(pod.v4), ip(pod.v6)] {
                let identity = allow_maps::of_pod(number, address)?;
                let address = bytes(address);
                self.put("pods", address, 1_u32)?;
                self.put("identities", address, Identity { address, identity })?;
            }
        }
        for port in TUNNEL_PORTS {
            self.put("tunnel_ports", u32::from(*port), 1_u32)?;
        }
        for (number, block) in BLOCKS.iter().enumerate() {
            let first = ip(block.first);
            let bits = block.bits + if first.is_ipv4() { MAPPED_BITS } else { 0 };
            let identity = allow_maps::of_block(number)?;
            let mut blocks = LpmTrie::<_, Address, u32>::try_from(self.map("blocks")?)?;
            blocks.insert(&Key::new(bits, bytes(first)), identity, 0)?;
        }
        for (number, service) in SERVICES.iter().enumerate() {
            for address in service.addresses.map(ip) {
                let identity = allow_maps::of_service(number, address)?;
                let (address, port) = (bytes(address), service.port.to_be_bytes());
                let key = FrontendKey { address, port, protocol: service.protocol, pad: 0 };
                self.put("frontends", key, Frontend { key, identity })?;
            }
        }
        for pod in 0..crate::addresses::LOCAL_PODS {
            let (slot, interface) = (slot(pod), interface(pod));
            Array::<_, u32>::try_from(self.map("slots")?)?.set(slot, interface, 0)?;
        }
        Ok(())
    }

    /// Writes two allow maps for each policy: one for each direction.
    fn write_policies(&mut self, policies: &[Policy]) -> Result<()> {
        for (number, policy) in policies.iter().enumerate() {
            // The kernel waits for a grace period at each allow map that is replaced.
            if self.policies.get(number) == Some(policy) {
                continue;
            }
            for direction in [Direction::Ingress, Direction::Egress] {
                let allow_map = allow_maps::number(Some(number), direction)?;
                let (sets, chunks) = allow_maps::compile(policy, direction, allow_map)?;
                self.clear_chunks(allow_map)?;
                for chunk in chunks {
                    self.put("port_chunks", chunk.key, chunk)?;
                }
                // The template's only flag, BPF_F_NO_PREALLOC.
                let mut inner = HashMap::<MapData, u32, PortSet>::create(64, 1)?;
                for set in sets {
                    inner.insert(set.identity, set, 0)?;
                }
                let mut outer: ArrayOfMaps<_, HashMap<MapData, u32, PortSet>> =
                    self.map("allow")?.try_into()?;
                outer.set(allow_map, &inner, 0)?;
            }
        }
        self.policies = policies.to_vec();
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the object has no map {name}"))
    }

    fn put<K: Plain, V: Plain>(&mut self, map: &str, key: K, value: V) -> Result<()> {
        HashMap::try_from(self.map(map)?)?.insert(key, value, 0)?;
        Ok(())
    }

    fn clear<K: Plain, V: Plain>(&mut self, name: &str) -> Result<()> {
        let mut map = HashMap::<_, K, V>::try_from(self.map(name)?)?;
        let keys = map.keys().collect::<Result<Vec<_>, _>>()?;
        for key in keys {
            map.remove(&key)?;
        }
        Ok(())
    }

    /// Removes the port chunks of an allow map.
    fn clear_chunks(&mut self, allow_map: u32) -> Result<()> {
        let mut map = HashMap::<_, PortChunkKey, PortChunk>::try_from(self.map("port_chunks")?)?;
        for key in map.keys().collect::<Result<Vec<_>, _>>()? {
            if allow_maps::of_bitmap(key.bitmap) == allow_map {
                map.remove(&key)?;
            }
        }
        Ok(())
    }

    fn age_table<K: Plain, V: Plain>(
        &mut self,
        name: &str,
        seconds: u64,
        state: impl Fn(&mut V) -> &mut FlowState,
    ) -> Result<()> {
        let mut map = HashMap::<_, K, V>::try_from(self.map(name)?)?;
        let entries = map.iter().collect::<Result<Vec<_>, _>>()?;
        for (key, mut value) in entries {
            let state = state(&mut value);
            state.last_seen -= seconds * SECOND;
            state.created -= u32::try_from(seconds)?;
            map.insert(key, value, 0)?;
        }
        Ok(())
    }
}

fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a SchedClassifier> {
    let program = ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
    let program: &mut SchedClassifier = program.try_into()?;
    program.load().context("the verifier refuses a program")?;
    Ok(program)
}

/// An address in the form of the maps.
fn bytes(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}
