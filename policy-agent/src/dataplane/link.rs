//! Pinned TCX links: pin, open, and what the kernel shows about them.

use std::{fs, io, os::fd::AsRawFd as _, path::Path};

use aya::programs::{
    links::{FdLink, LinkError, PinnedLink},
    tc::SchedClassifierLink,
};

use super::{error::DataplaneError, syscall};

/// Pins a link; it then outlives its value.
pub(super) fn pin(
    link: SchedClassifierLink,
    path: &Path,
) -> Result<SchedClassifierLink, DataplaneError> {
    let unusable = |source| DataplaneError::Link { path: path.to_owned(), source };
    let link = FdLink::try_from(link).map_err(unusable)?;
    let pinned = link.pin(path).map_err(|source| DataplaneError::Pin {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    SchedClassifierLink::try_from(FdLink::from(pinned)).map_err(unusable)
}

/// Opens a pinned link; `None` if its interface is gone.
pub(super) fn open(
    path: &Path,
    ifindex: u32,
) -> Result<Option<SchedClassifierLink>, DataplaneError> {
    let unreadable = |source| DataplaneError::Pins { act: "read", path: path.to_owned(), source };
    if state(path).map_err(unreadable)?.ifindex != Some(ifindex) {
        return Ok(None);
    }
    let unusable = |source: LinkError| DataplaneError::Link { path: path.to_owned(), source };
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(unusable)?);
    SchedClassifierLink::try_from(link).map(Some).map_err(unusable)
}

/// What the kernel shows about a pinned link.
pub(super) struct LinkState {
    /// Index of its interface; 0 once the interface is gone or the link was detached.
    pub(super) ifindex: Option<u32>,
    /// The kernel id of its program.
    pub(super) program: Option<u32>,
}

/// Reads the `fdinfo` of a TCX link (`tcx_link_fdinfo` in `kernel/bpf/tcx.c`).
pub(super) fn state(path: &Path) -> io::Result<LinkState> {
    let link = syscall::open_pin(path)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let field = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        // Newer kernels append the interface's name in parentheses.
        found.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
    };
    Ok(LinkState { ifindex: field("ifindex:"), program: field("prog_id:") })
}
