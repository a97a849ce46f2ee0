//! Boots a kernel with an initramfs in the emulator, and reads the outcomes from its console.

use std::time::Duration;

use anyhow::Result;
use xtask::command::{command, wait};

use super::packages::Kernel;
use super::steps::{self, Outcome};

/// Longest run of all steps on one kernel.
const LIMIT: Duration = Duration::from_mins(30);

/// Boots the kernel, prints its console, and returns what the steps reported.
pub(super) fn boot(kernel: &Kernel, image: &std::path::Path) -> Result<Vec<Outcome>> {
    println!("== {}", kernel.release);
    let mut qemu = command("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"]);
    qemu.args(["-nographic", "-no-reboot", "-monitor", "none"]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    // Emulated timers are too slow for the kernel's check of them.
    qemu.args(["-append", "console=ttyS0 quiet no_timer_check panic=-1"]);
    let mut outcomes = steps::Reader::default();
    // The kernel powers off after the last step.
    wait(&mut qemu, LIMIT, |line| {
        let Some(line) = line.map(str::trim_end) else { return };
        println!("{line}");
        outcomes.read(line);
    })?;
    Ok(outcomes.finish())
}
