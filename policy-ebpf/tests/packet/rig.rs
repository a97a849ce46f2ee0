//! A loaded object with one endpoint, whose maps a test fills by hand.

mod drops;
mod flows;
mod neighbour;
mod replies;

use std::{env, fs, net::IpAddr, path::PathBuf};

use aya::{
    Ebpf, EbpfLoader, Pod, TestRun, TestRunOptions,
    maps::{
        Array, HashMap, LpmTrie, Map, MapData,
        lpm_trie::Key,
        of_maps::{ArrayOfMaps, HashOfMaps},
    },
    programs::SchedClassifier,
};
use nix::time::{ClockId, clock_getres};
use policy_common::{
    address::{Address, MAPPED_BITS, mapped},
    allow::{PortChunk, PortRange, PortSet, every},
    drops::{Direction, Reason},
    endpoint::{Endpoint, NodeKind, flags},
    fragment::Fragment,
    frontend::{Frontend, FrontendKey},
    identity::Identity,
    tunnel::DEFAULT_PORTS,
};

/// The loopback interface: a test run without a context comes by it.
pub(crate) const IFINDEX: u32 = 1;
/// Slot of the endpoint.
pub(crate) const SLOT: u32 = 7;
/// The pod's addresses.
pub(crate) const POD4: [u8; 4] = [10, 244, 0, 10];
pub(crate) const POD6: [u8; 16] = [0xfd, 0, 0, 0x10, 2, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
/// The allow map that the endpoint's isolated directions refer to.
pub(crate) const ALLOW_MAP: u32 = 3;

const SECOND: u64 = 1_000_000_000;

/// Entries of each flow table.
pub(crate) const FLOWS: u32 = 4096;

/// Two days, so that a flow can be older than the machine is up.
const CLOCK_OFFSET: u64 = 2 * 86_400 * SECOND;

pub(crate) const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;

/// Verdict on one packet: `None` passes.
pub(crate) type Verdict = Option<Reason>;

pub(crate) struct Rig {
    ebpf: Ebpf,
    /// The last frame, as the program left it.
    out: Vec<u8>,
}

/// Which directions of the endpoint are isolated.
#[derive(Clone, Copy)]
pub(crate) enum Isolated {
    Neither,
    /// Neither, and connections are recorded.
    NotYet,
    Ingress,
    Egress,
    Both,
}

impl Rig {
    /// Loads the object, with an endpoint whose allow map is empty.
    pub(crate) fn new(isolated: Isolated) -> Self {
        Self::load(isolated, 0, 0)
    }

    /// As `new`, with one more drop record for an interface each `interval` nanoseconds.
    pub(crate) fn with_record_interval(interval: u64) -> Self {
        Self::load(Isolated::Both, 0, interval)
    }

    /// As `new`, configured to drop packets of interfaces that belong to no known pod.
    pub(crate) fn dropping_unknown() -> Self {
        Self::load(Isolated::Both, 1, 0)
    }

    fn load(isolated: Isolated, drop_unknown: u8, record_interval: u64) -> Self {
        let mut ebpf = EbpfLoader::new()
            .override_global("DROP_UNKNOWN", &drop_unknown, true)
            .override_global("RECORD_INTERVAL", &record_interval, true)
            .override_global("CLOCK_OFFSET", &CLOCK_OFFSET, true)
            .override_global("CLOCK_TICK", &tick(), true)
            .map_max_entries("flows4", FLOWS)
            .map_max_entries("flows6", FLOWS)
            .map_max_entries("new_flows4", FLOWS)
            .map_max_entries("new_flows6", FLOWS)
            .load(&object())
            .expect("the kernel takes the maps; this needs root");
        for name in ["from_pod", "to_pod"] {
            let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().expect("the verifier takes the program");
        }
        let mut rig = Self { ebpf, out: Vec::new() };
        for port in DEFAULT_PORTS {
            rig.put("tunnel_ports", u32::from(port), 1_u32);
        }
        rig.share_flow_tables();
        rig.isolate(isolated);
        rig.allow(&[]);
        rig
    }

    /// Writes the endpoint, and its first epoch where something isolates it.
    pub(crate) fn isolate(&mut self, isolated: Isolated) {
        let (ingress, egress) = match isolated {
            Isolated::Neither | Isolated::NotYet => (0, 0),
            Isolated::Ingress => (ALLOW_MAP, 0),
            Isolated::Egress => (0, ALLOW_MAP),
            Isolated::Both => (ALLOW_MAP, ALLOW_MAP),
        };
        self.endpoint(Endpoint {
            ifindex: IFINDEX,
            slot: SLOT,
            ingress,
            egress,
            flags: if matches!(isolated, Isolated::NotYet) { flags::TRACKING } else { 0 },
            address4: POD4,
            address6: POD6,
            ..Endpoint::default()
        });
        self.epoch(1);
    }

    /// Writes the endpoint with these allow maps.
    pub(crate) fn isolate_by(&mut self, ingress: u32, egress: u32) {
        self.endpoint(Endpoint {
            ifindex: IFINDEX,
            slot: SLOT,
            ingress,
            egress,
            address4: POD4,
            address6: POD6,
            ..Endpoint::default()
        });
    }

    pub(crate) fn endpoint(&mut self, endpoint: Endpoint) {
        self.put("endpoints", IFINDEX, endpoint);
    }

    pub(crate) fn forget_endpoint(&mut self) {
        let mut map: HashMap<&mut MapData, u32, Endpoint> =
            self.ebpf.map_mut("endpoints").unwrap().try_into().unwrap();
        map.remove(&IFINDEX).unwrap();
    }

    /// Writes the epoch of the endpoint.
    pub(crate) fn epoch(&mut self, epoch: u32) {
        self.epoch_of(IFINDEX, epoch);
    }

    fn epoch_of(&mut self, ifindex: u32, epoch: u32) {
        let mut map: Array<&mut MapData, u32> =
            self.ebpf.map_mut("epochs").unwrap().try_into().unwrap();
        map.set(ifindex, epoch, 0).unwrap();
    }

    /// Replaces the allow map.
    pub(crate) fn allow(&mut self, sets: &[PortSet]) {
        self.content_of(sets.iter().map(|set| (set.identity, *set)));
    }

    /// Takes the allow map away.
    pub(crate) fn no_content(&mut self) {
        let Some(Map::ArrayOfMaps(map)) = self.ebpf.take_map("allow") else {
            panic!("allow is no array of maps");
        };
        // aya deletes from hashes of maps only; to the kernel it is the same call.
        let map = Map::HashOfMaps(map);
        let mut outer: HashOfMaps<MapData, u32, HashMap<MapData, u32, PortSet>> =
            map.try_into().unwrap();
        outer.remove(&ALLOW_MAP).unwrap();
    }

    pub(crate) fn identity(&mut self, address: &str, identity: u32) {
        let address = bytes(address);
        self.put("identities", address, Identity { address, identity });
    }

    /// Makes an address one of a pod of the cluster.
    pub(crate) fn pod(&mut self, address: &str) {
        self.put("pods", bytes(address), 1_u32);
    }

    pub(crate) fn block(&mut self, address: &str, bits: u32, identity: u32) {
        let bits = if address.contains(':') { bits } else { bits + MAPPED_BITS };
        let mut map: LpmTrie<&mut MapData, Address, u32> =
            self.ebpf.map_mut("blocks").unwrap().try_into().unwrap();
        map.insert(&Key::new(bits, bytes(address)), identity, 0).unwrap();
    }

    pub(crate) fn node_address(&mut self, address: &str, kind: NodeKind) {
        self.put("node_addresses", bytes(address), kind as u32);
    }

    pub(crate) fn frontend(&mut self, address: &str, port: u16, protocol: u8, identity: u32) {
        let key =
            FrontendKey { address: bytes(address), port: port.to_be_bytes(), protocol, pad: 0 };
        self.put("frontends", key, Frontend { key, identity });
    }

    pub(crate) fn port_chunk(&mut self, chunk: PortChunk) {
        self.put("port_chunks", chunk.key, chunk);
    }

    /// Judges a frame that the pod sends.
    pub(crate) fn sent(&mut self, frame: &[u8]) -> Verdict {
        self.run("from_pod", Direction::Egress, frame, 0)
    }

    /// Judges a frame to the pod that another machine sent.
    pub(crate) fn received(&mut self, frame: &[u8]) -> Verdict {
        self.run("to_pod", Direction::Ingress, frame, IFINDEX)
    }

    /// As `sent`, with the frame as it goes on.
    pub(crate) fn sent_as(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let verdict = self.sent(frame);
        (verdict, std::mem::take(&mut self.out))
    }

    /// As `received`, with the frame as it arrives.
    pub(crate) fn received_as(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let verdict = self.received(frame);
        (verdict, std::mem::take(&mut self.out))
    }

    /// Judges a frame to the pod that another machine sent and that came in by an interface.
    pub(crate) fn received_by(&mut self, ifindex: u32, frame: &[u8]) -> Verdict {
        self.run("to_pod", Direction::Ingress, frame, ifindex)
    }

    /// Judges a frame to the pod that a process of the node sent.
    pub(crate) fn received_from_node(&mut self, frame: &[u8]) -> Verdict {
        self.run("to_pod", Direction::Ingress, frame, 0)
    }

    /// Runs a program, and holds verdict, counter and record against one another.
    fn run(&mut self, name: &str, direction: Direction, frame: &[u8], from: u32) -> Verdict {
        let before = self.dropped(direction);
        let action = self.act(name, frame, from);
        let record = self.record();
        let after = self.dropped(direction);
        match action {
            TC_ACT_UNSPEC => {
                assert_eq!((before, None), (after, record), "a packet that passes counts nothing");
                None
            }
            TC_ACT_SHOT => {
                let record = record.expect("every drop has a record");
                assert_eq!(record.direction, direction as u8);
                assert_eq!(record.ifindex, IFINDEX);
                assert_eq!(usize::try_from(record.length), Ok(frame.len()));
                let reason = Reason::from_number(record.reason).unwrap();
                let counted: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
                let mut one = vec![0; Reason::ALL.len() + 1];
                one[reason as usize] = 1;
                assert_eq!(counted, one, "every drop is counted once, under its reason");
                Some(reason)
            }
            other => panic!("{name} returned {other}"),
        }
    }

    /// Runs a program; what it returns.
    fn act(&mut self, name: &str, frame: &[u8], from: u32) -> i32 {
        self.act_at(IFINDEX, name, frame, from)
    }

    /// As `act`, at any interface that exists.
    fn act_at(&mut self, ifindex: u32, name: &str, frame: &[u8], from: u32) -> i32 {
        // `struct __sk_buff`: ingress_ifindex is the tenth word, ifindex the eleventh.
        let mut context = [0_u8; 192];
        context[36..40].copy_from_slice(&from.to_ne_bytes());
        context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
        let program: &SchedClassifier = self.ebpf.program(name).unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let action = program.test_run(options).expect("a frame that the kernel takes");
        let action = action.return_value.cast_signed();
        self.out = out;
        action
    }

    /// Writes an element of a hash map.
    pub(crate) fn put<K: Pod, V: Pod>(&mut self, map: &str, key: K, value: V) {
        let mut map: HashMap<&mut MapData, K, V> =
            self.ebpf.map_mut(map).unwrap().try_into().unwrap();
        map.insert(key, value, 0).unwrap();
    }

    /// Replaces the allow map, with entries under whatever identity.
    pub(crate) fn content_of(&mut self, entries: impl IntoIterator<Item = (u32, PortSet)>) {
        // The template's only flag, BPF_F_NO_PREALLOC.
        let mut inner = HashMap::<MapData, u32, PortSet>::create(64, 1).unwrap();
        for (identity, set) in entries {
            inner.insert(identity, set, 0).unwrap();
        }
        let mut outer: ArrayOfMaps<&mut MapData, HashMap<MapData, u32, PortSet>> =
            self.ebpf.map_mut("allow").unwrap().try_into().unwrap();
        outer.set(ALLOW_MAP, &inner, 0).unwrap();
    }

    /// Elements of the map of fragments.
    pub(crate) fn fragments(&self) -> usize {
        self.read::<u32, Fragment>("fragments").len()
    }
}

/// Nanoseconds of a tick of the kernel.
fn tick() -> u64 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    u64::try_from(tick.tv_nsec()).unwrap()
}

/// The object, aligned as the ELF reader wants it: a fresh allocation is.
pub(crate) fn object() -> Vec<u8> {
    let path = env::var_os("POLICY_BPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/policy.o"),
        PathBuf::from,
    );
    fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask bpf` builds it", path.display()))
}

/// An address in the form of the maps.
pub(crate) fn bytes(address: &str) -> Address {
    match address.parse::<IpAddr>().unwrap() {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A port set of some ranges.
pub(crate) fn ports(identity: u32, ranges: &[(u8, u16, u16)]) -> PortSet {
    let mut set = PortSet { identity, ..PortSet::default() };
    for (place, (protocol, first, last)) in set.ranges.iter_mut().zip(ranges) {
        *place = PortRange { protocol: *protocol, pad: 0, first: *first, last: *last };
    }
    set
}

/// A port set of every protocol.
pub(crate) fn everything(identity: u32) -> PortSet {
    PortSet { identity, protocols: every::PROTOCOL, ..PortSet::default() }
}
