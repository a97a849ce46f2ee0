//! `cargo xtask bootstrap`: installs what the machine lacks.

pub mod compiler;
pub mod go;
pub mod packages;
pub mod promtool;
pub mod tools;

use std::path::Path;

use anyhow::Result;

use compiler::Compiler;
use packages::Program;

const LAB: &[Program] =
    &[Program { name: "nft", package: "nftables" }, Program { name: "ip", package: "iproute2" }];

const TEST: &[Program] = &[
    Program { name: "bpftool", package: "bpftool" },
    Program { name: "/usr/lib/cni/ptp", package: "containernetworking-plugins" },
];

/// What the nodes of `cargo xtask cluster` run.
const CLUSTER: &[Program] = &[
    Program { name: "conntrack", package: "conntrack" },
    Program { name: "containerd", package: "containerd" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "iptables", package: "iptables" },
    Program { name: "nft", package: "nftables" },
    Program { name: "runc", package: "runc" },
];

/// Folders in which distributions install the plugins of containernetworking-plugins.
pub const CNI_PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// What a verb is going to do, and so what it needs; each includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Compile the eBPF program.
    Build,
    /// Run the lab.
    Lab,
    /// Check sources, licences and spelling, and run every test.
    Test,
}

/// Installs what `purpose` needs and the machine lacks.
/// Returns the way to compile for BPF.
pub fn run(purpose: Purpose) -> Result<Compiler> {
    if purpose >= Purpose::Lab {
        packages::ensure(LAB)?;
    }
    if purpose >= Purpose::Test {
        packages::ensure(TEST)?;
        ensure_cluster_packages()?;
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

/// Installs what the nodes of a cluster run and the machine lacks.
pub fn ensure_cluster_packages() -> Result<()> {
    packages::ensure(CLUSTER)?;
    if !CNI_PLUGINS.iter().any(|folder| Path::new(folder).join("ptp").exists()) {
        packages::install(&["containernetworking-plugins"])?;
    }
    Ok(())
}
