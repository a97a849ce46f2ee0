//! Repairs links and filters that another process detached, gave another program, or unpinned.

use super::{Attached, Attachment, Classifiers, Mechanism, name};
use crate::dataplane::{
    classifier::Classifier,
    error::DataplaneError,
    filters::{FilterLink, Place},
    link,
    pins::{self, Pins},
};

impl Classifiers {
    /// Repairs both programs of an interface; returns how many needed it.
    pub(in crate::dataplane) fn mend(
        &mut self,
        ifindex: u32,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<usize, DataplaneError> {
        let mut count = 0;
        for classifier in self.wanted() {
            let was_intact = match self.mechanism {
                Mechanism::Tcx => self.repair_link(ifindex, &classifier, attachment, pins)?,
                Mechanism::Clsact => self.repair_filter(ifindex, &classifier, attachment, pins)?,
            };
            count += usize::from(!was_intact);
        }
        Ok(count)
    }

    /// Repairs one link if necessary; returns whether it was intact.
    fn repair_link(
        &mut self,
        ifindex: u32,
        classifier: &Classifier,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<bool, DataplaneError> {
        let path = pins.link(classifier.name, ifindex);
        let was_pinned = path.exists();
        if !was_pinned
            && let Some(Attached::Link { link, .. }) = attachment.programs.remove(classifier.name)
        {
            let link = link::pin(link, &path)?;
            attachment.add(classifier.name, Attached::Link { link, pin: Some(path.clone()) });
        }
        if path.exists() {
            let state = link::state(&path);
            let state = state.map_err(|source| DataplaneError::Pins {
                act: "read",
                path: path.clone(),
                source,
            })?;
            if state.ifindex == Some(ifindex) {
                let is_own = state.program == Some(self.program_id(classifier.name)?);
                if !is_own {
                    self.exchange(ifindex, classifier, attachment, pins)?;
                }
                return Ok(was_pinned && is_own);
            }
        }
        // A program can be attached to a hook only once, so the rest of the old link goes first.
        pins::remove(&path)?;
        drop(attachment.programs.remove(classifier.name));
        self.attach_missing(ifindex, classifier, attachment, pins)?;
        Ok(false)
    }

    /// Repairs one filter if necessary; returns whether it was intact.
    fn repair_filter(
        &mut self,
        ifindex: u32,
        classifier: &Classifier,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<bool, DataplaneError> {
        let filters = self.filters.list(ifindex, classifier)?;
        let place = match attachment.programs.get(classifier.name) {
            Some(Attached::Filter(filter)) => Some(filter.place()),
            Some(Attached::Link { .. }) | None => None,
        };
        let own = filters.into_iter().filter(|filter| self.filters.is_own(filter, classifier));
        let own: Vec<_> = own.collect();
        let at_place = |filter: &_| Some(Place::of(filter)) == place;
        let Some(filter) = own.iter().find(|filter| at_place(filter)).or(own.first()) else {
            self.attach_missing(ifindex, classifier, attachment, pins)?;
            return Ok(false);
        };
        let is_whole =
            at_place(filter) && filter.program == Some(self.program_id(classifier.name)?);
        if !is_whole {
            let adopted = FilterLink::adopted(ifindex, classifier, filter);
            attachment.programs.insert(classifier.name, Attached::Filter(adopted));
            self.exchange(ifindex, classifier, attachment, pins)?;
        }
        Ok(is_whole)
    }

    /// Attaches a program to an interface, and returns what this replaced in `attachment`.
    pub(super) fn attach_missing(
        &mut self,
        ifindex: u32,
        classifier: &Classifier,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<Option<Attached>, DataplaneError> {
        let interface = name(ifindex)?;
        let attached = self.attach_one(classifier, ifindex, &interface, Some(pins))?;
        Ok(attachment.programs.insert(classifier.name, attached))
    }
}
