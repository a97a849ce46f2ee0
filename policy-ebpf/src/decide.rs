//! Verdicts: from a parsed packet to pass or drop.
//!
//! `classify` calls `packet`, which looks up the flow, then the endpoint, then the rules; and
//! `quotation` and `translate` between two calls. Input: the packet in the scratch map. Output: a
//! [`Verdict`](verdict::Verdict).

pub(crate) mod arrival;
mod connection;
pub(crate) mod endpoint;
mod fragment;
mod known;
pub(crate) mod live;
mod neighbour;
mod origin;
pub(crate) mod packet;
pub(crate) mod quotation;
mod rules;
pub(crate) mod translate;
pub(crate) mod tunnel;
pub(crate) mod verdict;
