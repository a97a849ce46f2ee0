//! Stage 2: which peer lists match which addresses.

pub(crate) mod blocks;
pub(crate) mod groups;
pub(crate) mod lists;
pub(crate) mod selectors;
pub(crate) mod sets;
