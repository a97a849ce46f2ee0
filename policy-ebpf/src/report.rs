//! Reports of dropped packets: counters, records for user space, and replies to the pod.

mod budget;
pub(crate) mod drops;
pub(crate) mod reject;
