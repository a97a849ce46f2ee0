//! The agent's filters on clsact qdiscs, where the kernel has no TCX links (before 6.6).
//!
//! A filter needs no pin: the qdisc holds it, and it goes with the interface. It belongs to the agent
//! if it has a program's name, and no folder of another agent's pins holds its program. Filters of
//! others are left alone, whatever their priority.
//!
//! Example: another program holds priority 1 at handle 1. The agent takes handle 2 of the same
//! priority, because the newest filter of a priority sees a packet first (`cls_bpf_change` in
//! `net/sched/cls_bpf.c`).
//!
//! ```text
//! before   priority 1: handle 1 "theirs"
//! after    priority 1: handle 2 "from_pod", handle 1 "theirs"
//! ```

use std::{collections::BTreeSet, io};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    links::Link as _,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use nix::{libc, net::if_::if_nameindex};

use super::{
    error::DataplaneError,
    interface,
    pod_program::{POD_PROGRAMS, PodProgram},
};
use crate::net::{Filter, FilterHook, FilterReader};

/// Reads filters, and recognises the agent's.
#[derive(Debug)]
pub(super) struct Filters {
    reader: FilterReader,
    /// Programs that other agents pinned: their filters have the same names.
    foreign: BTreeSet<u32>,
}

/// A filter of the agent.
#[derive(Debug)]
pub(super) struct FilterLink {
    ifindex: u32,
    hook: TcAttachType,
    /// Where it is among the filters of its hook.
    place: FilterPlace,
    /// Whether it stays when this value is dropped.
    outlives: bool,
}

/// A filter's priority and handle, unique on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterPlace {
    priority: u16,
    handle: u32,
}

impl Filters {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open(foreign: BTreeSet<u32>) -> Result<Self, DataplaneError> {
        let reader = FilterReader::open().map_err(DataplaneError::FilterSocket)?;
        Ok(Self { reader, foreign })
    }

    /// Replaces the programs that other agents pinned.
    pub(super) fn set_foreign(&mut self, foreign: BTreeSet<u32>) {
        self.foreign = foreign;
    }

    /// The filters on the hook of a program, first the one that sees a packet first.
    pub(super) fn list(
        &self,
        ifindex: u32,
        pod_program: &PodProgram,
    ) -> Result<Vec<Filter>, DataplaneError> {
        let hook = match pod_program.hook {
            TcAttachType::Ingress => FilterHook::Ingress,
            TcAttachType::Egress | TcAttachType::Custom(_) => FilterHook::Egress,
        };
        let listed = self.reader.list(ifindex, hook);
        listed.map_err(|source| DataplaneError::Filters { ifindex, source: Box::new(source) })
    }

    /// Whether another agent pinned a program.
    pub(super) fn is_foreign(&self, program: u32) -> bool {
        self.foreign.contains(&program)
    }

    /// Whether a filter is the agent's.
    pub(super) fn is_own(&self, filter: &Filter, pod_program: &PodProgram) -> bool {
        let is_foreign = filter.program.is_some_and(|program| self.is_foreign(program));
        filter.kind == "bpf" && filter.name == pod_program.name && !is_foreign
    }

    /// The agent's filters on all interfaces of the namespace, each with the index of its interface and
    /// the name of its program.
    pub(super) fn find_all(&self) -> Result<Vec<(u32, &'static str, FilterLink)>, DataplaneError> {
        let interfaces = if_nameindex().map_err(DataplaneError::ListInterfaces)?;
        let mut found = Vec::new();
        for interface in &interfaces {
            let ifindex = interface.index();
            for pod_program in POD_PROGRAMS {
                let own = self.list(ifindex, &pod_program)?.into_iter();
                let own = own.filter(|filter| self.is_own(filter, &pod_program));
                found.extend(own.map(|filter| {
                    (ifindex, pod_program.name, FilterLink::adopted(ifindex, &pod_program, &filter))
                }));
            }
        }
        Ok(found)
    }
}

impl FilterPlace {
    /// Where a filter is.
    pub(super) fn of(filter: &Filter) -> Self {
        Self { priority: filter.priority, handle: filter.handle }
    }

    /// Whether a new filter here sees packets before another one.
    pub(super) fn is_before(self, other: &Filter) -> bool {
        self.priority <= other.priority
    }

    /// The free place that sees packets first. A priority takes filters of one kind and protocol.
    pub(super) fn first_free(filters: &[Filter]) -> Self {
        // Filters come in the order in which they see a packet; within a priority the newest is
        // first:
        //   bpf at 1/1, bpf at 1/3, u32 at 2     1/4: before all of them
        //   u32 at 1                             2/1: priority 1 takes no filter of another kind
        //   bpf for IPv4 only at 1               2/1: nor one of another protocol
        let mut place = Self { priority: 1, handle: 1 };
        for filter in filters {
            if filter.priority < place.priority {
                continue;
            }
            if filter.priority > place.priority {
                break;
            }
            if filter.kind == "bpf" && filter.is_for_every_protocol {
                place.handle = place.handle.max(filter.handle.saturating_add(1));
            } else {
                place = Self { priority: place.priority.saturating_add(1), handle: 1 };
            }
        }
        place
    }
}

