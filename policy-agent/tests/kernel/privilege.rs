//! What these tests need, said before the kernel says no.

use anyhow::{Result, ensure};
use nix::unistd::geteuid;
use policy_agent::dataplane::{Dataplane, Options};

/// Fails where the test is not run as root.
pub(crate) fn root() -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "this test makes network namespaces and loads classifiers: run it as root"
    );
    Ok(())
}

/// Loads the classifiers, as root.
pub(crate) fn load(options: &Options) -> Result<Dataplane> {
    root()?;
    Ok(Dataplane::load(options)?)
}
