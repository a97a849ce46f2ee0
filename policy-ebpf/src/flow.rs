//! Flow tables: the tracked connections of pods that are isolated in some direction.
//!
//! `state` holds what a flow means, without any look-up; `table` finds and writes flows; `family`
//! is the difference between IPv4 and IPv6; `clock` is the time.

pub(crate) mod clock;
pub(crate) mod family;
pub(crate) mod state;
pub(crate) mod table;
