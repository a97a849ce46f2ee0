//! Capacities of the maps. "Set at load" marks those that the agent may change when it loads.

/// Slots of one node, one for each endpoint that passes anything; 0 stays unused.
pub const ENDPOINTS: usize = 2048;

/// Interfaces with an endpoint. Those without a slot are closed: new pods beyond the slots, and interfaces
/// with an address of a pod that has another one.
pub const INTERFACES: usize = 2 * ENDPOINTS;

/// Words of the epoch array; a power of two, indexed by `ifindex & (EPOCHS - 1)`.
///
/// The flows of two interfaces that share a word are judged again together, which costs a few
/// look-ups and changes no verdict. They also share their flow tables.
pub const EPOCHS: usize = 4096;

/// Addresses of pods that match a peer of some policy in force (set at load).
pub const ADDRESSES: usize = 1 << 17;

/// Addresses of pods of the whole cluster (set at load, to as many as [`ADDRESSES`]). A pod beyond them
/// cannot be the far end of a tunnel (S46); nothing else depends on it.
pub const PODS: usize = 1 << 17;

/// Blocks that policies mention, excepts included (set at load).
pub const BLOCKS: usize = 1 << 17;

/// Distinct allow maps of one node; number 0 stays unused. Enough for two per endpoint, and for
/// twice as many while they change.
pub const ALLOW_MAPS: usize = 8 * ENDPOINTS;

/// Entries of one allow map: as many as there can be addresses and blocks at the usual sizes.
pub const ALLOW_MAP_ENTRIES: usize = 1 << 18;

/// Chunks of 256 ports of all port bitmaps.
pub const PORT_CHUNKS: usize = 1 << 16;

/// Frontends of Services: address, port and protocol (set at load).
pub const FRONTENDS: usize = 1 << 16;

/// Backends of all lists, of Services of which a pod may reach some.
pub const BACKENDS: usize = 1 << 16;

/// Live connections to frontends that refuse new ones, of all pods.
pub const LIVE_BACKENDS: usize = 1 << 16;

/// As [`LIVE_BACKENDS`], of one pod.
pub const LIVE_BACKENDS_OF_POD: usize = 1 << 12;

/// Addresses of the cluster's nodes.
pub const NODE_ADDRESSES: usize = 1 << 16;

/// Flows with a reply of pods without flow tables of their own, per family (set at load).
pub const FLOWS: usize = 1 << 14;

/// Flows without a reply yet of such pods, per family (set at load).
pub const NEW_FLOWS: usize = 1 << 13;

/// Places of `pod_flows4` and `pod_flows6`; see [`crate::flow::place`].
pub const FLOW_TABLES: usize = 2 * EPOCHS + 2;

/// Drop counters: endpoints × directions × reasons, created when they are first needed.
pub const DROPS: usize = 1 << 17;

/// Interfaces that have a record budget.
pub const RECORD_BUDGETS: usize = 4 * ENDPOINTS;

/// Drop records that an interface may have in one burst. The ring buffer holds the bursts of
/// more interfaces than a node has pods.
pub const RECORD_BURST: u32 = 100;

/// Nanoseconds after which a pod that has used up its burst of replies to denied packets may have one
/// more (S59); the burst is [`RECORD_BURST`].
pub const REPLY_INTERVAL: u64 = 10_000_000;

/// Bytes of the ring buffer for drop records.
pub const RING_BYTES: usize = 1 << 20;

/// Datagrams of which the first fragment passed, of all endpoints; memory is taken as they come.
pub const FRAGMENTS: usize = ENDPOINTS * crate::fragment::PLACES as usize;

/// UDP ports of tunnels.
pub const TUNNEL_PORTS: usize = 1024;
