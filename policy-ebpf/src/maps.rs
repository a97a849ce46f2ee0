//! The maps, with the names that bpftool shows, and the globals that the loader sets.
//!
//! The agent writes `endpoints`, `slots`, `epochs`, `identities`, `blocks`, `frontends`, `backends`, `live_backends`,
//! `node_addresses`, `pods`, `tunnel_ports`, `allow`, `port_chunks`, and the places of `pod_flows4`
//! and `pod_flows6`; the programs write the others.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuHashMap, RingBuf},
    macros::btf_map,
};
use policy_common::{
    address::Address,
    allow::{PortChunk, PortChunkKey, PortSet},
    backend::{Backend, BackendKey, LiveBackend, LiveBackendKey},
    drops::{DropKey, DropRecord, RecordBudget, RecordCharge},
    endpoint::Endpoint,
    flow::{Flow, Flow4, Flow6, FlowKey, FlowKey4, FlowKey6, Lifetimes},
    fragment::Fragment,
    frontend::{Frontend, FrontendKey},
    identity::Identity,
    limits,
};

const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

/// One allow map.
pub(crate) type Allow = HashMap<u32, PortSet, { limits::ALLOW_MAP_ENTRIES }, ON_DEMAND>;

/// A flow table, of whatever capacity: the kernel compares an inner map with this one in type, key,
/// value and flags (`bpf_map_meta_equal` in `kernel/bpf/map_in_map.c`).
pub(crate) type FlowTable<A> = LruHashMap<FlowKey<A>, Flow<A>, { limits::FLOWS }>;

#[btf_map(name = "endpoints")]
pub(crate) static ENDPOINTS: HashMap<u32, Endpoint, { limits::INTERFACES }> = HashMap::new();

/// The interface of each slot.
#[btf_map(name = "slots")]
pub(crate) static SLOTS: Array<u32, { limits::ENDPOINTS }> = Array::new();

/// The epoch of each interface; 0 until an endpoint that shares the word is isolated.
#[btf_map(name = "epochs")]
pub(crate) static EPOCHS: Array<u32, { limits::EPOCHS }> = Array::new();

#[btf_map(name = "identities")]
pub(crate) static IDENTITIES: HashMap<Address, Identity, { limits::ADDRESSES }, ON_DEMAND> =
    HashMap::new();

#[btf_map(name = "blocks")]
pub(crate) static BLOCKS: LpmTrie<Address, u32, { limits::BLOCKS }> = LpmTrie::new();

#[btf_map(name = "frontends")]
pub(crate) static FRONTENDS: HashMap<FrontendKey, Frontend, { limits::FRONTENDS }, ON_DEMAND> =
    HashMap::new();

/// Lists of backends that pods may reach, of Services with others.
#[btf_map(name = "backends")]
pub(crate) static BACKENDS: HashMap<BackendKey, Backend, { limits::BACKENDS }, ON_DEMAND> =
    HashMap::new();

/// Backends of live connections, by flow (S42).
#[btf_map(name = "live_backends")]
pub(crate) static LIVE_BACKENDS: HashMap<
    LiveBackendKey,
    LiveBackend,
    { limits::LIVE_BACKENDS },
    ON_DEMAND,
> = HashMap::new();

/// `NodeKind::Own` or `NodeKind::Other` of `policy_common::endpoint`.
#[btf_map(name = "node_addresses")]
pub(crate) static NODE_ADDRESSES: HashMap<Address, u32, { limits::NODE_ADDRESSES }, ON_DEMAND> =
    HashMap::new();

/// Addresses of the cluster's pods, to which tunnels may go (S46); each value is 1.
#[btf_map(name = "pods")]
pub(crate) static PODS: HashMap<Address, u32, { limits::PODS }, ON_DEMAND> = HashMap::new();

/// UDP ports at which nodes accept tunnel packets (S46), host byte order; each value is 1.
#[btf_map(name = "tunnel_ports")]
pub(crate) static TUNNEL_PORTS: HashMap<u32, u32, { limits::TUNNEL_PORTS }, ON_DEMAND> =
    HashMap::new();

