//! Links that are pinned: open, alive or dead, and with another program.

use std::{fs, io, os::fd::AsRawFd as _, path::Path};

use aya::programs::{
    links::{FdLink, LinkError, PinnedLink},
    tc::SchedClassifierLink,
};

use super::{error::DataplaneError, typed};

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

/// Opens a pinned link; `None` where it is that of an interface that is gone.
pub(super) fn open(
    path: &Path,
    ifindex: u32,
) -> Result<Option<SchedClassifierLink>, DataplaneError> {
    let unreadable = |source| DataplaneError::Pins { act: "read", path: path.to_owned(), source };
    if about(path).map_err(unreadable)?.ifindex != Some(ifindex) {
        return Ok(None);
    }
    let unusable = |source: LinkError| DataplaneError::Link { path: path.to_owned(), source };
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(unusable)?);
    SchedClassifierLink::try_from(link).map(Some).map_err(unusable)
}

/// What the kernel tells of a pinned link.
pub(super) struct About {
    /// Its interface; 0 once that is gone or the link was detached.
    pub(super) ifindex: Option<u32>,
    /// The kernel's number for its program.
    pub(super) program: Option<u32>,
}

/// Asks about a TCX link (`tcx_link_fdinfo` in `kernel/bpf/tcx.c`).
pub(super) fn about(path: &Path) -> io::Result<About> {
    let link = typed::open_pin(path)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let field = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        // Newer kernels add the interface's name in parentheses.
        found.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
    };
    Ok(About { ifindex: field("ifindex:"), program: field("prog_id:") })
}
