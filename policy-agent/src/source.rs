//! Where a cluster's state comes from. Sources only convert; they know no dataplane.

pub mod files;
