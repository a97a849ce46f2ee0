//! Why a command gave no answer.

use std::io;

use policy_probe::{exit, input::InputError, terminal};

/// What a comparison needs.
const TWO: &str = if cfg!(feature = "cluster") {
    "name two sets of manifests: -f OLD -f NEW, or --old and --new; or one, to compare with the cluster"
} else {
    "name two sets of manifests: -f OLD -f NEW, or --old and --new"
};

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Input(#[from] InputError),
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Error),
    #[cfg(not(feature = "cluster"))]
    #[error("name manifests with -f; this program was built without reading clusters")]
    NoFiles,
    #[error("read manifests or a cluster: -f cannot be used with --kubeconfig and --context")]
    FilesAndCluster,
    #[error("{TWO}")]
    NotTwo,
    #[error(
        "nothing can be compared: there is no pod that both sides have, running and with an address; \
         add the cluster's pods to each side (kubectl get pods,ns -A -o yaml)"
    )]
    NothingToCompare,
    #[error("there is no command {name}")]
    UnknownCommand { name: String },
    #[error("there is no namespace {name}{}", nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    UnknownNamespace { name: String, nearest: Option<String> },
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
    pub(crate) fn report(&self) -> u8 {
        match self {
            Self::Input(error) => error.report(),
            #[cfg(feature = "cluster")]
            Self::Cluster(error) => {
                terminal::error(self);
                error.code()
            }
            #[cfg(not(feature = "cluster"))]
            Self::NoFiles => {
                terminal::error(self);
                exit::INPUT
            }
            Self::NotTwo
            | Self::NothingToCompare
            | Self::FilesAndCluster
            | Self::UnknownCommand { .. }
            | Self::UnknownNamespace { .. }
            | Self::UnknownRule { .. } => {
                terminal::error(self);
                exit::INPUT
            }
            Self::Json(_) | Self::Yaml(_) | Self::Junit(_) | Self::Write(_) => {
                terminal::error(self);
                exit::FAILED
            }
        }
    }
}
