//! The flow tables of one address family that belong together, and what differs between families.
//!
//! `maps` opens the shared tables; `flows` creates, fills and empties those of pods.

mod family;
mod pair;

pub(super) use family::{FlowFamily, V4, V6};
pub(super) use pair::{Pair, Table};
