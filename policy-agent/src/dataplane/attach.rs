//! Attaches the programs to interfaces: by TCX links where the kernel has them (6.6), otherwise by
//! filters of a clsact qdisc.
//!
//! Input: an interface. Output: an [`Attachment`], the programs on it. With a folder of pins both kinds
//! outlive the agent (S48): a link because it is pinned, a filter because the qdisc holds it.
//!
//! ```text
//!                TCX link                       filter
//! found by       pin links/from_pod_12          its name, on every interface
//! exchanged      BPF_LINK_UPDATE                RTM_NEWTFILTER at its priority and handle
//! read back      fdinfo of the link             RTM_GETTFILTER
//! ```
//!
//! An agent that finds the other kind attaches its own first, and then detaches the other.

mod attached;
mod attachment;
mod mend;
mod operations;
mod order;

use std::fmt;

use aya::{
    Ebpf,
    programs::{LinkOrder, ProgramInfo, SchedClassifier, tc::TcAttachOptions},
};

pub(super) use self::operations::program as program_of;
use self::operations::{attach_with, name, program, refused};
pub(super) use self::{
    attached::{Attached, Mechanism},
    attachment::Attachment,
};
use super::{
    error::DataplaneError,
    filters::{self, FilterLink, FilterPlace, Filters},
    link,
    options::{ActiveParts, Options},
    pins::{self, Pins},
    pod_program::{POD_PROGRAMS, PodProgram},
};

/// The loaded programs.
pub(super) struct Programs {
    ebpf: Ebpf,
    parts: ActiveParts,
    mechanism: Mechanism,
    filters: Filters,
}

impl Programs {
    /// Loads both programs; the kernel verifies them.
    pub(super) fn load(
        mut ebpf: Ebpf,
        options: &Options,
        filters: Filters,
    ) -> Result<Self, DataplaneError> {
        for PodProgram { name, .. } in POD_PROGRAMS {
            program(&mut ebpf, name)?.load().map_err(|source| DataplaneError::Rejected {
                program: name,
                source: Box::new(source),
            })?;
        }
        Ok(Self { ebpf, parts: options.parts, mechanism: Mechanism::of(options), filters })
    }

    /// How programs are attached.
    pub(super) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The filters of clsact qdiscs.
    pub(super) fn filters(&mut self) -> &mut Filters {
        &mut self.filters
    }

    /// The programs that are wanted on every interface.
    pub(super) fn wanted(&self) -> impl Iterator<Item = PodProgram> + use<> {
        let directions = self.parts.directions;
        POD_PROGRAMS.into_iter().filter(move |pod_program| directions[pod_program.direction])
    }

    /// Attaches both programs to an interface, or neither.
    pub(super) fn attach(
        &mut self,
        ifindex: u32,
        pins: Option<&Pins>,
    ) -> Result<Attachment, DataplaneError> {
        let interface = name(ifindex)?;
        let mut attachment = Attachment::default();
        for pod_program in self.wanted() {
            let attached = self.attach_one(&pod_program, ifindex, &interface, pins);
            // aya attaches by name, and the name may have passed to another interface meanwhile.
            let attached = attached.and_then(|attached| {
                attachment.programs.insert(pod_program.name, attached);
                if name(ifindex)? == interface {
                    Ok(())
                } else {
                    Err(DataplaneError::InterfaceRenamed { ifindex, interface: interface.clone() })
                }
            });
            if let Err(error) = attached {
                // The first failure is the one to report.
                let _ = attachment.detach(ifindex);
                return Err(error);
            }
        }
        Ok(attachment)
    }

