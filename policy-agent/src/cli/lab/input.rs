//! What the lab is to do, from files and options.

use std::path::PathBuf;

use policy_core::model::Protocol;
use policy_manifest::{
    End, Expectations, ManifestError, Manifests, read as read_manifests, read_expectations, render,
};
use policy_probe::{ChooseError, Probe, Selection, choose};

use super::output;
use crate::cli::sources;

/// The options that say what to read and what to probe.
pub(super) struct Wanted {
    pub(super) files: Vec<PathBuf>,
    pub(super) expect: Option<PathBuf>,
    pub(super) ports: Vec<(u16, Protocol)>,
    pub(super) from: Vec<End>,
    pub(super) to: Vec<End>,
}

/// What they came to.
pub(super) struct Input {
    pub(super) manifests: Manifests,
    pub(super) expectations: Expectations,
    pub(super) probes: Vec<Probe>,
    pub(super) notes: Vec<String>,
}

/// Why the lab cannot begin; all of these are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    Source(#[from] sources::Error),
    #[error("{}", render(.0, output::coloured()))]
    Manifests(Vec<ManifestError>),
    #[error("{}", lines(.0))]
    Probes(Vec<ChooseError>),
}

/// Reads everything, and chooses the probes.
pub(super) fn read(wanted: &Wanted) -> Result<Input, InputError> {
    let sources = sources::read(&wanted.files)?;
    let manifests = read_manifests(&sources).map_err(InputError::Manifests)?;
    let expectations = match &wanted.expect {
        Some(path) => {
            Some(read_expectations(&sources::file_source(path)?).map_err(InputError::Manifests)?)
        }
        None => None,
    };
    let selection =
        Selection { ports: wanted.ports.clone(), from: wanted.from.clone(), to: wanted.to.clone() };
    let probes =
        choose(&manifests, &selection, expectations.as_ref()).map_err(InputError::Probes)?;
    let ignored = manifests.ignored.iter();
    let notes = ignored.map(|object| format!("{}: {} is not used", object.place, object.kind));
    let notes = notes.collect();
    Ok(Input { manifests, expectations: expectations.unwrap_or_default(), probes, notes })
}

fn lines<T: ToString>(errors: &[T]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
