//! Which drop belongs to which probe.
//!
//! Every probe on the way has a source port of its own, by protocol and family. Translation
//! changes addresses but not that port, so a drop record that carries it, and an address of
//! either end, is the probe's.

mod dropped_packet;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use policy_common::drops::{DropRecord, Reason};
use policy_core::model::{Family, Protocol};
use tokio::sync::watch;

use dropped_packet::Tuple;

/// First port that a probe may come from: below are those that servers like to have.
const FIRST_PORT: u16 = 1024;

/// A protocol of a family: the room in which a port is unique.
type Room = (u8, Family);

/// Ports in use, and what was dropped of whom.
#[derive(Debug)]
pub struct Ledger {
    open: Mutex<BTreeMap<(Room, u16), Entry>>,
    free: Mutex<BTreeMap<Room, VecDeque<u16>>>,
    reserved: Mutex<BTreeSet<u16>>,
}

#[derive(Debug)]
struct Entry {
    addresses: BTreeSet<IpAddr>,
    dropped: watch::Sender<Option<Reason>>,
}

/// A probe's right to a port; it ends when dropped.
#[derive(Debug)]
pub struct Claim {
    /// The source port to use.
    pub port: u16,
    room: Room,
    ledger: Arc<Ledger>,
    dropped: watch::Receiver<Option<Reason>>,
}

impl Ledger {
    /// A ledger without accounts.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            free: Mutex::default(),
            reserved: Mutex::default(),
        })
    }

    /// Gives out none of `ports` from now on: those that are served or probed.
    pub fn reserve(&self, ports: &BTreeSet<u16>) {
        let mut free = locked(&self.free);
        locked(&self.reserved).extend(ports);
        for queue in free.values_mut() {
            queue.retain(|port| !ports.contains(port));
        }
    }

    /// Opens an account for a probe; `addresses` are those that its packets may carry at either
    /// end. `None` where every port is in use.
    #[must_use]
    pub fn claim(
        self: &Arc<Self>,
        protocol: Protocol,
        family: Family,
        addresses: BTreeSet<IpAddr>,
    ) -> Option<Claim> {
        let room = (protocol.number(), family);
        let port = {
            let mut free = locked(&self.free);
            let ports = free.entry(room).or_insert_with(|| {
                let reserved = locked(&self.reserved);
                (FIRST_PORT..=u16::MAX).filter(|port| !reserved.contains(port)).collect()
            });
            ports.pop_front()?
        };
        let (sender, dropped) = watch::channel(None);
        locked(&self.open).insert((room, port), Entry { addresses, dropped: sender });
        Some(Claim { port, room, ledger: Arc::clone(self), dropped })
    }

    /// Enters a drop into the account of its probe; whether there is one. The drop of an answer
    /// belongs to no probe.
    pub fn enter(&self, record: &DropRecord) -> bool {
        let (Some(tuple), Some(reason)) = (Tuple::of(record), Reason::from_number(record.reason))
        else {
            return false;
        };
        let open = locked(&self.open);
        let account = ((tuple.protocol, tuple.family), tuple.source_port);
        let Some(entry) = open.get(&account) else { return false };
        if !tuple.addresses.iter().any(|address| entry.addresses.contains(address)) {
            return false;
        }
        entry.dropped.send_if_modified(|first| {
            first.is_none() && {
                *first = Some(reason);
                true
            }
        });
        true
    }
}

impl Claim {
    /// Waits for the first drop of the probe's packets; for ever where none comes.
    pub async fn dropped(&self) -> Reason {
        let mut dropped = self.dropped.clone();
        loop {
            if let Some(reason) = *dropped.borrow_and_update() {
                return reason;
            }
            if dropped.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The first drop, if there was one so far.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        *self.dropped.borrow()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        locked(&self.ledger.open).remove(&(self.room, self.port));
        // To the end of the queue: late packets of this probe shall meet no other.
        let mut free = locked(&self.ledger.free);
        if locked(&self.ledger.reserved).contains(&self.port) {
            return;
        }
        if let Some(ports) = free.get_mut(&self.room) {
            ports.push_back(self.port);
        }
    }
}

/// A panic elsewhere leaves these maps whole: every change is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
