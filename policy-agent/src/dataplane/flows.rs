//! The flow tables: those of single pods, the shared ones, and the agent's writes to them.
//!
//! The programs record flows; the agent creates the tables, adopts existing connections (S30), and
//! deletes what belongs to another pod now (S8).
//!
//! ```text
//! a pod at interface 12 is first isolated   flows4_12, new_flows4_12 …   created, and put at its places
//! its endpoint goes                         the shared tables            at its places again
//! ```

mod own;
mod share;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    time::Instant,
};

use aya::Ebpf;
use aya_obj::generated::{BPF_ANY, BPF_NOEXIST};
use nix::time::{ClockId, clock_gettime};
use policy_common::{
    endpoint::{Endpoint, flags},
    flow::{FlowState, place},
    protocol::{SCTP, TCP},
};
use policy_core::{adopt::Flows, plan::Step};

use super::{
    Dataplane,
    error::DataplaneError,
    flow_table::{FlowFamily, Pair, V4, V6},
    maps::{self, Maps},
    pins::Pins,
    typed::{InnerMap, InnerTypes},
};
use crate::chain::chain;
use own::Own;
pub(super) use share::FlowShare;
pub use share::POD_FLOWS;

/// Protocols with a first packet that can be recognised (SYN, INIT).
const STARTS_VISIBLY: [u8; 2] = [TCP, SCTP];

/// The flow tables of single pods (S60).
#[derive(Debug)]
pub(super) struct FlowTables {
    four: Own<V4>,
    six: Own<V6>,
    share: FlowShare,
    /// Interfaces of pods that must share tables, and why.
    sharing: BTreeMap<u32, String>,
}

/// Pods of which the next flows must be recorded.
#[derive(Debug, Default)]
struct Wanted {
    four: BTreeSet<u32>,
    six: BTreeSet<u32>,
    /// Interfaces by their word.
    interfaces: BTreeMap<u32, u32>,
}

