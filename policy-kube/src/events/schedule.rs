//! When each Event is written.
//!
//! Input: the set of active warnings. Output: the next one that is due. Three rules:
//!
//! - An active warning is written once in each slot of half an hour. All nodes share the slots, and
//!   each node has its own offset in a slot, so that not all ask at once.
//! - A new warning is written after `offset × 6 ms × nodes`: of 5,000 nodes the first writes at once
//!   and the last after 30 s. A pod is known to one node only, which does not wait.
//! - At most 50 warnings of one kind are written, shared evenly by namespace; the log has all.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use policy_core::model::Kind;
use tokio::time::Instant;

use super::warning::{ActiveWarnings, Warning};

/// Length of a slot; API servers keep Events for an hour.
const SLOT: Duration = Duration::from_mins(30);
/// Time for each node of the cluster, over which the nodes spread a new warning.
const SPREAD: Duration = Duration::from_millis(6);
/// First wait after a refusal, without its jitter.
const FIRST: Duration = Duration::from_secs(1);
/// Longest such wait, without its jitter.
const LONGEST: Duration = Duration::from_mins(5);
/// Most warnings of one kind of object.
const MOST: usize = 50;

/// The number of the slot at a time since 1970.
pub(super) fn slot(since_1970: Duration) -> u64 {
    since_1970.as_secs() / SLOT.as_secs()
}

/// A warning with an Event that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) warning: Warning,
    /// The server has refused it since it was last accepted.
    pub(super) is_retry: bool,
}

/// What one node writes, and when.
#[derive(Debug)]
pub(super) struct Schedule {
    node: String,
    entries: BTreeMap<Warning, Entry>,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// Waits after refusals; `None` where the last attempt was accepted.
    retries: Option<ExponentialBackoff>,
}

impl Schedule {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), entries: BTreeMap::new() }
    }

    /// Replaces the active warnings; one that stays keeps its time.
    pub(super) fn replace(
        &mut self,
        ActiveWarnings { nodes, warnings }: &ActiveWarnings,
        now: Instant,
    ) {
        let chosen = self.choose(warnings);
        self.entries.retain(|warning, _| chosen.contains(warning));
        let spread = SPREAD * u32::try_from(*nodes).unwrap_or(u32::MAX);
        for warning in chosen {
            if !self.entries.contains_key(warning) {
                let is_of_this_node = warning.about.kind() == Kind::Pod;
                let wait =
                    if is_of_this_node { Duration::ZERO } else { self.offset(warning, spread) };
                self.entries.insert(warning.clone(), Entry { due: now + wait, retries: None });
            }
        }
    }

    /// The warnings that are written: first those that already were, then one of each namespace in
    /// turn, so that no namespace silences another.
    fn choose<'a>(&self, all: &'a BTreeSet<Warning>) -> BTreeSet<&'a Warning> {
        let mut ordered: Vec<_> = all.iter().collect();
        ordered.sort_by_key(|warning| !self.entries.contains_key(warning));
        // The number of each warning in its namespace is its place in the order. With two warnings
        // in `a` and one in `b`: a/1 gets 1, a/2 gets 2, b/1 gets 1, so that a/1 and b/1 come
        // before a/2.
        let mut of_namespace: BTreeMap<_, usize> = BTreeMap::new();
        ordered.sort_by_cached_key(|warning| {
            let key = (warning.about.kind(), warning.about.namespace());
            let count = of_namespace.entry(key).or_default();
            *count += 1;
            *count
        });
        let mut of_kind: BTreeMap<Kind, usize> = BTreeMap::new();
        ordered.retain(|warning| {
            let count = of_kind.entry(warning.about.kind()).or_default();
            *count += 1;
            *count <= MOST
        });
        ordered.into_iter().collect()
    }

    /// When the next Event is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.values().map(|entry| entry.due).min()
    }

    /// The warning that is due next.
    pub(super) fn first(&self) -> Option<Due> {
        let (warning, entry) = self.entries.iter().min_by_key(|(_, entry)| entry.due)?;
        Some(Due { warning: warning.clone(), is_retry: entry.retries.is_some() })
    }

    /// Plans the next Event of a warning, after one was accepted or refused.
    pub(super) fn written(
        &mut self,
        warning: Warning,
        is_accepted: bool,
        now: Instant,
        since_1970: Duration,
    ) {
        let entry = if is_accepted {
            // Half a slot at most: two Events are never more than 45 minutes apart.
            let offset = self.offset(&warning, SLOT / 2);
            let next_slot = SLOT * u32::try_from(slot(since_1970) + 1).unwrap_or(u32::MAX);
            let due = now + next_slot.saturating_sub(since_1970) + offset;
            Entry { due, retries: None }
        } else {
            // The waits go on growing where the attempt before was refused too.
            let entry = self.entries.remove(&warning);
            let mut retries = entry.and_then(|entry| entry.retries).unwrap_or_else(retries);
            Entry { due: now + retries.next().unwrap_or(LONGEST), retries: Some(retries) }
        };
        self.entries.insert(warning, entry);
    }

    /// The part of `time` that is this node's own for a warning.
    fn offset(&self, warning: &Warning, time: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.node, warning).hash(&mut hasher);
        time.mul_f64(f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / 2_f64.powi(32))
    }
}

