//! A case: a world and the steps that change it, printed as a test that can be replayed.

use std::fmt::{self, Display, Write as _};

use crate::model::{Direction, Event};
use crate::world::{Peer, Pod, World};

/// One step of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A packet is judged.
    Packet(Event),
    /// A pod changes; its next epoch starts.
    Change {
        /// Number of the pod.
        pod: usize,
        /// What it is from then on.
        to: Pod,
    },
    /// Seconds pass.
    Age(u64),
}

/// A world and what happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The world at the start.
    pub world: World,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

impl Display for Case {
    /// Prints a test for tests/packets.rs, which has the function `replay`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#[test]\nfn a_case() {{")?;
        writeln!(f, "    replay(&Case {{\n        world: World {{\n            policies: vec![")?;
        for policy in &self.world.policies {
            let rules: Vec<_> = policy
                .iter()
                .map(|rule| {
                    let ports = rule
                        .ports
                        .as_ref()
                        .map_or("None".to_owned(), |list| format!("Some(vec!{list:?})"));
                    format!("Rule {{ peer: {}, ports: {ports} }}", peer(rule.peer))
                })
                .collect();
            writeln!(f, "                vec![{}],", rules.join(", "))?;
        }
        writeln!(f, "            ],\n            pods: {:?},\n        }},", self.world.pods)?;
        writeln!(f, "        steps: vec![")?;
        for step in &self.steps {
            writeln!(f, "            {},", text(step))?;
        }
        write!(f, "        ],\n    }});\n}}")
    }
}

fn peer(peer: Peer) -> String {
    format!("Peer::{peer:?}")
}

fn text(step: &Step) -> String {
    match step {
        Step::Age(seconds) => format!("Step::Age({seconds})"),
        Step::Change { pod, to } => format!("Step::Change {{ pod: {pod}, to: {to:?} }}"),
        Step::Packet(event) => {
            let Event { pod, direction, arrived_by, mark, frame } = event;
            let direction = match direction {
                Direction::Ingress => "Ingress",
                Direction::Egress => "Egress",
            };
            let frame = frame.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            format!("packet({pod}, Direction::{direction}, {arrived_by}, {mark}, \"{frame}\")")
        }
    }
}

/// A packet as printed: its frame in hexadecimal digits.
///
/// # Panics
///
/// If `frame` is anything else.
#[must_use]
pub fn packet(pod: usize, direction: Direction, arrived_by: u32, mark: u32, frame: &str) -> Step {
    let byte = |at: usize| u8::from_str_radix(&frame[at..at + 2], 16);
    let frame: Result<Vec<_>, _> = (0..frame.len()).step_by(2).map(byte).collect();
    let frame = frame.unwrap_or_else(|error| panic!("no frame: {error}"));
    Step::Packet(Event { pod, direction, arrived_by, mark, frame })
}
