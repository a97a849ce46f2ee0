//! Denied connections that go on, for Events: bounded in number, and forgotten some time after the
//! last drop.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use policy_core::model::ObjectName;

use super::{denied::DeniedConnection, packet::DroppedPacket};

/// How long a denied connection is kept after its last dropped packet.
const KEPT: Duration = Duration::from_mins(10);
/// Denied connections that are kept for a pod: a scan cannot hide those of other pods.
const OF_POD: usize = 4;
/// Denied connections that are kept in all; the flow log has every one.
const IN_ALL: usize = 24;

/// Denied connections of the last minutes.
#[derive(Debug, Default)]
pub struct ActiveDenials {
    all: BTreeMap<DeniedConnection, Active>,
}

#[derive(Debug)]
struct Active {
    denied: DenialWarning,
    last: Instant,
}

/// What an Event says of a denied connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialWarning {
    /// The pod that the denying policies isolate.
    pub pod: ObjectName,
    /// Its `metadata.uid`.
    pub uid: String,
    /// One sentence, with the port of the first dropped packet.
    pub note: String,
}

impl ActiveDenials {
    /// Takes a dropped packet; whether it is the first of a denied connection that is kept.
    pub fn add(&mut self, packet: &DroppedPacket<'_>, now: Instant) -> bool {
        let Some((connection, uid)) = packet.denied_connection() else { return false };
        self.insert(connection, now, |connection| DenialWarning {
            pod: connection.pod.clone(),
            uid: uid.to_owned(),
            note: packet.denial_note(connection),
        })
    }

    /// Forgets what had no packet dropped for some time.
    pub fn expire(&mut self, now: Instant) {
        self.all.retain(|_, active| now.saturating_duration_since(active.last) < KEPT);
    }

    /// The denied connections that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &DenialWarning> {
        self.all.values().map(|active| &active.denied)
    }

    fn insert(
        &mut self,
        connection: DeniedConnection,
        now: Instant,
        denied: impl FnOnce(&DeniedConnection) -> DenialWarning,
    ) -> bool {
        if let Some(active) = self.all.get_mut(&connection) {
            active.last = now;
            return false;
        }
        let of_pod = self.all.keys().filter(|other| other.pod == connection.pod).count();
        if of_pod >= OF_POD || self.all.len() >= IN_ALL {
            return false;
        }
        let denied = denied(&connection);
        self.all.insert(connection, Active { denied, last: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use policy_core::{
        attribute::{DecidingPolicy, Denial, DirectionVerdict},
        model::{Direction, PolicyRef},
    };

    use super::*;

    fn connection(pod: &str, peer: &str) -> DeniedConnection {
        let policy = PolicyRef::ClusterWide("lockdown".into());
        let by = [DecidingPolicy { policy, rule: Some(1) }].into();
        let denial = Denial::of(Direction::Ingress, DirectionVerdict { allowed: false, by });
        let denial = denial.expect("a denial");
        DeniedConnection::of_address(ObjectName::new("x", pod), peer, denial)
    }

    fn add(active: &mut ActiveDenials, pod: &str, peer: &str, now: Instant) -> bool {
        active.insert(connection(pod, peer), now, |connection| DenialWarning {
            pod: connection.pod.clone(),
            uid: String::new(),
            note: String::new(),
        })
    }

    #[test]
    fn only_the_first_packet_of_a_denied_connection_is_new() {
        let (mut active, now) = (ActiveDenials::default(), Instant::now());
        assert!(add(&mut active, "web", "203.0.113.7", now));
        assert!(!add(&mut active, "web", "203.0.113.7", now));
        assert!(!add(&mut active, "web", "203.0.113.99", now), "the same block");
        assert!(add(&mut active, "web", "203.0.112.7", now), "another block");
        assert_eq!(active.iter().count(), 2);
    }

    #[test]
    fn a_denied_connection_is_kept_for_as_long_as_packets_are_dropped() {
        let (mut active, start) = (ActiveDenials::default(), Instant::now());
        add(&mut active, "web", "203.0.113.7", start);
        add(&mut active, "web", "203.0.113.7", start + KEPT / 2);
        active.expire(start + KEPT);
        assert_eq!(active.iter().count(), 1);
        active.expire(start + KEPT / 2 + KEPT);
        assert_eq!(active.iter().count(), 0);
    }

    #[test]
    fn a_scan_does_not_hide_the_denied_connections_of_other_pods() {
        let (mut active, now) = (ActiveDenials::default(), Instant::now());
        let scanned = (0..200).filter(|n| add(&mut active, "scanner", &format!("10.0.{n}.1"), now));
        assert_eq!(scanned.count(), OF_POD);
        assert!(add(&mut active, "web", "203.0.113.7", now));
        let others = (0..200).filter(|n| add(&mut active, &format!("pod-{n}"), "10.0.0.1", now));
        assert_eq!(others.count(), IN_ALL - OF_POD - 1, "memory is bounded");
    }
}
