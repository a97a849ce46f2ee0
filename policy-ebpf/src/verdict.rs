//! What comes out of a judgement.

use policy_common::drops::Reason;

/// Pass, drop, or ask on.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    Pass,
    Drop(Refusal),
    /// An ICMP error: it passes if it quotes a packet of a known flow (S31).
    AskQuotation,
}

/// Why a packet does not pass, and what was looked up to find out.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Allow map that was asked; 0 where none was.
    pub(crate) content: u32,
    /// Identity of the far end; 0 where it was not looked up.
    pub(crate) identity: u32,
}

impl Verdict {
    /// A drop that no allow map was asked for.
    #[inline(always)]
    pub(crate) const fn drop(reason: Reason) -> Self {
        Self::Drop(Refusal { reason, content: 0, identity: 0 })
    }
}
