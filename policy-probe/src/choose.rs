//! Chooses which probes to run.
//!
//! Input: manifests, options and expectations. Output: a sorted list of [`Probe`]s. For example, pods
//! `web` (port 80, IPv4 and IPv6) and `db` (port 5432, IPv4 only) without any option:
//!
//! ```text
//! db  -> web 80/TCP IPv4      every pod to every other, at the ports that it declares,
//! web -> db  5432/TCP IPv4    in each family that both have; no pod to itself
//! ```
//!
//! [`Selection::further_ports`] adds ports to the declared ones, which a pod that declares none needs.
//! `--port 22` replaces the declared ports, `--from` and `--to` replace "every pod", and each
//! listed expectation adds its own probes.

mod ends;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use policy_core::{
    explain::{ConnectionEnd, Question},
    model::{Family, Protocol},
};
use policy_manifest::{End, Expectations, Manifests, Place};
use thiserror::Error;

use ends::Ends;

/// What the command line selects; an empty list means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Ports to probe instead of the declared ones.
    pub ports: Vec<(u16, Protocol)>,
    /// Ports to probe at pods besides the declared ones, where `ports` is empty.
    pub further_ports: Vec<(u16, Protocol)>,
    /// Sources instead of every pod.
    pub from: Vec<End>,
    /// Destinations instead of every pod.
    pub to: Vec<End>,
}

/// The first packet of a connection to try.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Who opens it; never a Service.
    pub from: End,
    /// Who it is for.
    pub to: End,
    /// The port, as the initiator sees it.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The family.
    pub family: Family,
    /// Address of `from` in that family.
    pub source: IpAddr,
    /// Address of `to` in that family; for a Service a cluster IP.
    pub destination: IpAddr,
}

/// `shop/web -> shop/db 5432/TCP IPv4`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, port, protocol, family, .. } = self;
        write!(f, "{from} -> {to} {port}/{protocol} {}", family.name())
    }
}

/// A probe that an option or an expectation names, and that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
pub struct ChooseError {
    /// Where the expectation that names it is written; `None` where an option names it.
    pub place: Option<Place>,
    /// Why it cannot be run.
    pub reason: CannotProbe,
}

/// Why a probe cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CannotProbe {
    /// Nothing has this name.
    #[error("there is no {end}{}", nearest.as_ref().map(|end| format!("; did you mean {end}?")).unwrap_or_default())]
    Unknown {
        /// The end that was named.
        end: End,
        /// An end with a similar name.
        nearest: Option<End>,
    },
    /// It has no address, so nothing can be sent from or to it.
    #[error("{end} has no address")]
    NoAddress {
        /// The end that was named.
        end: End,
    },
    /// Its processes have ended.
    #[error("{end} has finished: it neither opens nor takes connections")]
    Finished {
        /// The end that was named.
        end: End,
    },
    /// It declares no port, and no option names one.
    #[error("{end} declares no port; name one as in --port 80/TCP")]
    NoPort {
        /// The end that was named.
        end: End,
    },
    /// A Service opens no connections.
    #[error("{end} opens no connections: it is a Service")]
    ServiceAsSource {
        /// The end that was named.
        end: End,
    },
    /// There is no pod, and the options name no ends.
    #[error("no probe to run: no pod runs and has an address")]
    NoPods,
    /// No pair has what a probe needs.
    #[error("no probe to run: a probe needs two ends with addresses of one family, and a port")]
    Nothing,
}

/// Chooses the probes, sorted, each once.
///
/// By default every pod to every other at each of its declared ports, once for each family that
/// both have. Left out are finished pods, pods without an address, and pairs that share one, such
/// as host-network pods of one node: nothing between these is ever on a wire. What `expectations`
/// list is always probed.
///
/// # Errors
///
/// Every name that does not exist, and every end that cannot be probed.
pub fn choose(
    manifests: &Manifests,
    selection: &Selection,
    expectations: Option<&Expectations>,
) -> Result<Vec<Probe>, Vec<ChooseError>> {
    let chosen = ChosenProbes::new(manifests, selection, expectations)?;
    let of_sources = chosen.sources().iter().flat_map(|from| chosen.of_source(from));
    let mut probes: Vec<Probe> = of_sources.chain(chosen.listed.iter().cloned()).collect();
    // Those of the sources are sorted already.
    probes.sort();
    probes.dedup();
    if probes.is_empty() { Err(vec![chosen.nothing()]) } else { Ok(probes) }
}

/// The chosen probes, source by source: those of a large cluster take more memory than there is.
pub struct ChosenProbes<'a> {
    ends: Ends<'a>,
    from: Vec<End>,
    /// Destinations with their ports.
    to: Vec<(End, BTreeSet<(u16, Protocol)>)>,
    /// Those of expectations.
    listed: Vec<Probe>,
    needs_pods: bool,
}