impl FilterLink {
    /// A filter that was found on an interface.
    pub(super) fn adopted(ifindex: u32, pod_program: &PodProgram, filter: &Filter) -> Self {
        Self { ifindex, hook: pod_program.hook, place: FilterPlace::of(filter), outlives: true }
    }

    /// Adds a filter with a program.
    pub(super) fn attach(
        program: &mut SchedClassifier,
        pod_program: &PodProgram,
        (ifindex, interface): (u32, &str),
        place: FilterPlace,
        outlives: bool,
    ) -> Result<Self, ProgramError> {
        let options = NlOptions {
            priority: place.priority,
            handle: TcHandle::from(place.handle),
            classid: None,
        };
        let hook = pod_program.hook;
        let id = program.attach_with_options(interface, hook, TcAttachOptions::Netlink(options))?;
        // The qdisc holds the filter; aya's value would remove it when it is dropped.
        std::mem::forget(program.take_link(id)?);
        Ok(Self { ifindex, hook, place, outlives })
    }

    /// Where it is among the filters of its hook.
    pub(super) fn place(&self) -> FilterPlace {
        self.place
    }

    /// Gives the filter another program, atomically.
    pub(super) fn exchange(&self, program: &mut SchedClassifier) -> Result<(), ProgramError> {
        let Some(link) = self.link().map_err(TcError::IoError)? else { return Ok(()) };
        let id = program.attach_to_link(link)?;
        std::mem::forget(program.take_link(id)?);
        Ok(())
    }

    /// Removes the filter, unless it or its interface is gone.
    pub(super) fn detach(mut self) -> Result<(), ProgramError> {
        self.outlives = true;
        self.remove()
    }

    fn remove(&self) -> Result<(), ProgramError> {
        let Some(link) = self.link().map_err(TcError::IoError)? else { return Ok(()) };
        match link.detach() {
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        }
    }

    /// The filter as aya's value, which removes it when it is dropped; `None` if the interface is gone.
    fn link(&self) -> io::Result<Option<SchedClassifierLink>> {
        let Self { ifindex, hook, place: FilterPlace { priority, handle }, .. } = *self;
        let Ok(name) = interface::name(ifindex) else { return Ok(None) };
        SchedClassifierLink::attached(&name, hook, priority, handle.into(), None).map(Some)
    }
}

impl Drop for FilterLink {
    fn drop(&mut self) {
        if !self.outlives {
            // Nobody is left to report a failure to.
            let _ = self.remove();
        }
    }
}

/// Adds the clsact qdisc that filters need; it is never removed, because others may use it.
pub(super) fn add_clsact(interface: &str) -> Result<(), TcError> {
    match tc::qdisc_add_clsact(interface) {
        Err(TcError::AlreadyAttached) => Ok(()),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

/// Whether an interface, its qdisc or its filter is gone (`ENODEV`, `EINVAL`, `ENOENT`).
#[expect(clippy::wildcard_enum_match_arm, reason = "two of many are netlink's")]
pub(super) fn is_gone(error: &ProgramError) -> bool {
    let errno = match error {
        ProgramError::NetlinkError(error) | ProgramError::TcError(TcError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        _ => None,
    };
    matches!(errno, Some(libc::ENODEV | libc::EINVAL | libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(kind: &str, priority: u16, handle: u32) -> Filter {
        let is_for_every_protocol = kind == "bpf";
        Filter {
            kind: kind.to_owned(),
            priority,
            handle,
            is_for_every_protocol,
            ..Filter::default()
        }
    }

    #[test]
    fn the_first_free_place_is_before_other_programs_where_the_kernel_allows_it() {
        #[rustfmt::skip]
        let cases: [(&str, &[Filter], (u16, u32)); 4] = [
            ("nobody is there",                 &[],                                             (1, 1)),
            ("a program at the same priority",  &[filter("bpf", 1, 7), filter("bpf", 1, 2)],     (1, 8)),
            ("a program at a later priority",   &[filter("bpf", 2, 1)],                          (1, 1)),
            ("a priority of another kind",      &[filter("u32", 1, 1), filter("u32", 1, 2), filter("bpf", 2, 1)], (2, 2)),
        ];
        for (claim, filters, (priority, handle)) in cases {
            assert_eq!(
                FilterPlace::first_free(filters),
                FilterPlace { priority, handle },
                "{claim}"
            );
        }
    }

    #[test]
    fn a_filter_is_own_by_its_name_unless_another_agent_pinned_its_program() {
        let Ok(filters) = Filters::open(BTreeSet::from([9])) else { panic!("no netlink socket") };
        let [to_pod, _] = POD_PROGRAMS;
        let named = |name: &str, program| Filter {
            name: name.to_owned(),
            program: Some(program),
            ..filter("bpf", 1, 1)
        };
        assert!(filters.is_own(&named("to_pod", 8), &to_pod));
        assert!(!filters.is_own(&named("to_pod", 9), &to_pod), "pinned elsewhere");
        assert!(!filters.is_own(&named("from_pod", 8), &to_pod), "of the other hook");
        assert!(!filters.is_own(&named("theirs", 8), &to_pod));
    }
}
