//! Anonymous network namespaces: they go with the test, however it ends.

use std::{
    fs::{self, File},
    future::Future,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    thread,
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};
use policy_agent::net::build::{End, Wiring};

use crate::privilege;

/// A network namespace that nothing but this value keeps.
pub(crate) struct Namespace(File);

impl Namespace {
    /// A fresh one, with `lo` up.
    pub(crate) fn new() -> Result<Self> {
        privilege::root()?;
        let file = thread::scope(|scope| {
            let born = scope.spawn(|| -> Result<File> {
                unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
                Ok(File::open("/proc/thread-self/ns/net")?)
            });
            joined(born)
        })?;
        let namespace = Self(file);
        namespace.run(async || {
            // A new IPv6 address can be used at once.
            fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
                .context("cannot turn duplicate address detection off")?;
            Ok(Wiring::open()?.set_up(1).await?)
        })?;
        Ok(namespace)
    }

    /// Runs a future on a thread of its own in the namespace.
    pub(crate) fn run<T: Send, F: Future<Output = Result<T>>>(
        &self,
        task: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        thread::scope(|scope| {
            joined(scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(task())
            }))
        })
    }

    /// Joins `near` here to `far` in `other`, both up, with these addresses at the far end.
    pub(crate) fn join(
        &self,
        near: &End,
        other: &Self,
        far: &End,
        addresses: &[&str],
    ) -> Result<()> {
        self.run(async || Ok(Wiring::open()?.add_veth(near, far, other.as_fd()).await?))?;
        other.run(async || {
            let wiring = Wiring::open()?;
            wiring.set_up(far.index).await?;
            add_addresses(&wiring, far.index, addresses).await
        })?;
        self.run(async || Ok(Wiring::open()?.set_up(near.index).await?))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An end of a link.
pub(crate) fn end(index: u32, name: &str) -> End {
    End { index, name: name.to_owned() }
}

/// Adds addresses, each written `address/prefix`.
pub(crate) async fn add_addresses(wiring: &Wiring, index: u32, addresses: &[&str]) -> Result<()> {
    for address in addresses {
        let (address, prefix) = address.split_once('/').context("no prefix length")?;
        wiring.add_address(index, address.parse()?, prefix.parse()?).await?;
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

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
