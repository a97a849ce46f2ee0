//! Verdicts: from a parsed packet to pass or drop.
//!
//! `packet` is the way of every packet; it calls the others, each for one question.

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
