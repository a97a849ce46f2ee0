//! Flow tables, as far as the agent takes part in them.

use super::{error::DataplaneError, maps::Maps};

/// Forgets the flows of an interface: its index may come to be another pod's (S8).
pub(super) fn delete_of_interface(maps: &mut Maps, ifindex: u32) -> Result<(), DataplaneError> {
    maps.flows4.delete_where(|key| key.ifindex == ifindex)?;
    maps.flows6.delete_where(|key| key.ifindex == ifindex)?;
    maps.new_flows4.delete_where(|key| key.ifindex == ifindex)?;
    maps.new_flows6.delete_where(|key| key.ifindex == ifindex)
}
