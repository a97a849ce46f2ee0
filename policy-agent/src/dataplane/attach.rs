//! Attaches the programs to interfaces: by TCX links where the kernel has them (6.6), otherwise as
//! filters of a clsact qdisc.

mod mend;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier,
        links::Link,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
    util::KernelVersion,
};
use nix::{errno::Errno, libc, net::if_};

use super::{
    classifier::{CLASSIFIERS, Classifier},
    error::DataplaneError,
    link,
    options::{ActiveParts, Options},
    pins::{self, Pins},
};

/// Priority of a clsact filter: always the same, and before those that the kernel assigns.
const PRIORITY: u16 = 1;
/// Handle of a clsact filter.
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// The loaded programs.
pub(super) struct Classifiers {
    ebpf: Ebpf,
    parts: ActiveParts,
    /// Whether the programs are attached by TCX links.
    tcx: bool,
}

/// The programs on one interface; dropping it detaches them, unless they are pinned.
#[derive(Debug)]
pub(super) struct Attachment {
    links: BTreeMap<&'static str, SchedClassifierLink>,
    /// Where the links are pinned.
    pins: Vec<PathBuf>,
    /// Whether an earlier agent's programs may still be attached.
    stale: bool,
}

impl Classifiers {
    /// Loads both programs; the kernel verifies them.
    pub(super) fn load(mut ebpf: Ebpf, options: &Options) -> Result<Self, DataplaneError> {
        for Classifier { name, .. } in CLASSIFIERS {
            program(&mut ebpf, name)?.load().map_err(|source| DataplaneError::Classifier {
                classifier: name,
                source: Box::new(source),
            })?;
        }
        Ok(Self { ebpf, parts: options.parts, tcx: has_links(options) })
    }

    /// Attaches both programs to an interface, or neither.
    pub(super) fn attach(
        &mut self,
        ifindex: u32,
        pins: Option<&Pins>,
    ) -> Result<Attachment, DataplaneError> {
        let interface = name(ifindex)?;
        let mut links = BTreeMap::new();
        // If one fails, dropping `links` detaches the other.
        for classifier in CLASSIFIERS {
            if self.parts.directions[classifier.direction] {
                let link = self.attach_one(&classifier, &interface).map_err(|source| {
                    DataplaneError::Attach {
                        classifier: classifier.name,
                        ifindex,
                        interface: interface.clone(),
                        source: Box::new(source),
                    }
                })?;
                links.insert(classifier.name, link);
            }
        }
        // aya attaches by name, and the name may have passed to another interface meanwhile.
        if name(ifindex)? != interface {
            return Err(DataplaneError::InterfaceRenamed { ifindex, interface });
        }
        let mut attachment = Attachment { links, pins: Vec::new(), stale: false };
        if let Some(pins) = pins.filter(|_| self.tcx) {
            attachment.pin(ifindex, pins)?;
        }
        Ok(attachment)
    }

    /// Exchanges the programs of links that an earlier agent created; does nothing for an interface
    /// that is gone.
    pub(super) fn renew(
        &mut self,
        ifindex: u32,
        attachment: &mut Attachment,
        pins: &Pins,
    ) -> Result<(), DataplaneError> {
        if !attachment.stale {
            return Ok(());
        }
        let classifiers: Vec<_> = attachment.links.keys().copied().collect();
        for classifier in classifiers {
            // aya closes the link if the update fails; the pin still holds it.
            self.exchange(ifindex, classifier, attachment, pins)?;
        }
        attachment.stale = false;
        Ok(())
    }

    /// Whether the programs are attached by links, which can be pinned.
    pub(super) fn has_links(&self) -> bool {
        self.tcx
    }