impl FlowTables {
    /// Takes the maps of places out of a loaded object; the shared tables get theirs.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        maps: &Maps,
        share: FlowShare,
    ) -> Result<Self, DataplaneError> {
        let four = Own::new(maps::take(ebpf, V4::INDEX)?, &maps.flows4)?;
        let six = Own::new(maps::take(ebpf, V6::INDEX)?, &maps.flows6)?;
        Ok(Self { four, six, share, sharing: BTreeMap::new() })
    }

    /// Logs how much memory the tables take.
    pub(super) fn log_size(&self) {
        let share = self.share;
        let (bytes_per_pod, bytes_at_most) = (share.bytes_of_pod(), share.memory);
        let (flows_per_pod, new_flows_per_pod) = (share.flows, share.new_flows());
        tracing::info!(
            flows_per_pod,
            new_flows_per_pod,
            bytes_per_pod,
            bytes_at_most,
            "every isolated pod has flow tables of its own"
        );
    }

    /// The kernel ids of the maps of places, and of the tables of pods.
    pub(super) fn ids(&self) -> BTreeMap<String, u32> {
        let mut ids = BTreeMap::from([
            (V4::INDEX.to_owned(), self.four.index_id()),
            (V6::INDEX.to_owned(), self.six.index_id()),
        ]);
        ids.extend(self.four.ids());
        ids.extend(self.six.ids());
        ids
    }

    /// Opens the tables that an earlier agent pinned.
    pub(super) fn adopt(&mut self, folder: &Path) -> Result<(), DataplaneError> {
        self.four.adopt(folder)?;
        self.six.adopt(folder)
    }

    /// Creates the tables of pods that have none, or none of the right size.
    ///
    /// A pod for which that fails goes on with the tables that it has, or with the shared ones: it
    /// loses no flow, but others can take its room. That is logged and remembered.
    fn create(
        &mut self,
        endpoints: &[Endpoint],
        maps: &mut Maps,
        types: &InnerTypes,
        folder: Option<&Path>,
    ) -> Result<(), DataplaneError> {
        let wanted = self.wanted(endpoints);
        let Self { four, six, share, .. } = self;
        let mut refused = four.create(&wanted.four, *share, &mut maps.flows4, types, folder)?;
        refused.extend(six.create(&wanted.six, *share, &mut maps.flows6, types, folder)?);
        for (word, ifindex) in wanted.interfaces {
            match refused.remove(&word) {
                Some(error) => self.refuse(ifindex, &error),
                None => drop(self.sharing.remove(&ifindex)),
            }
        }
        Ok(())
    }

    /// The tables to create, as far as there is memory for them.
    fn wanted(&mut self, endpoints: &[Endpoint]) -> Wanted {
        let mut wanted = Wanted::default();
        let mut used = self.four.bytes() + self.six.bytes();
        for endpoint in endpoints.iter().filter(|endpoint| reads_flows(endpoint)) {
            let (word, share) = (place::word(endpoint.ifindex), self.share);
            // Two interfaces can have one word: the second one shares the first one's tables.
            let four = endpoint.address4 != [0; 4]
                && !self.four.is_of_size(word, share)
                && !wanted.four.contains(&word);
            let six = endpoint.address6 != [0; 16]
                && !self.six.is_of_size(word, share)
                && !wanted.six.contains(&word);
            let needed = share.bytes_of(InnerMap::Flows4) * u64::from(four)
                + share.bytes_of(InnerMap::Flows6) * u64::from(six);
            if needed == 0 {
                continue;
            }
            // Both families or none: a pod with one table of its own would still lose flows of the other.
            if used + needed > share.memory {
                let limit = share.memory;
                self.refuse(endpoint.ifindex, &DataplaneError::FlowMemory { used, needed, limit });
                continue;
            }
            used += needed;
            wanted.four.extend(four.then_some(word));
            wanted.six.extend(six.then_some(word));
            wanted.interfaces.insert(word, endpoint.ifindex);
        }
        wanted
    }

    fn refuse(&mut self, ifindex: u32, error: &DataplaneError) {
        let reason = chain(error);
        if self.sharing.insert(ifindex, reason.clone()).is_none() {
            tracing::warn!(
                ifindex,
                "no flow table for this pod alone: other pods' flows may evict its own: {reason}; \
                 raise the agent's memory limit, or lower --flows-per-pod"
            );
        }
    }

    /// Deletes the flows of an interface, because its index may be reused for another pod (S8).
    pub(super) fn delete_of_interface(
        &mut self,
        maps: &mut Maps,
        ifindex: u32,
    ) -> Result<(), DataplaneError> {
        delete_where(&mut self.four, &mut maps.flows4, ifindex)?;
        delete_where(&mut self.six, &mut maps.flows6, ifindex)
    }

    /// Deletes the tables of a word, at which there is no endpoint any more.
    pub(super) fn delete(
        &mut self,
        word: u32,
        maps: &Maps,
        folder: Option<&Path>,
    ) -> Result<(), DataplaneError> {
        self.sharing.retain(|ifindex, _| place::word(*ifindex) != word);
        self.four.delete(word, &maps.flows4, folder)?;
        self.six.delete(word, &maps.flows6, folder)
    }

    /// Deletes the tables of words at which there is no endpoint: an agent ended meanwhile.
    pub(super) fn delete_stale(
        &mut self,
        endpoints: &[Endpoint],
        maps: &Maps,
        folder: Option<&Path>,
    ) -> Result<(), DataplaneError> {
        let used: BTreeSet<u32> =
            endpoints.iter().map(|endpoint| place::word(endpoint.ifindex)).collect();
        let words: BTreeSet<u32> = self.four.words().chain(self.six.words()).collect();
        words.difference(&used).try_for_each(|word| self.delete(*word, maps, folder))
    }

    /// Copies the flows of an earlier agent's maps, which are in a folder, unless they are here.
    pub(super) fn copy(
        &mut self,
        maps: &mut Maps,
        before: &Maps,
        folder: &Path,
    ) -> Result<(), DataplaneError> {
        copy(&mut self.four, &mut maps.flows4, &before.flows4, folder)?;
        copy(&mut self.six, &mut maps.flows6, &before.flows6, folder)
    }

    /// Pins tables that have no pin; how many there were.
    pub(super) fn mend(&self, folder: &Path) -> Result<usize, DataplaneError> {
        Ok(self.four.mend(folder)? + self.six.mend(folder)?)
    }
}

