//! Capacities of the maps. What the agent may change at load is said at each.

/// Endpoints of one node; also the number of slots, of which 0 stays unused.
pub const ENDPOINTS: usize = 2048;

/// Words of the epoch array; a power of two, indexed by `ifindex & (EPOCHS - 1)`.
///
/// Two interfaces that share a word are judged anew together, which costs a few look-ups and
/// changes no verdict.
pub const EPOCHS: usize = 4096;

/// Addresses of pods that some policy in force tells apart (set at load).
pub const ADDRESSES: usize = 1 << 17;

/// Blocks that policies mention, excepts included (set at load).
pub const BLOCKS: usize = 1 << 17;

/// Distinct allow maps of one node; id 0 stays unused. Enough for two of each endpoint, and twice
/// as many while they change.
pub const CONTENTS: usize = 8 * ENDPOINTS;

/// Identities of one allow map: as many as there are addresses and blocks at the usual sizes.
pub const CONTENT_ENTRIES: usize = 1 << 18;

/// Chunks of 256 ports of all port bitmaps.
pub const PORT_CHUNKS: usize = 1 << 16;

/// Frontends of Services: address, port and protocol (set at load).
pub const FRONTENDS: usize = 1 << 16;

/// Addresses of the cluster's nodes.
pub const NODE_ADDRESSES: usize = 1 << 16;

/// Flows that have seen a reply, per family (set at load).
pub const FLOWS: usize = 1 << 17;

/// Flows that wait for their first reply, per family (set at load).
pub const NEW_FLOWS: usize = 1 << 15;

/// Drop counters: endpoints, times directions, times reasons, made as they are needed.
pub const DROPS: usize = 1 << 17;

/// Interfaces whose share of drop records is known.
pub const RECORD_BUDGETS: usize = 4 * ENDPOINTS;

/// Drop records that an interface may have at once. Those of more interfaces than a node has pods
/// find room in the ring buffer together.
pub const RECORD_BURST: u32 = 100;

/// Bytes of the ring buffer for drop records.
pub const RING_BYTES: usize = 1 << 20;
