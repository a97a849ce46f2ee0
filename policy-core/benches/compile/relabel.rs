//! One pod's label change after another, compiled by what was kept.

use std::time::{Duration, Instant};

use policy_core::{
    compile::{Change, Compiler, Scope},
    model::ObjectName,
};

use crate::{cluster::Size, milliseconds};

const CHANGES: usize = 2_000;

/// Moves pods, spread over the cluster, from one workload to another.
pub(crate) fn measure(size: &Size) {
    let mut compiler = Compiler::new(size.snapshot(), Scope::Node("n0"));
    let names: Vec<ObjectName> = compiler.snapshot().pods.keys().cloned().collect();
    let (mut times, mut kept): (Vec<Duration>, usize) = (Vec::new(), 0);
    for n in 0..CHANGES {
        let name = &names[n * 7_919 % names.len()];
        let mut pod = compiler.snapshot().pods[name].clone();
        pod.labels.insert("app".to_owned(), format!("workload-{}", n % 10));
        let change = Change::Pod(name.clone(), Some(pod));
        let start = Instant::now();
        kept += usize::from(compiler.update(change).is_everything());
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "{:>8} {:>8} {:>8.3} {:>8.3} {:>8.3} {:>7}%",
        size.pods,
        size.policies,
        milliseconds(times[CHANGES / 2]),
        milliseconds(times[CHANGES * 99 / 100]),
        milliseconds(times[CHANGES - 1]),
        kept * 100 / CHANGES,
    );
}
