//! One program on one hook, and how it is attached.

use std::path::PathBuf;

use aya::{
    programs::{links::Link as _, tc::SchedClassifierLink},
    util::KernelVersion,
};

use crate::dataplane::{error::DataplaneError, filters::FilterLink, options::Options, pins};

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Mechanism {
    /// By TCX links.
    Tcx,
    /// By filters of a clsact qdisc.
    Clsact,
}

/// An attached program.
#[derive(Debug)]
pub(in crate::dataplane) enum Attached {
    /// By a TCX link.
    Link {
        /// Dropping it detaches the program, unless the link is pinned.
        link: SchedClassifierLink,
        /// Where it is pinned.
        pin: Option<PathBuf>,
    },
    /// By a filter of a clsact qdisc.
    Filter(FilterLink),
}

impl Mechanism {
    /// The mechanism of this kernel, or the one that the options ask for.
    pub(in crate::dataplane) fn of(options: &Options) -> Self {
        let has_tcx =
            KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
        if has_tcx && !options.clsact { Self::Tcx } else { Self::Clsact }
    }
}

impl Attached {
    /// How the program is attached.
    pub(super) fn mechanism(&self) -> Mechanism {
        match self {
            Self::Link { .. } => Mechanism::Tcx,
            Self::Filter(_) => Mechanism::Clsact,
        }
    }

    /// Detaches the program; an interface that is gone has none any more.
    pub(in crate::dataplane) fn detach(self, ifindex: u32) -> Result<(), DataplaneError> {
        let detached = match self {
            Self::Filter(filter) => filter.detach(),
            Self::Link { link, pin } => {
                pin.iter().try_for_each(|path| pins::remove(path))?;
                link.detach()
            }
        };
        detached.map_err(|source| DataplaneError::Detach { ifindex, source: Box::new(source) })
    }
}
