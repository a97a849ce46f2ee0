//! The object, loaded for one pod at the loopback interface, as a test run without a context comes by it.

use std::{
    env, fs,
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, RingBuf, of_maps::ArrayOfMaps},
    programs::SchedClassifier,
};
use aya_obj::generated::bpf_map_type;
use nix::time::{ClockId, clock_getres};
use policy_common::{
    allow::{PortSet, every},
    drops::Direction,
    endpoint::Endpoint,
    flow::place,
    identity::Identity,
    tunnel::DEFAULT_PORTS,
};

use crate::{
    frames::{FRIEND, POD, STRANGER, address},
    programs::{self, Packet, Run},
};

/// The loopback interface.
pub(crate) const IFINDEX: u32 = 1;
/// Allow map of both directions.
const ALLOW_MAP: u32 = 3;
/// Identity of the far end that a rule allows.
const ALLOWED: u32 = 5;
/// Identity of the one that no rule allows.
pub(crate) const DENIED: u32 = 6;
const SLOT: u32 = 7;
const FLOWS: u32 = 16_384;

/// A loaded object.
pub(crate) struct Node {
    ebpf: Ebpf,
    /// The allow map of the pod; none where nothing isolates it.
    allow: Option<Map>,
}

impl Node {
    /// With a pod that is isolated in both directions: everything passes from and to one far end in
    /// each family, and nothing else. An interface may have one more drop record each `interval`.
    pub(crate) fn isolated(interval: Duration) -> Result<Self> {
        let mut node = Self::load(interval, ALLOW_MAP)?;
        node.allow = Some(node.allow_one()?);
        for (name, identity) in [(FRIEND, ALLOWED), (STRANGER, DENIED)] {
            for address in name.map(address) {
                node.put("identities", address, Identity { address, identity })?;
            }
        }
        let mut epochs: Array<&mut MapData, u32> = node.map_mut("epochs")?.try_into()?;
        epochs.set(IFINDEX, 1, 0)?;
        Ok(node)
    }

    /// Puts an allow map with one identity into its index.
    fn allow_one(&mut self) -> Result<Map> {
        // As the template: a hash without elements allocated beforehand.
        let (kind, size) = (bpf_map_type::BPF_MAP_TYPE_HASH as u32, size_of::<PortSet>());
        let shape = aya_obj::Map::new_from_params(kind, 4, u32::try_from(size)?, 64, 1);
        let allow = MapData::create(shape, "allow_3", None)?;
        let mut index: ArrayOfMaps<&mut MapData, MapData> = self.map_mut("allow")?.try_into()?;
        index.set(ALLOW_MAP, &allow, 0)?;
        let mut allow = Map::HashMap(allow);
        let mut entries: HashMap<&mut MapData, u32, PortSet> = (&mut allow).try_into()?;
        let everything =
            PortSet { identity: ALLOWED, protocols: every::PROTOCOL, ..PortSet::default() };
        entries.insert(ALLOWED, everything, 0)?;
        Ok(allow)
    }

    /// With a pod that nothing isolates.
    pub(crate) fn open() -> Result<Self> {
        Self::load(Duration::from_hours(1), 0)
    }

    fn load(interval: Duration, allow_map: u32) -> Result<Self> {
        let interval = u64::try_from(interval.as_nanos())?;
        let tick = u64::try_from(clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?.tv_nsec())?;
        let path = env::var_os("POLICY_BPF_OBJECT").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/policy.o"),
            PathBuf::from,
        );
        let object = fs::read(&path).with_context(|| {
            format!("cannot read {}; `cargo xtask bpf` builds it", path.display())
        })?;
        let mut loader = EbpfLoader::new();
        loader.override_global("RECORD_INTERVAL", &interval, true);
        loader.override_global("CLOCK_TICK", &tick, true);
        for name in ["flows4", "flows6", "new_flows4", "new_flows6"] {
            loader.map_max_entries(name, FLOWS);
        }
        let ebpf = loader.load(&object).context("the kernel refuses the maps; this needs root")?;
        let mut node = Self { ebpf, allow: None };
        for name in ["from_pod", "to_pod"] {
            let program = node.ebpf.program_mut(name).context("the object lacks a program")?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load().with_context(|| format!("the verifier refuses {name}"))?;
        }
        node.share_flow_tables()?;
        for port in DEFAULT_PORTS {
            node.put("tunnel_ports", u32::from(port), 1_u32)?;
        }
        let [four, six] = POD;
        let endpoint = Endpoint {
            ifindex: IFINDEX,
            slot: SLOT,
            ingress: allow_map,
            egress: allow_map,
            address4: four.parse::<std::net::Ipv4Addr>()?.octets(),
            address6: six.parse::<std::net::Ipv6Addr>()?.octets(),
            ..Endpoint::default()
        };
        node.put("endpoints", IFINDEX, endpoint)?;
        Ok(node)
    }

    /// Gives the pod the shared flow tables.
    fn share_flow_tables(&mut self) -> Result<()> {
        for (index, names) in
            [("pod_flows4", ["flows4", "new_flows4"]), ("pod_flows6", ["flows6", "new_flows6"])]
        {
            for (place, name) in [place::SHARED, place::SHARED_NEW].into_iter().zip(names) {
                let id = self.map(name)?.info()?.id();
                let table = MapData::from_id(id)?;
                let mut outer: ArrayOfMaps<&mut MapData, MapData> =
                    self.map_mut(index)?.try_into()?;
                outer.set(place, &table, 0)?;
            }
        }
        Ok(())
    }

    fn map_mut(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the object lacks the map {name}"))
    }

    /// A map of the object.
    pub(crate) fn map(&self, name: &str) -> Result<&MapData> {
        data(self.ebpf.map(name).with_context(|| format!("the object lacks the map {name}"))?)
    }

    /// The allow map of the isolated pod.
    pub(crate) fn allow_map(&self) -> Result<&MapData> {
        data(self.allow.as_ref().context("nothing isolates the pod")?)
    }

    fn put<K: Pod, V: Pod>(&mut self, map: &str, key: K, value: V) -> Result<()> {
        let mut map: HashMap<&mut MapData, K, V> = self.map_mut(map)?.try_into()?;
        Ok(map.insert(key, value, 0)?)
    }

    /// The program that judges a direction.
    pub(crate) fn program(&self, direction: Direction) -> Result<BorrowedFd<'_>> {
        let name = match direction {
            Direction::Egress => "from_pod",
            Direction::Ingress => "to_pod",
        };
        let program = self.ebpf.program(name).context("the object lacks a program")?;
        let program: &SchedClassifier = program.try_into()?;
        Ok(program.fd()?.as_fd())
    }

    /// Judges a packet of the pod.
    pub(crate) fn judge(&self, direction: Direction, packet: &Packet, repeat: u32) -> Result<Run> {
        programs::run(self.program(direction)?, packet, repeat)
    }

    /// Takes all drop records.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let mut records: RingBuf<&mut MapData> = self.map_mut("events")?.try_into()?;
        while records.next().is_some() {}
        Ok(())
    }
}

/// A hash, whatever its kind.
fn data(map: &Map) -> Result<&MapData> {
    if let Map::HashMap(map) | Map::LruHashMap(map) | Map::PerCpuHashMap(map) = map {
        Ok(map)
    } else {
        anyhow::bail!("a map that is looked up is no hash")
    }
}
