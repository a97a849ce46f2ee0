//! The agent's writes to the flow tables: adoption of existing connections, and deletion.

use std::{collections::BTreeSet, fmt::Debug, net::IpAddr, time::Instant};

use aya::Pod;
use aya_obj::generated::{BPF_ANY, BPF_NOEXIST};
use nix::time::{ClockId, clock_gettime};
use policy_common::{
    flow::{Flow, FlowKey, FlowState, seen},
    protocol::{SCTP, TCP},
};
use policy_core::adopt::Flows;

use super::{Dataplane, error::DataplaneError, maps::Maps, named::Hash};

/// Protocols whose first packet is recognisable (SYN, INIT).
const STARTS_VISIBLY: [u8; 2] = [TCP, SCTP];

impl Dataplane {
    /// Writes flows of connections that existed before their pods recorded any (S30), until
    /// `deadline`; returns whether all were written.
    ///
    /// A flow of TCP or SCTP that the programs recorded stays, because they saw the connection
    /// start. For other protocols they cannot know the initiator, and `nf_conntrack` does.
    ///
    /// # Errors
    ///
    /// When a table refuses.
    pub fn adopt_flows(
        &mut self,
        flows: &Flows,
        deadline: Instant,
    ) -> Result<bool, DataplaneError> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(DataplaneError::Clock)?;
        let now = u64::try_from(std::time::Duration::from(now).as_nanos()).unwrap_or(u64::MAX);
        let maps = &mut self.maps;
        let (new, replied) = (&mut maps.new_flows4, &mut maps.flows4);
        let all = adopt(&flows.four, new, replied, now, deadline)?;
        let (new, replied) = (&mut maps.new_flows6, &mut maps.flows6);
        Ok(all && adopt(&flows.six, new, replied, now, deadline)?)
    }

    /// Deletes the flows from and to addresses that belong to another pod now (S8).
    ///
    /// # Errors
    ///
    /// When a table refuses.
    pub fn forget_flows(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), DataplaneError> {
        let is_of = |address: IpAddr| addresses.contains(&address);
        let maps = &mut self.maps;
        for table in [&mut maps.flows4, &mut maps.new_flows4] {
            table.delete_where(|key| is_of(key.local.into()) || is_of(key.remote.into()))?;
        }
        for table in [&mut maps.flows6, &mut maps.new_flows6] {
            table.delete_where(|key| is_of(key.local.into()) || is_of(key.remote.into()))?;
        }
        Ok(())
    }
}

/// Writes flows of one family into the table that each belongs to, with the time `now`, until
/// `deadline`; returns whether all were written.
fn adopt<A: Copy>(
    flows: &[Flow<A>],
    new: &mut Hash<FlowKey<A>, Flow<A>>,
    replied: &mut Hash<FlowKey<A>, Flow<A>>,
    now: u64,
    deadline: Instant,
) -> Result<bool, DataplaneError>
where
    FlowKey<A>: Pod + Debug,
    Flow<A>: Pod,
{
    for flow in flows {
        if Instant::now() > deadline {
            return Ok(false);
        }
        let state = FlowState { last_seen: now, ..flow.state };
        let table = if state.seen & seen::REPLY != 0 { &mut *replied } else { &mut *new };
        let flags = if STARTS_VISIBLY.contains(&flow.key.protocol) { BPF_NOEXIST } else { BPF_ANY };
        table.put_with(&flow.key, &Flow { state, ..*flow }, flags.into())?;
    }
    Ok(true)
}

/// Deletes the flows of an interface, because its index may be reused for another pod (S8).
pub(super) fn delete_of_interface(maps: &mut Maps, ifindex: u32) -> Result<(), DataplaneError> {
    maps.flows4.delete_where(|key| key.ifindex == ifindex)?;
    maps.flows6.delete_where(|key| key.ifindex == ifindex)?;
    maps.new_flows4.delete_where(|key| key.ifindex == ifindex)?;
    maps.new_flows6.delete_where(|key| key.ifindex == ifindex)
}
