//! When each Event is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::{Announcement, Announcements};
use crate::source::kubernetes::Kind;

/// How often something is told that goes on; API servers keep Events for an hour.
const SLOT: Duration = Duration::from_mins(30);
/// Time for each node of the cluster, over which the nodes spread what all of them tell.
const SHARE: Duration = Duration::from_millis(6);
/// First wait after an Event that was not taken.
const FIRST: Duration = Duration::from_secs(1);
/// Longest such wait.
const LONGEST: Duration = Duration::from_mins(5);
/// Most Events of one kind of objects, shared out by namespace; of more, the log has each.
const MOST: usize = 50;

/// Which of the times at which things are told again it is, by the time since 1970.
pub(super) fn slot(now: Duration) -> u64 {
    now.as_secs() / SLOT.as_secs()
}

/// Something to tell.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) announcement: Announcement,
    /// How often it was not taken, since it last was.
    pub(super) failures: u32,
}

/// What is told when, by one node.
#[derive(Debug)]
pub(super) struct Schedule {
    node: String,
    turns: BTreeMap<Announcement, (Instant, u32)>,
}

impl Schedule {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), turns: BTreeMap::new() }
    }

    /// What is to be told from now on; what was told already keeps its time.
    pub(super) fn take(&mut self, Announcements { nodes, all }: &Announcements, now: Instant) {
        let chosen = self.choose(all);
        self.turns.retain(|announcement, _| chosen.contains(announcement));
        let spread = SHARE * u32::try_from(*nodes).unwrap_or(u32::MAX);
        for announcement in chosen {
            if !self.turns.contains_key(announcement) {
                // Nobody else tells of a pod.
                let is_own = announcement.about == Kind::Pod;
                let wait = if is_own { Duration::ZERO } else { self.share(announcement, spread) };
                self.turns.insert(announcement.clone(), (now + wait, 0));
            }
        }
    }

    /// As many as are told, one of each namespace in turn: none silences the others.
    fn choose<'a>(&self, all: &'a BTreeSet<Announcement>) -> BTreeSet<&'a Announcement> {
        let mut ordered: Vec<_> = all.iter().collect();
        ordered.sort_by_key(|announcement| !self.turns.contains_key(announcement));
        let mut of_namespace: BTreeMap<_, usize> = BTreeMap::new();
        ordered.sort_by_cached_key(|announcement| {
            let count = of_namespace.entry((announcement.about, &announcement.object.namespace));
            let count = count.or_default();
            *count += 1;
            *count
        });
        let mut of_kind: BTreeMap<Kind, usize> = BTreeMap::new();
        ordered.retain(|announcement| {
            let count = of_kind.entry(announcement.about).or_default();
            *count += 1;
            *count <= MOST
        });
        ordered.into_iter().collect()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.turns.values().map(|(due, _)| *due).min()
    }

    /// Which one that is.
    pub(super) fn first(&self) -> Option<Turn> {
        let (announcement, (_, failures)) = self.turns.iter().min_by_key(|(_, (due, _))| *due)?;
        Some(Turn { announcement: announcement.clone(), failures: *failures })
    }

    /// One was told, or not taken.
    pub(super) fn done(&mut self, turn: Turn, is_told: bool, now: Instant, clock: Duration) {
        let Turn { announcement, failures } = turn;
        let next = if is_told {
            // Never two slots without it, though it is told at another time in each.
            let share = self.share(&announcement, SLOT / 2);
            let begin = SLOT * u32::try_from(slot(clock) + 1).unwrap_or(u32::MAX);
            (now + begin.saturating_sub(clock) + share, 0)
        } else {
            let wait = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
            (now + wait + self.share(&announcement, wait / 2), failures.saturating_add(1))
        };
        self.turns.insert(announcement, next);
    }

    /// The part of a time that is this node's own: each has another.
    fn share(&self, announcement: &Announcement, time: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.node, announcement).hash(&mut hasher);
        time.mul_f64(f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / 2_f64.powi(32))
    }
}

#[cfg(test)]
mod tests {
    use policy_core::model::ObjectName;

    use super::*;

    fn of(about: Kind, name: &str) -> Announcement {
        let (object, note) = (ObjectName::new("default", name), String::new());
        Announcement { about, object, uid: None, reason: "NotExpressible", note }
    }

