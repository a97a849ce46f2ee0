//! Failed operations on programs, maps, links and pins.
//!
//! Each variant names one operation and its object; the kernel's reason is its source. `node` wraps
//! it into the step or task that failed, and the daemon logs the whole chain:
//!
//! ```text
//! NodeError::Step          cannot create allow map 7 with 900 entries
//! DataplaneError::Write    cannot write entry 7 of map `allow`
//! MapError::SyscallError   `bpf_map_update_elem` failed
//! io::Error                Operation not permitted (os error 1)
//! ```
//!
//! [`DataplaneError::is_out_of_capacity`] decides by variant and error number, not by text, whether
//! the change is held back (S26).

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
    sys::SyscallError,
};
use nix::{errno::Errno, libc};
use thiserror::Error;

use crate::net::NetError;

/// A failed operation on a program, a map, a link or a pin.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// The kernel refused a map or the object's types.
    #[error("cannot load the eBPF object")]
    Load {
        /// Its reason.
        #[source]
        source: Box<EbpfError>,
    },
    /// A descriptor of a map could not be copied.
    #[error("cannot copy the descriptor of map `{map}`")]
    Descriptor {
        /// Name of the map.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel's clock cannot be read.
    #[error("cannot read the clock")]
    Clock(#[source] Errno),
    /// The file of an object.
    #[error("cannot read the eBPF object {}", path.display())]
    ReadObject {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The object and this binary were not built from the same sources.
    #[error("the eBPF object has no map `{map}`: it was not built from this agent's sources")]
    MapMissing {
        /// Name of the map.
        map: &'static str,
    },
    /// The object and this binary were not built from the same sources.
    #[error("map `{map}` of the eBPF object has another layout than this agent writes")]
    MapShape {
        /// Name of the map.
        map: &'static str,
        /// How they differ.
        #[source]
        source: MapError,
    },
    /// The object and this binary were not built from the same sources.
    #[error(
        "the eBPF object has no program `{program}`: it was not built from this agent's sources"
    )]
    ProgramMissing {
        /// Name of the program.
        program: &'static str,
    },
    /// The verifier rejected a program.
    #[error("the kernel's verifier rejects program `{program}`")]
    Rejected {
        /// Name of the program.
        program: &'static str,
        /// The verifier's log.
        #[source]
        source: Box<ProgramError>,
    },
    /// A map is full (S26); its entries stay in force.
    #[error("map `{map}` is full: its capacity is {capacity} entries")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Its capacity.
        capacity: u32,
    },
    /// An entry was not written.
    #[error("cannot write entry {key} of map `{map}`")]
    Write {
        /// Name of the map.
        map: &'static str,
        /// The key.
        key: String,
        /// The kernel's reason.
        #[source]
        source: MapError,
    },
    /// An entry was not deleted.
    #[error("cannot delete entry {key} of map `{map}`")]
    Delete {
        /// Name of the map.
        map: &'static str,
        /// The key.
        key: String,
        /// The kernel's reason.
        #[source]
        source: MapError,
    },
    /// A map was not read.
    #[error("cannot read map `{map}`")]
    Read {
        /// Name of the map.
        map: &'static str,
        /// The kernel's reason.
        #[source]
        source: MapError,
    },
    /// An allow map would need more entries than it may have (S26).
    #[error(
        "allow map {allow_map} needs {entries} entries, more than the {capacity} that it may have"
    )]
    AllowMapTooLarge {
        /// Number of the allow map.
        allow_map: u32,
        /// Entries that it needs.
        entries: usize,
        /// Entries that it may have.
        capacity: usize,
    },
    /// The kernel refused the BTF of inner maps.
    #[error("the kernel refuses the type information (BTF) of allow maps and flow tables")]
    InnerTypes(#[source] std::io::Error),
    /// An allow map was not created.
    #[error("cannot create allow map {allow_map} for {entries} entries")]
    CreateAllowMap {
        /// Number of the allow map.
        allow_map: u32,
        /// Entries that it needs.
        entries: usize,
        /// The kernel's reason.
        #[source]
        source: MapError,
    },
    /// A flow table was not created.
    #[error("cannot create flow table {table} for {entries} entries")]
    CreateFlowTable {
        /// Its name.
        table: String,
        /// Its capacity.
        entries: u32,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The flow tables of pods take the memory that they may take.
    #[error(
        "the flow tables of pods take {used} bytes, and with {needed} more they would take more \
         than the {limit} that they may: lower --flows-per-pod, or raise the agent's memory limit"
    )]
    FlowMemory {
        /// Bytes that they take.
        used: u64,
        /// Bytes of the tables that were to be created.
        needed: u64,
        /// Bytes that they may take.
        limit: u64,
    },
    /// An allow map was not filled.
    #[error("cannot write identity {identity} to allow map {allow_map}")]
    FillAllowMap {
        /// Number of the allow map.
        allow_map: u32,
        /// Identity of the entry.
        identity: u32,
        /// The kernel's reason; `EEXIST` if the identity appeared twice.
        #[source]
        source: MapError,
    },
    /// A folder of pins cannot be used.
    #[error("cannot {act} {}", path.display())]
    Pins {
        /// The failed operation.
        act: &'static str,
        /// The pin or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Pins can only be made on a bpffs.
    #[error(
        "{} is not on a bpffs: mount one before the agent starts (`mount -t bpf bpf /sys/fs/bpf`), or choose a folder on one with --pin-dir",
        path.display()
    )]
    NoBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of pins is on another file system, so nothing can be pinned there.
    #[error(
        "{} is not on a bpffs, so it holds no pins; --pin-dir names the agent's folder",
        path.display()
    )]
    NoPins {
        /// The folder.
        path: PathBuf,
    },
    /// A folder holds only files of other programs.
    #[error("{} holds no pins of an agent, and is left unchanged; it holds: {holds}", path.display())]
    NotPins {
        /// The folder.
        path: PathBuf,
        /// Names of what it holds.
        holds: String,
    },
    /// Another agent uses the folder; two would overwrite each other's pins.
    #[error(
        "another agent uses the pins in {}: stop it first, or choose another folder with --pin-dir",
        path.display()
    )]
    PinsBusy {
        /// The folder.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// An object was not pinned.
    #[error("cannot pin {}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: Box<PinError>,
    },
    /// A pinned program cannot be read.
    #[error("cannot read the pinned program {}", path.display())]
    ReadProgram {
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// A pin is not a link of a TC program.
    #[error("{} is not a link of a TC program", path.display())]
    Link {
        /// Where.
        path: PathBuf,
        /// What it is.
        #[source]
        source: LinkError,
    },
    /// There is no such interface, or it is gone.
    #[error("no interface has index {ifindex}")]
    InterfaceMissing {
        /// Its index.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// The interface was renamed while a program was attached to it.
    #[error("interface {ifindex} is no longer named `{interface}`")]
    InterfaceRenamed {
        /// Its index.
        ifindex: u32,
        /// The name it had.
        interface: String,
    },
    /// A program was not attached; neither is the one of the other direction.
    #[error("cannot attach program `{program}` to interface `{interface}` ({ifindex})")]
    Attach {
        /// Name of the program.
        program: &'static str,
        /// Index of the interface.
        ifindex: u32,
        /// Its name.
        interface: String,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// The programs were not detached.
    #[error("cannot detach the programs from interface {ifindex}")]
    Detach {
        /// Index of the interface.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// A link kept its earlier program.
    #[error("cannot exchange program `{program}` on interface {ifindex}")]
    Renew {
        /// Name of the program.
        program: &'static str,
        /// Index of the interface.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// Filters cannot be listed.
    #[error("cannot open a socket to list filters of interfaces")]
    FilterSocket(#[source] NetError),
    /// The filters of an interface cannot be listed.
    #[error("cannot list the filters of interface {ifindex}")]
    Filters {
        /// Index of the interface.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Box<NetError>,
    },
    /// The interfaces of the network namespace cannot be listed.
    #[error("cannot list the interfaces")]
    ListInterfaces(#[source] Errno),
    /// The programs on an interface cannot be read.
    #[error("cannot read which programs are attached to interface `{interface}`")]
    Hooks {
        /// Name of the interface.
        interface: String,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// The ring buffer cannot be watched.
    #[error("cannot watch the ring buffer of drop records")]
    Events(#[source] io::Error),
    /// The ring buffer already has a reader.
    #[error("the drop records already have a reader")]
    EventsTaken,
}

impl DataplaneError {
    /// Whether a map is full, or the memory limit that its maps are charged to is reached.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about capacity")]
    pub fn is_out_of_capacity(&self) -> bool {
        match self {
            Self::Full { .. } | Self::AllowMapTooLarge { .. } => true,
            Self::Write { source, .. }
            | Self::CreateAllowMap { source, .. }
            | Self::FillAllowMap { source, .. } => {
                matches!(errno(source), Some(libc::ENOMEM | libc::E2BIG | libc::ENOSPC))
            }
            _ => false,
        }
    }
}

/// The kernel's error number, if the error came from the kernel.
#[expect(clippy::wildcard_enum_match_arm, reason = "two of many are the kernel's")]
pub(super) fn errno(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(SyscallError { io_error, .. })
        | MapError::CreateError { io_error, .. } => io_error.raw_os_error(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_map_without_memory_is_out_of_capacity() {
        let refused = |errno| DataplaneError::CreateAllowMap {
            allow_map: 1,
            entries: 1,
            source: MapError::CreateError {
                name: "allow_1".to_owned(),
                io_error: io::Error::from_raw_os_error(errno),
            },
        };
        assert!(
            refused(libc::ENOMEM).is_out_of_capacity() && refused(libc::E2BIG).is_out_of_capacity()
        );
        assert!(!refused(libc::EPERM).is_out_of_capacity());
        assert!(DataplaneError::Full { map: "blocks", capacity: 1 }.is_out_of_capacity());
    }
}
