//! `cargo xtask bootstrap`: installs what the machine lacks.

pub(crate) mod compiler;
pub(crate) mod go;
pub(crate) mod packages;
pub(crate) mod tools;

use anyhow::Result;

use crate::cluster;
use compiler::Compiler;
use packages::Program;

const LAB: &[Program] =
    &[Program { name: "nft", package: "nftables" }, Program { name: "ip", package: "iproute2" }];

const TEST: &[Program] = &[
    Program { name: "bpftool", package: "bpftool" },
    Program { name: "/usr/lib/cni/ptp", package: "containernetworking-plugins" },
];

/// What a verb is going to do, and so what it needs; each includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Compile the eBPF program.
    Build,
    /// Run the lab.
    Lab,
    /// Check sources, licences and spelling, and run every test.
    Test,
}

/// Installs what `purpose` needs and the machine lacks.
/// Returns the way to compile for BPF.
pub(crate) fn run(purpose: Purpose) -> Result<Compiler> {
    if purpose >= Purpose::Lab {
        packages::ensure(LAB)?;
    }
    if purpose >= Purpose::Test {
        packages::ensure(TEST)?;
        cluster::ensure_packages()?;
    }
    let compiler = compiler::ensure()?;
    tools::BPF_LINKER.ensure()?;
    if purpose >= Purpose::Test {
        tools::CARGO_DENY.ensure()?;
        tools::TYPOS.ensure()?;
        go::HELM.ensure()?;
        go::KUSTOMIZE.ensure()?;
    }
    Ok(compiler)
}
