//! Boots a kernel with an initramfs in the emulator, and reads the outcomes from its console.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::command::command;

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
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        lines.map(|line| sender.send(line)).take_while(Result::is_ok).count()
    });
    let start = Instant::now();
    let mut outcomes = steps::Reader::default();
    while let Some(left) = LIMIT.checked_sub(start.elapsed()) {
        let Ok(line) = lines.recv_timeout(left) else { break };
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        println!("{line}");
        outcomes.read(line);
    }
    // It has ended by itself, except after the limit.
    let _ = child.kill();
    child.wait()?;
    Ok(outcomes.finish())
}
