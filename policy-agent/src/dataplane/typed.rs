//! Inner maps with types, so that bpftool shows the fields of an allow map.
//!
//! aya describes the maps of an object; for maps that are made later it has no way to say what
//! they hold.

use std::{
    ffi::CString,
    io,
    mem::{self, offset_of},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{BPF_F_NO_PREALLOC, bpf_attr, bpf_cmd, bpf_map_type::BPF_MAP_TYPE_HASH};
use nix::libc;
use policy_common::allow::{INLINE_RANGES, PortRange, PortSet};

use super::options::entries as count;

/// `BTF_KIND_*`, where a type has it.
const KIND_INT: u32 = 1 << 24;
const KIND_ARRAY: u32 = 3 << 24;
const KIND_STRUCT: u32 = 4 << 24;

/// `ENOTSUPP` of the kernel's `include/linux/errno.h`, which no header for programs has.
const ENOTSUPP: i32 = 524;

/// Bytes of the header, itself included.
const HEADER_LENGTH: u32 = 24;

/// What an allow map holds, known to the kernel.
#[derive(Debug)]
pub(super) struct ContentTypes {
    btf: OwnedFd,
    key: u32,
    value: u32,
}

impl ContentTypes {
    /// Describes [`PortSet`] to the kernel.
    ///
    /// # Errors
    ///
    /// What the kernel says of the description (`BPF_BTF_LOAD`).
    pub(super) fn load() -> io::Result<Self> {
        let mut types = Types::default();
        let key = types.int("u32", 4);
        let value = types.port_set(key);
        let bytes = types.to_bytes();
        // SAFETY: zero is a value of every field of this union of plain structs.
        let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
        // SAFETY: `BPF_BTF_LOAD` reads this member, which is plain.
        let request = unsafe { &mut attr.__bindgen_anon_7 };
        request.btf = bytes.as_ptr() as u64;
        request.btf_size = count(bytes.len());
        Ok(Self { btf: bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr)?, key, value })
    }

    /// Creates an empty hash map from an identity to its port set.
    ///
    /// # Errors
    ///
    /// What the kernel says of it (`BPF_MAP_CREATE`).
    pub(super) fn create(&self, name: &str, entries: u32) -> io::Result<OwnedFd> {
        // SAFETY: zero is a value of every field of this union of plain structs.
        let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
        // SAFETY: `BPF_MAP_CREATE` reads this member, which is plain.
        let request = unsafe { &mut attr.__bindgen_anon_1 };
        request.map_type = BPF_MAP_TYPE_HASH as u32;
        request.key_size = const { count(size_of::<u32>()) };
        request.value_size = const { count(size_of::<PortSet>()) };
        request.max_entries = entries;
        request.map_flags = BPF_F_NO_PREALLOC;
        request.btf_fd = self.btf.as_raw_fd().cast_unsigned();
        request.btf_key_type_id = self.key;
        request.btf_value_type_id = self.value;
        // The last byte stays zero.
        let room = request.map_name.len() - 1;
        for (place, byte) in request.map_name.iter_mut().take(room).zip(name.bytes()) {
            *place = byte.cast_signed();
        }
        bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)
    }
}

/// Opens what is pinned under a path.
///
/// # Errors
///
/// What the kernel says of it (`BPF_OBJ_GET`).
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
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
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
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
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
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
    // SAFETY: zero is a value of every field of this union of plain structs.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
    // SAFETY: `BPF_MAP_UPDATE_ELEM` reads this member, which is plain.
    let request = unsafe { &mut attr.__bindgen_anon_2 };
    request.map_fd = array.as_raw_fd().cast_unsigned();
    request.key = (&raw const place) as u64;
    request.__bindgen_anon_1.value = (&raw const map) as u64;
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// A call of `bpf(2)` that returns a new file descriptor.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
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

/// Type information in the form that `BPF_BTF_LOAD` takes (`Documentation/bpf/btf.rst`).
#[derive(Default)]
struct Types {
    words: Vec<u32>,
    strings: Vec<u8>,
    count: u32,
}

impl Types {
    fn port_set(&mut self, u32: u32) -> u32 {
        let (u8, u16) = (self.int("u8", 1), self.int("u16", 2));
        #[rustfmt::skip]
        let range = self.structure("PortRange", size_of::<PortRange>(), &[
            ("protocol", u8,  offset_of!(PortRange, protocol)),
            ("pad",      u8,  offset_of!(PortRange, pad)),
            ("first",    u16, offset_of!(PortRange, first)),
            ("last",     u16, offset_of!(PortRange, last)),
        ]);
        let (pad, ranges) = (self.array(u8, u32, 2), self.array(range, u32, INLINE_RANGES));
        #[rustfmt::skip]
        let set = self.structure("PortSet", size_of::<PortSet>(), &[
            ("identity",  u32,    offset_of!(PortSet, identity)),
            ("bitmap",    u32,    offset_of!(PortSet, bitmap)),
            ("protocols", u8,     offset_of!(PortSet, protocols)),
            ("refusal",   u8,     offset_of!(PortSet, refusal)),
            ("pad",       pad,    offset_of!(PortSet, pad)),
            ("ranges",    ranges, offset_of!(PortSet, ranges)),
        ]);
        set
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        let name = self.string(name);
        self.add(&[name, KIND_INT, size, size * u8::BITS])
    }

    fn array(&mut self, element: u32, index: u32, length: usize) -> u32 {
        self.add(&[0, KIND_ARRAY, 0, element, index, count(length)])
    }

    /// A struct of `(name, type, offset in bytes)`.
    fn structure(&mut self, name: &str, size: usize, fields: &[(&str, u32, usize)]) -> u32 {
        let mut words = vec![self.string(name), KIND_STRUCT | count(fields.len()), count(size)];
        for (name, field, offset) in fields {
            words.extend([self.string(name), *field, count(*offset) * u8::BITS]);
        }
        self.add(&words)
    }

    /// Adds a type; its id is its place, from 1.
    fn add(&mut self, words: &[u32]) -> u32 {
        self.words.extend(words);
        self.count += 1;
        self.count
    }

    /// Adds a string; place 0 is the empty one.
    fn string(&mut self, text: &str) -> u32 {
        let place = 1 + self.strings.len();
        self.strings.extend(text.bytes().chain([0]));
        count(place)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let types = count(self.words.len() * size_of::<u32>());
        // Magic, version 1, no flags; offsets count from behind the header.
        let mut bytes = [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0]].concat();
        let header = [HEADER_LENGTH, 0, types, types, 1 + count(self.strings.len())];
        for word in header.iter().chain(&self.words) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.push(0);
        bytes.extend(&self.strings);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_DEVMAP;

    use super::*;

    /// A devmap takes single updates and no batch, as an array of maps does before Linux 5.19.
    #[test]
    fn s48_maps_are_put_one_by_one_where_the_kernel_takes_no_batch() -> io::Result<()> {
        // SAFETY: zero is a value of every field of this union of plain structs.
        let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
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