    /// Exchanges the programs that an earlier agent attached; does nothing for an interface that is
    /// gone.
    pub(super) fn renew(
        &mut self,
        ifindex: u32,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<(), DataplaneError> {
        if !attachment.stale {
            return Ok(());
        }
        for pod_program in POD_PROGRAMS {
            let Some(attached) = attachment.programs.get(pod_program.name) else { continue };
            if attached.mechanism() == self.mechanism {
                self.exchange(ifindex, &pod_program, attachment, pins)?;
                continue;
            }
            let replaced = match self.attach_missing(ifindex, &pod_program, attachment, pins) {
                Err(DataplaneError::InterfaceMissing { .. }) => return Ok(()),
                replaced => replaced?,
            };
            if let Some(other) = replaced {
                other.detach(ifindex)?;
            }
        }
        for other in std::mem::take(&mut attachment.left) {
            other.detach(ifindex)?;
        }
        attachment.stale = false;
        Ok(())
    }

    /// The kernel id of a program.
    pub(super) fn program_id(&self, name: &'static str) -> Result<u32, DataplaneError> {
        self.info(name).map(|info| info.id())
    }

    /// How many instructions the verifier walked through; `None` if the kernel does not report it.
    pub(super) fn verified_instructions(
        &self,
        name: &'static str,
    ) -> Result<Option<u32>, DataplaneError> {
        self.info(name).map(|info| info.verified_instruction_count())
    }

    /// What the kernel reports about a program.
    fn info(&self, name: &'static str) -> Result<ProgramInfo, DataplaneError> {
        let missing = || DataplaneError::ProgramMissing { program: name };
        let program = self.ebpf.program(name).ok_or_else(missing)?;
        let program: Result<&SchedClassifier, _> = program.try_into();
        let info = program.and_then(SchedClassifier::info);
        info.map_err(|source| DataplaneError::Rejected { program: name, source: Box::new(source) })
    }

    /// Pins the programs, in place of those of an earlier agent.
    pub(super) fn pin(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        for PodProgram { name, .. } in POD_PROGRAMS {
            let path = pins.program(name);
            pins::remove(&path)?;
            let pinned = program(&mut self.ebpf, name)?.pin(&path);
            pinned.map_err(|source| DataplaneError::Pin { path, source: Box::new(source) })?;
        }
        Ok(())
    }

    /// Attaches a program; with pins it outlives the agent.
    fn attach_one(
        &mut self,
        pod_program: &PodProgram,
        ifindex: u32,
        interface: &str,
        pins: Option<&Pins>,
    ) -> Result<Attached, DataplaneError> {
        if self.mechanism == Mechanism::Clsact {
            return self.attach_filter(pod_program, (ifindex, interface), pins.is_some());
        }
        // First in the chain: a program of another before it could pass a packet and end the chain.
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = attach_with(
            program(&mut self.ebpf, pod_program.name)?,
            pod_program,
            interface,
            options,
        );
        let link = link.map_err(|source| refused(pod_program, ifindex, interface, source))?;
        let Some(pins) = pins else { return Ok(Attached::Link { link, pin: None }) };
        let path = pins.link(pod_program.name, ifindex);
        pins::remove(&path)?;
        Ok(Attached::Link { link: link::pin(link, &path)?, pin: Some(path) })
    }

    /// Attaches a program by a filter. An own filter that is there already is exchanged: an earlier
    /// agent left it.
    fn attach_filter(
        &mut self,
        pod_program: &PodProgram,
        (ifindex, interface): (u32, &str),
        outlives: bool,
    ) -> Result<Attached, DataplaneError> {
        let refused = |source| refused(pod_program, ifindex, interface, source);
        filters::add_clsact(interface).map_err(|error| refused(error.into()))?;
        let there = self.filters.list(ifindex, pod_program)?;
        let program = program(&mut self.ebpf, pod_program.name)?;
        let own = there.iter().find(|filter| self.filters.is_own(filter, pod_program));
        if outlives && let Some(filter) = own {
            let filter = FilterLink::adopted(ifindex, pod_program, filter);
            filter.exchange(program).map_err(refused)?;
            return Ok(Attached::Filter(filter));
        }
        let place = FilterPlace::first_free(&there);
        FilterLink::attach(program, pod_program, (ifindex, interface), place, outlives)
            .map(Attached::Filter)
            .map_err(refused)
    }

    /// Gives a link or filter this agent's program, atomically.
    fn exchange(
        &mut self,
        ifindex: u32,
        pod_program: &PodProgram,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<(), DataplaneError> {
        let name = pod_program.name;
        let refused =
            |source| DataplaneError::Renew { program: name, ifindex, source: Box::new(source) };
        let program = program(&mut self.ebpf, name)?;
        match attachment.programs.get_mut(name) {
            Some(Attached::Filter(filter)) => match filter.exchange(program) {
                // Somebody removed it, or its interface is gone.
                Err(error) if filters::is_gone(&error) => {
                    match self.attach_missing(ifindex, pod_program, attachment, pins) {
                        Err(DataplaneError::InterfaceMissing { .. }) => Ok(()),
                        attached => attached.map(drop),
                    }
                }
                result => result.map_err(refused),
            },
            Some(Attached::Link { link, .. }) => {
                // aya closes the link if the update fails; the pin still holds it.
                let open = link::open(&pins.link(name, ifindex), ifindex)?;
                let Some(open) = open else { return Ok(()) };
                let exchanged = program.attach_to_link(open).and_then(|id| program.take_link(id));
                *link = exchanged.map_err(refused)?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ebpf: _, parts, mechanism, filters } = self;
        f.debug_struct("Programs")
            .field("parts", parts)
            .field("mechanism", mechanism)
            .field("filters", filters)
            .finish_non_exhaustive()
    }
}
