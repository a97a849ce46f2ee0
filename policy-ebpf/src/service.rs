//! What look-ups found out about the Service of a packet, as the scratch map holds it.

use crate::address::Ip;

/// The backend of a live connection; `decide::live` writes and reads it.
pub(crate) struct LiveService {
    pub(crate) address: Ip,
    /// Network byte order.
    pub(crate) port: [u8; 2],
    /// Policy must allow the frontend's own address too.
    pub(crate) checks_frontend: bool,
}

/// Which list of backends a packet may go to; `decide::translate` writes and reads it.
pub(crate) struct Choice {
    /// Epoch in which the packet was judged.
    pub(crate) epoch: u32,
    /// The pod's allow map, in which the identity of the frontend has the list.
    pub(crate) allow_map: u32,
    /// Identity of the frontend.
    pub(crate) identity: u32,
}
