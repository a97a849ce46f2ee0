//! The switch of a node's enforcement: an empty folder beside the pins, so that it outlives the agent.
//!
//! `policy-agent off` creates it and `policy-agent on` removes it; only who may write beside the pins
//! can do either. The daemon looks every second.

use std::{fs, io, path::Path};

/// Name of the folder.
pub(crate) const OFF: &str = "off";

/// Whether enforcement is switched off, for the agent with this folder of pins.
#[must_use]
pub fn is_off(pins: &Path) -> bool {
    pins.join(OFF).is_dir()
}

/// Switches enforcement off or on, for the agent with this folder of pins; it stays so over restarts
/// of the agent.
///
/// # Errors
///
/// Where the folder of pins does not exist, or this user may not write there.
pub fn set(pins: &Path, off: bool) -> io::Result<()> {
    let folder = pins.join(OFF);
    let (done, already) = if off {
        (fs::create_dir(&folder), io::ErrorKind::AlreadyExists)
    } else {
        (fs::remove_dir(&folder), io::ErrorKind::NotFound)
    };
    match done {
        Err(error) if error.kind() == already && pins.is_dir() => Ok(()),
        done => done,
    }
}
