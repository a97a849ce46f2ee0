//! Working memory for one packet at a time, because the stack is too small.
//!
//! | Field | Written by | Valid until |
//! |---|---|---|
//! | `packet` | `classify`, before each judgement of a packet | the program returns |
//! | `endpoint` | `decide::endpoint::find` | the program returns |
//! | `sender` | `decide::endpoint::of_slot` | the next call of it |
//! | `backend` | `decide::live` | the next call of it |
//! | `choice`, `translation` | `decide::translate` | the program returns |
//! | `quotation` | `decide::quotation` | the program returns |
//! | `flow4`, `flow6` | `flow::family::write_key`, `flow::table` | the next call of `write_key` |
//!
//! No field carries anything from one packet to the next.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use policy_common::{
    endpoint::Endpoint,
    flow::{Flow4, Flow6, Translation},
};

use crate::{
    parse::{ip::Packet, quote::Quotation},
    service::{Choice, LiveService},
};

/// One element for each CPU: the hooks of one CPU do not interrupt one another.
#[btf_map(name = "scratch")]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// The working memory of one packet.
pub(crate) struct Scratch {
    pub(crate) packet: Packet,
    /// The endpoint of the packet's interface.
    pub(crate) endpoint: Endpoint,
    /// The endpoint of the pod of this node that sent the packet.
    pub(crate) sender: Endpoint,
    /// The backend of a live connection to a Service.
    pub(crate) backend: LiveService,
    /// What is known of the Service that a packet goes to.
    pub(crate) choice: Choice,
    /// Where the packet goes or comes from in place of its far end, then what that far end was.
    pub(crate) translation: Translation,
    pub(crate) quotation: Quotation,
    pub(crate) flow4: Flow4,
    pub(crate) flow6: Flow6,
}

/// The working memory of this CPU. The pointer is valid while the program runs; callers must not
/// keep two references to one field.
#[inline(always)]
pub(crate) fn get() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}