    /// The kernel id of a program.
    pub(super) fn program_id(&self, classifier: &'static str) -> Result<u32, DataplaneError> {
        let missing = || DataplaneError::ClassifierMissing { classifier };
        let program = self.ebpf.program(classifier).ok_or_else(missing)?;
        let program: Result<&SchedClassifier, _> = program.try_into();
        let info = program.and_then(SchedClassifier::info);
        info.map(|info| info.id())
            .map_err(|source| DataplaneError::Classifier { classifier, source: Box::new(source) })
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

    fn attach_one(
        &mut self,
        classifier: &Classifier,
        interface: &str,
    ) -> Result<SchedClassifierLink, ProgramError> {
        let options = if self.tcx {
            TcAttachOptions::TcxOrder(LinkOrder::first())
        } else {
            add_clsact(interface)?;
            TcAttachOptions::Netlink(NlOptions {
                priority: PRIORITY,
                handle: HANDLE,
                classid: None,
            })
        };
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(classifier.name).ok_or(ProgramError::NotLoaded)?.try_into()?;
        let id = program.attach_with_options(interface, classifier.hook, options)?;
        program.take_link(id)
    }
}

impl fmt::Debug for Classifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ebpf: _, parts, tcx } = self;
        f.debug_struct("Classifiers")
            .field("parts", parts)
            .field("tcx", tcx)
            .finish_non_exhaustive()
    }
}

impl Attachment {
    /// No link.
    pub(super) fn empty() -> Self {
        Self { links: BTreeMap::new(), pins: Vec::new(), stale: false }
    }

    /// An attachment of an earlier agent, to which its links are added.
    pub(super) fn stale() -> Self {
        Self { links: BTreeMap::new(), pins: Vec::new(), stale: true }
    }

    /// Adds a link that is pinned.
    pub(super) fn add(
        &mut self,
        classifier: &'static str,
        link: SchedClassifierLink,
        pin: PathBuf,
    ) {
        self.links.insert(classifier, link);
        self.pins.push(pin);
    }

    /// Whether no wanted link is missing.
    pub(super) fn is_whole(&self) -> bool {
        !self.stale || self.links.len() == CLASSIFIERS.len()
    }

    /// Pins every link, in place of stale pins.
    fn pin(&mut self, ifindex: u32, pins: &Pins) -> Result<(), DataplaneError> {
        for (classifier, link) in std::mem::take(&mut self.links) {
            let path = pins.link(classifier, ifindex);
            match pins::remove(&path).and_then(|()| link::pin(link, &path)) {
                Ok(link) => self.add(classifier, link, path),
                Err(error) => {
                    // Both or neither; the first failure is the one to report.
                    self.pins.iter().for_each(|path| drop(pins::remove(path)));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Detaches the programs; an interface that is gone has none any more.
    pub(super) fn detach(self, ifindex: u32) -> Result<(), DataplaneError> {
        self.pins.iter().try_for_each(|path| pins::remove(path))?;
        for link in self.links.into_values() {
            match link.detach() {
                Err(ProgramError::NetlinkError(error)) if is_gone(error.raw_os_error()) => {}
                result => result.map_err(|source| DataplaneError::Detach {
                    ifindex,
                    source: Box::new(source),
                })?,
            }
        }
        Ok(())
    }
}

/// Whether the programs are attached by links, which can be pinned.
pub(super) fn has_links(options: &Options) -> bool {
    let has_tcx =
        KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
    has_tcx && !options.clsact
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

/// Adds the clsact qdisc that filters need; it is never removed, because others may use it.
fn add_clsact(interface: &str) -> Result<(), TcError> {
    match tc::qdisc_add_clsact(interface) {
        Err(TcError::AlreadyAttached) => Ok(()),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

/// ENODEV: the interface is gone; EINVAL, ENOENT: its qdisc or filter is gone.
fn is_gone(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::ENODEV | libc::EINVAL | libc::ENOENT))
}

fn name(ifindex: u32) -> Result<String, DataplaneError> {
    let missing = |source| DataplaneError::InterfaceMissing { ifindex, source };
    let name = if_::if_indextoname(ifindex).map_err(missing)?;
    // libc returns a null pointer if there is none, which nix turns into an empty name.
    if name.is_empty() {
        return Err(missing(Errno::ENXIO));
    }
    Ok(name.to_string_lossy().into_owned())
}
