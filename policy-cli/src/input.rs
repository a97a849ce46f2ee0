//! Reads what the options name.

use std::path::PathBuf;

use policy_manifest::{
    Expectations, ManifestError, Manifests, Source, read as read_manifests, read_expectations,
    render,
};
use policy_probe::{ChooseError, Probe, Selection, choose};

use crate::{exit, options::ProbeOptions, sources, terminal};

/// What the options came to.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The cluster.
    pub manifests: Manifests,
    /// What is expected of the probes; nothing where no option names any.
    pub expectations: Expectations,
    /// The probes, sorted.
    pub probes: Vec<Probe>,
}

/// Why a command cannot begin; all of these are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file.
    #[error(transparent)]
    Source(#[from] sources::Error),
    /// What stands in one.
    #[error("{}", render(.0, terminal::coloured()))]
    Manifests(Vec<ManifestError>),
    /// What was asked for.
    #[error("{}", lines(.0))]
    Probes(Vec<ChooseError>),
}

impl InputError {
    /// Prints it on standard error; the exit code.
    #[must_use]
    pub fn refuse(&self) -> u8 {
        match self {
            // These come with a heading of their own, one each.
            Self::Manifests(_) => terminal::tell(self.to_string().trim_end_matches('\n')),
            Self::Source(_) | Self::Probes(_) => terminal::error(self),
        }
        exit::INPUT
    }
}

/// Reads everything, and chooses the probes.
///
/// # Errors
///
/// Where a file cannot be read, an object is not legal, or a probe cannot be run.
pub fn read(options: &ProbeOptions) -> Result<Input, InputError> {
    let manifests = manifests(&options.files)?;
    let expectations = expectations(options)?;
    let probes = probes(options, &manifests, &expectations)?;
    Ok(Input { manifests, expectations, probes })
}

/// Reads what is expected; nothing where no option names a file.
///
/// # Errors
///
/// Where the file cannot be read or an entry is not legal.
pub fn expectations(options: &ProbeOptions) -> Result<Expectations, InputError> {
    let source = options.expect.as_deref().map(sources::file_source).transpose()?;
    expectations_of(source.as_slice())
}

/// The same of a file that was read already.
///
/// # Errors
///
/// Where an entry is not legal.
pub fn expectations_of(sources: &[Source]) -> Result<Expectations, InputError> {
    match sources {
        [source, ..] => read_expectations(source).map_err(InputError::Manifests),
        [] => Ok(Expectations::default()),
    }
}

/// Chooses the probes, sorted.
///
/// # Errors
///
/// Where one cannot be run.
pub fn probes(
    options: &ProbeOptions,
    manifests: &Manifests,
    expectations: &Expectations,
) -> Result<Vec<Probe>, InputError> {
    let selection = Selection {
        ports: options.ports.clone(),
        from: options.from.clone(),
        to: options.to.clone(),
    };
    choose(manifests, &selection, Some(expectations)).map_err(InputError::Probes)
}

/// Reads manifests.
///
/// # Errors
///
/// Where a file cannot be read or an object is not legal.
pub fn manifests(files: &[PathBuf]) -> Result<Manifests, InputError> {
    read_manifests(&sources::read(files)?).map_err(InputError::Manifests)
}

/// What the reader should know of objects that were passed over.
#[must_use]
pub fn notes(manifests: &Manifests) -> Vec<String> {
    let ignored = manifests.ignored.iter();
    ignored.map(|object| format!("{}: {} is not used", object.place, object.kind)).collect()
}

fn lines<T: ToString>(errors: &[T]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
