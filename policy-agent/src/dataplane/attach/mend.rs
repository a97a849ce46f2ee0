//! Repairs links that another process detached, gave another program, or unpinned.

use super::{Attachment, Classifiers, name, program};
use crate::dataplane::{
    classifier::{CLASSIFIERS, Classifier},
    error::DataplaneError,
    link,
    pins::{self, Pins},
};

impl Classifiers {
    /// Repairs both links of an interface; returns how many needed it.
    pub(in crate::dataplane) fn mend(
        &mut self,
        ifindex: u32,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<usize, DataplaneError> {
        let mut count = 0;
        for classifier in CLASSIFIERS {
            if self.parts.directions[classifier.direction] {
                count += usize::from(!self.repair(ifindex, &classifier, attachment, pins)?);
            }
        }
        Ok(count)
    }

    /// Repairs one link if necessary; returns whether it was intact.
    fn repair(
        &mut self,
        ifindex: u32,
        hook: &Classifier,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<bool, DataplaneError> {
        let classifier = hook.name;
        let path = pins.link(classifier, ifindex);
        let was_pinned = path.exists();
        if !was_pinned && let Some(open) = attachment.links.remove(classifier) {
            attachment.links.insert(classifier, link::pin(open, &path)?);
        }
        if path.exists() {
            let state = link::state(&path);
            let state = state.map_err(|source| DataplaneError::Pins {
                act: "read",
                path: path.clone(),
                source,
            })?;
            if state.ifindex == Some(ifindex) {
                let is_own = state.program == Some(self.program_id(classifier)?);
                if !is_own {
                    self.exchange(ifindex, classifier, attachment, pins)?;
                }
                return Ok(was_pinned && is_own);
            }
        }
        // A program can be attached to a hook only once, so the rest of the old link goes first.
        pins::remove(&path)?;
        drop(attachment.links.remove(classifier));
        let interface = name(ifindex)?;
        let attached = self.attach_one(hook, &interface);
        let attached = attached.map_err(|source| DataplaneError::Attach {
            classifier,
            ifindex,
            interface,
            source: Box::new(source),
        })?;
        attachment.links.insert(classifier, link::pin(attached, &path)?);
        if !attachment.pins.contains(&path) {
            attachment.pins.push(path);
        }
        Ok(false)
    }

    /// Gives a link this agent's program, atomically.
    pub(super) fn exchange(
        &mut self,
        ifindex: u32,
        classifier: &'static str,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<(), DataplaneError> {
        let Some(open) = link::open(&pins.link(classifier, ifindex), ifindex)? else {
            return Ok(());
        };
        let program = program(&mut self.ebpf, classifier)?;
        let exchanged = program.attach_to_link(open).and_then(|id| program.take_link(id));
        let exchanged = exchanged.map_err(|source| DataplaneError::Renew {
            classifier,
            ifindex,
            source: Box::new(source),
        })?;
        attachment.links.insert(classifier, exchanged);
        Ok(())
    }
}
