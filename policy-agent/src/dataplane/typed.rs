//! Inner maps with types, so that bpftool shows the fields of allow maps and flow tables.
//!
//! aya describes the maps of an object; for maps that are made later it has no way to say what
//! they hold.

use std::{
    io,
    mem::offset_of,
    os::fd::{AsRawFd as _, OwnedFd},
};

use aya_obj::generated::{
    BPF_F_NO_PREALLOC, bpf_cmd,
    bpf_map_type::{BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH},
};
use policy_common::{
    address::Address,
    allow::{INLINE_RANGES, PortRange, PortSet},
    flow::{Flow, Flow4, Flow6, FlowKey, FlowKey4, FlowKey6, FlowState, Judgement, Translation},
};

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

/// A kind of inner map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InnerMap {
    /// An allow map.
    Allow,
    /// A flow table of IPv4.
    Flows4,
    /// A flow table of IPv6.
    Flows6,
}

impl InnerMap {
    /// Bytes of a key and of a value.
    pub(super) const fn sizes(self) -> (usize, usize) {
        match self {
            Self::Allow => (size_of::<u32>(), size_of::<PortSet>()),
            Self::Flows4 => (size_of::<FlowKey4>(), size_of::<Flow4>()),
            Self::Flows6 => (size_of::<FlowKey6>(), size_of::<Flow6>()),
        }
    }
}

/// What inner maps hold, known to the kernel.
#[derive(Debug)]
pub(super) struct InnerTypes {
    btf: OwnedFd,
    allow: EntryTypes,
    flows4: EntryTypes,
    flows6: EntryTypes,
}

/// Type ids of a map's key and value.
#[derive(Clone, Copy, Debug)]
struct EntryTypes {
    key: u32,
    value: u32,
}

impl InnerTypes {
    /// Describes [`PortSet`], [`Flow4`] and [`Flow6`] to the kernel.
    ///
    /// # Errors
    ///
    /// What the kernel says of the description (`BPF_BTF_LOAD`).
    pub(super) fn load() -> io::Result<Self> {
        let mut types = Types::default();
        let integers = Integers::add(&mut types);
        let allow = EntryTypes { key: integers.u32, value: types.port_set(&integers) };
        let state = types.flow_state(&integers);
        let parts = FlowParts { state, translation: types.translation(&integers) };
        let flows4 = types.flow::<[u8; 4]>(&integers, &parts, ["FlowKey4", "Flow4"]);
        let flows6 = types.flow::<[u8; 16]>(&integers, &parts, ["FlowKey6", "Flow6"]);
        let bytes = types.to_bytes();
        let mut attr = empty_request();
        // SAFETY: `BPF_BTF_LOAD` reads this member, which is plain.
        let request = unsafe { &mut attr.__bindgen_anon_7 };
        request.btf = bytes.as_ptr() as u64;
        request.btf_size = count(bytes.len());
        Ok(Self { btf: bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr)?, allow, flows4, flows6 })
    }

    /// Creates an empty inner map: type, sizes and flags of its template, but any capacity.
    ///
    /// # Errors
    ///
    /// What the kernel says of it (`BPF_MAP_CREATE`).
    pub(super) fn create(&self, kind: InnerMap, name: &str, entries: u32) -> io::Result<OwnedFd> {
        let mut attr = empty_request();
        // SAFETY: `BPF_MAP_CREATE` reads this member, which is plain.
        let request = unsafe { &mut attr.__bindgen_anon_1 };
        let (map_type, flags, types) = match kind {
            InnerMap::Allow => (BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, self.allow),
            InnerMap::Flows4 => (BPF_MAP_TYPE_LRU_HASH, 0, self.flows4),
            InnerMap::Flows6 => (BPF_MAP_TYPE_LRU_HASH, 0, self.flows6),
        };
        let (key_size, value_size) = kind.sizes();
        request.map_type = map_type as u32;
        request.map_flags = flags;
        request.key_size = count(key_size);
        request.value_size = count(value_size);
        request.max_entries = entries;
        request.btf_fd = self.btf.as_raw_fd().cast_unsigned();
        request.btf_key_type_id = types.key;
        request.btf_value_type_id = types.value;
        // The last byte stays zero.
        let room = request.map_name.len() - 1;
        for (place, byte) in request.map_name.iter_mut().take(room).zip(name.bytes()) {
            *place = byte.cast_signed();
        }
        bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)
    }
}

/// Type ids of the parts that flows of both families have.
struct FlowParts {
    state: u32,
    translation: u32,
}

/// The integer types of all structs.
struct Integers {
    u8: u32,
    u16: u32,
    u32: u32,
    u64: u32,
}

