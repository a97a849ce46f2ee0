//! The order of programs on a hook: a program of another before the agent's can end the chain, and then
//! no policy is enforced (S50).
//!
//! Example: somebody attached `shaper` with `BPF_F_BEFORE`. A program can be on a hook only once, so a
//! second copy of it stands in while the agent's link is replaced:
//!
//! ```text
//! found                shaper, from_pod
//! the copy first       copy, shaper, from_pod
//! the link again       from_pod, copy, shaper
//! the copy removed     from_pod, shaper
//! ```

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    programs::{LinkOrder, TcAttachType, tc::TcAttachOptions},
};
use aya_obj::generated::bpf_attach_type::{self, BPF_TCX_EGRESS, BPF_TCX_INGRESS};

use super::{
    Programs,
    attached::{Attached, Mechanism},
    attachment::Attachment,
    operations::{attach_with, name, program, refused},
};
use crate::{
    dataplane::{
        error::DataplaneError,
        filters::{FilterLink, FilterPlace},
        pins::Pins,
        pod_program::PodProgram,
        syscall,
    },
    net::Filter,
};

impl Programs {
    /// The first program of another that sees packets of a hook before the agent's, in words. Those
    /// that another agent pinned do not count: they end the chain only to drop.
    pub(in crate::dataplane) fn before(
        &self,
        ifindex: u32,
        pod_program: &PodProgram,
    ) -> Result<Option<String>, DataplaneError> {
        let own = self.program_id(pod_program.name)?;
        // A kernel without TCX refuses the question.
        let on_tcx = syscall::programs_on(ifindex, tcx(pod_program.hook)).unwrap_or_default();
        let mut on_tcx = on_tcx.into_iter().take_while(|id| *id != own);
        if let Some(id) = on_tcx.find(|id| !self.filters.is_foreign(*id)) {
            return Ok(Some(match syscall::program_name(id) {
                Ok(name) if !name.is_empty() => format!("TCX program `{name}` (id {id})"),
                _ => format!("TCX program with id {id}"),
            }));
        }
        if self.mechanism == Mechanism::Tcx {
            return Ok(None);
        }
        let filters = self.filters.list(ifindex, pod_program)?;
        let other = self.others_before(&filters, own).next();
        Ok(other.map(|filter| {
            let Filter { kind, name, priority, .. } = filter;
            format!("{kind} filter `{name}` of priority {priority}")
        }))
    }

    /// The filters of a hook before the agent's, without those that another agent pinned.
    fn others_before<'a>(
        &self,
        filters: &'a [Filter],
        own: u32,
    ) -> impl Iterator<Item = &'a Filter> {
        let before = filters.iter().take_while(move |filter| filter.program != Some(own));
        before.filter(|filter| !filter.program.is_some_and(|id| self.filters.is_foreign(id)))
    }

    /// Puts the agent's program before all others on a hook, as far as the kernel allows it; not one
    /// packet passes without it meanwhile. `load` gives the same object once more; the result stays in
    /// `copy` for other hooks.
    pub(in crate::dataplane) fn put_first(
        &mut self,
        ifindex: u32,
        pod_program: &PodProgram,
        attachment: &mut Attachment,
        pins: &Pins,
        copy: &mut Option<Ebpf>,
        load: impl FnOnce() -> Result<Ebpf, DataplaneError>,
    ) -> Result<(), DataplaneError> {
        if self.mechanism == Mechanism::Clsact {
            return self.put_filter_first(ifindex, pod_program, attachment);
        }
        let interface = name(ifindex)?;
        let refused = |source| refused(pod_program, ifindex, &interface, source);
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let copy = match copy {
            Some(copy) => copy,
            None => copy.insert(load()?),
        };
        let copy = program(copy, pod_program.name)?;
        if copy.fd().is_err() {
            copy.load().map_err(refused)?;
        }
        // It goes at the end of this function, when the agent's link is first again.
        let _stand_in = attach_with(copy, pod_program, &interface, options).map_err(refused)?;
        // Dropping the link and its pin would leave the program on the hook for a moment.
        let path = pins.link(pod_program.name, ifindex);
        let detached = syscall::open_pin(&path).and_then(|link| syscall::detach_link(link.as_fd()));
        detached.map_err(|source| DataplaneError::Pins { act: "detach", path, source })?;
        drop(attachment.programs.remove(pod_program.name));
        self.attach_missing(ifindex, pod_program, attachment, pins)?;
        Ok(())
    }

    /// The same by a filter, which can be added a second time; left alone if no filter is before it, or
    /// none can be added before that one.
    fn put_filter_first(
        &mut self,
        ifindex: u32,
        pod_program: &PodProgram,
        attachment: &mut Attachment,
    ) -> Result<(), DataplaneError> {
        let interface = name(ifindex)?;
        let filters = self.filters.list(ifindex, pod_program)?;
        let place = FilterPlace::first_free(&filters);
        let own = self.program_id(pod_program.name)?;
        let other = self.others_before(&filters, own).next();
        if !other.is_some_and(|other| place.is_before(other)) {
            return Ok(());
        }
        let program = program(&mut self.ebpf, pod_program.name)?;
        let attached = FilterLink::attach(program, pod_program, (ifindex, &interface), place, true);
        let attached =
            attached.map_err(|source| refused(pod_program, ifindex, &interface, source))?;
        let attached = Attached::Filter(attached);
        if let Some(old) = attachment.programs.insert(pod_program.name, attached) {
            old.detach(ifindex)?;
        }
        Ok(())
    }
}

fn tcx(hook: TcAttachType) -> bpf_attach_type {
    match hook {
        TcAttachType::Ingress => BPF_TCX_INGRESS,
        TcAttachType::Egress | TcAttachType::Custom(_) => BPF_TCX_EGRESS,
    }
}
