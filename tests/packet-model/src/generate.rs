//! Generates cases: a world, and steps in which packets, changes and pauses follow one another.
//!
//! Input is a random generator with a seed, so that the same seed gives the same cases. Packets
//! mostly continue conversations that earlier packets of the case started, because the hard
//! questions are about flows.

mod conversation;
mod mutate;
mod policies;
mod special;

use fastrand::Rng;

use crate::case::{Case, Step};
use crate::model::Event;
use crate::world::{Pod, Policy, World};
use conversation::Conversation;

/// Steps of one case.
const STEPS: usize = 64;

/// Pauses in seconds: around the lives of flows, and never exactly one of them.
const PAUSES: &[u64] = &[2, 2, 5, 9, 14, 26, 33, 47, 59, 64, 118, 123, 155, 183, 590, 605, 3_611];

/// A pause that no flow survives.
const A_DAY: u64 = 90_000;

/// Generates the policies that several cases share: writing allow maps takes time.
#[must_use]
pub fn policies(random: &mut Rng) -> Vec<Policy> {
    (0..6).map(|_| policies::policy(random)).collect()
}

/// Generates a case with some policies.
#[must_use]
pub fn case(random: &mut Rng, policies: &[Policy]) -> Case {
    let pods = [(); 2].map(|()| policies::pod(random, policies.len(), None));
    let world = World { policies: policies.to_vec(), pods };
    let mut generator = Generator {
        random,
        pods,
        policies: policies.len(),
        conversations: Vec::new(),
        pending: Vec::new(),
    };
    let steps = (0..STEPS).map(|_| generator.step()).collect();
    Case { world, steps }
}

/// The state of a case while it is generated.
struct Generator<'a> {
    random: &'a mut Rng,
    pods: [Pod; 2],
    policies: usize,
    conversations: Vec<Conversation>,
    /// Fragments that are still to be sent.
    pending: Vec<Event>,
}

impl Generator<'_> {
    fn step(&mut self) -> Step {
        if !self.pending.is_empty() && self.random.u8(..4) > 0 {
            let place = self.random.usize(..self.pending.len());
            return Step::Packet(self.pending.swap_remove(place));
        }
        match self.random.u8(..100) {
            0..6 => Step::Age(self.pause()),
            6..12 => self.change(),
            12..22 => Step::Packet(special::special(self.random)),
            _ => Step::Packet(self.packet()),
        }
    }

    fn pause(&mut self) -> u64 {
        if self.random.u8(..40) == 0 {
            return A_DAY;
        }
        PAUSES[self.random.usize(..PAUSES.len())]
    }

    fn change(&mut self) -> Step {
        let pod = self.random.usize(..self.pods.len());
        self.pods[pod] = policies::pod(self.random, self.policies, Some(&self.pods[pod]));
        Step::Change { pod, to: self.pods[pod] }
    }

    /// A packet of a conversation, old or new; sometimes in fragments or mutated.
    fn packet(&mut self) -> Event {
        if self.conversations.is_empty() || self.random.u8(..100) < 15 {
            let conversation = Conversation::new(self.random);
            self.conversations.push(conversation);
        }
        // Recent ones are more likely.
        let count = self.conversations.len();
        let recent = count.saturating_sub(3);
        let place = if self.random.bool() {
            self.random.usize(recent..count)
        } else {
            self.random.usize(..count)
        };
        let conversation = &mut self.conversations[place];
        let mut events = conversation.packets(self.random);
        let mut event = events.remove(0);
        self.pending.extend(events);
        if self.random.u8(..100) < 6 {
            mutate::mutate(self.random, &mut event.frame);
        }
        event
    }
}

/// One of some values.
fn one_of<T: Copy>(random: &mut Rng, values: &[T]) -> T {
    values[random.usize(..values.len())]
}

/// Whether something of so many per cent happens.
fn chance(random: &mut Rng, per_cent: u8) -> bool {
    random.u8(..100) < per_cent
}
