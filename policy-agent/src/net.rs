//! The node's network as rtnetlink shows it.
