//! The two flow tables that belong together: of flows with a reply, and of flows without one.

use aya_obj::generated::BPF_NOEXIST;
use policy_common::flow::seen;

use super::family::FlowFamily;
use crate::dataplane::{error::DataplaneError, named::Hash};

/// A flow table of one family.
pub(in crate::dataplane) type Table<F> = Hash<<F as FlowFamily>::Key, <F as FlowFamily>::Value>;

/// The flow tables of one family, of one pod or shared.
#[derive(Debug)]
pub(in crate::dataplane) struct Pair<F: FlowFamily> {
    /// Flows with a reply.
    pub(in crate::dataplane) replied: Table<F>,
    /// Flows without a reply yet.
    pub(in crate::dataplane) new: Table<F>,
}

impl<F: FlowFamily> Pair<F> {
    /// Writes a flow into the table that it belongs to; with `BPF_NOEXIST` in `flags` an existing one
    /// stays.
    pub(in crate::dataplane) fn put(
        &mut self,
        flow: &F::Value,
        flags: u64,
    ) -> Result<(), DataplaneError> {
        let has_reply = F::state(flow).seen & seen::REPLY != 0;
        let table = if has_reply { &mut self.replied } else { &mut self.new };
        table.put_with(&F::key(flow), flow, flags)
    }

    /// Copies the flows that these tables do not have yet, if `wanted` holds for the key.
    pub(in crate::dataplane) fn copy(
        &mut self,
        from: &Self,
        wanted: impl Fn(&F::Key) -> bool,
    ) -> Result<(), DataplaneError> {
        let tables = [(&mut self.replied, &from.replied), (&mut self.new, &from.new)];
        for (to, from) in tables {
            for (key, flow) in from.entries()?.into_iter().filter(|(key, _)| wanted(key)) {
                to.put_with(&key, &flow, BPF_NOEXIST.into())?;
            }
        }
        Ok(())
    }

    /// Deletes the flows with a key for which `doomed` holds.
    pub(in crate::dataplane) fn delete_where(
        &mut self,
        doomed: impl Fn(&F::Key) -> bool,
    ) -> Result<(), DataplaneError> {
        self.replied.delete_where(&doomed)?;
        self.new.delete_where(&doomed)
    }

    /// Both tables.
    pub(in crate::dataplane) fn tables(&self) -> [&Table<F>; 2] {
        [&self.replied, &self.new]
    }

    /// Both tables.
    pub(in crate::dataplane) fn tables_mut(&mut self) -> [&mut Table<F>; 2] {
        [&mut self.replied, &mut self.new]
    }
}
