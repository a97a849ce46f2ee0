//! Reads of map elements that the kernel may recycle meanwhile: the value first, the key last.
//!
//! A hash or LRU element that is deleted or evicted may be reused for another key at once, without
//! a grace period. So a value carries its key, and a reader checks the key *after* it has read the
//! value:
//!
//! ```text
//! program: look up 10.244.0.10 ──> element e          value of e: identity 7, key 10.244.0.10
//! agent:   delete 10.244.0.10, insert 10.9.9.9 ──> e  value of e: identity 8, key 10.9.9.9
//! program: read identity (8), then key (10.9.9.9)     the key differs: the value is not used
//! ```

use core::ptr;

use policy_common::address::Address;

use crate::address::Ip;

/// Reads a word, a part of one, or a byte exactly once, at this point of the program (as the
/// kernel's `READ_ONCE`).
#[inline(always)]
pub(crate) fn read_once<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid and aligned; volatile, because other CPUs write the element.
    unsafe { ptr::from_ref(place).read_volatile() }
}

/// Whether an element still has a key.
///
/// The words are compared one by one, because programs have no `memcmp`.
/// Both keys must be whole words, aligned as words, as every key in a map value is.
#[inline(always)]
pub(crate) fn is_still<Key>(element: &Key, key: &Key) -> bool {
    let mut difference = 0;
    for (word, own) in words(element).iter().zip(words(key)) {
        difference |= read_once(word) ^ own;
    }
    difference == 0
}

/// Whether all words of a value are zero; it must be aligned as words are.
#[inline(always)]
pub(crate) fn is_zero<T>(value: &T) -> bool {
    words(value).iter().fold(0, |all, word| all | word) == 0
}

/// Reads the address of an element, which must be aligned as a word is.
#[inline(always)]
pub(crate) fn read_address(element: &Address) -> Ip {
    let mut bytes = [0_u8; 16];
    for (part, word) in bytes.chunks_exact_mut(4).zip(words(element)) {
        part.copy_from_slice(&read_once(word).to_ne_bytes());
    }
    Ip::new(bytes)
}

/// Copies an element word by word, without `memcpy`; both values must be aligned as words are.
#[inline(always)]
pub(crate) fn copy_words<T: Copy>(element: &T, copy: &mut T) {
    let to = ptr::from_mut(copy).cast::<u32>();
    for (at, word) in words(element).iter().enumerate() {
        // SAFETY: both values are of one type, which consists of whole words.
        unsafe { to.wrapping_add(at).write(read_once(word)) };
    }
}

/// Writes zero to all words of a value, without `memset`; it must be aligned as words are.
#[inline(always)]
pub(crate) fn zero_words<T: Copy>(value: &mut T) {
    let to = ptr::from_mut(value).cast::<u32>();
    for at in 0..size_of::<T>() / size_of::<u32>() {
        // SAFETY: inside of the value, of which callers say that zero is one; volatile, because the
        // compiler makes `memset` of other writes.
        unsafe { to.wrapping_add(at).write_volatile(0) };
    }
}

#[inline(always)]
fn words<T>(value: &T) -> &[u32] {
    let length = size_of::<T>() / size_of::<u32>();
    // SAFETY: callers pass `repr(C)` values without padding that are aligned as words are.
    unsafe { core::slice::from_raw_parts(ptr::from_ref(value).cast(), length) }
}