    fn some(nodes: usize, all: &[Announcement]) -> Announcements {
        Announcements { nodes, all: all.iter().cloned().collect() }
    }

    fn due(schedule: &Schedule) -> (Instant, Turn) {
        schedule.next().zip(schedule.first()).expect("something to tell")
    }

    #[test]
    fn what_goes_on_is_told_once_in_each_slot() {
        for node in ["one", "two", "three"] {
            let (mut now, mut clock) = (Instant::now(), SLOT * 1000 + SLOT / 3);
            let mut schedule = Schedule::new(node);
            schedule.take(&some(3, &[of(Kind::Policy, "deny")]), now);
            for number in 1000..1010 {
                let (next, turn) = due(&schedule);
                (clock, now) = (clock + (next - now), next);
                assert_eq!(slot(clock), number, "{node}");
                schedule.done(turn, true, now, clock);
            }
        }
    }

    #[test]
    fn what_is_not_taken_is_told_again_with_growing_waits() {
        let (now, mut schedule) = (Instant::now(), Schedule::new("one"));
        schedule.take(&some(1, &[of(Kind::Pod, "pod")]), now);
        assert_eq!(schedule.next(), Some(now));
        let mut waits = Vec::new();
        for _ in 0..20 {
            schedule.done(due(&schedule).1, false, now, SLOT);
            waits.push(due(&schedule).0 - now);
        }
        assert!(waits[0] >= FIRST && waits[0] < 2 * FIRST, "{waits:?}");
        assert!(waits.is_sorted() && waits[19] >= LONGEST && waits[19] < 2 * LONGEST, "{waits:?}");
        schedule.take(&some(1, &[]), now);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn the_nodes_of_a_large_cluster_spread_what_all_of_them_tell() {
        let now = Instant::now();
        let waits: Vec<_> = (0..5000)
            .map(|node| {
                let mut schedule = Schedule::new(&format!("node-{node}"));
                schedule.take(&some(5000, &[of(Kind::ClusterPolicy, "deny")]), now);
                due(&schedule).0 - now
            })
            .collect();
        let in_second = |second| waits.iter().filter(|wait| wait.as_secs() == second).count();
        for second in 0..30 {
            assert!((100..250).contains(&in_second(second)), "{}", in_second(second));
        }
    }

    #[test]
    fn many_faults_of_policies_leave_room_for_a_pod() {
        let mut all: Vec<_> =
            (0..1000).map(|number| of(Kind::Policy, &number.to_string())).collect();
        all.push(of(Kind::Pod, "pod"));
        let (now, mut schedule) = (Instant::now(), Schedule::new("one"));
        schedule.take(&some(1, &all), now);
        assert_eq!(schedule.turns.len(), MOST + 1);
        assert!(schedule.turns.contains_key(&of(Kind::Pod, "pod")));
        schedule.take(&some(1, &all), now);
        assert_eq!(schedule.turns.len(), MOST + 1);
    }

    #[test]
    fn a_namespace_of_many_faults_leaves_room_for_those_of_another() {
        let many: Vec<_> = (0..1000).map(|number| of(Kind::Policy, &number.to_string())).collect();
        let elsewhere = |name: &str| {
            let object = ObjectName::new("tenant", name);
            Announcement { object, ..of(Kind::Policy, name) }
        };
        let (now, mut schedule) = (Instant::now(), Schedule::new("one"));
        schedule.take(&some(1, &many[500..]), now);
        let before: BTreeSet<_> = schedule.turns.keys().cloned().collect();
        let both = [&many[..], &[elsewhere("deny")]].concat();
        schedule.take(&some(1, &both), now);
        let told: BTreeSet<_> = schedule.turns.keys().cloned().collect();
        assert!(told.len() == MOST && told.contains(&elsewhere("deny")));
        assert_eq!(told.difference(&before).count(), 1, "those that are told stay");
        let theirs: Vec<_> = (0..1000).map(|number| elsewhere(&number.to_string())).collect();
        schedule.take(&some(1, &[many, theirs].concat()), now);
        let is_theirs = |told: &&Announcement| told.object.namespace == "tenant";
        assert_eq!(schedule.turns.keys().filter(is_theirs).count(), MOST / 2);
        assert_eq!(schedule.turns.len(), MOST);
    }
}
