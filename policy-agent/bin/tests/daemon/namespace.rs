//! Network namespaces of the tests, on top of the lab's: they end with the test, however it ends.

use std::{
    fs,
    future::Future,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use anyhow::{Context, Result};
use policy_agent::net::build::{End, NetBuilder};
use policy_lab::netns;
use tokio::runtime;

use crate::privilege;

/// A network namespace.
pub(crate) struct Namespace(netns::Namespace);

impl Namespace {
    /// Creates a namespace with `lo` up, in which a new IPv6 address can be used at once.
    pub(crate) fn new() -> Result<Self> {
        privilege::root()?;
        let namespace = Self(netns::Namespace::create()?);
        namespace.run(async || {
            fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
                .context("cannot turn duplicate address detection off")?;
            Ok(NetBuilder::open()?.set_up(1).await?)
        })?;
        Ok(namespace)
    }

    /// Runs a future in the namespace, on a thread with its own tokio runtime.
    pub(crate) fn run<T: Send, F: Future<Output = Result<T>>>(
        &self,
        task: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        self.0.run(|| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(task())
        })
    }

    /// Joins `near` here to `far` in `other` by a veth, both up, with these addresses at the far end.
    pub(crate) fn join(
        &self,
        near: &End,
        other: &Self,
        far: &End,
        addresses: &[&str],
    ) -> Result<()> {
        self.run(async || Ok(NetBuilder::open()?.add_veth(near, far, other.as_fd()).await?))?;
        other.run(async || {
            let builder = NetBuilder::open()?;
            builder.set_up(far.index).await?;
            add_addresses(&builder, far.index, addresses).await
        })?;
        self.run(async || Ok(NetBuilder::open()?.set_up(near.index).await?))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An end of a veth.
pub(crate) fn end(index: u32, name: &str) -> End {
    End { index, name: name.to_owned() }
}

/// Adds addresses, each written `address/prefix`.
pub(crate) async fn add_addresses(
    builder: &NetBuilder,
    index: u32,
    addresses: &[&str],
) -> Result<()> {
    for address in addresses {
        let (address, prefix) = address.split_once('/').context("no prefix length")?;
        builder.add_address(index, address.parse()?, prefix.parse()?).await?;
    }
    Ok(())
}

/// Addresses, parsed and sorted.
pub(crate) fn addresses(texts: &[&str]) -> Result<Vec<IpAddr>> {
    let mut addresses =
        texts.iter().map(|text| Ok(text.parse()?)).collect::<Result<Vec<IpAddr>>>()?;
    addresses.sort();
    Ok(addresses)
}
