//! Identities: addresses that the same peer lists match share one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    fault::Fault,
    model::{ObjectName, Pod, Snapshot},
};

use super::{
    block::{self, Prefixes},
    lists::{ListId, Lists, SetId, Sets},
    meaning::{AddressMeaning, Resolved},
    select::Selection,
};

/// The addresses of the cluster by identity.
pub(super) struct Identities {
    /// By number, less one.
    pub(super) meanings: Vec<Arc<AddressMeaning>>,
    /// Pods' addresses that differ from the smallest block around them.
    pub(super) addresses: BTreeMap<IpAddr, u32>,
    /// Blocks.
    pub(super) blocks: Prefixes<u32>,
    /// Identities that a peer list matches, by its number.
    pub(super) members: Vec<Vec<u32>>,
    /// Addresses that several pods have.
    pub(super) shared: BTreeSet<IpAddr>,
}

impl Identities {
    /// The identity of any address.
    pub(super) fn of(&self, address: IpAddr) -> u32 {
        let exact = self.addresses.get(&address).copied();
        exact.or_else(|| block::longest(&self.blocks, address)).unwrap_or(0)
    }

    /// What an identity means; `None` for 0.
    pub(super) fn meaning(&self, identity: u32) -> Option<&Arc<AddressMeaning>> {
        self.meanings.get((identity as usize).checked_sub(1)?)
    }
}

/// An address and one pod that has it.
struct Owned<'a> {
    address: IpAddr,
    lists: SetId,
    name: &'a ObjectName,
    pod: &'a Pod,
}

/// Numbers every address that the lists can tell from others.
pub(super) fn identities(
    snapshot: &Snapshot,
    lists: &Lists,
    faults: &mut Vec<Fault>,
) -> Identities {
    let mut sets = Sets::new();
    let mut numbers = Numbers::new(lists);
    let prefixes = block::prefixes(lists, &mut sets);
    let blocks: Prefixes<u32> = prefixes
        .iter()
        .map(|(&prefix, &set)| (prefix, numbers.number(set, Resolved::new(), &sets)))
        .collect();
    let owned = owned(snapshot, lists, &mut sets);
    let mut addresses = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for owners in owned.chunk_by(|a, b| a.address == b.address) {
        let Some(first) = owners.first() else {
            continue;
        };
        let mut selected = first.lists;
        if owners.len() > 1 {
            selected = of_all(owners, lists, &mut sets);
            faults.push(shared_address(first.address, owners));
            shared.insert(first.address);
        }
        let around = block::longest(&prefixes, first.address).unwrap_or(0);
        let set = sets.union(selected, around);
        let named = resolve(lists, sets.get(set), owners);
        let identity = numbers.number(set, named, &sets);
        if identity != block::longest(&blocks, first.address).unwrap_or(0) {
            addresses.insert(first.address, identity);
        }
    }
    Identities { meanings: numbers.meanings, addresses, blocks, members: numbers.members, shared }
}

/// The lists that match an address of several pods: all of them, or one where that is enough.
fn of_all(owners: &[Owned<'_>], lists: &Lists, sets: &mut Sets) -> SetId {
    let ids = owners.iter().map(|owner| owner.lists);
    let common = ids.clone().reduce(|a, b| sets.intersection(a, b)).unwrap_or(0);
    let some: Vec<ListId> = ids.flat_map(|id| sets.get(id)).copied().collect();
    let some = some.into_iter().filter(|id| lists.get(*id).any_owner()).collect();
    let some = sets.intern(some);
    sets.union(common, some)
}

/// The addresses of all pods, sorted.
fn owned<'a>(snapshot: &'a Snapshot, lists: &'a Lists, sets: &mut Sets) -> Vec<Owned<'a>> {
    let mut selection = Selection::new(snapshot, lists);
    let mut owned = Vec::with_capacity(snapshot.pods.len());
    for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| pod.is_subject()) {
        let lists = selection.lists_of(&name.namespace, pod, sets);
        let mut addresses: Vec<_> = pod.usable_addresses().collect();
        addresses.sort_unstable();
        addresses.dedup();
        owned.extend(addresses.into_iter().map(|address| Owned { address, lists, name, pod }));
    }
    owned.sort_by_key(|owned| owned.address);
    owned
}

/// What the named ports in question resolve to, on every pod that has the address.
fn resolve(lists: &Lists, set: &[ListId], owners: &[Owned<'_>]) -> Resolved {
    if owners.iter().any(|owner| owner.pod.ports.iter().all(|port| port.name.is_none())) {
        return Resolved::new();
    }
    let mut resolved = Resolved::new();
    for name in lists.names_at(set) {
        let on = |owner: &Owned<'_>| -> BTreeSet<u16> {
            owner.pod.named_ports(&name.name, name.protocol).collect()
        };
        let common = owners.iter().map(on).reduce(|a, b| &a & &b).unwrap_or_default();
        if !common.is_empty() {
            resolved.insert(name.clone(), common);
        }
    }
    resolved
}

fn shared_address(address: IpAddr, owners: &[Owned<'_>]) -> Fault {
    let names: Vec<_> = owners.iter().map(|owner| owner.name.to_string()).collect();
    Fault {
        kind: "Pod",
        object: owners[0].name.clone(),
        field: "status.podIPs".to_owned(),
        reason: format!("{address} is the address of {}", names.join(" and ")),
        action: "is matched only by the peers that match all of them",
    }
}

/// Hands out numbers, from 1, in the order of first use.
struct Numbers<'a> {
    lists: &'a Lists,
    meanings: Vec<Arc<AddressMeaning>>,
    members: Vec<Vec<u32>>,
    index: HashMap<(SetId, Resolved), u32>,
}

impl<'a> Numbers<'a> {
    fn new(lists: &'a Lists) -> Self {
        let members = vec![Vec::new(); lists.len()];
        Self { lists, meanings: Vec::new(), members, index: HashMap::new() }
    }

    fn number(&mut self, set: SetId, named: Resolved, sets: &Sets) -> u32 {
        if set == 0 && named.is_empty() {
            return 0;
        }
        let key = (set, named);
        if let Some(&number) = self.index.get(&key) {
            return number;
        }
        let ids = sets.get(set);
        // Numbers of lists follow their order, so these come sorted.
        let peers = ids.iter().map(|&id| self.lists.get(id).clone()).collect();
        self.meanings.push(Arc::new(AddressMeaning { peers, named: key.1.clone() }));
        let number = u32::try_from(self.meanings.len()).unwrap_or(u32::MAX);
        for &id in ids {
            self.members[id as usize].push(number);
        }
        self.index.insert(key, number);
        number
    }
}
