//! TC programs at the host side of a pod's veth: they drop every packet that no rule allows.
//!
//! `from_pod` is attached to the interface's ingress hook, `to_pod` to its egress hook; directions
//! in the code are the pod's, so `from_pod` judges egress.
//! `classify` is the way of a packet: `parse` reads it, `decide` judges it with the tables of `flow`
//! and of the agent (`maps`), `report` counts and records drops.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    not(target_arch = "bpf"),
    allow(dead_code, reason = "on the host the crate is only type-checked, never run")
)]
#![expect(
    clippy::inline_always,
    reason = "a call is a subprogram, which takes only scalars: everything else is inlined"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "values fit by construction; the verifier rejects code that can panic"
)]
#![expect(clippy::many_single_char_names, reason = "the bytes of a word have no better names")]

mod address;
mod classify;
mod decide;
mod element;
mod fast;
mod flow;
mod maps;
mod parse;
mod report;
mod rewrite;
mod scratch;
mod service;
mod skb;
mod trace;

use aya_ebpf::{macros::classifier, programs::TcContext};
use policy_common::drops::Direction;

/// Judges a packet that a pod sends.
#[expect(clippy::needless_pass_by_value, reason = "the macro passes it by value")]
#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    classify::classify(ctx.skb.skb, Direction::Egress)
}

/// Judges a packet that is about to reach a pod.
#[expect(clippy::needless_pass_by_value, reason = "the macro passes it by value")]
#[classifier]
fn to_pod(ctx: TcContext) -> i32 {
    classify::classify(ctx.skb.skb, Direction::Ingress)
}

/// The licence that the kernel requires before it allows its GPL helper functions.
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
