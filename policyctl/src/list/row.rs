//! A row of the list: who may open which connections to whom.

use std::fmt;

use policy_core::{
    connections::Region,
    model::{Family, ObjectName},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::port_set::PortSet;

/// The connections from one party to another, in some families.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row<'a> {
    pub(super) from: Party<'a>,
    pub(super) to: Party<'a>,
    #[serde(serialize_with = "families")]
    pub(super) families: Vec<Family>,
    /// What is allowed between every pair of pods.
    pub(super) ports: PortSet,
    /// What is allowed between some pairs only.
    pub(super) some_pods_only: PortSet,
}

/// An end of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Party<'a> {
    /// Its pods.
    Workload(&'a ObjectName),
    /// Addresses outside of the cluster.
    Block(Region),
}

impl Row<'_> {
    /// Whether nothing is allowed.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.some_pods_only.is_empty()
    }

    /// The ports for people: those for some pods only in brackets.
    pub(super) fn ports(&self) -> String {
        match (self.ports.is_empty(), self.some_pods_only.is_empty()) {
            (_, true) => self.ports.to_string(),
            (true, false) => format!("[{}]", self.some_pods_only),
            (false, false) => format!("{} [{}]", self.ports, self.some_pods_only),
        }
    }

    /// The families for people.
    pub(super) fn families(&self) -> String {
        self.families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ")
    }
}

/// `namespace/workload`, or the block with its exceptions.
impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name) => name.fmt(f),
            Self::Block(region) => region.fmt(f),
        }
    }
}

/// `{"workload": …}` or `{"block": …, "except": […]}`.
impl Serialize for Party<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match self {
            Self::Workload(name) => map.serialize_entry("workload", &name.to_string())?,
            Self::Block(region) => {
                let except: Vec<String> = region.except.iter().map(ToString::to_string).collect();
                map.serialize_entry("block", &region.block.to_string())?;
                map.serialize_entry("except", &except)?;
            }
        }
        map.end()
    }
}

pub(super) fn families<S: Serializer>(families: &[Family], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(families.iter().map(|family| family.name()))
}
