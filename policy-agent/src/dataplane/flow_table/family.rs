//! What differs between the flow tables of IPv4 and IPv6: names, types, and the form of an address.

use std::{fmt::Debug, net::IpAddr};

use aya::Pod;
use policy_common::flow::{Flow, Flow4, Flow6, FlowKey, FlowKey4, FlowKey6, FlowState};

use crate::dataplane::typed::InnerMap;

/// An address family of the flow tables.
pub(in crate::dataplane) trait FlowFamily {
    /// Key of its tables.
    type Key: Pod + Debug;
    /// Value of its tables.
    type Value: Pod;

    /// Name of the map that holds a table for each place.
    const INDEX: &str;
    /// Name of the shared table of flows with a reply; those of pods have a number behind it.
    const REPLIED: &str;
    /// Name of the shared table of flows without a reply.
    const NEW: &str;
    /// What its tables are to the kernel.
    const KIND: InnerMap;

    /// The interface of a flow.
    fn ifindex(key: &Self::Key) -> u32;
    /// The pod's address and that of the far end.
    fn addresses(key: &Self::Key) -> [IpAddr; 2];
    /// The IP protocol number.
    fn protocol(key: &Self::Key) -> u8;
    /// The key that a flow carries.
    fn key(flow: &Self::Value) -> Self::Key;
    /// The part of a flow that changes.
    fn state(flow: &Self::Value) -> FlowState;
    /// A flow with another state.
    fn with_state(flow: &Self::Value, state: FlowState) -> Self::Value;
}

/// IPv4.
#[derive(Debug)]
pub(in crate::dataplane) struct V4;

/// IPv6.
#[derive(Debug)]
pub(in crate::dataplane) struct V6;

macro_rules! family {
    ($family:ident, $key:ident, $value:ident, $index:literal, $replied:literal, $new:literal, $kind:ident) => {
        impl FlowFamily for $family {
            type Key = $key;
            type Value = $value;

            const INDEX: &str = $index;
            const REPLIED: &str = $replied;
            const NEW: &str = $new;
            const KIND: InnerMap = InnerMap::$kind;

            fn ifindex(key: &$key) -> u32 {
                key.ifindex
            }

            fn addresses(FlowKey { local, remote, .. }: &$key) -> [IpAddr; 2] {
                [(*local).into(), (*remote).into()]
            }

            fn protocol(key: &$key) -> u8 {
                key.protocol
            }

            fn key(flow: &$value) -> $key {
                flow.key
            }

            fn state(flow: &$value) -> FlowState {
                flow.state
            }

            fn with_state(flow: &$value, state: FlowState) -> $value {
                Flow { state, ..*flow }
            }
        }
    };
}

family!(V4, FlowKey4, Flow4, "pod_flows4", "flows4", "new_flows4", Flows4);
family!(V6, FlowKey6, Flow6, "pod_flows6", "flows6", "new_flows6", Flows6);
