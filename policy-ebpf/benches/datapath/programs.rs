//! Small programs that the figures are held against: an empty one, and ones that only look keys up.
//!
//! They are written instruction by instruction (`Documentation/bpf/standardization/instruction-set.rst`).
//! A look-up of key `01 02 03 04` in the map with descriptor 7:
//!
//! ```text
//! *(u32 *)(r10 - 8) = 0x04030201    the key, on the stack
//! r1 = map 7; r2 = r10; r2 += -8
//! call 1                            bpf_map_lookup_elem
//! r0 = -1; exit                     TC_ACT_UNSPEC, as the programs return it
//! ```

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};
use nix::libc;

/// Bytes of `struct __sk_buff`.
const CONTEXT: usize = 192;
/// Offsets in it.
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;

/// A key to look up in a map.
pub(crate) struct Lookup<'a> {
    pub(crate) map: BorrowedFd<'a>,
    pub(crate) key: Vec<u8>,
}

/// A packet at a hook.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) frame: Vec<u8>,
    pub(crate) ifindex: u32,
    pub(crate) ingress_ifindex: u32,
}

/// The result of a run.
pub(crate) struct Run {
    /// Nanoseconds of one run, the mean of all repetitions.
    pub(crate) nanoseconds: f64,
    /// The TC action.
    pub(crate) action: i32,
}

/// Loads a program that looks keys up, one after the other; none is an empty program.
pub(crate) fn load(lookups: &[Lookup<'_>]) -> Result<OwnedFd> {
    let instructions = instructions(lookups)?;
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
    // SAFETY: `BPF_PROG_LOAD` reads this member, which is plain.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
    program.insns = instructions.as_ptr() as u64;
    program.insn_cnt = u32::try_from(instructions.len() / 8)?;
    program.license = c"GPL".as_ptr() as u64;
    let fd = call(bpf_cmd::BPF_PROG_LOAD, &mut attr).context("the kernel refuses a reference")?;
    // SAFETY: the command returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs a program `repeat` times on a packet.
pub(crate) fn run(program: BorrowedFd<'_>, packet: &Packet, repeat: u32) -> Result<Run> {
    let mut context = [0_u8; CONTEXT];
    for (at, value) in [(INGRESS_IFINDEX, packet.ingress_ifindex), (IFINDEX, packet.ifindex)] {
        context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
    // SAFETY: `BPF_PROG_TEST_RUN` reads and writes this member, which is plain.
    let test = unsafe { &mut attr.test };
    test.prog_fd = program.as_raw_fd().cast_unsigned();
    test.data_size_in = u32::try_from(packet.frame.len())?;
    test.data_in = packet.frame.as_ptr() as u64;
    test.ctx_size_in = u32::try_from(CONTEXT)?;
    test.ctx_in = context.as_ptr() as u64;
    test.repeat = repeat;
    call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).context("the kernel refuses the packet")?;
    // SAFETY: as above.
    let test = unsafe { attr.test };
    Ok(Run { nanoseconds: test.duration.into(), action: test.retval.cast_signed() })
}

fn instructions(lookups: &[Lookup<'_>]) -> Result<Vec<u8>> {
    const STORE_WORD: u8 = 0x62;
    const LOAD_MAP: u8 = 0x18;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const CALL: u8 = 0x85;
    const SET: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    const LOOK_UP: i32 = 1;
    const PASS: i32 = -1;
    let mut all = Vec::new();
    for Lookup { map, key } in lookups {
        ensure!(key.len() % 4 == 0 && key.len() <= 64, "a key of whole words");
        let start = -i16::try_from(key.len().next_multiple_of(8))?;
        for (at, word) in key.chunks_exact(4).enumerate() {
            let word = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            all.push(instruction(STORE_WORD, 10, 0, start + 4 * i16::try_from(at)?, word));
        }
        all.extend([
            instruction(LOAD_MAP, 1, 1, 0, map.as_fd().as_raw_fd()),
            instruction(0, 0, 0, 0, 0),
            instruction(COPY, 2, 10, 0, 0),
            instruction(ADD, 2, 0, 0, start.into()),
            instruction(CALL, 0, 0, 0, LOOK_UP),
        ]);
    }
    all.extend([instruction(SET, 0, 0, 0, PASS), instruction(EXIT, 0, 0, 0, 0)]);
    Ok(all.concat())
}

/// One instruction (`struct bpf_insn`).
fn instruction(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> [u8; 8] {
    let registers = if cfg!(target_endian = "little") {
        source << 4 | destination
    } else {
        destination << 4 | source
    };
    let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..8].copy_from_slice(&value.to_ne_bytes());
    bytes
}

/// A call of `bpf(2)`.
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    let size = size_of::<bpf_attr>();
    // SAFETY: the kernel reads and writes at most `size` bytes of `attr`, and what its pointers
    // lead to lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
