//! Links that are pinned: open, alive or dead, and with another program.

use std::{ffi::CString, fs, io, os::fd::AsRawFd as _, os::unix::ffi::OsStrExt as _, path::Path};

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
    if interface_of(path).map_err(unreadable)? != Some(ifindex) {
        return Ok(None);
    }
    let unusable = |source: LinkError| DataplaneError::Link { path: path.to_owned(), source };
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(unusable)?);
    SchedClassifierLink::try_from(link).map(Some).map_err(unusable)
}

/// The interface of a TCX link; 0 once it is gone (`tcx_link_fdinfo` in `kernel/bpf/tcx.c`).
fn interface_of(path: &Path) -> io::Result<Option<u32>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let link = typed::open_pin(&name)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let found = text.lines().find_map(|line| line.strip_prefix("ifindex:"));
    // Newer kernels add the name in parentheses.
    Ok(found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()))
}
