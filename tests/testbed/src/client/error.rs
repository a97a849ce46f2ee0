//! What can fail between a test and the API server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::KubeconfigError;
use kube::core::gvk::ParseGroupVersionError;
use kube::runtime::wait;
use thiserror::Error;

/// Why an object was not read, written or reached.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The network namespace of the cluster cannot be entered.
    #[error("cannot enter the network namespace {}", path.display())]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The client's thread cannot be started.
    #[error("cannot start a thread for requests")]
    Threads(#[source] io::Error),
    /// The client's thread has ended.
    #[error("a request was cancelled")]
    Cancelled(#[source] tokio::task::JoinError),
    /// A kubeconfig cannot be used.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// No client can be made of a kubeconfig.
    #[error("cannot make a client")]
    Make(#[source] Box<kube::Error>),
    /// A value has no name or metadata.
    #[error("the value is no object of the API")]
    NoObject(#[source] serde_json::Error),
    /// An object has no API version.
    #[error("the object has no API version")]
    NoVersion(#[source] ParseGroupVersionError),
    /// A request failed.
    #[error("cannot {act} {what}")]
    Request {
        /// The verb.
        act: &'static str,
        /// Kind and name.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// An object cannot be watched.
    #[error("cannot wait for {what}")]
    Watch {
        /// Kind and name.
        what: String,
        /// Why.
        source: Box<wait::Error>,
    },
    /// An object did not reach a state in time.
    #[error("{what} is not {state} after {} s", limit.as_secs())]
    Late {
        /// Kind and name.
        what: String,
        /// The state.
        state: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// No object has the labels.
    #[error("no {kind} has the labels {labels}")]
    NoneMatches {
        /// Its kind.
        kind: String,
        /// The selector.
        labels: String,
    },
    /// A stream of a command in a pod broke off.
    #[error("the connection to the command in {pod} broke off")]
    Stream {
        /// The pod.
        pod: String,
        /// Why.
        source: io::Error,
    },
    /// A command in a pod failed.
    #[error("the command in {pod} failed: {message}")]
    Command {
        /// The pod.
        pod: String,
        /// The kubelet's message.
        message: String,
    },
}

impl ClientError {
    pub(super) fn failed(act: &'static str, what: impl Into<String>, source: kube::Error) -> Self {
        Self::Request { act, what: what.into(), source: Box::new(source) }
    }

    /// The status code of the API server's answer, if it refused a request.
    pub fn code(&self) -> Option<u16> {
        let Self::Request { source, .. } = self else { return None };
        code(source)
    }
}

/// None if the object does not exist.
pub(super) fn unless_absent<T>(outcome: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    let kube::Error::Api(status) = error else { return None };
    Some(status.code)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refusal(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, ..Status::default() }))
    }

    #[test]
    fn only_404_means_that_an_object_is_absent() {
        assert_eq!(unless_absent(Ok(1)).ok(), Some(Some(1)));
        assert_eq!(unless_absent::<u8>(Err(refusal(404))).ok(), Some(None));
        for other in [403, 409, 500] {
            let error = unless_absent::<u8>(Err(refusal(other))).expect_err("a refusal");
            assert_eq!(ClientError::failed("get", "Pod a", error).code(), Some(other));
        }
    }
}
