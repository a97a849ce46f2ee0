//! The packet and its context, as the kernel passes them to a program.
//!
//! Everything that depends on `__sk_buff` is here; the other modules get a [`Skb`].

mod rewrite;

use core::ptr;

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes, programs::TcContext};
use policy_common::{drops::Direction, flow::ARRIVED};

use crate::parse::{
    Bytes,
    headers::{self, Upper},
};

/// No EtherType: stands for a frame from which the kernel has already taken a VLAN tag.
pub(crate) const TAGGED: u16 = 0;

/// A packet at a hook.
#[derive(Clone, Copy)]
pub(crate) struct Skb(*mut __sk_buff);

/// `N` bytes of a packet from offset `FROM`, which the kernel has in one piece.
#[derive(Clone, Copy)]
pub(crate) struct Linear<const FROM: usize, const N: usize>(usize);

impl<const FROM: usize, const N: usize> Linear<FROM, N> {
    /// A value at an offset in these bytes; arrays of bytes would be read byte by byte.
    #[inline(always)]
    pub(crate) fn read<T: Copy, const AT: usize>(&self) -> T {
        const { assert!(AT + size_of::<T>() <= N, "a field of these bytes") };
        let place = ptr::with_exposed_provenance::<T>(self.0 + FROM + AT);
        // SAFETY: `Skb::linear` has checked that the bytes are there. Alignment: the kernel puts IP
        // headers where words of them are aligned (`NET_IP_ALIGN`), except on machines that read
        // words at any address; the verifier refuses the program where that would not hold.
        unsafe { *place }
    }
}

impl Skb {
    /// Wraps the context that the kernel passed to the program.
    #[inline(always)]
    pub(crate) fn new(context: *mut __sk_buff) -> Self {
        Self(context)
    }

    /// The context, as subprograms take it.
    #[inline(always)]
    pub(crate) fn context(self) -> *mut __sk_buff {
        self.0
    }

    /// Host-side interface of the pod.
    #[inline(always)]
    pub(crate) fn ifindex(self) -> u32 {
        // SAFETY: the kernel passes a valid context to the program.
        unsafe { (*self.0).ifindex }
    }

    /// The interface by which the packet came into the node; 0 if a process of the node sent it.
    #[inline(always)]
    pub(crate) fn ingress_ifindex(self) -> u32 {
        // SAFETY: the kernel passes a valid context to the program.
        unsafe { (*self.0).ingress_ifindex }
    }

    /// What the program at the sender's interface stored; 0 if there was none.
    #[inline(always)]
    pub(crate) fn tc_index(self) -> u32 {
        // SAFETY: the kernel passes a valid context to the program.
        unsafe { (*self.0).tc_index }
    }

    /// Whether the packet still belongs to a socket of the node: a process of the node sent it.
    ///
    /// The socket stays on the fragments that the node makes of a packet (`ip_frag_next` and
    /// `ip6_frag_next`), and is taken off where a packet leaves a network namespace.
    #[inline(always)]
    pub(crate) fn has_socket(self) -> bool {
        // SAFETY: the kernel passes a valid context to the program.
        let context = unsafe { &*self.0 };
        // SAFETY: every variant of the union is this pointer, which is only compared.
        !unsafe { context.__bindgen_anon_2.sk }.is_null()
    }

    /// How the packet arrived, as flows remember it (`FlowState::arrival`).
    #[inline(always)]
    pub(crate) fn arrival(self) -> u64 {
        u64::from(self.ingress_ifindex()) | u64::from(self.tc_index()) << 32 | ARRIVED
    }

    /// EtherType, host byte order; `TAGGED` for a frame whose VLAN tag the kernel has taken off.
    #[inline(always)]
    pub(crate) fn ether_type(self) -> u16 {
        // SAFETY: the kernel passes a valid context to the program.
        let tagged = unsafe { (*self.0).vlan_present };
        // SAFETY: as above.
        let protocol = unsafe { (*self.0).protocol };
        if tagged == 0 { u16::from_be(protocol as u16) } else { TAGGED }
    }

    /// Bytes of the packet from its Ethernet header.
    #[inline(always)]
    pub(crate) fn bytes(self) -> u32 {
        // SAFETY: the kernel passes a valid context to the program.
        unsafe { (*self.0).len }
    }

    /// `N` bytes from offset `FROM`; `None` where the packet is shorter, or the kernel has these bytes
    /// elsewhere.
    #[inline(always)]
    pub(crate) fn linear<const FROM: usize, const N: usize>(self) -> Option<Linear<FROM, N>> {
        // SAFETY: the kernel passes a valid context to the program.
        let context = unsafe { &*self.0 };
        let (start, end) = (context.data as usize, context.data_end as usize);
        if start + FROM + N > end { None } else { Some(Linear(start)) }
    }

    /// Stores the sender's slot in `skb->tc_index` of a packet that a pod sends, for the program at
    /// a receiver on this node.
    #[inline(always)]
    pub(crate) fn store_sender_slot(self, direction: Direction, slot: u32) {
        if matches!(direction, Direction::Egress) {
            // SAFETY: the kernel passes a valid context to the program and allows writes to this
            // field.
            unsafe { (*self.0).tc_index = slot };
        }
    }
}

impl Bytes for Skb {
    /// Loads with `bpf_skb_load_bytes`, which also reads non-linear packets.
    #[inline(always)]
    fn load<T>(&self, offset: usize) -> Option<T> {
        TcContext::new(self.0).load(offset).ok()
    }

    #[inline(always)]
    fn load_to<T>(&self, offset: usize, place: &mut T) -> Option<()> {
        let place = ptr::from_mut(place).cast();
        // SAFETY: the context is the one that the kernel passed to the program, and the helper writes
        // the bytes of the place; any bytes are a value of what is loaded from a packet.
        let result = unsafe {
            bpf_skb_load_bytes(self.0.cast(), offset as u32, place, size_of::<T>() as u32)
        };
        if result == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.bytes()
    }

    #[inline(always)]
    fn walk4(&self, header_length: u32, protocol: u8) -> Upper {
        Upper::unpack(skb_walk4(self.0, header_length, protocol.into()))
    }

    #[inline(always)]
    fn walk6(&self, offset: u32, protocol: u8) -> Upper {
        Upper::unpack(skb_walk6(self.0, offset, protocol.into()))
    }
}

/// `headers::walk4`, packed. A subprogram, because few packets need it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn skb_walk4(skb: *mut __sk_buff, header_length: u32, protocol: u32) -> u64 {
    headers::walk4(&Skb::new(skb), header_length, protocol as u8).pack()
}

/// `headers::walk6`, packed.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn skb_walk6(skb: *mut __sk_buff, offset: u32, protocol: u32) -> u64 {
    headers::walk6(&Skb::new(skb), offset, protocol as u8).pack()
}
