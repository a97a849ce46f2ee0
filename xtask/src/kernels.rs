//! `cargo xtask test kernels`: boots other kernels in an emulator, and runs tests on each.
//!
//! Input: versions, such as `6.1`. For each one the newest cloud kernel of Debian is fetched, and an
//! initramfs is built from the programs and tests of this check-out. Output: a table, one row for each
//! kernel; the verb fails if a cell does.
//!
//! ```text
//! kernel                instructions                     examples routed  …  packets  links    detach
//! 6.1.0-56-cloud-amd64  ok from_pod 34080 / to_pod 47694  ok 71 s          …  ok 9 s   not run  not run
//! ```
//!
//! The emulator translates every instruction (TCG), so a kernel takes minutes.

mod initramfs;
mod packages;
mod qemu;
mod steps;

use anyhow::{Result, bail};
use clap::Args;
use xtask::bootstrap::packages::{Program, ensure};
use xtask::bootstrap::{self, Purpose};
use xtask::bpf;

use steps::Outcome;

/// Kernels that are tested if none is named; `newest` is the newest that Debian serves.
const VERSIONS: [&str; 4] = ["5.10", "6.1", "6.12", "newest"];

const PROGRAMS: [Program; 5] = [
    Program { name: "qemu-system-x86_64", package: "qemu-system-x86" },
    Program { name: "busybox", package: "busybox-static" },
    Program { name: "cpio", package: "cpio" },
    Program { name: "depmod", package: "kmod" },
    Program { name: "xz", package: "xz-utils" },
];

/// Which kernels to test.
#[derive(Args)]
pub(crate) struct KernelsOptions {
    /// Versions of Debian's cloud kernels, or `newest` [default: 5.10 6.1 6.12 newest]
    versions: Vec<String>,
}

/// Tests the kernels one after the other, and prints the table.
pub(crate) fn run(options: &KernelsOptions) -> Result<()> {
    ensure(&PROGRAMS)?;
    let compiler = bootstrap::run(Purpose::Test)?;
    bpf::build_other(compiler)?;
    bpf::build(compiler)?;
    let programs = steps::build()?;
    let mut versions: Vec<&str> = options.versions.iter().map(String::as_str).collect();
    if versions.is_empty() {
        versions.extend(VERSIONS);
    }
    let mut rows = Vec::new();
    for version in versions {
        let kernel = packages::fetch(version)?;
        let image = initramfs::build(&kernel, &programs)?;
        let outcomes = qemu::boot(&kernel, &image)?;
        rows.push((kernel.release, outcomes));
        // After each kernel, because the next one takes minutes.
        print(&rows);
    }
    let failed = rows.iter().map(|(release, outcomes)| steps::failed(release, outcomes));
    match failed.sum::<usize>() {
        0 => Ok(()),
        count => bail!("{count} steps failed or did not end; their output is above"),
    }
}

/// Prints a row for each kernel and a column for each step.
fn print(rows: &[(String, Vec<Outcome>)]) {
    let head = std::iter::once("kernel".to_owned());
    let mut table: Vec<Vec<String>> = vec![head.chain(steps::names().map(str::to_owned)).collect()];
    for (release, outcomes) in rows {
        let cell = |name: &str| {
            let outcome = outcomes.iter().find(|outcome| outcome.name == name);
            outcome.map_or_else(|| "not run".to_owned(), Outcome::text)
        };
        let cells = std::iter::once(release.clone()).chain(steps::names().map(cell));
        table.push(cells.collect());
    }
    let width = |column: usize| table.iter().map(|row| row[column].len()).max().unwrap_or_default();
    for row in &table {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let width = width(at);
            format!("{cell:<width$}")
        });
        let cells: Vec<_> = cells.collect();
        println!("{}", cells.join("  ").trim_end());
    }
}
