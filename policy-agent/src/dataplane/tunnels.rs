//! Where tunnel packets of a pod may go, and what a tunnel packet is (S46).
//!
//! `node` calls [`Dataplane::put_pods`] with the addresses of all pods that the API server reported,
//! and [`Dataplane::put_tunnel_ports`] with the UDP ports of the node's own devices. The programs drop
//! tunnel packets to every other address; they need no list of nodes' addresses, because no Node
//! object has all of them.
//!
//! ```text
//! pods           10.244.1.10       tunnel_ports   4789 8472 6081 6784, and 9999 of a VXLAN device
//! 10.244.0.10 → 10.244.1.10:8472   passes: the programs at that pod judge what comes out
//! 10.244.0.10 → 192.168.77.12:8472 is dropped: a node may unpack it
//! ```

use std::{collections::BTreeSet, net::IpAddr};

use policy_common::{address::in_one_form, tunnel::DEFAULT_PORTS};

use super::{Dataplane, error::DataplaneError, maps::Maps, read};

/// What the two maps hold.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    pods: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    /// Addresses of pods for which the map has no space.
    omitted: usize,
}

impl Tunnels {
    /// Reads the maps.
    pub(super) fn read(maps: &Maps) -> Result<Self, DataplaneError> {
        let pods = maps.pods.entries()?.into_iter();
        let ports = maps.tunnel_ports.entries()?.into_iter();
        Ok(Self {
            pods: pods.map(|(address, _)| read::canonical(address)).collect(),
            ports: ports.filter_map(|(port, _)| u16::try_from(port).ok()).collect(),
            omitted: 0,
        })
    }

    /// How many addresses and ports the maps hold.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.pods.len(), self.ports.len())
    }

    /// Whether no agent has written the maps yet. An earlier one may know ports of devices, which
    /// must stay until this one has looked for them.
    pub(super) fn is_new(&self) -> bool {
        self.ports.is_empty()
    }
}

impl Dataplane {
    /// Brings the map `pods` to these addresses. If it is full, tunnel packets to the remaining pods
    /// are dropped, which is logged.
    ///
    /// # Errors
    ///
    /// If the kernel refuses for another reason; the next call continues from there.
    pub fn put_pods(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<(), DataplaneError> {
        let Self { maps, tunnels, .. } = self;
        // Deletions first: they make space in a map that may be full.
        for gone in tunnels.pods.difference(wanted).copied().collect::<Vec<_>>() {
            maps.pods.delete(&in_one_form(gone))?;
            tunnels.pods.remove(&gone);
        }
        let new: Vec<IpAddr> = wanted.difference(&tunnels.pods).copied().collect();
        let mut omitted = 0;
        for (place, address) in new.iter().enumerate() {
            match maps.pods.put(&in_one_form(*address), &1) {
                Ok(()) => drop(tunnels.pods.insert(*address)),
                Err(DataplaneError::Full { map, capacity }) => {
                    omitted = new.len() - place;
                    if omitted != tunnels.omitted {
                        tracing::warn!(
                            map,
                            capacity,
                            omitted,
                            "more addresses of pods than the map holds: tunnel packets to the others are \
                             dropped; only clusters with fewer pods can have tunnels between all of them"
                        );
                    }
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        tunnels.omitted = omitted;
        Ok(())
    }

    /// Whether the map `pods` is full, so that it lacks addresses.
    #[must_use]
    pub fn omits_pods(&self) -> bool {
        self.tunnels.omitted > 0
    }

    /// Brings the map `tunnel_ports` to the usual ports and these.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; the next call continues from there.
    pub fn put_tunnel_ports(&mut self, devices: &BTreeSet<u16>) -> Result<(), DataplaneError> {
        let Self { maps, tunnels, .. } = self;
        let wanted: BTreeSet<u16> = devices.iter().copied().chain(DEFAULT_PORTS).collect();
        // New ports first, unlike above: a port that is missing lets tunnel packets to nodes pass.
        for new in wanted.difference(&tunnels.ports).copied().collect::<Vec<_>>() {
            maps.tunnel_ports.put(&u32::from(new), &1)?;
            tunnels.ports.insert(new);
        }
        for gone in tunnels.ports.difference(&wanted).copied().collect::<Vec<_>>() {
            maps.tunnel_ports.delete(&u32::from(gone))?;
            tunnels.ports.remove(&gone);
        }
        Ok(())
    }

    /// Repairs the two maps where they do not hold what was written; the number of such entries.
    pub(super) fn mend_tunnels(&mut self) -> Result<usize, DataplaneError> {
        let found = Tunnels::read(&self.maps)?;
        let Tunnels { pods, ports, .. } = std::mem::replace(&mut self.tunnels, found);
        let differing = self.tunnels.pods.symmetric_difference(&pods).count()
            + self.tunnels.ports.symmetric_difference(&ports).count();
        if differing > 0 {
            self.put_pods(&pods)?;
            self.put_tunnel_ports(&ports)?;
        }
        Ok(differing)
    }
}
