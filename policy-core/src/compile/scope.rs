//! For which pods to compile.

/// For which pods to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pods of one node.
    Node(&'a str),
    /// Every pod, for questions about the whole cluster.
    Cluster,
}