fn retries() -> ExponentialBackoff {
    let waits = ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST);
    waits.without_max_times().with_jitter().build()
}

#[cfg(test)]
mod tests {
    use policy_core::model::{ObjectName, ObjectRef};

    use super::*;

    fn about(object: ObjectRef) -> Warning {
        Warning { about: object, uid: None, reason: "NotExpressible", note: String::new() }
    }

    fn of(kind: Kind, name: &str) -> Warning {
        about(ObjectRef::namespaced(kind, &ObjectName::new("default", name)))
    }

    fn some(nodes: usize, warnings: &[Warning]) -> ActiveWarnings {
        ActiveWarnings { nodes, warnings: warnings.iter().cloned().collect() }
    }

    fn due(schedule: &Schedule) -> (Instant, Warning) {
        let (next, first) = schedule.next().zip(schedule.first()).expect("an Event is due");
        (next, first.warning)
    }

    #[test]
    fn a_warning_that_stays_is_written_once_in_each_slot() {
        for node in ["one", "two", "three"] {
            let (mut now, mut clock) = (Instant::now(), SLOT * 1000 + SLOT / 3);
            let mut schedule = Schedule::new(node);
            schedule.replace(&some(3, &[of(Kind::NetworkPolicy, "deny")]), now);
            for number in 1000..1010 {
                let (next, warning) = due(&schedule);
                (clock, now) = (clock + (next - now), next);
                assert_eq!(slot(clock), number, "{node}");
                schedule.written(warning, true, now, clock);
            }
        }
    }

    #[test]
    fn a_refused_event_is_retried_with_growing_waits() {
        let (now, mut schedule) = (Instant::now(), Schedule::new("one"));
        schedule.replace(&some(1, &[of(Kind::Pod, "pod")]), now);
        assert_eq!(schedule.next(), Some(now));
        let mut waits = Vec::new();
        for _ in 0..20 {
            schedule.written(due(&schedule).1, false, now, SLOT);
            waits.push(due(&schedule).0 - now);
        }
        assert!(waits[0] >= FIRST && waits[0] < 2 * FIRST, "{waits:?}");
        // 1, 2, 4 … 256 s, each with at most as much jitter; from then on the longest.
        assert!(waits[..9].is_sorted(), "{waits:?}");
        let is_longest = |wait: &Duration| *wait >= LONGEST && *wait <= 2 * LONGEST;
        assert!(waits[9..].iter().all(is_longest), "{waits:?}");
        assert!(schedule.first().is_some_and(|due| due.is_retry));
        schedule.replace(&some(1, &[]), now);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn the_nodes_of_a_large_cluster_spread_a_warning_that_all_of_them_have() {
        let now = Instant::now();
        let waits: Vec<_> = (0..5000)
            .map(|node| {
                let mut schedule = Schedule::new(&format!("node-{node}"));
                let deny = ObjectRef::cluster_wide(Kind::ClusterNetworkPolicy, "deny");
                schedule.replace(&some(5000, &[about(deny)]), now);
                due(&schedule).0 - now
            })
            .collect();
        let in_second = |second| waits.iter().filter(|wait| wait.as_secs() == second).count();
        for second in 0..30 {
            assert!((100..250).contains(&in_second(second)), "{}", in_second(second));
        }
    }

    #[test]
    fn many_warnings_about_policies_leave_room_for_a_pod() {
        let mut all: Vec<_> =
            (0..1000).map(|number| of(Kind::NetworkPolicy, &number.to_string())).collect();
        all.push(of(Kind::Pod, "pod"));
        let (now, mut schedule) = (Instant::now(), Schedule::new("one"));
        schedule.replace(&some(1, &all), now);
        assert_eq!(schedule.entries.len(), MOST + 1);
        assert!(schedule.entries.contains_key(&of(Kind::Pod, "pod")));
        schedule.replace(&some(1, &all), now);
        assert_eq!(schedule.entries.len(), MOST + 1);
    }

    #[test]
    fn a_namespace_with_many_warnings_leaves_room_for_another() {
        let many: Vec<_> =
            (0..1000).map(|number| of(Kind::NetworkPolicy, &number.to_string())).collect();
        let elsewhere = |name: &str| {
            let name = ObjectName::new("tenant", name);
            about(ObjectRef::namespaced(Kind::NetworkPolicy, &name))
        };
        let (now, mut schedule) = (Instant::now(), Schedule::new("one"));
        schedule.replace(&some(1, &many[500..]), now);
        let before: BTreeSet<_> = schedule.entries.keys().cloned().collect();
        let both = [&many[..], &[elsewhere("deny")]].concat();
        schedule.replace(&some(1, &both), now);
        let chosen: BTreeSet<_> = schedule.entries.keys().cloned().collect();
        assert!(chosen.len() == MOST && chosen.contains(&elsewhere("deny")));
        assert_eq!(chosen.difference(&before).count(), 1, "those that were chosen stay");
        let theirs: Vec<_> = (0..1000).map(|number| elsewhere(&number.to_string())).collect();
        schedule.replace(&some(1, &[many, theirs].concat()), now);
        let is_theirs = |warning: &&Warning| warning.about.namespace() == Some("tenant");
        assert_eq!(schedule.entries.keys().filter(is_theirs).count(), MOST / 2);
        assert_eq!(schedule.entries.len(), MOST);
    }
}
