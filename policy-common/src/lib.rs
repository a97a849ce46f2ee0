//! The ABI between the classifiers and user space: what the maps hold, byte for byte.
//!
//! A change of any type here is a format change of pinned maps.
#![no_std]

pub mod address;
pub mod allow;
pub mod drops;
pub mod endpoint;
pub mod flow;
pub mod frontend;
pub mod identity;
pub mod limits;

/// Lets aya copy a type to and from a map.
macro_rules! plain {
    ($($name:ty),+ $(,)?) => {$(
        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, made of integers and arrays of integers with explicit padding, so
        // every byte is initialised and every bit pattern is a value.
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use plain;
