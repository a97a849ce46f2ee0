//! What can go wrong between the agent and the kernel's BPF side.

use std::{io, path::PathBuf};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};
use nix::{errno::Errno, libc};
use thiserror::Error;

use super::named::errno;

/// A failed act on a classifier, a map or a link.
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
    #[error("the eBPF object has no map `{map}`")]
    MapMissing {
        /// Name of the map.
        map: &'static str,
    },
    /// The object and this binary were not built from the same sources.
    #[error("map `{map}` of the eBPF object has another shape than this agent writes")]
    MapShape {
        /// Name of the map.
        map: &'static str,
        /// How they differ.
        #[source]
        source: MapError,
    },
    /// The object and this binary were not built from the same sources.
    #[error("the eBPF object has no classifier `{classifier}`")]
    ClassifierMissing {
        /// Name of the classifier.
        classifier: &'static str,
    },
    /// The verifier refused a classifier.
    #[error("the kernel refuses classifier `{classifier}`")]
    Classifier {
        /// Name of the classifier.
        classifier: &'static str,
        /// What the verifier says.
        #[source]
        source: Box<ProgramError>,
    },
    /// A map has no room for another entry (S26): what it has stays in force.
    #[error("map `{map}` is full: it has room for {capacity} entries")]
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
    /// An allow map tells more identities apart than one may (S26).
    #[error("allow map {content} would need {entries} entries, and may have {capacity}")]
    ContentTooLarge {
        /// Id of the allow map.
        content: u32,
        /// Entries that it needs.
        entries: usize,
        /// Entries that it may have.
        capacity: usize,
    },
    /// The kernel takes no description of what an allow map holds.
    #[error("cannot describe allow maps to the kernel")]
    ContentTypes(#[source] std::io::Error),
    /// An allow map was not created.
    #[error("cannot create allow map {content} for {entries} entries")]
    CreateContent {
        /// Id of the allow map.
        content: u32,
        /// Entries that it needs.
        entries: usize,
        /// The kernel's reason.
        #[source]
        source: MapError,
    },
    /// An allow map was not filled.
    #[error("cannot write identity {identity} to allow map {content}")]
    FillContent {
        /// Id of the allow map.
        content: u32,
        /// Identity of the entry.
        identity: u32,
        /// The kernel's reason; `EEXIST` where the identity came twice.
        #[source]
        source: MapError,
    },
    /// A folder of pins cannot be used.
    #[error("cannot {act} {}", path.display())]
    Pins {
        /// What was tried.
        act: &'static str,
        /// The pin or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Pins are kept by a file system of their own.
    #[error(
        "{} is on no bpffs: before the agent starts, `mount -t bpf bpf /sys/fs/bpf`, or name a folder of one",
        path.display()
    )]
    NoBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// All that a folder holds is another program's.
    #[error("{} holds nothing of an agent, and is left as it is: {holds}", path.display())]
    NotPins {
        /// The folder.
        path: PathBuf,
        /// Names of what it holds.
        holds: String,
    },
    /// Two agents would write over one another.
    #[error("another agent works with {}", path.display())]
    PinsBusy {
        /// The folder.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// Something was not pinned.
    #[error("cannot pin {}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: Box<PinError>,
    },
    /// What is pinned is no link of a classifier.
    #[error("{} is no link of a classifier", path.display())]
    Link {
        /// Where.
        path: PathBuf,
        /// What it is.
        #[source]
        source: LinkError,
    },
    /// There is no such interface, or no longer.
    #[error("no interface has index {ifindex}")]
    InterfaceMissing {
        /// Its index.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// The name came to mean another interface while a classifier was attached to it.
    #[error("interface {ifindex} is no longer named `{interface}`")]
    InterfaceRenamed {
        /// Its index.
        ifindex: u32,
        /// The name it had.
        interface: String,
    },
    /// A classifier was not attached, and the other direction's is not either.
    #[error("cannot attach classifier `{classifier}` to interface `{interface}` ({ifindex})")]
    Attach {
        /// Name of the classifier.
        classifier: &'static str,
        /// Index of the interface.
        ifindex: u32,
        /// Its name.
        interface: String,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// A classifier was not detached.
    #[error("cannot detach the classifiers from interface {ifindex}")]
    Detach {
        /// Index of the interface.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// A link that is attached kept the program that it had.
    #[error("cannot exchange classifier `{classifier}` on interface {ifindex}")]
    Renew {
        /// Name of the classifier.
        classifier: &'static str,
        /// Index of the interface.
        ifindex: u32,
        /// The kernel's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// The programs on an interface cannot be told.
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
    /// The ring buffer has a reader already.
    #[error("the drop records have a reader already")]
    EventsTaken,
}

impl DataplaneError {
    /// Whether there is no room for what was to be written: in a map, or in the memory that the
    /// kernel charges its maps to.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about room")]
    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Full { .. } | Self::ContentTooLarge { .. } => true,
            Self::Write { source, .. }
            | Self::CreateContent { source, .. }
            | Self::FillContent { source, .. } => {
                matches!(errno(source), Some(libc::ENOMEM | libc::E2BIG | libc::ENOSPC))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_map_that_memory_is_missing_for_finds_no_room() {
        let refused = |errno| DataplaneError::CreateContent {
            content: 1,
            entries: 1,
            source: MapError::CreateError {
                name: "allow_1".to_owned(),
                io_error: io::Error::from_raw_os_error(errno),
            },
        };
        assert!(refused(libc::ENOMEM).is_no_room() && refused(libc::E2BIG).is_no_room());
        assert!(!refused(libc::EPERM).is_no_room());
        assert!(DataplaneError::Full { map: "blocks", capacity: 1 }.is_no_room());
    }
}