impl Integers {
    fn add(types: &mut Types) -> Self {
        Self {
            u8: types.int("u8", 1),
            u16: types.int("u16", 2),
            u32: types.int("u32", 4),
            u64: types.int("u64", 8),
        }
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
    fn port_set(&mut self, &Integers { u8, u16, u32, u64: _ }: &Integers) -> u32 {
        #[rustfmt::skip]
        let range = self.structure("PortRange", size_of::<PortRange>(), &[
            ("protocol", u8,  offset_of!(PortRange, protocol)),
            ("pad",      u8,  offset_of!(PortRange, pad)),
            ("first",    u16, offset_of!(PortRange, first)),
            ("last",     u16, offset_of!(PortRange, last)),
        ]);
        let ranges = self.array(range, u32, INLINE_RANGES);
        #[rustfmt::skip]
        let set = self.structure("PortSet", size_of::<PortSet>(), &[
            ("identity",  u32,    offset_of!(PortSet, identity)),
            ("bitmap",    u32,    offset_of!(PortSet, bitmap)),
            ("protocols", u8,     offset_of!(PortSet, protocols)),
            ("refusal",   u8,     offset_of!(PortSet, refusal)),
            ("backends",  u16,    offset_of!(PortSet, backends)),
            ("ranges",    ranges, offset_of!(PortSet, ranges)),
        ]);
        set
    }

    fn flow_state(&mut self, &Integers { u8, u16, u32, u64 }: &Integers) -> u32 {
        #[rustfmt::skip]
        let judgement = self.structure("Judgement", size_of::<Judgement>(), &[
            ("epoch",     u32, offset_of!(Judgement, epoch)),
            ("initiator", u8,  offset_of!(Judgement, initiator)),
            ("denied",    u8,  offset_of!(Judgement, denied)),
            ("sender",    u16, offset_of!(Judgement, sender)),
        ]);
        #[rustfmt::skip]
        let state = self.structure("FlowState", size_of::<FlowState>(), &[
            ("judgement", judgement, offset_of!(FlowState, judgement)),
            ("last_seen", u64,       offset_of!(FlowState, last_seen)),
            ("arrival",   u64,       offset_of!(FlowState, arrival)),
            ("sequences", u64,       offset_of!(FlowState, sequences)),
            ("created",   u32,       offset_of!(FlowState, created)),
            ("slot",      u16,       offset_of!(FlowState, slot)),
            ("seen",      u8,        offset_of!(FlowState, seen)),
            ("pad",       u8,        offset_of!(FlowState, pad)),
        ]);
        state
    }

    fn translation(&mut self, &Integers { u8, u16: _, u32, u64: _ }: &Integers) -> u32 {
        let (port, address) = (self.array(u8, u32, 2), self.array(u8, u32, size_of::<Address>()));
        #[rustfmt::skip]
        let translation = self.structure("Translation", size_of::<Translation>(), &[
            ("port",    port,    offset_of!(Translation, port)),
            ("bits",    u8,      offset_of!(Translation, bits)),
            ("pad",     u8,      offset_of!(Translation, pad)),
            ("address", address, offset_of!(Translation, address)),
        ]);
        translation
    }

    /// Key and value of a flow table, with these names.
    fn flow<A>(
        &mut self,
        &Integers { u8, u16: _, u32, u64: _ }: &Integers,
        parts: &FlowParts,
        [key_name, flow_name]: [&str; 2],
    ) -> EntryTypes {
        let address = self.array(u8, u32, size_of::<A>());
        let (port, pad3) = (self.array(u8, u32, 2), self.array(u8, u32, 3));
        #[rustfmt::skip]
        let key = self.structure(key_name, size_of::<FlowKey<A>>(), &[
            ("ifindex",     u32,     offset_of!(FlowKey<A>, ifindex)),
            ("local",       address, offset_of!(FlowKey<A>, local)),
            ("remote",      address, offset_of!(FlowKey<A>, remote)),
            ("local_port",  port,    offset_of!(FlowKey<A>, local_port)),
            ("remote_port", port,    offset_of!(FlowKey<A>, remote_port)),
            ("protocol",    u8,      offset_of!(FlowKey<A>, protocol)),
            ("pad",         pad3,    offset_of!(FlowKey<A>, pad)),
        ]);
        #[rustfmt::skip]
        let value = self.structure(flow_name, size_of::<Flow<A>>(), &[
            ("state",       parts.state,       offset_of!(Flow<A>, state)),
            ("key",         key,               offset_of!(Flow<A>, key)),
            ("translation", parts.translation, offset_of!(Flow<A>, translation)),
        ]);
        EntryTypes { key, value }
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
