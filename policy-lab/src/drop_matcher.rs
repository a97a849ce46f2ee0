//! Matches drop records with the probes that caused them.
//!
//! Input: drop records of all agents. Output: per probe, the reason of its first drop.
//! Each probe leases a source port that no other probe of its protocol and family uses. Address
//! translation changes a packet's addresses but keeps that port, so a record belongs to the probe
//! that has leased its source port, provided that an address matches too.
//!
//! ```text
//! lease:  TCP, IPv4, port 1024, addresses {10.0.0.1, 10.96.0.1, 10.0.0.2}
//! record: TCP 10.0.0.1:1024 -> 10.0.0.2:80, NoRule    the probe was dropped: NoRule
//! record: TCP 10.0.0.2:80 -> 10.0.0.1:1024, NoRule    a response was dropped: ignored
//! ```

mod drop_header;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use policy_common::drops::{DropRecord, Reason};
use policy_core::model::{Family, Protocol};
use tokio::sync::watch;

use drop_header::DropHeader;

/// The lowest port that a probe may use: servers prefer those below.
const FIRST_PORT: u16 = 1024;

/// Protocol number and family: within one pair of them a port is leased once.
type PortSpace = (u8, Family);

/// The leased source ports and the drops recorded for them.
#[derive(Debug)]
pub struct DropMatcher {
    leased: Mutex<BTreeMap<(PortSpace, u16), LeasedPort>>,
    free: Mutex<BTreeMap<PortSpace, VecDeque<u16>>>,
    reserved: Mutex<BTreeSet<u16>>,
}

/// What is kept for a leased port.
#[derive(Debug)]
struct LeasedPort {
    addresses: BTreeSet<IpAddr>,
    first_drop: watch::Sender<Option<Reason>>,
}

/// The lease of a source port; dropping it returns the port.
#[derive(Debug)]
pub struct PortLease {
    /// The source port.
    pub port: u16,
    space: PortSpace,
    matcher: Arc<DropMatcher>,
    first_drop: watch::Receiver<Option<Reason>>,
}

impl DropMatcher {
    /// A matcher without leases.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            leased: Mutex::default(),
            free: Mutex::default(),
            reserved: Mutex::default(),
        })
    }

    /// Excludes `ports` from all later leases: the ports of servers and of probed destinations.
    pub fn reserve(&self, ports: &BTreeSet<u16>) {
        let mut free = lock(&self.free);
        lock(&self.reserved).extend(ports);
        for queue in free.values_mut() {
            queue.retain(|port| !ports.contains(port));
        }
    }

    /// Leases a source port to a probe, which may send packets with `addresses` at either end.
    ///
    /// Returns `None` where every port is leased.
    #[must_use]
    pub fn lease(
        self: &Arc<Self>,
        protocol: Protocol,
        family: Family,
        addresses: BTreeSet<IpAddr>,
    ) -> Option<PortLease> {
        let space = (protocol.number(), family);
        let port = {
            let mut free = lock(&self.free);
            let ports = free.entry(space).or_insert_with(|| {
                let reserved = lock(&self.reserved);
                (FIRST_PORT..=u16::MAX).filter(|port| !reserved.contains(port)).collect()
            });
            // First in, first out: a port rests as long as possible before the next probe has it.
            ports.pop_front()?
        };
        let (sender, first_drop) = watch::channel(None);
        lock(&self.leased).insert((space, port), LeasedPort { addresses, first_drop: sender });
        Some(PortLease { port, space, matcher: Arc::clone(self), first_drop })
    }

    /// Assigns a drop record to its probe and returns whether there is one.
    ///
    /// The drop of a response belongs to no probe: its source port is the server's.
    pub fn assign(&self, record: &DropRecord) -> bool {
        let header = DropHeader::from_record(record);
        let (Some(header), Some(reason)) = (header, Reason::from_number(record.reason)) else {
            return false;
        };
        let leased = lock(&self.leased);
        let port = ((header.protocol, header.family), header.source_port);
        let Some(lease) = leased.get(&port) else { return false };
        if !header.addresses.iter().any(|address| lease.addresses.contains(address)) {
            return false;
        }
        lease.first_drop.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(reason);
            is_first
        });
        true
    }
}

impl PortLease {
    /// Waits for the first drop of the probe's packets.
    pub async fn dropped(&self) -> Reason {
        let mut first_drop = self.first_drop.clone();
        loop {
            if let Some(reason) = *first_drop.borrow_and_update() {
                return reason;
            }
            if first_drop.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The reason of the first drop, if a packet of the probe has been dropped.
    #[must_use]
    pub fn drop_reason(&self) -> Option<Reason> {
        *self.first_drop.borrow()
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        lock(&self.matcher.leased).remove(&(self.space, self.port));
        let mut free = lock(&self.matcher.free);
        if lock(&self.matcher.reserved).contains(&self.port) {
            return;
        }
        // At the end of the queue, so that late packets of this probe meet no other probe.
        if let Some(ports) = free.get_mut(&self.space) {
            ports.push_back(self.port);
        }
    }
}

/// A panic of another thread leaves these maps consistent: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
