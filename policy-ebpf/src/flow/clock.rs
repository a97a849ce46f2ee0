//! The clock of the flow tables, `CLOCK_MONOTONIC` in nanoseconds: an exact one for the slow path, and
//! a coarse one for the fast path, which costs two instructions.
//!
//! The coarse clock counts the kernel's ticks. The loader sets how long a tick is; where the count was
//! zero is measured here, and again whenever both clocks differ too much (docs/adr/0022):
//!
//! ```text
//! exact   12.340 s   ticks 4294670000   tick 4 ms   → TICK_ORIGIN = 12.340 s - 4294670000 * 4 ms
//! coarse  4294670002 * 4 ms + TICK_ORIGIN = 12.348 s
//! ```
//!
//! Before the first measurement the coarse clock is months ahead, so that every flow looks old to the
//! fast path, which then leaves the packet to the slow path.

use core::sync::atomic::AtomicU64;

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};

use super::state::SECOND;
use crate::maps::{CLOCK_OFFSET, CLOCK_TICK};

/// How far the coarse clock may be from the exact one. More than a tick, because a busy machine counts
/// ticks late.
const TOLERANCE: u64 = SECOND / 10;

/// The time at which the count of ticks was zero, modulo 2^64.
static TICK_ORIGIN: AtomicU64 = AtomicU64::new(0);

/// The exact time, later by the offset that tests set. Corrects the coarse clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let now = exact();
    let ticks = ticks();
    let difference = now.wrapping_sub(ticks.wrapping_add(origin()));
    // Both signs at once: a negative difference is a large number.
    if ticks != 0 && difference.wrapping_add(TOLERANCE) > 2 * TOLERANCE {
        // SAFETY: the variable lives as long as the program, which may write it; one aligned word.
        unsafe { TICK_ORIGIN.as_ptr().write_volatile(now.wrapping_sub(ticks)) };
    }
    now
}

/// The time as far as the kernel's ticks show it; the exact one where the length of a tick is unknown.
#[inline(always)]
pub(crate) fn coarse() -> u64 {
    match ticks() {
        0 => exact(),
        ticks => ticks.wrapping_add(origin()),
    }
}

#[inline(always)]
fn exact() -> u64 {
    // SAFETY: the helper takes no argument and only returns the clock.
    unsafe { bpf_ktime_get_ns() + CLOCK_OFFSET.load() }
}

/// `TICK_ORIGIN` now. An atomic load is no instruction of BPF.
#[inline(always)]
fn origin() -> u64 {
    // SAFETY: the variable lives as long as the program; one aligned word.
    unsafe { TICK_ORIGIN.as_ptr().read_volatile() }
}

/// Nanoseconds of all ticks; 0 where the length of a tick is unknown.
#[inline(always)]
fn ticks() -> u64 {
    match CLOCK_TICK.load() {
        0 => 0,
        // SAFETY: the helper takes no argument and only returns a count.
        tick => unsafe { bpf_jiffies64() }.wrapping_mul(tick),
    }
}