/// Datagrams of which the first fragment passed, by place.
#[btf_map(name = "fragments")]
pub(crate) static FRAGMENTS: HashMap<u32, Fragment, { limits::FRAGMENTS }, ON_DEMAND> =
    HashMap::new();

#[btf_map(name = "allow")]
pub(crate) static ALLOW: ArrayOfMaps<Allow, { limits::ALLOW_MAPS }> = ArrayOfMaps::new();

#[btf_map(name = "port_chunks")]
pub(crate) static PORT_CHUNKS: HashMap<
    PortChunkKey,
    PortChunk,
    { limits::PORT_CHUNKS },
    ON_DEMAND,
> = HashMap::new();

/// Flow tables of IPv4, at their places (`policy_common::flow::place`): those of single pods, and the
/// shared ones `flows4` and `new_flows4`.
#[btf_map(name = "pod_flows4")]
pub(crate) static POD_FLOWS4: ArrayOfMaps<FlowTable<[u8; 4]>, { limits::FLOW_TABLES }> =
    ArrayOfMaps::new();

/// As `pod_flows4`, of IPv6.
#[btf_map(name = "pod_flows6")]
pub(crate) static POD_FLOWS6: ArrayOfMaps<FlowTable<[u8; 16]>, { limits::FLOW_TABLES }> =
    ArrayOfMaps::new();

// The programs reach the shared tables through their places alone; they are declared here so that
// the loader creates them.

#[btf_map(name = "flows4")]
static FLOWS4: LruHashMap<FlowKey4, Flow4, { limits::FLOWS }> = LruHashMap::new();

#[btf_map(name = "flows6")]
static FLOWS6: LruHashMap<FlowKey6, Flow6, { limits::FLOWS }> = LruHashMap::new();

#[btf_map(name = "new_flows4")]
static NEW_FLOWS4: LruHashMap<FlowKey4, Flow4, { limits::NEW_FLOWS }> = LruHashMap::new();

#[btf_map(name = "new_flows6")]
static NEW_FLOWS6: LruHashMap<FlowKey6, Flow6, { limits::NEW_FLOWS }> = LruHashMap::new();

#[btf_map(name = "drops")]
pub(crate) static DROPS: PerCpuHashMap<DropKey, u64, { limits::DROPS }, ON_DEMAND> =
    PerCpuHashMap::new();

#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<DropRecord, { limits::RING_BYTES }> = RingBuf::new();

/// Token buckets of drop records, by sender.
#[btf_map(name = "record_budgets")]
pub(crate) static RECORD_BUDGETS: LruHashMap<
    RecordCharge,
    RecordBudget,
    { limits::RECORD_BUDGETS },
> = LruHashMap::new();

/// 1 to drop packets at interfaces that belong to no known pod.
#[unsafe(no_mangle)]
pub(crate) static DROP_UNKNOWN: Global<u8> = Global::new(0);

/// Nanoseconds after which an interface may have one more drop record; 0 for no limit.
#[unsafe(no_mangle)]
pub(crate) static RECORD_INTERVAL: Global<u64> = Global::new(0);

/// 0 to ignore IPv6; the lab sets it to prove that it would notice.
#[unsafe(no_mangle)]
pub(crate) static HANDLE_IPV6: Global<u8> = Global::new(1);

/// How long flows live; the loader sets what the node's `nf_conntrack` is configured to.
#[unsafe(no_mangle)]
pub(crate) static LIFETIMES: Lifetimes = Lifetimes::DEFAULT;

/// Nanoseconds by which the clock of the flow tables is ahead; tests set it, because the clock
/// starts at zero when a machine boots.
#[unsafe(no_mangle)]
pub(crate) static CLOCK_OFFSET: Global<u64> = Global::new(0);

/// Nanoseconds of a tick of the kernel (`jiffies`); 0 if the loader does not know it.
#[unsafe(no_mangle)]
pub(crate) static CLOCK_TICK: Global<u64> = Global::new(0);
