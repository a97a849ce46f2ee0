//! Reading elements that the kernel may recycle under the reader: the value first, the key last.

use core::ptr;

use policy_common::address::Address;

use crate::address::Ip;

/// Reads a word, a part of one, or a byte at this very place of the program.
#[inline(always)]
pub(crate) fn now<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid and aligned; volatile, because other CPUs write the element.
    unsafe { ptr::from_ref(place).read_volatile() }
}

/// Whether an element still has a key, read word by word at this very place of the program: a
/// call of `memcmp` is none that the kernel knows.
///
/// Both must be whole words on the boundary of a word, as every key of a map value is.
#[inline(always)]
pub(crate) fn is_still<Key>(element: &Key, key: &Key) -> bool {
    let mut difference = 0;
    for (word, own) in words(element).iter().zip(words(key)) {
        difference |= now(word) ^ own;
    }
    difference == 0
}

/// Reads the address of an element, where it stands on the boundary of a word.
#[inline(always)]
pub(crate) fn address_now(element: &Address) -> Ip {
    let mut bytes = [0_u8; 16];
    for (room, word) in bytes.chunks_exact_mut(4).zip(words(element)) {
        room.copy_from_slice(&now(word).to_ne_bytes());
    }
    Ip::new(bytes)
}

#[inline(always)]
fn words<T>(value: &T) -> &[u32] {
    let length = size_of::<T>() / size_of::<u32>();
    // SAFETY: callers hand over `repr(C)` values without padding, on the boundary of a word.
    unsafe { core::slice::from_raw_parts(ptr::from_ref(value).cast(), length) }
}
