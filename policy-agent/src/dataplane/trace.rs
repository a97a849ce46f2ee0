//! Exchanges the programs of one interface for those that log each step of a decision, for a while.
//!
//! `policy-agent trace` calls [`Trace::start`], prints [`Trace::lines`], and calls [`Trace::end`]. The
//! tracing programs use the pinned maps, so that each packet gets the verdict that it would get
//! otherwise, and each exchange is one kernel operation:
//!
//! ```text
//! start   traces/12 is locked; links/from_pod_12: from_pod → from_pod of the tracing object
//! end     links/from_pod_12: → programs/from_pod, as it is pinned by then; traces/12 is removed
//! ```
//!
//! If the process is killed, the agent finds that nobody holds the lock of `traces/12`, and exchanges the
//! programs as it does after any drift.

mod collected;
mod words;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use aya::{
    Ebpf,
    programs::{ProgramError, SchedClassifier},
};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use nix::{errno::Errno, net::if_::if_nametoindex};
use thiserror::Error;

use collected::Collected;

use super::{
    attach::program_of,
    error::DataplaneError,
    filters::{FilterLink, Filters},
    link, object,
    options::Options,
    pins::{TraceClaim, programs_elsewhere},
    pod_program::{POD_PROGRAMS, PodProgram},
};

/// Why an interface cannot be traced.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Its programs were not exchanged, or not exchanged back.
    #[error(transparent)]
    Dataplane(Box<DataplaneError>),
    /// There is no such interface.
    #[error("there is no interface {interface}")]
    Missing {
        /// Its name.
        interface: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// The pinned maps are of another version.
    #[error(
        "{} holds no maps of this version of the agent; run the `policy-agent trace` of the agent that \
         runs",
        folder.display()
    )]
    OtherMaps {
        /// The folder of the maps.
        folder: PathBuf,
    },
    /// Another process traces it.
    #[error(
        "another `policy-agent trace` runs at interface {ifindex}; wait until it ends, or stop it"
    )]
    Busy {
        /// The interface.
        ifindex: u32,
    },
    /// The agent's programs are not on it.
    #[error("interface {ifindex} has no program `{program}` of an agent with these pins")]
    NotAttached {
        /// The interface.
        ifindex: u32,
        /// The name of the program.
        program: &'static str,
    },
    /// The tracing object gives no log.
    #[error("cannot read the log of the tracing programs")]
    Log(#[from] aya_log::Error),
    /// The kernel refused to exchange a program.
    #[error("cannot exchange the program `{program}` of interface {ifindex}")]
    Exchange {
        /// The interface.
        ifindex: u32,
        /// The name of the program.
        program: &'static str,
        /// The kernel's answer.
        #[source]
        source: Box<ProgramError>,
    },
}

impl From<DataplaneError> for TraceError {
    fn from(error: DataplaneError) -> Self {
        Self::Dataplane(Box::new(error))
    }
}

/// An interface with the tracing programs; the normal ones come back when this is dropped.
pub struct Trace {
    ifindex: u32,
    root: PathBuf,
    logger: EbpfLogger<Collector>,
    collected: Arc<Mutex<Collected>>,
    ended: bool,
    ebpf: Ebpf,
    /// Declared last: another process may trace the interface once the programs are closed.
    _claim: TraceClaim,
}

impl Trace {
    /// Gives an interface of the calling thread's network namespace the tracing programs; `root` is the
    /// agent's folder of pins. With a peer, only packets from or to it have lines.
    ///
    /// # Errors
    ///
    /// [`TraceError`]; the interface then has its normal programs.
    pub fn start(root: &Path, interface: &str, peer: Option<IpAddr>) -> Result<Self, TraceError> {
        let missing = |source| TraceError::Missing { interface: interface.to_owned(), source };
        let ifindex = if_nametoindex(interface).map_err(missing)?;
        let folder = root.join("maps");
        let expected = object::shapes(&Options::default())?;
        if !object::fits_at_any_size(&expected, &folder) {
            return Err(TraceError::OtherMaps { folder });
        }
        let claim = TraceClaim::new(root, ifindex)?.ok_or(TraceError::Busy { ifindex })?;
        let mut ebpf = object::load_tracing(peer, &folder, expected.keys())?;
        for pod_program in POD_PROGRAMS {
            let name = pod_program.name;
            program_of(&mut ebpf, name)?.load().map_err(|source| DataplaneError::Rejected {
                program: name,
                source: Box::new(source),
            })?;
        }
        let collected = Arc::default();
        let collector = Collector { collected: Arc::clone(&collected) };
        let logger = EbpfLogger::init_with_logger(&mut ebpf, collector)?;
        let root = root.to_owned();
        let mut trace =
            Self { ifindex, root, logger, collected, ended: false, ebpf, _claim: claim };
        trace.exchange()?;
        Ok(trace)
    }

    /// The lines of the packets that were judged since the last call, those of each packet together.
    pub fn lines(&mut self) -> Vec<String> {
        self.logger.flush();
        self.collected.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Gives the interface its normal programs again: those that the agent has pinned by now.
    ///
    /// # Errors
    ///
    /// [`TraceError`]; the agent's next verification then does it.
    pub fn end(mut self) -> Result<(), TraceError> {
        self.restore()
    }

    fn exchange(&mut self) -> Result<(), TraceError> {
        for pod_program in POD_PROGRAMS {
            let program = program_of(&mut self.ebpf, pod_program.name)?;
            if !put(&self.root, self.ifindex, &pod_program, program)? {
                let (ifindex, program) = (self.ifindex, pod_program.name);
                return Err(TraceError::NotAttached { ifindex, program });
            }
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<(), TraceError> {
        self.ended = true;
        for pod_program in POD_PROGRAMS {
            let path = self.root.join("programs").join(pod_program.name);
            let mut program = SchedClassifier::from_pin(&path)
                .map_err(|source| DataplaneError::ReadProgram { path, source: Box::new(source) })?;
            // An interface that is gone needs no program.
            put(&self.root, self.ifindex, &pod_program, &mut program)?;
        }
        Ok(())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if !self.ended {
            // The agent's next verification does what fails here.
            let _ = self.restore();
        }
    }
}

/// Exchanges the program of a link or filter; `false` if there is none.
fn put(
    root: &Path,
    ifindex: u32,
    pod_program: &PodProgram,
    program: &mut SchedClassifier,
) -> Result<bool, TraceError> {
    let name = pod_program.name;
    let refused =
        |source| TraceError::Exchange { ifindex, program: name, source: Box::new(source) };
    let path = root.join("links").join(format!("{name}_{ifindex}"));
    if path.exists() {
        let Some(link) = link::open(&path, ifindex)? else { return Ok(false) };
        program.attach_to_link(link).map_err(refused)?;
        return Ok(true);
    }
    let filters = Filters::open(programs_elsewhere(root)?)?;
    let there = filters.list(ifindex, pod_program)?;
    let Some(own) = there.iter().find(|filter| filters.is_own(filter, pod_program)) else {
        return Ok(false);
    };
    FilterLink::adopted(ifindex, pod_program, own).exchange(program).map_err(refused)?;
    Ok(true)
}

/// Collects the lines of the programs.
struct Collector {
    collected: Arc<Mutex<Collected>>,
}

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
        collected.add(&record.args().to_string());
    }

    fn flush(&self) {}
}
