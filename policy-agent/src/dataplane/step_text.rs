//! A planner step in words, for logs and errors.

use std::fmt;

use policy_core::plan::Step;

/// Shows a step in a few words: what it writes, not all of what it contains.
#[derive(Clone, Copy, Debug)]
pub struct StepText<'a>(pub &'a Step);

impl fmt::Display for StepText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::PutPortChunk(chunk) => write!(
                f,
                "write chunk {} of protocol {} of port bitmap {}",
                chunk.key.chunk, chunk.key.protocol, chunk.key.bitmap
            ),
            Step::PutBackend(backend) => {
                write!(f, "write backend {} of list {}", backend.key.place, backend.key.list)
            }
            Step::PutAllowMap { allow_map, entries } => {
                write!(f, "create allow map {allow_map} with {} entries", entries.len())
            }
            Step::PutIdentity { address, identity } => {
                write!(f, "give address {address} identity {identity}")
            }
            Step::PutBlock { block, identity } => {
                write!(f, "give block {block} identity {identity}")
            }
            Step::PutFrontend { frontend, identity } => write!(
                f,
                "give frontend {} {}/{} identity {identity}",
                frontend.address, frontend.port, frontend.protocol
            ),
            Step::PutNodeAddress { address, .. } => write!(f, "write node address {address}"),
            Step::PutEndpoint(endpoint) => write!(
                f,
                "write endpoint {} (slot {}, ingress {}, egress {})",
                endpoint.ifindex, endpoint.slot, endpoint.ingress, endpoint.egress
            ),
            Step::ReplaceEndpoint { slot, endpoint } => write!(
                f,
                "write endpoint {} (slot {}, ingress {}, egress {}) in place of slot {slot}",
                endpoint.ifindex, endpoint.slot, endpoint.ingress, endpoint.egress
            ),
            Step::AdoptFlows { interfaces } => {
                write!(f, "adopt the connections of {} endpoints", interfaces.len())
            }
            Step::RecordBackends { interfaces, .. } => write!(
                f,
                "record the backends of live connections of {} endpoints",
                interfaces.len()
            ),
            Step::BumpEpoch { ifindex } => write!(f, "bump the epoch of endpoint {ifindex}"),
            Step::DeleteEndpoint { ifindex, slot } => {
                write!(f, "delete endpoint {ifindex} (slot {slot})")
            }
            Step::DeleteFrontend(frontend) => write!(
                f,
                "delete frontend {} {}/{}",
                frontend.address, frontend.port, frontend.protocol
            ),
            Step::DeleteBlock(block) => write!(f, "delete block {block}"),
            Step::DeleteIdentity(address) => write!(f, "delete address {address}"),
            Step::DeleteNodeAddress(address) => write!(f, "delete node address {address}"),
            Step::DeleteAllowMap { allow_map } => write!(f, "delete allow map {allow_map}"),
            Step::DeleteBackends { list } => write!(f, "delete list {list} of backends"),
            Step::DeletePortBitmap { bitmap } => write!(f, "delete port bitmap {bitmap}"),
        }
    }
}
