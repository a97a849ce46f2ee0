//! Repairs links and filters that another process detached, gave another program, or unpinned.

use super::{
    Programs,
    attached::{Attached, Mechanism},
    attachment::Attachment,
    operations::name,
};
use crate::dataplane::{
    error::DataplaneError,
    filters::{FilterLink, FilterPlace},
    link,
    pins::{self, Pins},
    pod_program::PodProgram,
};

impl Programs {
    /// Repairs both programs of an interface; returns how many needed it.
    pub(in crate::dataplane) fn mend(
        &mut self,
        ifindex: u32,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<usize, DataplaneError> {
        let mut count = 0;
        for pod_program in self.wanted() {
            let was_intact = match self.mechanism {
                Mechanism::Tcx => self.repair_link(ifindex, &pod_program, attachment, pins)?,
                Mechanism::Clsact => self.repair_filter(ifindex, &pod_program, attachment, pins)?,
            };
            count += usize::from(!was_intact);
        }
        Ok(count)
    }

    /// Repairs one link if necessary; returns whether it was intact.
    fn repair_link(
        &mut self,
        ifindex: u32,
        pod_program: &PodProgram,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<bool, DataplaneError> {
        let path = pins.link(pod_program.name, ifindex);
        let was_pinned = path.exists();
        if !was_pinned
            && let Some(Attached::Link { link, .. }) = attachment.programs.remove(pod_program.name)
        {
            let link = link::pin(link, &path)?;
            attachment.add(pod_program.name, Attached::Link { link, pin: Some(path.clone()) });
        }
        if path.exists() {
            let state = link::state(&path);
            let state = state.map_err(|source| DataplaneError::Pins {
                act: "read",
                path: path.clone(),
                source,
            })?;
            if state.ifindex == Some(ifindex) {
                let is_own = state.program == Some(self.program_id(pod_program.name)?);
                if !is_own {
                    self.exchange(ifindex, pod_program, attachment, pins)?;
                }
                return Ok(was_pinned && is_own);
            }
        }
        // A program can be attached to a hook only once, so the rest of the old link goes first.
        pins::remove(&path)?;
        drop(attachment.programs.remove(pod_program.name));
        self.attach_missing(ifindex, pod_program, attachment, pins)?;
        Ok(false)
    }

    /// Repairs one filter if necessary; returns whether it was intact.
    fn repair_filter(
        &mut self,
        ifindex: u32,
        pod_program: &PodProgram,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<bool, DataplaneError> {
        let filters = self.filters.list(ifindex, pod_program)?;
        let place = match attachment.programs.get(pod_program.name) {
            Some(Attached::Filter(filter)) => Some(filter.place()),
            Some(Attached::Link { .. }) | None => None,
        };
        let own = filters.into_iter().filter(|filter| self.filters.is_own(filter, pod_program));
        let own: Vec<_> = own.collect();
        let at_place = |filter: &_| Some(FilterPlace::of(filter)) == place;
        let Some(filter) = own.iter().find(|filter| at_place(filter)).or(own.first()) else {
            self.attach_missing(ifindex, pod_program, attachment, pins)?;
            return Ok(false);
        };
        let is_whole =
            at_place(filter) && filter.program == Some(self.program_id(pod_program.name)?);
        if !is_whole {
            let adopted = FilterLink::adopted(ifindex, pod_program, filter);
            attachment.programs.insert(pod_program.name, Attached::Filter(adopted));
            self.exchange(ifindex, pod_program, attachment, pins)?;
        }
        Ok(is_whole)
    }

    /// Attaches a program to an interface, and returns what this replaced in `attachment`.
    pub(super) fn attach_missing(
        &mut self,
        ifindex: u32,
        pod_program: &PodProgram,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<Option<Attached>, DataplaneError> {
        let interface = name(ifindex)?;
        let attached = self.attach_one(pod_program, ifindex, &interface, Some(pins))?;
        Ok(attachment.programs.insert(pod_program.name, attached))
    }
}
