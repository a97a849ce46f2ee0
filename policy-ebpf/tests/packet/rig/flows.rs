//! The flow tables of a loaded object: what a test reads there, and how it changes them.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{
        HashMap, Map, MapData,
        of_maps::{ArrayOfMaps, HashOfMaps},
    },
};
use policy_common::flow::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState, place};

use super::{FLOWS, Rig, SECOND, object};

impl Rig {
    /// Gives every interface without tables of its own the shared ones.
    pub(super) fn share_flow_tables(&mut self) {
        for (index, names) in
            [("pod_flows4", ["flows4", "new_flows4"]), ("pod_flows6", ["flows6", "new_flows6"])]
        {
            for (place, name) in [place::SHARED, place::SHARED_NEW].into_iter().zip(names) {
                let table = table(&self.ebpf, name);
                self.put_table(index, place, &table);
            }
        }
    }

    /// Gives an interface flow tables of its own, of which the test reads nothing.
    pub(crate) fn own_flow_tables(&mut self, ifindex: u32) {
        // Empty tables with the types of the object.
        let mut loader = EbpfLoader::new();
        for name in ["flows4", "flows6", "new_flows4", "new_flows6"] {
            loader.map_max_entries(name, FLOWS);
        }
        let other = loader.load(&object()).expect("the kernel takes the maps");
        for (index, names) in
            [("pod_flows4", ["flows4", "new_flows4"]), ("pod_flows6", ["flows6", "new_flows6"])]
        {
            let places = [place::replied(ifindex), place::new(ifindex)];
            for (place, name) in places.into_iter().zip(names) {
                self.put_table(index, place, &table(&other, name));
            }
        }
    }

    /// Takes the shared tables away.
    pub(crate) fn no_flow_tables(&mut self) {
        for index in ["pod_flows4", "pod_flows6"] {
            let Some(Map::ArrayOfMaps(map)) = self.ebpf.take_map(index) else {
                panic!("{index} is no array of maps");
            };
            // aya deletes from hashes of maps only; to the kernel it is the same call.
            let mut outer: HashOfMaps<MapData, u32, MapData> =
                Map::HashOfMaps(map).try_into().unwrap();
            for place in [place::SHARED, place::SHARED_NEW] {
                outer.remove(&place).unwrap();
            }
        }
    }

    fn put_table(&mut self, index: &str, place: u32, table: &MapData) {
        let mut outer: ArrayOfMaps<&mut MapData, MapData> =
            self.ebpf.map_mut(index).unwrap().try_into().unwrap();
        outer.set(place, table, 0).unwrap();
    }

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

/// A flow table of an object, by a descriptor of its own.
fn table(ebpf: &Ebpf, name: &str) -> MapData {
    let Some(Map::LruHashMap(map)) = ebpf.map(name) else { panic!("no flow table {name}") };
    MapData::from_fd(map.fd().as_fd().try_clone_to_owned().unwrap()).unwrap()
}
