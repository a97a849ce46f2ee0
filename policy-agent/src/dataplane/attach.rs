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
mod mend;
mod order;

use std::{collections::BTreeMap, fmt};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, ProgramInfo, SchedClassifier,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
    util::KernelVersion,
};

pub(super) use self::attached::Attached;
use super::{
    classifier::{CLASSIFIERS, Classifier},
    error::DataplaneError,
    filters::{self, FilterLink, Filters, Place},
    interface, link,
    options::{ActiveParts, Options},
    pins::{self, Pins},
};

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// By TCX links.
    Tcx,
    /// By filters of a clsact qdisc.
    Clsact,
}

/// The loaded programs.
pub(super) struct Classifiers {
    ebpf: Ebpf,
    parts: ActiveParts,
    mechanism: Mechanism,
    filters: Filters,
}

/// The programs on one interface; dropping it detaches those that do not outlive the agent.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    programs: BTreeMap<&'static str, Attached>,
    /// What an interrupted change of the mechanism left, to be detached.
    left: Vec<Attached>,
    /// Whether an earlier agent's programs may still be attached.
    stale: bool,
}

impl Mechanism {
    /// The mechanism of this kernel, or the one that the options ask for.
    pub(super) fn of(options: &Options) -> Self {
        let has_tcx =
            KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
        if has_tcx && !options.clsact { Self::Tcx } else { Self::Clsact }
    }
}

