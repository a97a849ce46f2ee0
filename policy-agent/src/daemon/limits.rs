//! The process's own limits, raised when the daemon starts.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number of descriptors that may be open from the usual 1,024 to what the process may have:
/// each pod takes several for its maps and links, and each connection one.
pub(super) fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the number of descriptors that may be open");
    }
}
