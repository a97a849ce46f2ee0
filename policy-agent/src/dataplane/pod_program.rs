//! The two programs and their hooks.

use aya::programs::TcAttachType;
use policy_core::model::Direction;

/// A program and its hook.
///
/// What comes in at the host side of a veth leaves the pod, so `from_pod`, which judges the pod's
/// egress, is at the ingress hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodProgram {
    /// Its name in the object, and the stem of its pins.
    pub(super) name: &'static str,
    /// The hook, as the interface sees it.
    pub(super) hook: TcAttachType,
    /// The direction that it judges, as the pod sees it.
    pub(super) direction: Direction,
}

const FROM_POD: PodProgram =
    PodProgram { name: "from_pod", hook: TcAttachType::Ingress, direction: Direction::Egress };
const TO_POD: PodProgram =
    PodProgram { name: "to_pod", hook: TcAttachType::Egress, direction: Direction::Ingress };

/// The programs, in the order in which they are attached.
pub(super) const POD_PROGRAMS: [PodProgram; 2] = [TO_POD, FROM_POD];

/// Their names, in the same order.
pub(super) const NAMES: [&str; 2] = [TO_POD.name, FROM_POD.name];
