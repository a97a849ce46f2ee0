//! Why a command gives no answer, and with which exit code it ends.

use std::io;

use policy_core::model::ObjectName;
use policy_manifest::{End, ManifestError, Problem};
use policy_probe::{exit, input::InputError, terminal};

use crate::{
    config_error::ConfigError,
    fix_error::{FixError, LintFixError},
    flows_error::FlowsError,
    git::GitError,
    render::RenderError,
    test_error::TestEndErrors,
};

/// What a comparison needs.
const TWO_SIDES: &str = if cfg!(feature = "cluster") {
    "name two sets of manifests: -f OLD -f NEW, or --old and --new; or one, to compare with the cluster"
} else {
    "name two sets of manifests: -f OLD -f NEW, or --old and --new"
};

/// What a person can do about policies that are not evaluated.
const IGNORE_FOREIGN: &str = "--ignore-foreign answers without policies that are not supported";

/// Why a command gives no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Agents(#[from] crate::agents::AgentsError),
    #[cfg(feature = "cluster")]
    #[error("--follow has no end, and a JSON document has one; use -o jsonl")]
    FollowJson,
    #[cfg(feature = "cluster")]
    #[error("no node reports an object named {name}; a policy is reported where it selects a pod")]
    NoStatus { name: String },
    #[cfg(not(feature = "cluster"))]
    #[error("name manifests with -f; this program was built without support for clusters")]
    NoFiles,
    #[error("-f cannot be used with --kubeconfig or --context: give manifests or a cluster")]
    FilesAndCluster,
    #[error("{TWO_SIDES}")]
    NotTwo,
    #[error(
        "nothing can be compared: no pod runs with an address on both sides; \
         add the pods of the cluster to each side (kubectl get pods,ns -A -o yaml)"
    )]
    NothingToCompare,
    #[error("{end} always reaches itself, whatever policies say; name two ends")]
    SameEnd { end: End },
    #[error(
        "--flow is not a line of the flow log; write a JSON object with source, destination and \
         protocol, as policy-agent run writes it"
    )]
    NotAFlow {
        #[source]
        source: serde_json::Error,
    },
    #[error("the flow is of protocol {protocol}; connections of TCP, UDP and SCTP are explained")]
    OtherProtocol { protocol: String },
    #[error(transparent)]
    Fix(#[from] FixError),
    #[error(transparent)]
    LintFix(#[from] LintFixError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Flows(#[from] FlowsError),
    #[error(transparent)]
    TestEnds(TestEndErrors),
    #[error("--exposure has no picture; use -o table, json, csv or markdown")]
    NoPicture,
    #[error(
        "the picture would have more than {most} arrows; choose a namespace with -n, or use -o html, \
         csv or table"
    )]
    PictureTooLarge { most: usize },
    #[error(
        "there are more than {most} probes; use `policyctl list`, which has whole sets of ports between \
         workloads, or -o json, or narrow the table by -n, --from, --to or --port"
    )]
    TooManyProbes { most: usize },
    #[error("there is no command {name}")]
    UnknownCommand { name: String },
    #[error("there is no namespace {name}{}", did_you_mean(nearest))]
    UnknownNamespace { name: String, nearest: Option<String> },
    #[error("there is no pod of {kind} {name}{}", did_you_mean(nearest))]
    UnknownWorkload { kind: &'static str, name: ObjectName, nearest: Option<String> },
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
    /// Prints it on standard error; returns the exit code.
    pub(crate) fn report(&self) -> u8 {
        match self {
            Self::Input(error) => {
                let code = error.report();
                if let InputError::Manifests(errors) = error
                    && errors.iter().any(is_foreign)
                {
                    terminal::notes(&[IGNORE_FOREIGN.to_owned()]);
                }
                code
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(error) => {
                terminal::error(self);
                error.code()
            }
            #[cfg(feature = "cluster")]
            Self::Agents(error) => {
                terminal::error(self);
                error.code()
            }
            #[cfg(feature = "cluster")]
            Self::FollowJson | Self::NoStatus { .. } => {
                terminal::error(self);
                exit::INPUT
            }
            #[cfg(not(feature = "cluster"))]
            Self::NoFiles => {
                terminal::error(self);
                exit::INPUT
            }
            Self::Render(_)
            | Self::NotTwo
            | Self::NothingToCompare
            | Self::FilesAndCluster
            | Self::SameEnd { .. }
            | Self::UnknownCommand { .. }
            | Self::UnknownNamespace { .. }
            | Self::UnknownWorkload { .. }
            | Self::NotAFlow { .. }
            | Self::OtherProtocol { .. }
            | Self::Fix(_)
            | Self::Config(_)
            | Self::Git(_)
            | Self::Flows(_)
            | Self::TestEnds(_)
            | Self::NoPicture
            | Self::PictureTooLarge { .. }
            | Self::TooManyProbes { .. }
            | Self::UnknownRule { .. } => {
                terminal::error(self);
                exit::INPUT
            }
            Self::LintFix(_) | Self::Json(_) | Self::Yaml(_) | Self::Junit(_) | Self::Write(_) => {
                terminal::error(self);
                exit::FAILED
            }
        }
    }
}

#[expect(clippy::ref_option, reason = "it is a field of an error")]
fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// Whether an error is about a policy of a kind that is not evaluated.
fn is_foreign(error: &ManifestError) -> bool {
    matches!(error.problem, Problem::UnsupportedPolicy { .. } | Problem::ManyUnsupported { .. })
}
