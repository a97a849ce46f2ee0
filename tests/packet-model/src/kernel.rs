//! Runs `from_pod` or `to_pod` on one packet, with the `tc_index` that the packet arrives with.
//!
//! `BPF_PROG_TEST_RUN` accepts no `tc_index`, so a small program in front takes it from `mark`,
//! calls the program, and leaves the `tc_index` that it wrote in `cb[0]`:
//!
//! ```text
//! test run, mark 2 ──> program in front: tc_index = 2, mark = 0 ──tail call──> to_pod
//! cb[0], verdict   <── program in front: cb[0] = tc_index       <────────────── verdict
//! ```

mod front;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use aya::maps::{Map, MapData, ProgramArray};
use aya::programs::SchedClassifier;
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_map_type};
use nix::libc;

/// Offsets in `struct __sk_buff`.
const MARK: i16 = 8;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
const TC_INDEX: i16 = 44;
const CB: i16 = 48;

/// Bytes of `struct __sk_buff` that the kernel reads and writes.
const CONTEXT: usize = 192;

/// What the program in front returns where the kernel did not follow the tail call.
const NOT_CALLED: i32 = -77;

/// `from_pod` or `to_pod`, behind the program that sets `tc_index`.
pub(crate) struct Hook {
    front: OwnedFd,
    /// The kernel drops the tail call with the last descriptor of this map.
    _programs: ProgramArray<MapData>,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The TC action.
    pub(crate) action: i32,
    /// `tc_index` afterwards.
    pub(crate) mark: u32,
}

impl Hook {
    /// Puts the program that sets `tc_index` in front of a loaded one.
    pub(crate) fn new(program: &SchedClassifier) -> Result<Self> {
        let kind = bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY as u32;
        let map = aya_obj::Map::new_from_params(kind, 4, 4, 1, 0);
        let map = MapData::create(map, "program", None)?;
        let front = front::load(map.fd().as_fd().as_raw_fd())?;
        let mut programs = ProgramArray::try_from(Map::ProgramArray(map))?;
        programs.set(0, program.fd()?, 0).context("the kernel refuses the tail call")?;
        Ok(Self { front, _programs: programs })
    }

    /// Runs the program on a frame at an interface.
    pub(crate) fn run(
        &self,
        interface: u32,
        arrived_by: u32,
        mark: u32,
        frame: &[u8],
    ) -> Result<Outcome> {
        let (mut context, mut after) = ([0_u8; CONTEXT], [0_u8; CONTEXT]);
        let mut put = |at: usize, value: u32| {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        put(MARK.unsigned_abs().into(), mark);
        put(INGRESS_IFINDEX, arrived_by);
        put(IFINDEX, interface);
        // SAFETY: zero is a value of every field of this union of plain structs.
        let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
        // SAFETY: `BPF_PROG_TEST_RUN` reads and writes this member, which is plain.
        let test = unsafe { &mut attr.test };
        test.prog_fd = self.front.as_raw_fd().cast_unsigned();
        test.data_size_in = u32::try_from(frame.len())?;
        test.data_in = frame.as_ptr() as u64;
        test.ctx_size_in = u32::try_from(CONTEXT)?;
        test.ctx_size_out = u32::try_from(CONTEXT)?;
        test.ctx_in = context.as_ptr() as u64;
        test.ctx_out = after.as_mut_ptr() as u64;
        call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).context("the kernel refuses the frame")?;
        // SAFETY: as above.
        let action = unsafe { attr.test.retval }.cast_signed();
        ensure!(action != NOT_CALLED, "the kernel did not call the program");
        let at = usize::from(CB.unsigned_abs());
        let mark = [after[at], after[at + 1], after[at + 2], after[at + 3]];
        Ok(Outcome { action, mark: u32::from_ne_bytes(mark) })
    }
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
