//! Which probes to run.

use std::net::IpAddr;

use policy_core::{
    explain::{Party, Question},
    model::{Family, Protocol},
};
use policy_manifest::{End, Expectations, Manifests};
use thiserror::Error;

/// What the command line narrows or extends; empty parts mean the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Ports to probe instead of the declared ones.
    pub ports: Vec<(u16, Protocol)>,
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
    /// Who is meant.
    pub to: End,
    /// At which port, as the initiator sees it.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
    /// In which family.
    pub family: Family,
    /// Address of `from` in that family.
    pub source: IpAddr,
    /// Address of `to` in that family; for a Service a cluster IP.
    pub destination: IpAddr,
}

/// The probes asked for cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChooseError {
    /// Nothing has this name.
    #[error("there is no {end}{}", nearest.as_ref().map(|end| format!("; did you mean {end}?")).unwrap_or_default())]
    Unknown {
        /// As asked for.
        end: End,
        /// One that is spelt alike.
        nearest: Option<End>,
    },
    /// It has no address, so nothing can be sent from or to it.
    #[error("{end} has no address")]
    NoAddress {
        /// As asked for.
        end: End,
    },
    /// It declares no port, and none was asked for.
    #[error("{end} declares no port; name one as in --port 80/TCP")]
    NoPort {
        /// As asked for.
        end: End,
    },
    /// A Service opens no connections.
    #[error("{end} opens no connections: it is a Service")]
    ServiceAsSource {
        /// As asked for.
        end: End,
    },
    /// Nothing was asked for, and no two pods make a probe.
    #[error("no probe to run: no two pods with addresses of one family and a container port")]
    Nothing,
}

/// Chooses the probes, sorted, each once.
///
/// By default every pod to every other at every declared port of it, once per family that both
/// have. What `expectations` list is probed in any case.
///
/// # Errors
///
/// A name that does not exist, or an end that cannot be probed.
pub fn choose(
    _manifests: &Manifests,
    _selection: &Selection,
    _expectations: Option<&Expectations>,
) -> Result<Vec<Probe>, Vec<ChooseError>> {
    Ok(Vec::new())
}

impl Probe {
    /// The same as a question to the compiler; a host is asked for by its address.
    #[must_use]
    pub fn question(&self) -> Question {
        Question {
            from: party(&self.from, self.source),
            to: party(&self.to, self.destination),
            family: self.family,
            protocol: self.protocol,
            port: self.port,
        }
    }
}

fn party(end: &End, address: IpAddr) -> Party {
    match end {
        End::Pod(name) => Party::Pod(name.clone()),
        End::Service(name) => Party::Service(name.clone()),
        End::Host(_) | End::Address(_) => Party::Address(address),
    }
}
