//! The ABI between the eBPF programs and user space: keys and values of the maps, byte for byte.
//!
//! The agent writes endpoints, identities, blocks, frontends and allow maps; the programs write
//! flows, drop counters and drop records.
//! A change of any type here is a format change of pinned maps.
//!
//! Fields stay plain integers, so that bpftool prints them and every bit pattern is a value; the
//! enums and the modules of bits beside them give the integers their names.
#![no_std]

pub mod address;
pub mod allow;
pub mod backend;
pub mod drops;
pub mod endpoint;
pub mod flow;
pub mod fragment;
pub mod frontend;
pub mod identity;
pub mod limits;
pub mod protocol;
pub mod tunnel;

/// Allows aya to copy a type to and from a map.
macro_rules! plain {
    ($($name:ty),+ $(,)?) => {$(
        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, made of integers and arrays of integers with explicit padding, so
        // every byte is initialised and every bit pattern is a value.
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use plain;
