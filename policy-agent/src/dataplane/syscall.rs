//! Calls of `bpf(2)` that aya does not make.
//!
//! Each function is one command; the modules beside it decide what an error means. Every request is a
//! zeroed `bpf_attr` of which one member is filled, as `bpf(2)` requires.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_info};
use nix::{errno::Errno, libc};

use super::options::entries as count;

/// `ENOTSUPP` of the kernel's `include/linux/errno.h`, which no header for programs has.
const ENOTSUPP: i32 = 524;

/// Programs that a hook is first expected to have, at most.
const EXPECTED_PROGRAMS: usize = 16;

/// Opens what is pinned under a path.
///
/// # Errors
///
/// What the kernel says of it (`BPF_OBJ_GET`).
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = empty_request();
    // SAFETY: `BPF_OBJ_GET` reads this member, which is plain.
    let request = unsafe { &mut attr.__bindgen_anon_4 };
    request.pathname = path.as_ptr() as u64;
    bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// Pins an object under a path.
///
/// # Errors
///
/// What the kernel says of it (`BPF_OBJ_PIN`).
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = empty_request();
    // SAFETY: `BPF_OBJ_PIN` reads this member, which is plain.
    let request = unsafe { &mut attr.__bindgen_anon_4 };
    request.pathname = path.as_ptr() as u64;
    request.bpf_fd = object.as_raw_fd().cast_unsigned();
    call(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Puts maps in places of an array of maps; after the last the kernel waits, once, until no program
/// runs that may have seen what was there before.
///
/// Before Linux 5.19 an array of maps takes no batch: each map is put alone, with a wait after each.
///
/// # Errors
///
/// What the kernel says, and the index of the map that it refused; those before are in place
/// (`BPF_MAP_UPDATE_BATCH`, `BPF_MAP_UPDATE_ELEM`).
pub(super) fn put_maps(
    array: BorrowedFd<'_>,
    places: &[u32],
    maps: &[RawFd],
) -> Result<(), (usize, io::Error)> {
    debug_assert_eq!(places.len(), maps.len());
    let mut attr = empty_request();
    // SAFETY: `BPF_MAP_UPDATE_BATCH` reads and writes this member, which is plain.
    let request = unsafe { &mut attr.batch };
    request.map_fd = array.as_raw_fd().cast_unsigned();
    request.keys = places.as_ptr() as u64;
    request.values = maps.as_ptr() as u64;
    request.count = count(places.len());
    let result = call(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr);
    // SAFETY: as above.
    let done = unsafe { attr.batch.count };
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(ENOTSUPP) => {
            let mut pairs = places.iter().zip(maps).enumerate();
            pairs.try_for_each(|(index, (place, map))| {
                put_map(array, *place, *map).map_err(|error| (index, error))
            })
        }
        Err(error) => Err((done as usize, error)),
    }
}

/// Puts one map in a place of an array of maps.
fn put_map(array: BorrowedFd<'_>, place: u32, map: RawFd) -> io::Result<()> {
    let mut attr = empty_request();
    // SAFETY: `BPF_MAP_UPDATE_ELEM` reads this member, which is plain.
    let request = unsafe { &mut attr.__bindgen_anon_2 };
    request.map_fd = array.as_raw_fd().cast_unsigned();
    request.key = (&raw const place) as u64;
    request.__bindgen_anon_1.value = (&raw const map) as u64;
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// The ids of the programs on a TCX hook, first the one that sees a packet first.
///
/// # Errors
///
/// What the kernel says (`BPF_PROG_QUERY`); `EINVAL` before Linux 6.6.
pub(super) fn programs_on(ifindex: u32, hook: bpf_attach_type) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; EXPECTED_PROGRAMS];
    loop {
        let mut attr = empty_request();
        // SAFETY: `BPF_PROG_QUERY` reads and writes this member, which is plain.
        let request = unsafe { &mut attr.query };
        request.__bindgen_anon_1.target_ifindex = ifindex;
        request.attach_type = hook as u32;
        request.prog_ids = ids.as_mut_ptr() as u64;
        request.__bindgen_anon_2.prog_cnt = count(ids.len());
        let result = call(bpf_cmd::BPF_PROG_QUERY, &mut attr);
        // SAFETY: the kernel wrote the number of programs, or left the one from above.
        let query = unsafe { &attr.query };
        // SAFETY: both members of this union are the same number.
        let found = unsafe { query.__bindgen_anon_2.prog_cnt } as usize;
        match result {
            Err(error) if error.raw_os_error() == Some(Errno::ENOSPC as i32) => {
                ids.resize(found.max(2 * ids.len()), 0);
            }
            Err(error) => return Err(error),
            Ok(_) => {
                ids.truncate(found);
                return Ok(ids);
            }
        }
    }
}

