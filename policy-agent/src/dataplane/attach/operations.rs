//! One kernel operation each: finds a program of the object, attaches it, names its interface.

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};

use crate::dataplane::{error::DataplaneError, interface, pod_program::PodProgram};

/// Attaches a loaded program.
pub(super) fn attach_with(
    program: &mut SchedClassifier,
    pod_program: &PodProgram,
    interface: &str,
    options: TcAttachOptions,
) -> Result<SchedClassifierLink, ProgramError> {
    let id = program.attach_with_options(interface, pod_program.hook, options)?;
    program.take_link(id)
}

/// The error of a program that could not be attached.
pub(super) fn refused(
    pod_program: &PodProgram,
    ifindex: u32,
    interface: &str,
    source: ProgramError,
) -> DataplaneError {
    DataplaneError::Attach {
        program: pod_program.name,
        ifindex,
        interface: interface.to_owned(),
        source: Box::new(source),
    }
}

/// A program of the object, to be loaded or attached.
pub(in crate::dataplane) fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, DataplaneError> {
    let program = ebpf.program_mut(name).ok_or(DataplaneError::ProgramMissing { program: name })?;
    program
        .try_into()
        .map_err(|source| DataplaneError::Rejected { program: name, source: Box::new(source) })
}

/// The name of an interface, which aya attaches by.
pub(super) fn name(ifindex: u32) -> Result<String, DataplaneError> {
    interface::name(ifindex).map_err(|source| DataplaneError::InterfaceMissing { ifindex, source })
}
