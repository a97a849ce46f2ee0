//! Why the network of a node cannot be read.

use std::{io, time::Duration};

use thiserror::Error;

/// Why links or addresses cannot be read.
#[derive(Debug, Error)]
pub enum NetError {
    /// The kernel gives no socket, or none with strict checking (before 4.20).
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The socket's task has ended.
    #[error("the netlink socket closed while listing {what}")]
    Closed {
        /// What was requested.
        what: &'static str,
    },
    /// The kernel refused a request.
    #[error("cannot list {what}")]
    Refused {
        /// What was requested.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel did not send the whole response in time: a pod may have any number of addresses.
    #[error("the list of {what} did not end in {deadline:?}")]
    TooSlow {
        /// What was requested.
        what: &'static str,
        /// How long it may take.
        deadline: Duration,
    },
    /// The list changed every time while it was read; a later attempt may succeed.
    #[error("the list of {what} changed during each of {attempts} reads")]
    Inconsistent {
        /// What was requested.
        what: &'static str,
        /// How many times it was read.
        attempts: usize,
    },
}
