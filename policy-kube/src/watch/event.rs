//! What a watch reports to the agent.

use std::collections::BTreeSet;

use policy_core::{compile::Change, model::ObjectRef};
use policy_manifest::ManifestError;

use crate::{Error, Resource};

/// What the watches report.
#[derive(Debug)]
pub enum WatchEvent {
    /// An object was added, changed or deleted.
    Changed(Change),
    /// A list is complete; objects of the resource that are not in it are deleted.
    Listed(Resource, BTreeSet<ObjectRef>),
    /// The server had the resource, and has it no more: its definition was deleted. Comes after the
    /// empty list.
    Disappeared(Resource),
    /// Parts of an object cannot be read; its change denies where they might allow.
    Unreadable(Vec<ManifestError>),
    /// A watch does not work, and is retried. What was read before stays good.
    Broken(Resource, Error),
    /// A watch that was broken works.
    Recovered(Resource),
}
