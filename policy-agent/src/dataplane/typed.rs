//! Inner maps with types, so that bpftool shows the fields of an allow map.
//!
//! aya describes the maps of an object; for maps that are made later it has no way to say what
//! they hold.

use std::{
    io,
    mem::offset_of,
    os::fd::{AsRawFd as _, OwnedFd},
};

use aya_obj::generated::{BPF_F_NO_PREALLOC, bpf_cmd, bpf_map_type::BPF_MAP_TYPE_HASH};
use policy_common::allow::{INLINE_RANGES, PortRange, PortSet};

use super::{
    options::entries as count,
    syscall::{bpf, empty_request},
};

/// `BTF_KIND_*`, where a type has it.
const KIND_INT: u32 = 1 << 24;
const KIND_ARRAY: u32 = 3 << 24;
const KIND_STRUCT: u32 = 4 << 24;

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
        let mut attr = empty_request();
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
        let mut attr = empty_request();
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
