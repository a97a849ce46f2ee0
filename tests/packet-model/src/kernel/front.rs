//! The program in front of `from_pod` or `to_pod`: its instructions, and the type information that
//! the kernel demands of a function with a tail call.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};

use super::{CB, MARK, NOT_CALLED, TC_INDEX, call};

/// Index of the first instruction of the function with the tail call.
const FUNCTION: u32 = 8;

/// Numbers of the types of the two functions.
const MAIN_TYPE: u32 = 3;
const FUNCTION_TYPE: u32 = 4;

/// Loads the program; `map` holds the program behind it.
pub(super) fn load(map: i32) -> Result<OwnedFd> {
    let (instructions, types) = (instructions(map), load_types()?);
    // Each entry: first instruction, number of the type.
    let functions = [0, MAIN_TYPE, FUNCTION, FUNCTION_TYPE];
    let license = c"GPL";
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
    // SAFETY: `BPF_PROG_LOAD` reads this member, which is plain.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
    program.insns = instructions.as_ptr() as u64;
    program.insn_cnt = u32::try_from(instructions.len() / 8)?;
    program.license = license.as_ptr() as u64;
    program.prog_btf_fd = types.as_raw_fd().cast_unsigned();
    program.func_info = functions.as_ptr() as u64;
    program.func_info_rec_size = 8;
    program.func_info_cnt = 2;
    let fd = call(bpf_cmd::BPF_PROG_LOAD, &mut attr)
        .context("the kernel refuses the program in front of `from_pod` or `to_pod`")?;
    // SAFETY: the command returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The instructions of the program in front; the tail call is in a function of its own, because
/// only such a one returns.
fn instructions(map: i32) -> Vec<u8> {
    const WORD_LOAD: u8 = 0x61;
    const WORD_STORE: u8 = 0x63;
    const WORD_STORE_VALUE: u8 = 0x62;
    const COPY: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const LOAD_MAP: u8 = 0x18;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const TAIL_CALL: i32 = 12;
    #[rustfmt::skip]
    let instructions = [
        instruction(COPY, 6, 1, 0, 0),
        instruction(WORD_LOAD, 2, 1, MARK, 0),
        instruction(WORD_STORE, 1, 2, TC_INDEX, 0),
        instruction(WORD_STORE_VALUE, 1, 0, MARK, 0),
        instruction(CALL, 0, 1, 0, 3),
        instruction(WORD_LOAD, 1, 6, TC_INDEX, 0),
        instruction(WORD_STORE, 6, 1, CB, 0),
        instruction(EXIT, 0, 0, 0, 0),
        // The function: register 1 is its argument, the context.
        instruction(LOAD_MAP, 2, 1, 0, map),
        instruction(0, 0, 0, 0, 0),
        instruction(SET, 3, 0, 0, 0),
        instruction(CALL, 0, 0, 0, TAIL_CALL),
        instruction(SET, 0, 0, 0, NOT_CALLED),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    instructions.concat()
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

/// Loads the types of the functions: `int main()` and `int call()` (Documentation/bpf/btf.rst).
fn load_types() -> Result<OwnedFd> {
    const INT: u32 = 1 << 24;
    const FUNCTION: u32 = 12 << 24;
    const PROTOTYPE: u32 = 13 << 24;
    const SIGNED_32: u32 = 1 << 24 | 32;
    let strings = b"\0int\0main\0call\0";
    #[rustfmt::skip]
    let types = [
        1, INT, 4, SIGNED_32,
        0, PROTOTYPE, 1,
        5, FUNCTION, 2,
        10, FUNCTION, 2,
    ];
    let types: Vec<u8> = types.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    let (length, all) = (u32::try_from(types.len())?, u32::try_from(strings.len())?);
    let header = [0x0001_eb9f_u32, 24, 0, length, length, all];
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let bytes = [&header, &types, &strings[..]].concat();
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
    // SAFETY: `BPF_BTF_LOAD` reads this member, which is plain.
    let request = unsafe { &mut attr.__bindgen_anon_7 };
    request.btf = bytes.as_ptr() as u64;
    request.btf_size = u32::try_from(bytes.len())?;
    let fd =
        call(bpf_cmd::BPF_BTF_LOAD, &mut attr).context("the kernel refuses type information")?;
    // SAFETY: the command returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
