//! Properties over small clusters in which everything collides.

mod attributed;
mod compiled;
mod connected;
mod explained;
mod generate;
mod incremental;
mod kernel;
mod large;
mod oracle;
mod planned;
mod repaired;

use std::env;

use proptest::test_runner::{Config, RngSeed};

/// The seed of ordinary runs: they try the same cases each time, so that a change of the code is the
/// only reason for another result.
const SEED: u64 = 20_260_101;

/// An ordinary run's number of cases, or that of a long run: `cargo xtask fuzz compile` and `fuzz plans`
/// set `PROPTEST_CASES` and `PROPTEST_RNG_SEED`, to look for cases that nobody has tried yet.
fn config(cases: u32) -> Config {
    let default = Config { failure_persistence: None, ..Config::default() };
    if env::var_os("PROPTEST_CASES").is_some() {
        default
    } else {
        Config { cases, rng_seed: RngSeed::Fixed(SEED), ..default }
    }
}
