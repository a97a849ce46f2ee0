//! What a node is started with.

use std::path::PathBuf;

use policy_core::intent::IntentOptions;

use crate::dataplane::Options;

/// What a node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `metadata.name` of the Node: its pods are the endpoints.
    pub node: String,
    /// What the operator has decided about enforcement.
    pub intent: IntentOptions,
    /// Folder of a bpffs that keeps the programs and maps in force without the agent (S48); `None`
    /// where enforcement ends with the agent.
    pub pins: Option<PathBuf>,
    /// How the programs are loaded and attached.
    pub options: Options,
}

impl NodeConfig {
    /// All parts switched on, unknown endpoints pass, maps of the usual size, a record of every drop.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            intent: IntentOptions::default(),
            pins: None,
            options: Options::default(),
        }
    }
}
