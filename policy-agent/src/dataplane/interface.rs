//! Names of interfaces, in the calling thread's network namespace.

use nix::{errno::Errno, net::if_};

/// The name of an interface.
///
/// # Errors
///
/// `ENXIO`: the interface is gone.
pub(super) fn name(ifindex: u32) -> Result<String, Errno> {
    let name = if_::if_indextoname(ifindex)?;
    // libc returns a null pointer if there is none, which nix turns into an empty name.
    if name.is_empty() {
        return Err(Errno::ENXIO);
    }
    Ok(name.to_string_lossy().into_owned())
}
