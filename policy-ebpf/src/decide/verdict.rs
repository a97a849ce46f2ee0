//! The verdict on a packet.

use policy_common::drops::Reason;

use super::arrival::Turn;

/// Pass or drop, or look up first what an ICMP error quotes.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    Pass,
    Drop(Refusal),
    /// Translate it to another far end, and judge it again.
    Translate(Turn),
    /// An ICMP error: it passes if it quotes a packet of a known flow (S31).
    CheckQuotation,
}

/// The reason for a drop, and the allow map and identity that decided it.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Allow map that was looked up; 0 where none was.
    pub(crate) allow_map: u32,
    /// Identity of the far end; 0 where it was not looked up.
    pub(crate) identity: u32,
    /// The pod sent the packet, and opened its connection.
    pub(crate) opened_by_pod: bool,
}

impl Verdict {
    /// A drop that no allow map decided.
    #[inline(always)]
    pub(crate) const fn drop(reason: Reason) -> Self {
        Self::Drop(Refusal { reason, allow_map: 0, identity: 0, opened_by_pod: false })
    }
}
