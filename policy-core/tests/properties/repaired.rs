//! Repairs: whatever stands in the maps, they get back what was written (S50).

use policy_core::{
    compile::{Scope, compile},
    model::Snapshot,
    plan::{Actual, PlanOptions, Step, plan, repair},
};
use proptest::prelude::*;

use crate::{generate, planned::interfaces};

/// Maps under the policies of a cluster.
fn reached(actual: &mut Actual, snapshot: &Snapshot) {
    let (desired, _) = compile(snapshot, Scope::Cluster);
    let planned = plan(actual, &desired, &interfaces(), PlanOptions::default());
    planned.steps.iter().for_each(|step| actual.apply(step));
}

proptest! {
    #![proptest_config(crate::config(128))]

    #[test]
    fn s50_maps_of_any_state_get_back_what_was_written(
        first in generate::snapshot(), second in generate::snapshot(), follows in any::<bool>(),
    ) {
        let mut written = Actual::default();
        reached(&mut written, &first);
        let mut found = if follows { written.clone() } else { Actual::default() };
        prop_assert!(!follows || repair(&written, &found).is_empty(), "nothing was done to them");
        reached(&mut found, &second);
        let steps = repair(&written, &found);
        for step in &steps {
            found.apply(step);
        }
        prop_assert_eq!(repair(&written, &found), Vec::new(), "after {:#?}", steps);
        let bumps = steps.iter().skip_while(|step| !matches!(step, Step::BumpEpoch { .. }));
        let bumps = bumps.filter(|step| matches!(step, Step::BumpEpoch { .. })).count();
        let all = written.endpoints().len();
        prop_assert_eq!(bumps, if steps.is_empty() { 0 } else { all }, "flows are judged again");
    }
}
