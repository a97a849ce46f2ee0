//! Policies of a namespace that find no room in the kernel: those of before stay in force there, and
//! nobody else waits for them (S26).

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::{Duration, Instant},
};

use policy_core::{
    compile::{Change, Compiler},
    desired::Desired,
    model::{Direction, NetworkPolicy, ObjectName, Peer, Snapshot},
};

/// How long a namespace is held back before it is tried again, unless its policies change.
const AGAIN: Duration = Duration::from_mins(1);

/// Policies by name; `None` for one that is not there.
type Policies = BTreeMap<ObjectName, Option<NetworkPolicy>>;

/// Name and `metadata.uid` of a pod.
type PodName = (ObjectName, String);

/// A namespace whose policies found no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Its name.
    pub namespace: String,
    /// What is full.
    pub reason: String,
}

/// Policies that changed since everything was in force, and namespaces that are held back.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// What they were; `None` before anything was in force: then nothing is known to be good.
    before: Option<Policies>,
    /// Pods that had a last good state then.
    under_control: BTreeSet<PodName>,
    held: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    /// What its policies should be.
    asked: Policies,
    /// Pods that have a last good state.
    known: BTreeSet<PodName>,
    reason: String,
    since: Instant,
}

impl Room {
    /// A policy is about to change from what `snapshot` has.
    pub(super) fn note(&mut self, name: &ObjectName, snapshot: &Snapshot) {
        if let Some(before) = &mut self.before
            && !before.contains_key(name)
        {
            before.insert(name.clone(), snapshot.policies.get(name).cloned());
        }
    }

    /// A cluster takes the place of another: what was held back is in it.
    pub(super) fn replace(&mut self, old: &Snapshot, new: &Snapshot) {
        self.held.clear();
        let names: BTreeSet<_> = old.policies.keys().chain(new.policies.keys()).collect();
        for name in names {
            if old.policies.get(name) != new.policies.get(name) {
                self.note(name, old);
            }
        }
    }

    /// Everything but what is held back is in force.
    pub(super) fn settle(&mut self, desired: &Desired, missing: &BTreeSet<&ObjectName>) {
        self.before = Some(Policies::new());
        let held = |pod: &PodName| {
            self.held.get(&pod.0.namespace).is_some_and(|held| !held.known.contains(pod))
        };
        let pods = desired.endpoints.iter().filter(|(name, _)| !missing.contains(name));
        let pods = pods.map(|(name, endpoint)| (name.clone(), endpoint.uid.clone()));
        self.under_control = pods.filter(|pod| !held(pod)).collect();
    }

    /// What is held back now.
    pub(super) fn held_back(&self) -> Vec<HeldBack> {
        let held = self.held.iter();
        held.map(|(namespace, held)| HeldBack {
            namespace: namespace.clone(),
            reason: held.reason.clone(),
        })
        .collect()
    }

    /// Holds a namespace back no longer.
    pub(super) fn release(&mut self, namespace: &str, compiler: &mut Compiler) {
        let Some(held) = self.held.remove(namespace) else { return };
        for (name, asked) in held.asked {
            self.note(&name, compiler.snapshot());
            compiler.update(Change::Policy(name, asked));
        }
    }

    /// Holds none back any longer, or none that waited long enough.
    pub(super) fn release_all(&mut self, compiler: &mut Compiler, only_due: bool) {
        let due = self.held.iter().filter(|(_, held)| !only_due || held.since.elapsed() >= AGAIN);
        let due: Vec<String> = due.map(|(namespace, _)| namespace.clone()).collect();
        for namespace in due {
            self.release(&namespace, compiler);
        }
    }

    /// Goes back to the policies that were in force; `None` where none asks for more room than
    /// before.
    pub(super) fn undo(&mut self, compiler: &mut Compiler) -> Option<Undone> {
        let before = self.before.as_mut()?;
        let mut sums: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (name, old) in &*before {
            let sum = sums.entry(&name.namespace).or_default();
            sum.0 += compiler.snapshot().policies.get(name).map_or(0, weight);
            sum.1 += old.as_ref().map_or(0, weight);
        }
        let growth = sums.into_iter().map(|(of, (new, old))| (new.saturating_sub(old), of));
        let (_, namespace) = growth.filter(|(growth, _)| *growth > 0).max()?;
        let namespace = namespace.to_owned();
        let mut asked = Policies::new();
        for (name, old) in mem::take(before) {
            asked.insert(name.clone(), compiler.snapshot().policies.get(&name).cloned());
            compiler.update(Change::Policy(name, old));
        }
        Some(Undone { namespace, asked })
    }

    /// Asks again for what was asked for, but for the namespace that found no room.
    pub(super) fn hold(&mut self, undone: Undone, reason: String, compiler: &mut Compiler) {
        let Undone { namespace, asked } = undone;
        let (held, others): (Policies, Policies) =
            asked.into_iter().partition(|(name, _)| name.namespace == namespace);
        for (name, asked) in others {
            self.note(&name, compiler.snapshot());
            compiler.update(Change::Policy(name, asked));
        }
        let (known, since) = (self.under_control.clone(), Instant::now());
        self.held.insert(namespace, Held { asked: held, known, reason, since });
    }

    /// With those pods closed that policies would isolate which are held back, and that have no last
    /// good state; `None` where there are none.
    pub(super) fn close(&self, desired: &Desired, snapshot: &Snapshot) -> Option<Desired> {
        let mut closed: Option<Desired> = None;
        let pods = desired.endpoints.iter();
        for (name, endpoint) in pods {
            let Some(held) = self.held.get(&name.namespace) else { continue };
            let Some(pod) = snapshot.pods.get(name) else { continue };
            if held.known.contains(&(name.clone(), endpoint.uid.clone())) {
                continue;
            }
            for direction in [Direction::Ingress, Direction::Egress] {
                let mut asked = held.asked.values().flatten();
                if asked.any(|policy| policy.applies(direction) && policy.selects(&pod.labels)) {
                    let closed = closed.get_or_insert_with(|| desired.clone());
                    if let Some(endpoint) = closed.endpoints.get_mut(name) {
                        endpoint.close(direction);
                    }
                }
            }
        }
        closed
    }
}

/// What was asked for, and the namespace that asked for most.
#[derive(Debug)]
pub(super) struct Undone {
    /// Its name.
    pub(super) namespace: String,
    asked: Policies,
}

/// About how much room a policy takes.
fn weight(policy: &NetworkPolicy) -> usize {
    let rules = policy.ingress.iter().chain(&policy.egress);
    rules
        .map(|rule| {
            let peers = rule.peers.iter().map(|peer| match peer {
                Peer::Block(block) => 1 + block.except.len(),
                Peer::Pods { .. } | Peer::Invalid { .. } => 1,
            });
            1 + rule.ports.len() + peers.sum::<usize>()
        })
        .sum()
}
