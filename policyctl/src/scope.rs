//! Options `-n` and `-A`: which namespaces an answer is about.

use clap::Args;
use policy_core::model::{Kind, ObjectRef};
use policy_manifest::{End, Expectations, nearest};
use policy_probe::{Probe, terminal};

use crate::{error::Error, origin::Origin};

/// The namespace where neither an option nor a kubeconfig names one.
const DEFAULT: &str = "default";

/// Options that say which namespaces an answer is about.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct ScopeOptions {
    /// Report on pods and policies of this namespace only; all others still take effect
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Report on all namespaces: the default with -f; for a cluster the default is the context's
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
}

/// A namespace, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    namespace: Option<String>,
}

impl ScopeOptions {
    /// The namespace of pods that are named without one.
    pub(crate) fn own<'a>(&'a self, origin: &'a Origin) -> &'a str {
        own(self.namespace.as_deref(), origin)
    }

    /// The scope for what was read; the namespace of `-n` must exist.
    pub(crate) fn of(&self, origin: &Origin) -> Result<Scope, Error> {
        if let Some(name) = &self.namespace {
            let known = &origin.manifests.snapshot.namespaces;
            if !known.contains_key(name) {
                let nearest = nearest(name, known.keys().map(String::as_str)).map(str::to_owned);
                return Err(Error::UnknownNamespace { name: name.clone(), nearest });
            }
        }
        let of_context = || origin.namespace.clone().filter(|_| !self.all_namespaces);
        Ok(Scope { namespace: self.namespace.clone().or_else(of_context) })
    }
}

/// The namespace of pods that are named without one, where `-n` names `given`.
pub(crate) fn own<'a>(given: Option<&'a str>, origin: &'a Origin) -> &'a str {
    given.or(origin.namespace.as_deref()).unwrap_or(DEFAULT)
}

impl Scope {
    /// Whether a namespace is in it.
    pub(crate) fn holds(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|own| own == namespace)
    }

    /// Whether an object is in it; a cluster-wide object is in no single namespace.
    pub(crate) fn holds_object(&self, object: &ObjectRef) -> bool {
        match (object.kind(), object.namespace()) {
            (Kind::Namespace, _) => self.holds(object.name()),
            (_, Some(namespace)) => self.holds(namespace),
            (_, None) => self.namespace.is_none(),
        }
    }

    /// Keeps the probes from or to the scope, and those that an expectation lists.
    pub(crate) fn retain(&self, probes: &mut Vec<Probe>, expectations: &Expectations) {
        let inside = |end: &End| match end {
            End::Pod(name) | End::Service(name) => self.holds(&name.namespace),
            End::Host(_) | End::Address(_) => false,
        };
        let expected = |probe: &Probe| {
            let asked = expectations.listed.iter();
            asked.into_iter().any(|one| one.from == probe.from && one.to == probe.to)
        };
        probes.retain(|probe| {
            self.namespace.is_none() || inside(&probe.from) || inside(&probe.to) || expected(probe)
        });
    }

    /// Prints a note if nothing of the scope was probed.
    pub(crate) fn note_if_empty(&self, probes: usize) {
        if let Some(namespace) = self.namespace.as_ref().filter(|_| probes == 0) {
            let note = format!("namespace {namespace} has no pod to report on; -A reports on all");
            terminal::notes(&[note]);
        }
    }
}
