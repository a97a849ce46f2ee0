//! Reads what the options of a command line name: expectations and probes.

use std::path::Path;

use policy_manifest::{Expectations, ManifestError, Manifests, Source, read_expectations, render};

use crate::{ChooseError, Probe, Selection, choose, exit, options::ProbeOptions, terminal};

/// Why a command cannot start. The user must change the options or the files.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file cannot be read.
    #[error(transparent)]
    Files(#[from] policy_files::Error),
    /// Objects or expectations are not legal.
    #[error("{}", render(.0, false).trim_end())]
    Manifests(Vec<ManifestError>),
    /// Probes that options or expectations name cannot be run.
    #[error("{}", lines(.0))]
    Probes(Vec<ChooseError>),
}

impl InputError {
    /// Prints it on standard error, in colour where that is a terminal; returns the exit code.
    #[must_use]
    pub fn report(&self) -> u8 {
        match self {
            // Each of these has a heading of its own.
            Self::Manifests(errors) => {
                terminal::line(render(errors, terminal::stderr_has_colour()).trim_end());
            }
            Self::Files(_) | Self::Probes(_) => terminal::error(self),
        }
        exit::INPUT
    }
}

/// Reads the file of `--expect`; no expectations where the option is not given.
///
/// # Errors
///
/// The file cannot be read, or an entry is not legal.
pub fn expectations(file: Option<&Path>) -> Result<Expectations, InputError> {
    let source = file.map(policy_files::read_file).transpose()?;
    expectations_of(source.as_slice())
}

/// Parses a file of expectations that was read already; no expectations where there is none.
///
/// # Errors
///
/// An entry is not legal.
pub fn expectations_of(sources: &[Source]) -> Result<Expectations, InputError> {
    match sources {
        [source, ..] => read_expectations(source).map_err(InputError::Manifests),
        [] => Ok(Expectations::default()),
    }
}

/// Chooses the probes that the options ask for, sorted.
///
/// # Errors
///
/// A probe cannot be run.
pub fn probes(
    options: &ProbeOptions,
    manifests: &Manifests,
    expectations: &Expectations,
) -> Result<Vec<Probe>, InputError> {
    let selection = Selection {
        ports: options.ports.clone(),
        from: options.from.clone(),
        to: options.to.clone(),
        ..Selection::default()
    };
    choose(manifests, &selection, Some(expectations)).map_err(InputError::Probes)
}

/// Notes for the user about objects of kinds that policy does not depend on.
#[must_use]
pub fn notes(manifests: &Manifests) -> Vec<String> {
    let ignored = manifests.ignored.iter();
    ignored.map(|object| format!("{}: {} is not used", object.place, object.kind)).collect()
}

fn lines<T: ToString>(errors: &[T]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
