//! Flow tables, as far as the agent takes part in them.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use aya_obj::generated::{BPF_ANY, BPF_NOEXIST};
use nix::time::{ClockId, clock_gettime};
use policy_common::flow::{FlowState, SEEN_REPLY};
use policy_core::adopt::Flows;

use super::{Dataplane, error::DataplaneError, maps::Maps};

/// IP protocol numbers of those that begin with a packet of their own.
const BEGIN_VISIBLY: [u8; 2] = [6, 132];

impl Dataplane {
    /// Writes flows of connections that were there before their pods recorded any (S30), until
    /// `deadline`; whether these are all.
    ///
    /// What the classifiers recorded of TCP and SCTP stays, for they saw it begin. Of all else they
    /// cannot tell who began, and connection tracking can.
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
        let flags =
            |protocol| if BEGIN_VISIBLY.contains(&protocol) { BPF_NOEXIST } else { BPF_ANY };
        let maps = &mut self.maps;
        for flow in &flows.four {
            if Instant::now() > deadline {
                return Ok(false);
            }
            let flow = policy_common::flow::Flow4 { state: seen(flow.state, now), ..*flow };
            let table =
                if is_replied(&flow.state) { &mut maps.flows4 } else { &mut maps.new_flows4 };
            table.put_with(&flow.key, &flow, flags(flow.key.protocol).into())?;
        }
        for flow in &flows.six {
            if Instant::now() > deadline {
                return Ok(false);
            }
            let flow = policy_common::flow::Flow6 { state: seen(flow.state, now), ..*flow };
            let table =
                if is_replied(&flow.state) { &mut maps.flows6 } else { &mut maps.new_flows6 };
            table.put_with(&flow.key, &flow, flags(flow.key.protocol).into())?;
        }
        Ok(true)
    }

    /// Forgets the flows from and to addresses that are no longer the same pods' (S8).
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

fn seen(state: FlowState, now: u64) -> FlowState {
    FlowState { last_seen: now, ..state }
}

fn is_replied(state: &FlowState) -> bool {
    state.seen & SEEN_REPLY != 0
}

/// Forgets the flows of an interface: its index may come to be another pod's (S8).
pub(super) fn delete_of_interface(maps: &mut Maps, ifindex: u32) -> Result<(), DataplaneError> {
    maps.flows4.delete_where(|key| key.ifindex == ifindex)?;
    maps.flows6.delete_where(|key| key.ifindex == ifindex)?;
    maps.new_flows4.delete_where(|key| key.ifindex == ifindex)?;
    maps.new_flows6.delete_where(|key| key.ifindex == ifindex)
}
