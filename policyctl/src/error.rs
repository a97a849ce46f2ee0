//! Why a command gave no answer.

use std::io;

use policy_cli::{exit, input::InputError, terminal};

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("name two sets of manifests: -f OLD -f NEW, or --old and --new")]
    NotTwo,
    #[error("there is no command {name}")]
    UnknownCommand { name: String },
    #[error("there is no rule {code}; the rules are:\n{known}")]
    UnknownRule { code: String, known: String },
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot write the result as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
    #[error("cannot write the result as JUnit XML")]
    Junit(#[from] quick_junit::SerializeError),
    #[error("cannot write to standard output")]
    Write(#[from] io::Error),
}

impl Error {
    /// Prints it on standard error; the exit code.
    pub(crate) fn refuse(&self) -> u8 {
        match self {
            Self::Input(error) => error.refuse(),
            Self::NotTwo | Self::UnknownCommand { .. } | Self::UnknownRule { .. } => {
                terminal::error(self);
                exit::INPUT
            }
            // Whoever reads has read enough.
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::FINE,
            Self::Json(_) | Self::Yaml(_) | Self::Junit(_) | Self::Write(_) => {
                terminal::error(self);
                exit::FAILED
            }
        }
    }
}
