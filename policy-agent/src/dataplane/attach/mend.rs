//! Links that somebody else detached, led elsewhere or unpinned.

use super::{Attachment, CLASSIFIERS, Classifiers, FROM_POD, TO_POD, name, program};
use crate::dataplane::{
    error::DataplaneError,
    link,
    pins::{self, Pins},
};

impl Classifiers {
    /// Puts both classifiers of an interface right, each as far as it is not; how many were not.
    pub(in crate::dataplane) fn mend(
        &mut self,
        ifindex: u32,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<usize, DataplaneError> {
        let wanted = [self.parts.ingress, self.parts.egress];
        let mut count = 0;
        for (classifier, _) in CLASSIFIERS.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            count += usize::from(!self.is_whole(ifindex, classifier, attachment, pins)?);
        }
        Ok(count)
    }

    /// Whether a classifier was as it should be; it is so in any case afterwards.
    fn is_whole(
        &mut self,
        ifindex: u32,
        classifier: &'static str,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<bool, DataplaneError> {
        let path = pins.link(classifier, ifindex);
        let was_pinned = path.exists();
        if !was_pinned && let Some(open) = attachment.links.remove(classifier) {
            attachment.links.insert(classifier, link::pin(open, &path)?);
        }
        if path.exists() {
            let about = link::about(&path);
            let about = about.map_err(|source| DataplaneError::Pins {
                act: "read",
                path: path.clone(),
                source,
            })?;
            if about.ifindex == Some(ifindex) {
                let is_own = about.program == Some(self.program_id(classifier)?);
                if !is_own {
                    self.lead(ifindex, classifier, attachment, pins)?;
                }
                return Ok(was_pinned && is_own);
            }
        }
        // The same program hangs once on a hook: what is left of the old link goes first.
        pins::remove(&path)?;
        drop(attachment.links.remove(classifier));
        let interface = name(ifindex)?;
        let hook = if classifier == TO_POD.name { TO_POD } else { FROM_POD };
        let attached = self.attach_one(&hook, &interface);
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

    /// Leads a link to this agent's program.
    pub(super) fn lead(
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
        let led = program.attach_to_link(open).and_then(|id| program.take_link(id));
        let led = led.map_err(|source| DataplaneError::Renew {
            classifier,
            ifindex,
            source: Box::new(source),
        })?;
        attachment.links.insert(classifier, led);
        Ok(())
    }
}
