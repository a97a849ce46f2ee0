//! The cluster of a test: one that the test starts and removes, or the one of a kubeconfig.

use std::path::Path;

use anyhow::Result;
use testbed::client::Client;
use testbed::kubectl::Kubectl;
use testbed::layout::Layout;
use xtask::build::Profile;

/// The cluster that the tests use.
pub(crate) struct TestCluster {
    pub(super) client: Client,
    /// For what an operator types; tests of anything else use the client.
    pub(super) kubectl: Kubectl,
    /// Its files, if it is a cluster of this machine; then hosts outside of it can be added.
    pub(super) local: Option<Layout>,
}

impl TestCluster {
    /// The cluster of a kubeconfig.
    pub(super) fn of(kubeconfig: &Path) -> Result<Self> {
        let client = Client::of(kubeconfig.to_owned())?;
        Ok(Self { client, kubectl: Kubectl::of(Some(kubeconfig.to_owned())), local: None })
    }

    /// A cluster of this machine.
    pub(super) fn local(layout: &Layout) -> Result<Self> {
        let (client, kubectl) = (Client::local(layout)?, Kubectl::local(layout)?);
        Ok(Self { client, kubectl, local: Some(layout.clone()) })
    }
}

/// Starts a cluster with both images, runs `act`, and removes the cluster also if `act` fails.
pub(super) fn on_own(
    name: &str,
    shape: &testbed::Shape,
    keep: bool,
    profile: Profile,
    act: impl FnOnce(&TestCluster) -> Result<()>,
) -> Result<()> {
    let layout = Layout::of(name);
    let agent = xtask::image::build(profile)?;
    testbed::up(&layout, shape)?;
    let outcome = (|| {
        testbed::load(&layout, &agent)?;
        act(&TestCluster::local(&layout)?)
    })();
    if !keep {
        testbed::down(&layout)?;
    }
    outcome
}
