//! The eBPF object, built into the binary.

use aya::{Ebpf, EbpfLoader};

use super::{
    error::DataplaneError,
    options::{Options, UnknownEndpoints},
};

/// What `cargo xtask build` made of `policy-ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("POLICY_BPF_OBJECT"));

/// Creates the maps; the classifiers are not loaded yet.
pub(super) fn load(options: &Options) -> Result<Ebpf, DataplaneError> {
    let drop_unknown = u8::from(options.unknown_endpoints == UnknownEndpoints::Drop);
    let handle_ipv6 = u8::from(options.parts.ipv6);
    let capacities = &options.capacities;
    EbpfLoader::new()
        .override_global("DROP_UNKNOWN", &drop_unknown, true)
        .override_global("HANDLE_IPV6", &handle_ipv6, true)
        .map_max_entries("identities", capacities.addresses)
        // One more, which stands between the families.
        .map_max_entries("blocks", capacities.blocks + 1)
        .map_max_entries("frontends", capacities.frontends)
        .map_max_entries("flows4", capacities.flows)
        .map_max_entries("flows6", capacities.flows)
        .map_max_entries("new_flows4", capacities.new_flows)
        .map_max_entries("new_flows6", capacities.new_flows)
        .load(OBJECT)
        .map_err(|source| DataplaneError::Load { source: Box::new(source) })
}
