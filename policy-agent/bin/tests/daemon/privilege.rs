//! What these tests need, said before the kernel says no.

use anyhow::{Result, ensure};
use nix::unistd::geteuid;

/// Fails where the test is not run as root.
pub(crate) fn root() -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "this test makes network and mount namespaces and loads classifiers: run it as root"
    );
    Ok(())
}