/// Detaches a link at once, whoever else holds it.
///
/// # Errors
///
/// What the kernel says (`BPF_LINK_DETACH`).
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = empty_request();
    // SAFETY: `BPF_LINK_DETACH` reads this member, which is plain.
    let request = unsafe { &mut attr.link_detach };
    request.link_fd = link.as_raw_fd().cast_unsigned();
    call(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// The name of any program of the machine; only with `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// What the kernel says (`BPF_PROG_GET_FD_BY_ID`, `BPF_OBJ_GET_INFO_BY_FD`).
pub(super) fn program_name(id: u32) -> io::Result<String> {
    let mut attr = empty_request();
    // SAFETY: `BPF_PROG_GET_FD_BY_ID` reads this member, which is plain.
    let request = unsafe { &mut attr.__bindgen_anon_6 };
    request.__bindgen_anon_1.prog_id = id;
    let program = bpf(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: zero is a value of every field of this plain struct.
    let mut info = unsafe { mem::zeroed::<bpf_prog_info>() };
    let mut attr = empty_request();
    // SAFETY: `BPF_OBJ_GET_INFO_BY_FD` reads this member, which is plain.
    let request = unsafe { &mut attr.info };
    request.bpf_fd = program.as_raw_fd().cast_unsigned();
    request.info_len = const { count(size_of::<bpf_prog_info>()) };
    request.info = (&raw mut info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    let name = info.name.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0);
    Ok(String::from_utf8_lossy(&name.collect::<Vec<u8>>()).into_owned())
}

/// A request of which nothing is filled in yet.
pub(super) fn empty_request() -> bpf_attr {
    // SAFETY: zero is a value of every field of this union of plain structs.
    unsafe { mem::zeroed() }
}

/// A call of `bpf(2)` that returns a new file descriptor.
pub(super) fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: the commands used here return a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call of `bpf(2)`.
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    let size = size_of::<bpf_attr>();
    // SAFETY: the kernel reads at most `size` bytes of `attr`, and what its pointers lead to
    // lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_DEVMAP;

    use super::*;

    /// A devmap takes single updates and no batch, as an array of maps does before Linux 5.19.
    #[test]
    fn s48_maps_are_put_one_by_one_where_the_kernel_takes_no_batch() -> io::Result<()> {
        let mut attr = empty_request();
        // SAFETY: `BPF_MAP_CREATE` reads this member, which is plain.
        let request = unsafe { &mut attr.__bindgen_anon_1 };
        request.map_type = BPF_MAP_TYPE_DEVMAP as u32;
        (request.key_size, request.value_size, request.max_entries) = (4, 4, 2);
        let array = bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)?;
        // The values are indexes of interfaces; `lo` has index 1.
        put_maps(array.as_fd(), &[0, 1], &[1, 1]).map_err(|(_, error)| error)?;
        let refused = put_maps(array.as_fd(), &[0, 2], &[1, 1]);
        assert!(refused.is_err_and(|(index, _)| index == 1), "place 2 does not exist");
        Ok(())
    }
}
