//! Changes of a packet that does not go on: it becomes a reply to its sender.
//!
//! A packet that goes on is changed by [`rewrite`](crate::rewrite) alone.

use core::ptr;

use aya_ebpf::{
    bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    helpers::{
        bpf_redirect_peer, bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_change_type,
        bpf_skb_store_bytes,
    },
};

use super::Skb;
use crate::parse::Bytes as _;

/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`: the frame is for the host that receives it.
const PACKET_HOST: u32 = 0;

impl Skb {
    /// Cuts the frame, or puts zeros behind it, so that it has `length` bytes; it is then one packet, of
    /// which the kernel has nothing left to segment.
    #[inline(always)]
    pub(crate) fn set_length(self, length: u32) -> Option<()> {
        // SAFETY: the context is the one that the kernel passed to the program.
        done(unsafe { bpf_skb_change_tail(self.0, length, 0) })
    }

    /// Makes room for `length` bytes between the Ethernet and the IP header.
    #[inline(always)]
    pub(crate) fn insert_before_ip(self, length: u32) -> Option<()> {
        // SAFETY: the context is the one that the kernel passed to the program.
        done(unsafe { bpf_skb_adjust_room(self.0, length.cast_signed(), BPF_ADJ_ROOM_MAC, 0) })
    }

    /// Writes a value, which has no padding, at an offset of the frame.
    #[inline(always)]
    pub(crate) fn store<T>(self, offset: u32, value: &T) -> Option<()> {
        let bytes = ptr::from_ref(value).cast();
        // SAFETY: the context is the one that the kernel passed to the program, and all bytes of the
        // value are readable.
        done(unsafe { bpf_skb_store_bytes(self.0, offset, bytes, size_of::<T>() as u32, 0) })
    }

    /// Sends the frame back to the pod that sent it: the result is a TC action, after which the kernel
    /// takes the packet to the other end of the interface (`skb_do_redirect` in `net/core/filter.c`).
    /// No program of the hooks on the way to the pod sees it.
    #[inline(always)]
    pub(crate) fn send_back(self) -> Option<i32> {
        let [a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12] = self.load(0)?;
        self.store(0, &[g, h, i, j, k, l, a, b, c, d, e, f])?;
        // A frame for another host, as behind a bridge, would be ignored by the pod.
        // SAFETY: the context is the one that the kernel passed to the program.
        done(unsafe { bpf_skb_change_type(self.0, PACKET_HOST) })?;
        // SAFETY: the helper only notes the number of the interface.
        Some(unsafe { bpf_redirect_peer(self.ifindex(), 0) } as i32)
    }
}

/// The result of a helper that returns 0 where it has done its work.
#[inline(always)]
fn done(result: i64) -> Option<()> {
    if result == 0 { Some(()) } else { None }
}
