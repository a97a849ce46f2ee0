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

use super::{Attached, Attachment, Classifiers, Mechanism, attach_with, name, program, refused};
use crate::{
    dataplane::{
        classifier::Classifier,
        error::DataplaneError,
        filters::{FilterLink, Place},
        pins::Pins,
        syscall,
    },
    net::Filter,
};

impl Classifiers {
    /// The programs of others that see packets of a hook before the agent's, by name. Those that
    /// another agent pinned do not count: they end the chain only to drop.
    pub(in crate::dataplane) fn before(
        &self,
        ifindex: u32,
        classifier: &Classifier,
    ) -> Result<Vec<String>, DataplaneError> {
        let own = self.program_id(classifier.name)?;
        // A kernel without TCX refuses the question.
        let on_tcx = syscall::programs_on(ifindex, tcx(classifier.hook)).unwrap_or_default();
        let on_tcx = on_tcx.into_iter().take_while(|id| *id != own);
        let on_tcx =
            on_tcx.filter(|id| !self.filters.is_foreign(*id)).map(
                |id| match syscall::program_name(id) {
                    Ok(name) if !name.is_empty() => format!("TCX program `{name}` (id {id})"),
                    _ => format!("TCX program with id {id}"),
                },
            );
        let mut before: Vec<String> = on_tcx.collect();
        if self.mechanism == Mechanism::Clsact {
            let filters = self.filters.list(ifindex, classifier)?.into_iter();
            let filters = filters.take_while(|filter| filter.program != Some(own));
            let others = filters.filter(|filter| {
                !filter.program.is_some_and(|program| self.filters.is_foreign(program))
            });
            before.extend(others.map(|filter| {
                let Filter { kind, name, priority, .. } = filter;
                format!("{kind} filter `{name}` of priority {priority}")
            }));
        }
        Ok(before)
    }

    /// Puts the agent's program before all others on a hook, as far as the kernel allows it; not one
    /// packet passes without it meanwhile. `copy` is the same object, loaded once more.
    pub(in crate::dataplane) fn put_first(
        &mut self,
        ifindex: u32,
        classifier: &Classifier,
        attachment: &mut Attachment,
        pins: &Pins,
        copy: &mut Ebpf,
    ) -> Result<(), DataplaneError> {
        let interface = name(ifindex)?;
        let refused = |source| refused(classifier, ifindex, &interface, source);
        if self.mechanism == Mechanism::Clsact {
            let filters = self.filters.list(ifindex, classifier)?;
            let place = Place::first_free(&filters);
            if filters.first().is_some_and(|first| place.is_before(first)) {
                let program = program(&mut self.ebpf, classifier.name)?;
                let at = (ifindex, &*interface);
                let own = FilterLink::attach(program, classifier, at, place, true);
                let own = Attached::Filter(own.map_err(refused)?);
                if let Some(old) = attachment.programs.insert(classifier.name, own) {
                    old.detach(ifindex)?;
                }
            }
            return Ok(());
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let copy = program(copy, classifier.name)?;
        if copy.fd().is_err() {
            copy.load().map_err(refused)?;
        }
        // It goes at the end of this function, when the agent's link is first again.
        let _stand_in = attach_with(copy, classifier, &interface, options).map_err(refused)?;
        // Dropping the link and its pin would leave the program on the hook for a moment.
        let path = pins.link(classifier.name, ifindex);
        let detached = syscall::open_pin(&path).and_then(|link| syscall::detach_link(link.as_fd()));
        detached.map_err(|source| DataplaneError::Pins { act: "detach", path, source })?;
        drop(attachment.programs.remove(classifier.name));
        let own = self.attach_one(classifier, ifindex, &interface, Some(pins))?;
        attachment.programs.insert(classifier.name, own);
        Ok(())
    }
}

fn tcx(hook: TcAttachType) -> bpf_attach_type {
    match hook {
        TcAttachType::Ingress => BPF_TCX_INGRESS,
        TcAttachType::Egress | TcAttachType::Custom(_) => BPF_TCX_EGRESS,
    }
}