impl Classifiers {
    /// Loads both programs; the kernel verifies them.
    pub(super) fn load(
        mut ebpf: Ebpf,
        options: &Options,
        filters: Filters,
    ) -> Result<Self, DataplaneError> {
        for Classifier { name, .. } in CLASSIFIERS {
            program(&mut ebpf, name)?.load().map_err(|source| DataplaneError::Classifier {
                classifier: name,
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
    pub(super) fn wanted(&self) -> impl Iterator<Item = Classifier> + use<> {
        let directions = self.parts.directions;
        CLASSIFIERS.into_iter().filter(move |classifier| directions[classifier.direction])
    }

    /// Attaches both programs to an interface, or neither.
    pub(super) fn attach(
        &mut self,
        ifindex: u32,
        pins: Option<&Pins>,
    ) -> Result<Attachment, DataplaneError> {
        let interface = name(ifindex)?;
        let mut attachment = Attachment::default();
        for classifier in self.wanted() {
            let attached = self.attach_one(&classifier, ifindex, &interface, pins);
            // aya attaches by name, and the name may have passed to another interface meanwhile.
            let attached = attached.and_then(|attached| {
                attachment.programs.insert(classifier.name, attached);
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
        for classifier in CLASSIFIERS {
            let Some(attached) = attachment.programs.get(classifier.name) else { continue };
            if attached.mechanism() == self.mechanism {
                self.exchange(ifindex, &classifier, attachment, pins)?;
                continue;
            }
            let replaced = match self.attach_missing(ifindex, &classifier, attachment, pins) {
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
    pub(super) fn program_id(&self, classifier: &'static str) -> Result<u32, DataplaneError> {
        self.info(classifier).map(|info| info.id())
    }

    /// How many instructions the verifier walked through; `None` if the kernel does not report it.
    pub(super) fn verified_instructions(
        &self,
        classifier: &'static str,
    ) -> Result<Option<u32>, DataplaneError> {
        self.info(classifier).map(|info| info.verified_instruction_count())
    }

    /// What the kernel reports about a program.
    fn info(&self, classifier: &'static str) -> Result<ProgramInfo, DataplaneError> {
        let missing = || DataplaneError::ClassifierMissing { classifier };
        let program = self.ebpf.program(classifier).ok_or_else(missing)?;
        let program: Result<&SchedClassifier, _> = program.try_into();
        let info = program.and_then(SchedClassifier::info);
        info.map_err(|source| DataplaneError::Classifier { classifier, source: Box::new(source) })
    }

    /// Pins the programs, in place of those of an earlier agent.
    pub(super) fn pin(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        for Classifier { name, .. } in CLASSIFIERS {
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
        classifier: &Classifier,
        ifindex: u32,
        interface: &str,
        pins: Option<&Pins>,
    ) -> Result<Attached, DataplaneError> {
        if self.mechanism == Mechanism::Clsact {
            return self.attach_filter(classifier, (ifindex, interface), pins.is_some());
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link =
            attach_with(program(&mut self.ebpf, classifier.name)?, classifier, interface, options);
        let link = link.map_err(|source| refused(classifier, ifindex, interface, source))?;
        let Some(pins) = pins else { return Ok(Attached::Link { link, pin: None }) };
        let path = pins.link(classifier.name, ifindex);
        pins::remove(&path)?;
        Ok(Attached::Link { link: link::pin(link, &path)?, pin: Some(path) })
    }

    /// Attaches a program by a filter. An own filter that is there already is exchanged: an earlier
    /// agent left it.
    fn attach_filter(
        &mut self,
        classifier: &Classifier,
        (ifindex, interface): (u32, &str),
        outlives: bool,
    ) -> Result<Attached, DataplaneError> {
        let refused = |source| refused(classifier, ifindex, interface, source);
        filters::add_clsact(interface).map_err(|error| refused(error.into()))?;
        let there = self.filters.list(ifindex, classifier)?;
        let program = program(&mut self.ebpf, classifier.name)?;
        let own = there.iter().find(|filter| self.filters.is_own(filter, classifier));
        if outlives && let Some(filter) = own {
            let filter = FilterLink::adopted(ifindex, classifier, filter);
            filter.exchange(program).map_err(refused)?;
            return Ok(Attached::Filter(filter));
        }
        let place = Place::first_free(&there);
        FilterLink::attach(program, classifier, (ifindex, interface), place, outlives)
            .map(Attached::Filter)
            .map_err(refused)
    }

    /// Gives a link or filter this agent's program, atomically.
    fn exchange(
        &mut self,
        ifindex: u32,
        classifier: &Classifier,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<(), DataplaneError> {
        let name = classifier.name;
        let refused =
            |source| DataplaneError::Renew { classifier: name, ifindex, source: Box::new(source) };
        let program = program(&mut self.ebpf, name)?;
        match attachment.programs.get_mut(name) {
            Some(Attached::Filter(filter)) => match filter.exchange(program) {
                // Somebody removed it, or its interface is gone.
                Err(error) if filters::is_gone(&error) => {
                    match self.attach_missing(ifindex, classifier, attachment, pins) {
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

impl fmt::Debug for Classifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ebpf: _, parts, mechanism, filters } = self;
        f.debug_struct("Classifiers")
            .field("parts", parts)
            .field("mechanism", mechanism)
            .field("filters", filters)
            .finish_non_exhaustive()
    }
}

impl Attachment {
    /// An attachment of an earlier agent, to which its programs are added.
    pub(super) fn stale() -> Self {
        Self { stale: true, ..Self::default() }
    }

    /// Adds a program that an earlier agent attached.
    pub(super) fn add(&mut self, classifier: &'static str, attached: Attached) {
        self.left.extend(self.programs.insert(classifier, attached));
    }

    /// Whether no wanted program is missing.
    pub(super) fn is_whole(&self) -> bool {
        !self.stale || self.programs.len() == CLASSIFIERS.len()
    }

    /// Detaches the programs; an interface that is gone has none any more.
    pub(super) fn detach(self, ifindex: u32) -> Result<(), DataplaneError> {
        // All of them, even if one fails.
        let all = self.programs.into_values().chain(self.left);
        let results: Vec<_> = all.map(|attached| attached.detach(ifindex)).collect();
        results.into_iter().collect()
    }
}

/// Attaches a loaded program.
pub(super) fn attach_with(
    program: &mut SchedClassifier,
    classifier: &Classifier,
    interface: &str,
    options: TcAttachOptions,
) -> Result<SchedClassifierLink, ProgramError> {
    let id = program.attach_with_options(interface, classifier.hook, options)?;
    program.take_link(id)
}

/// The error of a program that could not be attached.
fn refused(
    classifier: &Classifier,
    ifindex: u32,
    interface: &str,
    source: ProgramError,
) -> DataplaneError {
    DataplaneError::Attach {
        classifier: classifier.name,
        ifindex,
        interface: interface.to_owned(),
        source: Box::new(source),
    }
}

fn program<'a>(
    ebpf: &'a mut Ebpf,
    classifier: &'static str,
) -> Result<&'a mut SchedClassifier, DataplaneError> {
    let program =
        ebpf.program_mut(classifier).ok_or(DataplaneError::ClassifierMissing { classifier })?;
    program
        .try_into()
        .map_err(|source| DataplaneError::Classifier { classifier, source: Box::new(source) })
}

fn name(ifindex: u32) -> Result<String, DataplaneError> {
    interface::name(ifindex).map_err(|source| DataplaneError::InterfaceMissing { ifindex, source })
}
