//! A row of the list: who may open which connections to whom.

use std::{collections::BTreeSet, fmt};

use policy_core::{
    connections::Region,
    model::{Family, ObjectName},
};
use policy_manifest::RouteController;
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
    /// Any address outside, by way of a controller and its routes.
    Through(&'a RouteController, &'a BTreeSet<String>),
}

impl Row<'_> {
    /// Whether nothing is allowed.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.some_pods_only.is_empty()
    }

    /// The ports for people: those for some pods only in brackets.
    pub(super) fn ports(&self) -> String {
        bracketed(&self.ports, &self.some_pods_only)
    }

    /// The families for people.
    pub(super) fn families(&self) -> String {
        self.families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Ports for every pair of pods, and in brackets those for some pairs only.
pub(crate) fn bracketed(every: &PortSet, some: &PortSet) -> String {
    match (every.is_empty(), some.is_empty()) {
        (_, true) => every.to_string(),
        (true, false) => format!("[{some}]"),
        (false, false) => format!("{every} [{some}]"),
    }
}

/// `namespace/workload`, the block with its exceptions, or `outside through ingress controller`.
impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name) => name.fmt(f),
            Self::Block(region) => region.fmt(f),
            Self::Through(controller, _) => write!(f, "outside through {controller}"),
        }
    }
}

/// `{"workload": …}`, `{"block": …, "except": […]}` or `{"through": …, "routes": […]}`.
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
            Self::Through(controller, routes) => {
                map.serialize_entry("through", &controller.to_string())?;
                map.serialize_entry("routes", routes)?;
            }
        }
        map.end()
    }
}

pub(super) fn families<S: Serializer>(families: &[Family], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(families.iter().map(|family| family.name()))
}