impl Dataplane {
    /// Creates the flow tables of the pods that these steps isolate, all together, which costs the
    /// kernel one wait for each address family.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to put a table at its place, or a flow into a table. A pod for which
    /// there is no memory shares tables with others.
    pub fn create_flow_tables<'a>(
        &mut self,
        steps: impl IntoIterator<Item = &'a Step>,
    ) -> Result<(), DataplaneError> {
        let endpoints = steps.into_iter().filter_map(|step| {
            let (Step::PutEndpoint(endpoint) | Step::ReplaceEndpoint { endpoint, .. }) = step
            else {
                return None;
            };
            Some(*endpoint)
        });
        self.own_flow_tables(&endpoints.collect::<Vec<_>>())
    }

    /// Creates the flow tables of endpoints that lack them.
    pub(super) fn own_flow_tables(&mut self, endpoints: &[Endpoint]) -> Result<(), DataplaneError> {
        let folder = self.pins.as_ref().map(Pins::maps);
        self.flows.create(endpoints, &mut self.maps, &self.inner_types, folder.as_deref())
    }

    /// Interfaces of pods that share flow tables with others, each with the reason.
    pub fn sharing_flow_tables(&self) -> impl Iterator<Item = (u32, &str)> {
        self.flows.sharing.iter().map(|(ifindex, reason)| (*ifindex, reason.as_str()))
    }

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
        let (maps, own) = (&mut self.maps, &mut self.flows);
        let all = adopt(&flows.four, &mut own.four, &mut maps.flows4, now, deadline)?;
        Ok(all && adopt(&flows.six, &mut own.six, &mut maps.flows6, now, deadline)?)
    }

    /// Deletes the flows from and to addresses that belong to another pod now (S8).
    ///
    /// # Errors
    ///
    /// When a table refuses.
    pub fn forget_flows(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), DataplaneError> {
        forget(&mut self.flows.four, &mut self.maps.flows4, addresses)?;
        forget(&mut self.flows.six, &mut self.maps.flows6, addresses)
    }
}

/// Whether the programs look up flows of an endpoint, or record them.
pub(super) fn reads_flows(endpoint: &Endpoint) -> bool {
    endpoint.flags & flags::TRACKING != 0 || endpoint.ingress | endpoint.egress != 0
}

/// The tables of an interface: its own, or the shared ones.
fn tables_of<'a, F: FlowFamily>(
    own: &'a mut Own<F>,
    shared: &'a mut Pair<F>,
    ifindex: u32,
) -> &'a mut Pair<F> {
    own.get_mut(place::word(ifindex)).unwrap_or(shared)
}

/// Writes flows of one family with the time `now`, until `deadline`; returns whether all were written.
fn adopt<F: FlowFamily>(
    flows: &[F::Value],
    own: &mut Own<F>,
    shared: &mut Pair<F>,
    now: u64,
    deadline: Instant,
) -> Result<bool, DataplaneError> {
    for flow in flows {
        // The daemon's thread must answer the next change in time; the rest is written afterwards.
        if Instant::now() > deadline {
            return Ok(false);
        }
        let key = F::key(flow);
        let flow = F::with_state(flow, FlowState { last_seen: now, ..F::state(flow) });
        let flags = if STARTS_VISIBLY.contains(&F::protocol(&key)) { BPF_NOEXIST } else { BPF_ANY };
        tables_of(own, shared, F::ifindex(&key)).put(&flow, flags.into())?;
    }
    Ok(true)
}

fn delete_where<F: FlowFamily>(
    own: &mut Own<F>,
    shared: &mut Pair<F>,
    ifindex: u32,
) -> Result<(), DataplaneError> {
    let is_of = |key: &F::Key| F::ifindex(key) == ifindex;
    tables_of(own, shared, ifindex).delete_where(is_of)
}

fn forget<F: FlowFamily>(
    own: &mut Own<F>,
    shared: &mut Pair<F>,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(), DataplaneError> {
    let is_of = |key: &F::Key| F::addresses(key).iter().any(|it| addresses.contains(it));
    own.values_mut().chain([shared]).try_for_each(|pair| pair.delete_where(is_of))
}

fn copy<F: FlowFamily>(
    own: &mut Own<F>,
    shared: &mut Pair<F>,
    before: &Pair<F>,
    folder: &Path,
) -> Result<(), DataplaneError> {
    let pinned = own::pinned::<F>(folder)?;
    for before in pinned.values().chain([before]) {
        // Replied flows into the table of replied ones, and so on; what a program has recorded meanwhile
        // is newer and stays (`BPF_NOEXIST`).
        for (kind, table) in before.tables().into_iter().enumerate() {
            for (key, flow) in table.entries()? {
                let tables = tables_of(own, shared, F::ifindex(&key)).tables_mut();
                tables[kind].put_with(&key, &flow, BPF_NOEXIST.into())?;
            }
        }
    }
    Ok(())
}
