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

use proptest::test_runner::Config;

/// `PROPTEST_CASES`, as `cargo xtask fuzz` sets it, goes before the number of ordinary runs.
fn config(cases: u32) -> Config {
    let default = Config { failure_persistence: None, ..Config::default() };
    if env::var_os("PROPTEST_CASES").is_some() { default } else { Config { cases, ..default } }
}
