//! The privilege that these tests need; without it they fail with an explanation.

use anyhow::{Result, ensure};
use nix::unistd::geteuid;
use policy_agent::dataplane::{Dataplane, Options};

/// Fails where the test does not run as root.
pub(crate) fn root() -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "this test creates network and mount namespaces and loads programs: run it as root"
    );
    Ok(())
}

/// Loads the programs, as root.
pub(crate) fn load(options: &Options) -> Result<Dataplane> {
    root()?;
    Ok(Dataplane::load(options)?)
}
