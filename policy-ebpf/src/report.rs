//! Reports of dropped packets: counters, and records for user space.

mod budget;
pub(crate) mod drops;
