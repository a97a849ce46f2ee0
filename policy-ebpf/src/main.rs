//! TC classifiers at the host side of a pod's veth: what no rule allows does not pass.
//!
//! `from_pod` hangs on the interface's ingress hook, `to_pod` on its egress hook; directions in
//! the code are the pod's. Packet, flow, endpoint, rules: each look-up only where the one before
//! it did not decide.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    not(target_arch = "bpf"),
    allow(dead_code, reason = "on the host the crate is only checked, never run")
)]
#![expect(
    clippy::inline_always,
    reason = "a call leads into a subprogram, and those take only scalars: all else is inlined"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "a number is cut back to the bytes it came from; a panic is none that the kernel takes"
)]
#![expect(clippy::many_single_char_names, reason = "the bytes of a word have no better names")]

mod address;
mod budget;
mod drops;
mod element;
mod endpoint;
mod family;
mod flow;
mod inspect;
mod judge;
mod maps;
mod neighbour;
mod packet;
mod quote;
mod rules;
mod transport;
mod verdict;

use aya_ebpf::{macros::classifier, programs::TcContext};
use policy_common::drops::Direction;

/// Judges a packet that a pod sends.
#[expect(clippy::needless_pass_by_value, reason = "so the macro hands it over")]
#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    inspect::inspect(&ctx, Direction::Egress)
}

/// Judges a packet that is about to reach a pod.
#[expect(clippy::needless_pass_by_value, reason = "so the macro hands it over")]
#[classifier]
fn to_pod(ctx: TcContext) -> i32 {
    inspect::inspect(&ctx, Direction::Ingress)
}

/// What the kernel asks for before it lends its helper functions.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing in these programs can panic; the verifier would refuse a path to here.
    unsafe { core::hint::unreachable_unchecked() }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
