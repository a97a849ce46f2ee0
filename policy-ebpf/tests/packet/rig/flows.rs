//! The flow tables of a loaded object: what a test reads there, and how it changes them.

use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use policy_common::flow::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState};

use super::{Rig, SECOND};

impl Rig {
    /// Flows of both families: those that have seen a reply, those that have not.
    pub(crate) fn flows(&self) -> (Vec<Flow4>, Vec<Flow6>, Vec<Flow4>, Vec<Flow6>) {
        (
            self.read::<FlowKey4, Flow4>("flows4"),
            self.read::<FlowKey6, Flow6>("flows6"),
            self.read::<FlowKey4, Flow4>("new_flows4"),
            self.read::<FlowKey6, Flow6>("new_flows6"),
        )
    }

    /// Makes every flow claim to be another's, as an element does that the kernel recycles.
    pub(crate) fn recycle_flows(&mut self) {
        for name in ["flows4", "new_flows4"] {
            for mut flow in self.read::<FlowKey4, Flow4>(name) {
                let key = flow.key;
                flow.key.remote_port = [0; 2];
                self.replace(name, &key, key, flow);
            }
        }
        for name in ["flows6", "new_flows6"] {
            for mut flow in self.read::<FlowKey6, Flow6>(name) {
                let key = flow.key;
                flow.key.remote[15] ^= 1;
                self.replace(name, &key, key, flow);
            }
        }
    }

    /// Makes every flow as old as if no packet had come for `seconds`.
    pub(crate) fn age(&mut self, seconds: u64) {
        self.each(|state, _| {
            state.last_seen -= seconds * SECOND;
            state.created -= u32::try_from(seconds).unwrap();
        });
    }

    /// Makes every flow one of another interface.
    pub(crate) fn move_flows(&mut self, ifindex: u32) {
        self.each(|_, key| *key = ifindex);
    }

    /// Forgets every flow.
    pub(crate) fn forget_flows(&mut self) {
        self.move_flows(u32::MAX);
    }

    /// Changes state and interface of every flow.
    fn each(&mut self, change: impl Fn(&mut FlowState, &mut u32)) {
        for name in ["flows4", "new_flows4"] {
            for flow in self.read::<FlowKey4, Flow4>(name) {
                let mut new = flow;
                change(&mut new.state, &mut new.key.ifindex);
                self.replace(name, &flow.key, new.key, new);
            }
        }
        for name in ["flows6", "new_flows6"] {
            for flow in self.read::<FlowKey6, Flow6>(name) {
                let mut new = flow;
                change(&mut new.state, &mut new.key.ifindex);
                self.replace(name, &flow.key, new.key, new);
            }
        }
    }

    pub(super) fn read<K: Pod, V: Pod>(&self, name: &str) -> Vec<V> {
        let map: HashMap<&MapData, K, V> = self.ebpf.map(name).unwrap().try_into().unwrap();
        map.iter().map(|entry| entry.unwrap().1).collect()
    }

    fn replace<K: Pod, V: Pod>(&mut self, name: &str, old: &K, new: K, value: V) {
        let mut map: HashMap<&mut MapData, K, V> =
            self.ebpf.map_mut(name).unwrap().try_into().unwrap();
        map.remove(old).unwrap();
        map.insert(new, value, 0).unwrap();
    }
}
