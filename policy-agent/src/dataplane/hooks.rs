//! Reads which programs are attached to an interface, the agent's and others'.

use aya::programs::{ProgramError, SchedClassifier, TcAttachType};

use super::error::DataplaneError;

/// A program on a hook, the agent's or another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookedProgram {
    /// Its kernel id.
    pub id: u32,
    /// Its name; empty if it has none, or one that is not UTF-8.
    pub name: String,
    /// A hash of its instructions, as bpftool shows it.
    pub tag: u64,
}

/// Programs on the TCX hooks of an interface, in the order in which they see a packet.
///
/// Filters of a clsact qdisc, as before Linux 6.6, are not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Those that see packets from the pod.
    pub from_pod: Vec<HookedProgram>,
    /// Those that see packets to the pod.
    pub to_pod: Vec<HookedProgram>,
}

/// Reads the TCX hooks of an interface of the calling thread's network namespace.
///
/// Needs `CAP_SYS_ADMIN`, because it opens programs of others by id.
///
/// # Errors
///
/// [`DataplaneError::Hooks`], also on a kernel without TCX.
pub fn hooks(interface: &str) -> Result<Hooks, DataplaneError> {
    let query = |hook| {
        programs(interface, hook).map_err(|source| DataplaneError::Hooks {
            interface: interface.to_owned(),
            source: Box::new(source),
        })
    };
    Ok(Hooks { from_pod: query(TcAttachType::Ingress)?, to_pod: query(TcAttachType::Egress)? })
}

fn programs(interface: &str, hook: TcAttachType) -> Result<Vec<HookedProgram>, ProgramError> {
    let (_, programs) = SchedClassifier::query_tcx(interface, hook)?;
    let programs = programs.iter().map(|program| HookedProgram {
        id: program.id(),
        name: program.name_as_str().unwrap_or_default().to_owned(),
        tag: program.tag(),
    });
    Ok(programs.collect())
}
