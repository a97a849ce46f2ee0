//! Stands in for the planner until it is there.

use policy_core::{
    desired::Desired,
    plan::{Interfaces, Step},
};

/// What the kernel has.
#[derive(Clone, Debug, Default)]
pub struct Actual(());

impl Actual {
    pub(super) fn apply(&mut self, _: &Step) {}
}

pub(super) fn plan(_: &Actual, _: &Desired, _: &Interfaces) -> Vec<Step> {
    Vec::new()
}