impl<'a> ChosenProbes<'a> {
    /// Chooses as [`choose`] does.
    ///
    /// # Errors
    ///
    /// As [`choose`], but an empty choice is no error.
    pub fn new(
        manifests: &'a Manifests,
        selection: &Selection,
        expectations: Option<&Expectations>,
    ) -> Result<Self, Vec<ChooseError>> {
        let ends = Ends::new(manifests);
        let mut errors = Vec::new();
        check_names(&ends, selection, expectations, &mut errors);
        let pods = ends.pods();
        let all_or = |named: &[End]| {
            let mut chosen = if named.is_empty() { pods.clone() } else { named.to_vec() };
            chosen.sort();
            chosen.dedup();
            chosen
        };
        let (from, to) = (all_or(&selection.from), all_or(&selection.to));
        let to = to.into_iter().map(|to| {
            let ports = ports(&ends, selection, &to, &mut errors);
            (to, ports)
        });
        let to: Vec<_> = to.collect();
        let mut listed = Vec::new();
        for one in expectations.iter().flat_map(|expectations| &expectations.listed) {
            let pairs = ends.pairs(&one.from, &one.to);
            let wanted = pairs.filter(|(family, ..)| one.family.is_none_or(|only| only == *family));
            let port = (one.port, one.protocol);
            listed.extend(wanted.map(|pair| probe((&one.from, &one.to), port, pair)));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let needs_pods = pods.is_empty() && (selection.from.is_empty() || selection.to.is_empty());
        Ok(Self { ends, from, to, listed, needs_pods })
    }

    /// The sources, sorted.
    #[must_use]
    pub fn sources(&self) -> &[End] {
        &self.from
    }

    /// The probes of a source, sorted, without those that only an expectation lists.
    #[must_use]
    pub fn of_source(&self, from: &End) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (to, ports) in self.to.iter().filter(|(_, ports)| !ports.is_empty()) {
            let pairs = self.ends.pairs(from, to);
            let pairs: Vec<_> =
                pairs.filter(|(_, source, destination)| source != destination).collect();
            for port in ports {
                probes.extend(pairs.iter().map(|pair| probe((from, to), *port, *pair)));
            }
        }
        probes
    }

    /// Probes that only an expectation lists, in its order.
    #[must_use]
    pub fn listed(&self) -> &[Probe] {
        &self.listed
    }

    /// Why there is no probe, where there is none.
    #[must_use]
    pub fn nothing(&self) -> ChooseError {
        let reason = if self.needs_pods { CannotProbe::NoPods } else { CannotProbe::Nothing };
        ChooseError { place: None, reason }
    }
}

/// The chosen probes, where an empty list is not an error.
///
/// # Errors
///
/// Those of [`choose`] except [`CannotProbe::NoPods`] and [`CannotProbe::Nothing`].
pub fn if_any(
    chosen: Result<Vec<Probe>, Vec<ChooseError>>,
) -> Result<Vec<Probe>, Vec<ChooseError>> {
    let is_empty =
        |error: &ChooseError| matches!(error.reason, CannotProbe::NoPods | CannotProbe::Nothing);
    match chosen {
        Err(errors) if errors.iter().all(is_empty) => Ok(Vec::new()),
        chosen => chosen,
    }
}

/// Adds an error for each end that is named and cannot be probed.
fn check_names(
    ends: &Ends<'_>,
    selection: &Selection,
    expectations: Option<&Expectations>,
    errors: &mut Vec<ChooseError>,
) {
    let mut note = |place: Option<&Place>, reason| {
        errors.push(ChooseError { place: place.cloned(), reason });
    };
    for end in &selection.from {
        if let End::Service(_) = end {
            note(None, CannotProbe::ServiceAsSource { end: end.clone() });
        }
    }
    let asked = selection.from.iter().chain(&selection.to).map(|end| (None, end));
    let listed = expectations.iter().flat_map(|expectations| &expectations.listed);
    let listed = listed
        .flat_map(|entry| [(Some(&entry.place), &entry.from), (Some(&entry.place), &entry.to)]);
    for (place, end) in asked.chain(listed) {
        if let Err(reason) = ends.check(end) {
            note(place, reason);
        }
    }
}

/// The ports to probe at `to`; an end that is named must have some.
fn ports(
    ends: &Ends<'_>,
    selection: &Selection,
    to: &End,
    errors: &mut Vec<ChooseError>,
) -> BTreeSet<(u16, Protocol)> {
    if !selection.ports.is_empty() {
        return selection.ports.iter().copied().collect();
    }
    let mut ports = ends.ports(to);
    if let End::Pod(_) = to {
        ports.extend(&selection.further_ports);
    }
    if ports.is_empty() && selection.to.contains(to) && ends.check(to).is_ok() {
        errors.push(ChooseError { place: None, reason: CannotProbe::NoPort { end: to.clone() } });
    }
    ports
}

fn probe(
    (from, to): (&End, &End),
    (port, protocol): (u16, Protocol),
    (family, source, destination): (Family, IpAddr, IpAddr),
) -> Probe {
    Probe { from: from.clone(), to: to.clone(), port, protocol, family, source, destination }
}

impl Probe {
    /// The same as a question to the compiler; a host is an address to it.
    #[must_use]
    pub fn question(&self) -> Question {
        Question {
            from: connection_end(&self.from, self.source),
            to: connection_end(&self.to, self.destination),
            family: self.family,
            protocol: self.protocol,
            port: self.port,
        }
    }
}

fn connection_end(end: &End, address: IpAddr) -> ConnectionEnd {
    match end {
        End::Pod(name) => ConnectionEnd::Pod(name.clone()),
        End::Service(name) => ConnectionEnd::Service(name.clone()),
        End::Host(_) | End::Address(_) => ConnectionEnd::Address(address),
    }
}
